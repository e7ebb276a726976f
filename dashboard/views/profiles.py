"""Pages: profiles. The list, writing a revision, one profile with its revisions, files in and out."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.text import slugify
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods

from dashboard.access import actor, chosen_team
from dashboard.forms.clusters import RemoveForm
from dashboard.forms.faults import place, sentence
from dashboard.forms.files import MAX_FILE, ReadFile, read_file
from dashboard.forms.profiles import (
    ImportForm,
    NewProfileForm,
    RenameForm,
    SaveImportForm,
    StackForm,
    known_tags,
)
from dashboard.presenters import profiles as words
from dashboard.presenters.parts import Column, ordering
from dashboard.too_large import STATUS, when_too_large, with_reason
from deployments.commands import profiles as commands
from deployments.commands.holding import held, hold
from deployments.domain.actors import Actor
from deployments.domain.config_export import export_config
from deployments.domain.errors import Conflict, Denied, InvalidInput, ManyInvalid
from deployments.domain.modelname import TESTED_UP_TO
from deployments.domain.profile_file import ProfileFile, dump_profile
from deployments.domain.sizing import size_stack
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.domain.validation import validate_secrets, validate_spec
from deployments.models import Revision, Team
from deployments.policies import Action
from deployments.selectors import profiles as selector

PER_PAGE = 25
COLUMNS = (
    Column(gettext_lazy("Profile"), "name"),
    Column(gettext_lazy("Team"), "team"),
    Column(gettext_lazy("Model")),
    Column(gettext_lazy("Revision"), numeric=True),
    Column(gettext_lazy("Used by"), "used", numeric=True),
    Column(gettext_lazy("Changed"), "changed", numeric=True),
)


@require_GET
def profiles(request: HttpRequest) -> HttpResponse:
    """The list; filter, order and page are in the address."""
    who, query, team = actor(request), request.GET, chosen_team(request)
    sort, text = ordering(query.get("sort", ""), COLUMNS, "name"), query.get("q", "").strip()[:80]
    page = selector.profile_list(
        who, team=team.pk if team else None, text=text, sort=sort, page=query.get("page")
    )
    values = {
        "page": page,
        "rows": [{"profile": row, "spec": spec_from_json(row.spec)} for row in page.object_list],
        "columns": COLUMNS,
        "sort": sort,
        "text": text,
        "may_write": bool(selector.teams_that_may(who, Action.WRITE_PROFILE)),
    }
    return render(request, "profiles/list.html", values)


def _writers(who: Actor) -> list[Team]:
    teams = selector.teams_that_may(who, Action.WRITE_PROFILE)
    if not teams:
        raise Denied("Writing profiles needs the role maintainer.", remedy="Ask an owner of your team.")
    return teams


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest) -> HttpResponse:
    """A profile with its first revision; "Show the sizing" saves nothing."""
    who = actor(request)
    teams = _writers(who)
    if request.method != "POST":
        team = chosen_team(request)
        initial = {"team": team.pk} if team in teams else {}
        return _form(request, NewProfileForm(teams=teams, initial=initial), StackSpec())
    form = NewProfileForm(request.POST, teams=teams)
    spec = _read(form)
    if spec is None or "preview" in request.POST:
        return _form(request, form, spec)
    given = form.cleaned_data
    try:
        made = commands.create_profile(
            who,
            team_id=given["team"].pk,
            name=given["name"],
            spec=spec,
            secrets=form.secrets(),
            description=given["description"],
            note=given["note"],
        )
    except InvalidInput as error:
        place(form, error)
    except Conflict as error:
        place(form, error, conflict_field="name")
    else:
        messages.success(request, _("%(name)s was saved.") % {"name": made.profile.name})
        return HttpResponseRedirect(reverse("profile", args=[made.profile_id]))
    return _form(request, form, spec)


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: int) -> HttpResponse:
    """The next revision of a profile. What is not on the form is taken over from the newest one."""
    who = actor(request)
    page = selector.profile_page(who, pk)
    if not page.may_write:
        raise Denied("Writing profiles needs the role maintainer.", remedy="Ask an owner of the team.")
    latest = page.latest
    kept = commands.read_secrets(latest)
    values: dict[str, Any] = {"profile": page.profile, "latest": latest}
    before = spec_from_json(latest.spec)
    if request.method != "POST":
        form = StackForm(spec=before, held=kept, initial={"based_on": latest.number})
        return _form(request, form, before, **values)
    form = StackForm(request.POST, spec=before, held=kept)
    spec = _read(form)
    if spec is None or "preview" in request.POST:
        return _form(request, form, spec, **values)
    try:
        saved = commands.save_revision(
            who,
            profile_id=pk,
            based_on=form.cleaned_data["based_on"] or 0,
            spec=spec,
            secrets=form.secrets(),
            note=form.cleaned_data["note"],
        )
    except InvalidInput as error:
        place(form, error)
    except Conflict as error:
        # What was typed stays, and so does the revision it was based on: only the person may decide.
        return _form(request, form, spec, conflict=error, **values)
    else:
        same = saved.pk == latest.pk
        text = _("Nothing differs from revision %(n)s.") if same else _("Revision %(n)s was saved.")
        messages.success(request, text % {"n": saved.number})
        return HttpResponseRedirect(reverse("profile", args=[pk]))
    return _form(request, form, spec, **values)


def _read(form: StackForm) -> StackSpec | None:
    """The typed spec, judged; None with the errors at their fields."""
    if not form.is_valid():
        return None
    try:
        spec = form.sized_spec()
        if form.keeps_password():
            commands.require_same_registry(form.base, spec)
        faults = [*validate_spec(spec), *validate_secrets(spec, form.secrets())]
        if faults:
            raise ManyInvalid(faults)
    except InvalidInput as error:
        place(form, error)
        return None
    return spec


def _form(request: HttpRequest, form: StackForm, spec: StackSpec | None, **values: Any) -> HttpResponse:
    sizing = form.sizing or (size_stack(spec, None) if spec is not None else None)
    wrong = form.is_bound and bool(form.errors)
    status = 409 if values.get("conflict") else 422 if wrong else 200
    values |= {
        "form": form,
        "spec": spec,
        "sizing": sizing,
        "overview": words.overview(spec, sizing)[:6] if spec is not None and sizing is not None else [],
        "tags": known_tags(),
        "tested": TESTED_UP_TO,
        "wrong": wrong,
    }
    return render(request, "profiles/form.html", values, status=status)


def _number(text: str) -> int | None:
    return int(text) if text.isascii() and text.isdigit() and len(text) < 10 else None


@require_GET
def profile(request: HttpRequest, pk: int) -> HttpResponse:
    """One profile: what it is now, who uses it, and how two revisions of it differ (?a=&b=)."""
    who = actor(request)
    page = selector.profile_page(who, pk)
    by_number: dict[int, Revision] = {row.number: row for row in page.revisions}
    newest = page.latest.number
    b = by_number.get(_number(request.GET.get("b", "")) or newest, page.latest)
    a = by_number.get(_number(request.GET.get("a", "")) or b.number - 1)
    spec = spec_from_json(page.latest.spec)
    sizing = size_stack(spec, None)
    values = {
        "page": page,
        "profile": page.profile,
        "latest": page.latest,
        "summary": words.summary(spec),
        "overview": words.overview(spec, sizing),
        "sizing": sizing,
        "a": a,
        "b": b,
        "differences": words.differences(a.spec, b.spec) if a is not None else [],
        "behind": sum(item.revision.number < newest for item in page.deployments),
    }
    return render(request, "profiles/profile.html", values)


@require_GET
def export(request: HttpRequest, pk: int) -> HttpResponse:
    """The newest revision (or ?revision=) as a file: ?form=profile, or ?form=config for the extension's."""
    revision = selector.revision(actor(request), pk, _number(request.GET.get("revision", "")))
    spec = spec_from_json(revision.spec)
    name = slugify(revision.profile.name) or f"profile-{pk}"
    if request.GET.get("form") == "config":
        text, lost = export_config(spec)
        head = "".join(f"# not in this file: {line.path}: {line.sentence}\n" for line in lost)
        text, name = head + text, f"{name}-config"
    else:
        profile = revision.profile
        text = dump_profile(ProfileFile(profile.name, profile.description, spec))
    answer = HttpResponse(text, content_type="application/yaml; charset=utf-8")
    answer["Content-Disposition"] = f'attachment; filename="{name}.yaml"'
    return answer


@require_http_methods(["GET", "HEAD", "POST"])
def rename(request: HttpRequest, pk: int) -> HttpResponse:
    """Another name or description; no revision is made."""
    who = actor(request)
    page = selector.profile_page(who, pk)
    if not page.may_write:
        raise Denied("Renaming needs the role maintainer.", remedy="Ask an owner of the team.")
    about = {"name": page.profile.name, "description": page.profile.description}
    about |= {f"seen_{key}": value for key, value in about.items()}
    form = RenameForm(request.POST if request.method == "POST" else None, initial=about)
    if form.is_valid():
        try:
            commands.rename_profile(who, profile_id=pk, **form.asked())
        except InvalidInput as error:
            place(form, error)
        except Conflict as error:
            place(form, error, conflict_field="name")
        else:
            messages.success(request, _("%(name)s was saved.") % {"name": form.cleaned_data["name"]})
            return HttpResponseRedirect(reverse("profile", args=[pk]))
    values = {"profile": page.profile, "form": form}
    return render(request, "profiles/rename.html", values, status=422 if form.is_bound else 200)


@require_http_methods(["GET", "HEAD", "POST"])
def archive(request: HttpRequest, pk: int) -> HttpResponse:
    """Take a profile out of the lists, after asking."""
    who = actor(request)
    page = selector.profile_page(who, pk)
    if not page.may_archive:
        raise Denied("Archiving needs the role maintainer.", remedy="Ask an owner of the team.")
    form = RemoveForm(request.POST if request.method == "POST" else None)
    if request.method == "POST" and form.is_valid():
        commands.archive_profile(who, profile_id=pk, reason=form.cleaned_data["reason"])
        messages.success(request, _("%(name)s was archived.") % {"name": page.profile.name})
        return HttpResponseRedirect(reverse("profiles"))
    status = 422 if request.method == "POST" else 200
    return render(request, "profiles/archive.html", {"page": page, "form": form}, status=status)


def _import_too_large(request: HttpRequest) -> HttpResponse:
    _writers(actor(request))
    form = with_reason(ImportForm({}), "text")
    return render(request, "profiles/import.html", {"form": form}, status=STATUS)


@when_too_large(_import_too_large)
@require_http_methods(["GET", "HEAD", "POST"])
def import_file(request: HttpRequest) -> HttpResponse:
    """First what was understood, then the name and the team."""
    who = actor(request)
    teams = _writers(who)
    if request.method != "POST":
        return render(request, "profiles/import.html", {"form": ImportForm()})
    if "held" in request.POST:
        return _save_import(request, who, teams)
    form = ImportForm(request.POST, request.FILES)
    if form.is_valid():
        uploaded = form.cleaned_data["file"]
        text = uploaded.read(MAX_FILE + 1) if uploaded else form.cleaned_data["text"]
        try:
            if not text.strip():
                raise InvalidInput(_("Paste the file, or choose one."))
            found = read_file(text)
        except InvalidInput as error:
            form.add_error("text", sentence(error))
        else:
            team = chosen_team(request) or teams[0]
            initial = {
                "name": found.name,
                "description": found.description,
                "held": hold(who, text),
                "team": team.pk,
            }
            return _understood(request, SaveImportForm(teams=teams, initial=initial), found)
    return render(request, "profiles/import.html", {"form": form}, status=422)


def _save_import(request: HttpRequest, who: Actor, teams: list[Team]) -> HttpResponse:
    form = SaveImportForm(request.POST, teams=teams)
    try:
        found = read_file(held(who, request.POST["held"], field="text"))
    except InvalidInput as error:
        again = ImportForm({})
        again.is_valid()
        again.add_error("text", sentence(error))
        return render(request, "profiles/import.html", {"form": again}, status=422)
    if form.is_valid():
        given = form.cleaned_data
        try:
            made = commands.create_profile(
                who,
                team_id=given["team"].pk,
                name=given["name"],
                spec=found.spec,
                secrets=found.secrets,
                description=given["description"],
                note=_("Imported from a file"),
            )
        except InvalidInput as error:
            place(form, error)
        except Conflict as error:
            place(form, error, conflict_field="name")
        else:
            messages.success(request, _("%(name)s was imported.") % {"name": made.profile.name})
            return HttpResponseRedirect(reverse("profile", args=[made.profile_id]))
    return _understood(request, form, found, status=422)


def _understood(
    request: HttpRequest, form: SaveImportForm, found: ReadFile, status: int = 200
) -> HttpResponse:
    sizing = size_stack(found.spec, None)
    values = {
        "form": form,
        "found": found,
        "summary": words.summary(found.spec),
        "overview": words.overview(found.spec, sizing),
        "sizing": sizing,
    }
    return render(request, "profiles/understood.html", values, status=status)


urlpatterns = [
    path("", profiles, name="profiles"),
    path("new", new, name="profile_new"),
    path("import", import_file, name="profile_import"),
    path("<int:pk>/", profile, name="profile"),
    path("<int:pk>/edit", edit, name="profile_edit"),
    path("<int:pk>/export", export, name="profile_export"),
    path("<int:pk>/rename", rename, name="profile_rename"),
    path("<int:pk>/archive", archive, name="profile_archive"),
]
