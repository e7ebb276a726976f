"""Pages: deployments. The list, one deployment with its sections, and what can be done with it."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard.access import actor, chosen_team, teams
from dashboard.chat_tickets import Visitor, enter_url
from dashboard.context import tally
from dashboard.presenters import fields, stack
from dashboard.presenters.parts import CodeLine, Column, Evidence, Link, numbered, ordering
from dashboard.presenters.profiles import differences
from dashboard.presenters.progress import running_item
from dashboard.presenters.states import HEALTH
from dashboard.regions import page_or_region, wants_region, watches
from dashboard.views.gpus import gpus_section, sparks
from dashboard.views.operations import number, proof_facts
from dashboard.views.pods import events_section, kept, pods_section
from deployments.commands import install, questions
from deployments.commands import uninstall as uninstalling
from deployments.domain.diffing import DiffLine, to_yaml_lines, yaml_diff
from deployments.domain.errors import Conflict, Denied, InvalidInput
from deployments.domain.health.assess import PULL_AGAIN
from deployments.domain.states import ACTIVE, Health, OperationKind
from deployments.models import Deployment, Release, User
from deployments.policies import NEEDS, Action, may
from deployments.selectors import deployments as selector
from deployments.selectors import lookup
from deployments.selectors.models import stored_models, volumes_without
from deployments.selectors.operations import pulls_of
from deployments.sentences import said

PER_PAGE = 25
RELEASES_PER_PAGE = 25
COLUMNS = (
    Column(gettext_lazy("Name"), "name"),
    Column(gettext_lazy("Health"), "health"),
    Column(gettext_lazy("Model")),
    Column(gettext_lazy("GPUs, 6 h")),
    Column(gettext_lazy("Cluster, namespace"), "cluster"),
    Column(gettext_lazy("Team"), "team"),
    Column(gettext_lazy("Revision"), "revision"),
    Column(gettext_lazy("Since"), "since", numeric=True),
)
TABS = ("pods", "model", "gpus", "chat", "events", "releases", "configuration")


@require_GET
def deployments(request: HttpRequest) -> HttpResponse:
    """The list. Filters, order and page are in the address; with X-Fragment the table alone."""
    who, query = actor(request), request.GET
    team = chosen_team(request)
    sort = ordering(query.get("sort", ""), COLUMNS, "health")
    wanted = selector.DeploymentFilter(
        health=query.get("health", "") if query.get("health", "") in set(Health) else "",
        cluster=number(query.get("cluster", "")),
        team=number(query.get("team", "")) or (team.pk if team else None),
        text=query.get("q", "").strip()[:80],
        sort=sort,
    )
    filtered = bool(wanted.health or wanted.cluster or wanted.text or query.get("team"))
    paginator = Paginator(selector.deployments(who, wanted), PER_PAGE)
    if not filtered:
        paginator.count = tally(request).deployments  # the shell counts them as well
    page = paginator.get_page(query.get("page"))
    listed = list(page.object_list)
    busy = sparks([row.pk for row in listed])
    rows: list[dict[str, Any]] = [
        {
            "row": row,
            "model": selector.model_of(row.revision.spec),
            "work": selector.under_way(row),
            "busy": busy.get(row.pk, []),
        }
        for row in listed
    ]
    values = {
        "page": page,
        "rows": rows,
        "columns": COLUMNS,
        "sort": sort,
        "wanted": wanted,
        "filtered": filtered,
        "healths": [(health.value, HEALTH[health].label) for health in Health],
        "clusters": [(str(row.pk), row.name) for row in selector.clusters_to_choose(who)],
        "teams": [(str(row.pk), row.name) for row in teams(request)],
        "live": watches(
            "list:0",
            *(f"deployment:{item['row'].pk}" for item in rows),
            *(f"operation:{work.pk}" for item in rows for work in item["work"]),
        ),
        "source": request.get_full_path(),
        "may_install": who.admin or any(may(who, Action.INSTALL, pk) for pk in who.roles),
    }
    return page_or_region(request, "deployments/deployments.html", "deployments/list_live.html", values)


@require_GET
def deployment(request: HttpRequest, pk: int) -> HttpResponse:
    """One deployment. ``tab`` chooses the section; with X-Fragment one live region: the state on top,
    or with ``part=section`` the section."""
    who = actor(request)
    page = selector.deployment_page(who, pk)
    asked = request.GET.get("tab", "")
    tab = asked if asked in TABS else TABS[0]
    fragment = wants_region(request)
    part = request.GET.get("part", "") if fragment else ""
    here = reverse("deployment", args=[pk])
    values: dict[str, Any] = {
        "page": page,
        "deployment": page.deployment,
        "tab": tab,
        "here": here,
        "live": " ".join(
            [
                f"deployment:{pk}",
                *(f"operation:{row.pk}" for row in page.under_way),
                *(f"operation:{row.pk}" for row in (page.checking,) if row and row.state in ACTIVE),
            ]
        ),
        "may": {
            "upgrade": may(who, Action.UPGRADE, page.deployment.team_id),
            "uninstall": may(who, Action.UNINSTALL, page.deployment.team_id),
            "check": may(who, Action.CHECK, page.deployment.team_id),
            "change": may(who, Action.SCALE, page.deployment.team_id),
            "delete_model": may(who, Action.DELETE_MODEL, page.deployment.team_id),
        },
        "changing": any(row.kind != OperationKind.PULL for row in page.under_way),
        "checking": bool(page.checking and page.checking.state in ACTIVE),
    }
    if part != "section":
        values |= _state(page)
    if part != "state":
        values |= _section(request, page, tab, here)
    template = {"state": "state", "section": "section"}.get(part, "state") if fragment else "deployment"
    return render(request, f"deployments/{template}.html", values)


def _state(page: selector.DeploymentPage) -> dict[str, Any]:
    """What the region on top shows: why it is as it is, what runs, six figures."""
    row = page.deployment
    spec = selector.spec_of(page.release.spec if page.release else row.revision.spec)
    workloads = selector.observed(row, ("StatefulSet",))
    seen = row.observed_at
    if seen and row.health_since:
        # The quietest of its watches may be silent for a minute; what it says now was seen when it turned.
        seen = max(seen, row.health_since)
    evidence = [
        Evidence(str(text), "box", _("watch"), seen)
        for text in (row.health_evidence if isinstance(row.health_evidence, list) else [])
    ]
    pull_again = row.health_remedy == PULL_AGAIN and not page.under_way
    failed = selector.failed_pull(row) if pull_again else None
    if failed is not None:
        # Why the model is missing, and what must be done before another pull can end better.
        evidence.append(Evidence(failed.failure, "pull", _("the last pull"), failed.finished_at))
    return {
        "evidence": evidence,
        "pull_again": pull_again,
        "remedy": (failed.failure_remedy if failed else "") or row.health_remedy,
        "work": [running_item(item, pulls_of(item)) for item in page.under_way],
        "facts": stack.facts(page, spec, workloads[0] if workloads else None),
    }


def _section(request: HttpRequest, page: selector.DeploymentPage, tab: str, here: str) -> dict[str, Any]:
    """The chosen section and the tabs above it."""
    row = page.deployment
    links = [
        Link(_("Pods"), f"{here}?tab=pods", tab == "pods", page.kinds.get("Pod", 0)),
        Link(_("Model"), f"{here}?tab=model", tab == "model"),
        Link(_("GPUs"), f"{here}?tab=gpus", tab == "gpus", page.gpus),
        Link(_("Chat"), f"{here}?tab=chat", tab == "chat"),
        Link(_("Logs"), reverse("deployment_logs", args=[row.pk])),
        Link(_("Events"), f"{here}?tab=events", tab == "events", page.kinds.get("Event", 0)),
        Link(_("Releases"), f"{here}?tab=releases", tab == "releases", page.releases),
        Link(_("Configuration"), f"{here}?tab=configuration", tab == "configuration"),
    ]
    values: dict[str, Any] = {"tabs": links, "kept": kept(request)}
    spec = selector.spec_of(page.release.spec if page.release else row.revision.spec)
    if tab == "pods":
        values |= pods_section(request, row)
    elif tab == "model":
        pods = selector.observed(row, ("Pod", "PersistentVolumeClaim"))
        values["stores"] = stack.stores(row, pods)
        values["pulls"] = selector.pulls(row)
        values["model"] = spec.model.reference if spec else ""
        values["stored"] = stored_models(row)
        values["lacking"] = len(volumes_without(row))
        values["proof"] = proof_facts(page.last_chat.result.get("chat")) if page.last_chat else []
    elif tab == "gpus":
        values |= gpus_section(request, row)
    elif tab == "chat":
        values |= _chat(page, spec)
        if not values["chat_reason"]:
            values["frame"] = _entrance(request, row)
    elif tab == "events":
        values |= events_section(request, row)
    elif tab == "releases":
        values["releases"] = Paginator(selector.releases(row), RELEASES_PER_PAGE).get_page(
            request.GET.get("page")
        )
    else:
        values["settings"] = fields.grouped(row.revision.spec)
    return values


def _chat(page: selector.DeploymentPage, spec: Any) -> dict[str, Any]:
    """Whether the chat can be opened here, where else it is, and why it is not here if it is not."""
    row = page.deployment
    reason = ""
    if row.removed_at is not None:
        reason = _("This deployment was uninstalled.")
    elif spec is None or not spec.chat.enabled:
        reason = _("The revision asks for no chat. Apply one that does.")
    elif page.release is None:
        reason = _("Nothing was applied yet: the chat comes with the install.")
    elif not spec.chat.replicas:
        reason = _("The revision asks for no chat pod.")
    return {
        "chat_reason": reason,
        "chat_ingress": f"{'https' if spec.ingress.tls_secret else 'http'}://{spec.ingress.host}/"
        if spec and spec.ingress.enabled and spec.ingress.host
        else "",
        "chat_code": bool(spec and spec.chat.has_access_code),
        "proof": proof_facts(page.last_chat.result.get("chat")) if page.last_chat else [],
    }


@require_POST
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the chat for one token."""
    operation = questions.check_chat(actor(request), deployment_id=pk)
    return HttpResponseRedirect(reverse("operation", args=[operation.pk]))


@require_GET
def chat(request: HttpRequest, pk: int) -> HttpResponse:
    """Go to the chat's own host with a fresh ticket: each visit makes one, it opens once and soon."""
    who = actor(request)
    row = lookup.deployment(who, pk)
    if row.removed_at is not None:
        raise Conflict("This deployment was uninstalled.")
    if not may(who, Action.CHAT, row.team_id):
        raise Denied(f"This needs the role {NEEDS[Action.CHAT]}.")
    response = HttpResponseRedirect(_entrance(request, row))
    response["Cache-Control"] = "no-store"
    response["Referrer-Policy"] = "no-referrer"
    return response


def _entrance(request: HttpRequest, row: Deployment) -> str:
    """A fresh way into the chat: good for a minute and one use, by this session of this person."""
    user, key = request.user, request.session.session_key
    assert isinstance(user, User) and key
    return enter_url(Visitor(row.public_id, user.pk, key, user.get_session_auth_hash()))


@require_http_methods(["GET", "HEAD", "POST"])
def uninstall(request: HttpRequest, pk: int) -> HttpResponse:
    """Say what an uninstall does, ask for the name and what becomes of the model data."""
    who = actor(request)
    row = lookup.deployment(who, pk)
    problem: InvalidInput | None = None
    if request.method == "POST":
        try:
            operation = uninstalling.uninstall(
                who,
                deployment_id=pk,
                confirmation=request.POST.get("confirm", ""),
                delete_data=request.POST.get("data") == "delete",
                reason=request.POST.get("reason", ""),
            )
        except InvalidInput as error:
            problem = error
        else:
            return HttpResponseRedirect(reverse("operation", args=[operation.pk]))
    else:
        _refuse(row, who, Action.UNINSTALL)
    data = selector.model_data(row)
    values = {
        "deployment": row,
        "data": data,
        "claims": [(name, stack.size(size)) for name, size in data.claims],
        "may_delete": may(who, Action.UNINSTALL_WITH_DATA, row.team_id),
        "chosen": request.POST.get("data", "keep"),
        "reason": request.POST.get("reason", ""),
        "error": said(problem.sentence) if problem and problem.field != "reason" else "",
        "reason_error": said(problem.sentence) if problem and problem.field == "reason" else "",
        "others": row.made_namespace,
    }
    return render(request, "deployments/uninstall.html", values, status=422 if problem else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def upgrade(request: HttpRequest, pk: int) -> HttpResponse:
    """Choose a revision, see what differs, apply it or ask the cluster first what it would change."""
    who = actor(request)
    row = lookup.deployment(who, pk)
    problem: InvalidInput | Conflict | None = None
    revisions = selector.revisions(who, row)
    given = number(request.POST.get("revision", "") or request.GET.get("revision", ""))
    chosen = next((item for item in revisions if item.pk == given), revisions[0])
    if request.method == "POST":
        try:
            if "compare" in request.POST:
                operation = questions.diff(
                    who,
                    revision_id=chosen.pk,
                    cluster_id=row.cluster_id,
                    namespace=row.namespace,
                    name=row.name,
                    deployment_id=pk,
                )
            else:
                operation = install.upgrade(
                    who,
                    deployment_id=pk,
                    revision_id=chosen.pk,
                    force_conflicts=bool(request.POST.get("force")),
                    reason=request.POST.get("reason", ""),
                )
        except (InvalidInput, Conflict) as error:
            problem = error
        else:
            return HttpResponseRedirect(reverse("operation", args=[operation.pk]))
    else:
        _refuse(row, who, Action.UPGRADE)
    values = {
        "deployment": row,
        "revisions": revisions,
        "chosen": chosen,
        "differences": differences(row.revision.spec, chosen.spec),
        "scaled": selector.scaled(row),
        "may_force": may(who, Action.FORCE_CONFLICTS, row.team_id),
        "reason": request.POST.get("reason", ""),
        "problem": problem,
    }
    status = 409 if isinstance(problem, Conflict) else 422 if problem else 200
    return render(request, "deployments/upgrade.html", values, status=status)


def _refuse(row: Deployment, who: Any, action: Action) -> None:
    """The same refusals as the command's, before somebody fills in a form."""
    if row.removed_at is not None:
        raise Conflict("This deployment was uninstalled.")
    if not may(who, action, row.team_id):
        raise Denied(
            f"This needs the role {NEEDS[action]}.",
            remedy="Ask an owner of the team.",
        )


@require_GET
def release(request: HttpRequest, pk: int, release_number: int) -> HttpResponse:
    """What was applied once, as YAML with the secrets masked; with ``changes`` against the one before."""
    who = actor(request)
    found, before = selector.release(who, pk, release_number)
    deployment = lookup.deployment(who, pk)
    compare = before is not None and "changes" in request.GET
    values = {
        "release": found,
        "before": before,
        "deployment": deployment,
        "compare": compare,
        "may_roll_back": found.applied_at is not None
        and deployment.removed_at is None
        and found.number < deployment.releases.count()
        and may(who, Action.ROLL_BACK, deployment.team_id),
        "objects": _compared(found, before) if compare and before else _manifests(found),
    }
    return render(request, "deployments/release.html", values)


def _identity(manifest: dict[str, Any]) -> tuple[str, str]:
    meta = manifest.get("metadata") or {}
    return str(manifest.get("kind", "")), str(meta.get("name", ""))


def _manifests(release: Release) -> list[dict[str, Any]]:
    return [
        {
            "kind": _identity(manifest)[0],
            "name": _identity(manifest)[1],
            "lines": numbered("\n".join(to_yaml_lines(manifest))),
        }
        for manifest in release.manifests
    ]


def _compared(release: Release, before: Release) -> list[dict[str, Any]]:
    """The objects that differ between two releases."""
    olds = {_identity(manifest): manifest for manifest in before.manifests}
    news = {_identity(manifest): manifest for manifest in release.manifests}
    found = []
    for identity in dict.fromkeys([*news, *olds]):
        lines = yaml_diff(olds.get(identity), news.get(identity))
        if lines:
            found.append({"kind": identity[0], "name": identity[1], "lines": [_line(line) for line in lines]})
    return found


def _line(line: DiffLine) -> CodeLine:
    if line.kind == "fold":
        return CodeLine(_("%(n)s equal lines") % {"n": line.folded}, "h")
    return CodeLine(line.text, {"add": "+", "del": "-"}.get(line.kind, ""), line.after or line.before)


urlpatterns = [
    path("", deployments, name="deployments"),
    path("<int:pk>/", deployment, name="deployment"),
    path("<int:pk>/uninstall", uninstall, name="deployment_uninstall"),
    path("<int:pk>/upgrade", upgrade, name="deployment_upgrade"),
    path("<int:pk>/check", check, name="deployment_check"),
    path("<int:pk>/chat", chat, name="deployment_chat"),
    path("<int:pk>/releases/<int:release_number>/", release, name="deployment_release"),
]
