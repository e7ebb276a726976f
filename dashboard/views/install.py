"""Pages: the install, step by step: model and size, place, preflight, review. The state is in the address."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlencode

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.access import actor, chosen_team
from dashboard.forms.faults import place as put
from dashboard.forms.install import ChooseForm, PlaceForm, QuickForm, ReviewForm
from dashboard.presenters import profiles as words
from dashboard.presenters.findings import preflight_values
from dashboard.presenters.parts import CodeLine, Link, numbered
from dashboard.presenters.quota import demand_words, left_words, too_much_words
from dashboard.regions import page_or_region
from deployments.commands import install as commands
from deployments.commands import profiles as profile_commands
from deployments.commands import questions
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.quota import demand
from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import GpuVendor, ModelSpec, ServerSpec, StackSpec, spec_from_json
from deployments.domain.states import OperationKind, OperationState
from deployments.models import Cluster, Operation, Revision, Team
from deployments.policies import Action, may_write_profile
from deployments.selectors import clusters as cluster_selector
from deployments.selectors import lookup
from deployments.selectors import profiles as profile_selector
from deployments.selectors.quotas import used_of
from deployments.sentences import said

STEPS = ("install", "install_place", "install_preflight", "install_review")
CHANGES = {
    "new": ("healthy", "+"),
    "changed": ("progressing", "~"),
    "same": ("unknown", "="),
}


@dataclass(frozen=True)
class Draft:
    """What the address says so far; the ids are looked up with the caller's rights."""

    revision: Revision
    team: Team
    cluster: Cluster | None = None
    namespace: str = ""
    name: str = ""

    def query(self, **more: object) -> str:
        known = {
            "revision": self.revision.pk,
            "team": self.team.pk if self.team.pk != self.revision.profile.team_id else "",
            "cluster": self.cluster.pk if self.cluster else "",
            "namespace": self.namespace,
            "name": self.name,
            **more,
        }
        return "?" + urlencode({key: value for key, value in known.items() if value not in ("", None)})


def _id(text: str) -> int:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else 0


def _draft(request: HttpRequest, *, whole: bool = False) -> Draft:
    """Read the address. Raises :class:`NotFound` for what the caller may not see."""
    who, query = actor(request), request.GET
    revision = profile_selector.revision_by_id(who, _id(query.get("revision", "")))
    cluster = lookup.cluster(who, _id(query["cluster"])) if query.get("cluster") else None
    draft = Draft(
        revision,
        _team(who, revision, _id(query.get("team", ""))),
        cluster,
        query.get("namespace", "").strip()[:253],
        query.get("name", "").strip()[:253],
    )
    if whole and not (draft.cluster and draft.namespace and draft.name):
        raise NotFound("The address of this step is not complete.", remedy="Begin the install again.")
    return draft


def _team(who: Actor, revision: Revision, wanted: int) -> Team:
    """For which team it is: the one that the address names, else the profile's own where the caller may
    install for it, else the first that he may. Raises :class:`Denied` where there is none."""
    teams = profile_selector.installing_teams(who, revision.profile)
    if not teams:
        raise Denied("Installing needs the role operator.", remedy="Ask an owner of your team.")
    return next((team for team in teams if team.pk == wanted), teams[0])


def _wizard(at: int, draft: Draft | None = None, **more: object) -> list[Link]:
    labels = (_("Model and size"), _("Place"), _("Preflight"), _("Review"))
    query = draft.query(**more) if draft else ""
    return [
        Link(label, reverse(name) + query if index < at else "", index == at)
        for index, (name, label) in enumerate(zip(STEPS, labels, strict=True))
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def install(request: HttpRequest) -> HttpResponse:
    """Step 1: a revision of a profile, or a model of which a profile is made."""
    who, team = actor(request), chosen_team(request)
    profiles = profile_selector.installable(who, team.pk if team else None)
    writers = profile_selector.teams_that_may(who, Action.WRITE_PROFILE)
    carried = {key: request.GET[key] for key in ("cluster", "namespace", "name") if request.GET.get(key)}
    quick = QuickForm(teams=writers, initial={"team": team.pk} if team in writers else {})
    if request.method == "POST":
        quick = QuickForm(request.POST, teams=writers)
        if quick.is_valid():
            try:
                revision = _quick_profile(who, quick)
            except InvalidInput as error:
                put(quick, error)
            else:
                query = urlencode({"revision": revision.pk, **carried})
                return HttpResponseRedirect(f"{reverse('install_place')}?{query}")
    choose = ChooseForm(profiles=profiles, initial={"revision": request.GET.get("revision", "")})
    values = {
        "steps": _wizard(0),
        "choose": choose,
        "quick": quick,
        "profiles": profiles,
        "carried": carried,
        "may_write": bool(writers),
        "may_install": bool(profile_selector.teams_that_may(who, Action.INSTALL)),
        "clusters": cluster_selector.cluster_list(who).exists(),
        "may_connect": who.admin,
    }
    return render(request, "install/model.html", values, status=422 if quick.errors else 200)


def _quick_profile(who: Actor, form: QuickForm) -> Revision:
    """The profile of a quick choice: made once, used again when the same is asked for."""
    given = form.cleaned_data
    vendor = GpuVendor(given["gpus"])
    name = f"deepseek-r1 {given['tag']}" + (f" {vendor.value}" if vendor.resource else "")
    spec = StackSpec(model=ModelSpec(tag=given["tag"]), server=ServerSpec(gpu_vendor=vendor))
    try:
        return profile_commands.create_profile(
            who, team_id=given["team"].pk, name=name, spec=spec, note=_("Made by the install")
        )
    except Conflict:
        known = [row for row in profile_selector.profile_named(who, name) if row.team_id == given["team"].pk]
        return profile_selector.revision(who, known[0].pk)


@require_http_methods(["GET", "HEAD", "POST"])
def place(request: HttpRequest) -> HttpResponse:
    """Step 2: cluster, namespace and name. Posting asks the preflight."""
    who, draft = actor(request), _draft(request)
    team = draft.team
    teams = profile_selector.installing_teams(who, draft.revision.profile)
    clusters = cluster_selector.clusters_for_team(who, team.pk)
    spec = spec_from_json(draft.revision.spec)
    sizing = size_stack(spec, None)
    status = 200
    if request.method == "POST":
        form = PlaceForm(request.POST, clusters=clusters)
        if form.is_valid():
            given = form.cleaned_data
            chosen = Draft(
                draft.revision, team, given["cluster"], given["namespace"].strip(), given["name"].strip()
            )
            try:
                asked = _ask(who, chosen, OperationKind.PREFLIGHT)
            except InvalidInput as error:
                put(form, error)
            else:
                target = reverse("install_preflight") + chosen.query(preflight=asked.pk)
                return HttpResponseRedirect(target)
        status = 422
    else:
        model = spec.model
        default = slugify(f"{model.repository}-{model.tag}".replace(".", "-").replace("/", "-"))[:40]
        known = {"cluster": draft.cluster.pk if draft.cluster else None, "namespace": draft.namespace}
        form = PlaceForm(clusters=clusters, initial={**known, "name": draft.name or default})
    rows = list(clusters)
    grants = cluster_selector.grants_of([row.pk for row in rows], team.pk)
    taken = used_of(team.pk, [pk for pk, grant in grants.items() if grant.quota])
    asked_for = demand(sized(spec, sizing))
    values = {
        "steps": _wizard(1, draft),
        "draft": draft,
        "form": form,
        "team": team,
        "teams": [(other, reverse("install_place") + replace(draft, team=other).query()) for other in teams],
        "summary": words.summary(spec),
        "overview": words.overview(spec, sizing)[:6],
        "sizing": sizing,
        "granted": [
            {
                "cluster": row,
                "patterns": ", ".join(grant.namespaces),
                "left": left_words(grant, taken[row.pk]) if grant.quota else "",
                "too_much": too_much_words(grant, taken[row.pk], asked_for) if grant.quota else "",
            }
            for row in rows
            if (grant := grants.get(row.pk)) is not None
        ],
        "demand": demand_words(asked_for.to_json()),
    }
    return render(request, "install/place.html", values, status=status)


def _ask(who: Actor, draft: Draft, kind: OperationKind) -> Operation:
    assert draft.cluster is not None
    command = questions.preflight if kind is OperationKind.PREFLIGHT else questions.diff
    return command(
        who,
        revision_id=draft.revision.pk,
        cluster_id=draft.cluster.pk,
        namespace=draft.namespace,
        name=draft.name,
        team_id=draft.team.pk,
    )


def _asked(request: HttpRequest, draft: Draft, key: str, kind: OperationKind) -> Operation | None:
    """The question's operation out of the address, if it is this draft's. None once it is forgotten."""
    pk = _id(request.GET.get(key, ""))
    if not pk:
        return None
    try:
        found = lookup.operation(actor(request), pk)
    except NotFound:
        return None
    same = found.kind == kind and found.cluster_id == (draft.cluster.pk if draft.cluster else None)
    wanted = {"revision": draft.revision.pk, "namespace": draft.namespace, "name": draft.name}
    return found if same and all(found.request.get(k) == v for k, v in wanted.items()) else None


@require_http_methods(["GET", "HEAD", "POST"])
def preflight(request: HttpRequest) -> HttpResponse:
    """Step 3: the findings as they come. Posting asks again."""
    draft = _draft(request, whole=True)
    if request.method == "POST":
        try:
            asked = _ask(actor(request), draft, OperationKind.PREFLIGHT)
        except InvalidInput as error:
            return _to_place(request, draft, error)
        return HttpResponseRedirect(reverse("install_preflight") + draft.query(preflight=asked.pk))
    operation = _asked(request, draft, "preflight", OperationKind.PREFLIGHT)
    values = {
        "steps": _wizard(2, draft),
        "draft": draft,
        "source": request.get_full_path(),
        "back": reverse("install_place") + draft.query(),
        "review": reverse("install_review") + draft.query(preflight=operation.pk if operation else ""),
        "here": reverse("install_preflight") + draft.query(),
        "may_edit": may_write_profile(actor(request), draft.revision.profile),
        **preflight_values(operation),
    }
    return page_or_region(request, "install/preflight.html", "install/preflight_live.html", values)


def _to_place(request: HttpRequest, draft: Draft, error: InvalidInput | Conflict) -> HttpResponse:
    messages.error(request, said(f"{error.sentence} {error.remedy}".strip()))
    return HttpResponseRedirect(reverse("install_place") + draft.query())


@require_http_methods(["GET", "HEAD", "POST"])
def review(request: HttpRequest) -> HttpResponse:
    """Step 4: what exactly will happen. Posting with ``ask`` compares, without it installs."""
    who, draft = actor(request), _draft(request, whole=True)
    assert draft.cluster is not None
    before = _asked(request, draft, "preflight", OperationKind.PREFLIGHT)
    form = ReviewForm()
    refused: Conflict | InvalidInput | None = None
    found = preflight_values(before)
    blocked, may_go_on = found["blocked"], found["may_go_on"]
    if request.method == "POST":
        form = ReviewForm(request.POST)
        try:
            if "ask" in request.POST:
                asked = _ask(who, draft, OperationKind.DIFF)
                query = draft.query(preflight=before.pk if before else "", diff=asked.pk)
                return HttpResponseRedirect(reverse("install_review") + query)
            if blocked and not may_go_on:
                raise Conflict(_("The preflight found a problem."), remedy=_("Solve it and check again."))
            if form.is_valid() and blocked and not form.cleaned_data["anyway"]:
                form.add_error("anyway", _("Say that you want this, or solve the problem and check again."))
            elif form.is_valid():
                begun = commands.install(
                    who,
                    revision_id=draft.revision.pk,
                    cluster_id=draft.cluster.pk,
                    namespace=draft.namespace,
                    name=draft.name,
                    team_id=draft.team.pk,
                    anyway=bool(blocked),
                    reason=form.cleaned_data["reason"],
                )
                return HttpResponseRedirect(reverse("operation", args=[begun.pk]))
        except (InvalidInput, Conflict) as error:
            if isinstance(error, InvalidInput) and error.field == "reason":
                form.add_error("reason", said(error.sentence))
            else:
                refused = error
    operation = _asked(request, draft, "diff", OperationKind.DIFF)
    values = _review(request, draft, operation)
    values |= {"form": form, "refused": refused, "before": before}
    values |= {"blocked": blocked and not may_go_on, "may_go_on": may_go_on, "comes_of": found["comes_of"]}
    wrong = request.method == "POST"
    status = 409 if isinstance(refused, Conflict) else 422 if wrong else 200
    return page_or_region(request, "install/review.html", "install/review_live.html", values, status=status)


def _review(request: HttpRequest, draft: Draft, operation: Operation | None) -> dict[str, Any]:
    objects = [_object(item, number) for number, item in enumerate(_results(operation), 1)]
    labels = {"new": _("new"), "changed": _("changed"), "same": _("as it is")}
    counted = [
        f"{number} {labels[change]}"
        for change in CHANGES
        if (number := sum(item["change"] == change for item in objects))
    ]
    preflight_id = request.GET.get("preflight", "")
    spec = spec_from_json(draft.revision.spec)
    return {
        "steps": _wizard(3, draft, preflight=preflight_id),
        "draft": draft,
        "operation": operation,
        "running": operation is not None and not OperationState(operation.state).terminal,
        "objects": objects,
        "counted": ", ".join(counted),
        "conflicts": sum(bool(item["conflicts"]) for item in objects),
        "asked": operation.result.get("asked", True) if operation else True,
        "yaml": numbered("\n---\n".join(item["yaml"] for item in objects if item["yaml"])),
        "summary": words.summary(spec),
        "model": spec.model.reference,
        "source": request.get_full_path(),
        "back": reverse("install_preflight") + draft.query(preflight=preflight_id),
    }


def _results(operation: Operation | None) -> list[dict[str, Any]]:
    return list(operation.result.get("objects", [])) if operation else []


def _object(item: dict[str, Any], number: int) -> dict[str, Any]:
    """An object of a diff's result for the page; its secrets were masked where it was compared.

    ``yaml`` is the object as it will be, which only one without folds can tell.
    """
    css, sign = CHANGES[item["change"]]
    rows = []
    signs = {"add": "+", "del": "-", "fold": "h"}
    for kind, text, before, after, folded in item.get("lines", []):
        shown = _("%(n)s equal lines") % {"n": folded} if kind == "fold" else text
        rows.append(CodeLine(shown, signs.get(kind, ""), after or before))
    whole = not any(line[0] == "fold" for line in item.get("lines", []))
    lines = [line[1] for line in item.get("lines", []) if line[0] in ("same", "add")]
    words_of = {"new": _("New"), "changed": _("Change"), "same": _("Same")}
    counts = [
        f"+{item['added']}" if item.get("added") else "",
        f"−{item['removed']}" if item.get("removed") else "",
    ]
    return {
        "change": item["change"],
        "css": css,
        "sign": sign,
        "op": words_of[item["change"]],
        "kind": item["kind"],
        "name": item["name"],
        "lines": " ".join(filter(None, counts)) or "0",
        "href": f"#object-{number}",
        "current": False,
        "id": f"object-{number}",
        "code": rows,
        "problem": item.get("problem", ""),
        "conflicts": item.get("conflicts", []),
        "yaml": "\n".join(lines) if whole else "",
    }


urlpatterns = [
    path("", install, name="install"),
    path("place", place, name="install_place"),
    path("preflight", preflight, name="install_preflight"),
    path("review", review, name="install_review"),
]
