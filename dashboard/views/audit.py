"""Pages: the audit. The list with its filters, one entry, whether the chain holds."""

from __future__ import annotations

import json
from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import include, path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_POST

from dashboard.access import actor, chosen_team, teams
from dashboard.forms.audit import entry_filter, number
from dashboard.presenters import audit as presenter
from dashboard.presenters.parts import Column
from dashboard.presenters.states import AUDIT
from dashboard.presenters.times import exact
from deployments.commands import audit as commands
from deployments.domain.actors import Actor
from deployments.domain.audit import VerificationState
from deployments.domain.states import Outcome
from deployments.ledger.audit import values_of
from deployments.policies import Action, may
from deployments.selectors import audit as selector
from deployments.selectors.audit import EntryFilter

COLUMNS = (
    Column(gettext_lazy("When")),
    Column(gettext_lazy("Who")),
    Column(gettext_lazy("What")),
    Column(gettext_lazy("Where")),
    Column(gettext_lazy("Outcome")),
    Column(gettext_lazy("Reason given")),
)


@require_GET
def audit(request: HttpRequest) -> HttpResponse:
    """The list. Filters, place and the opened entry are in the address."""
    who, query = actor(request), request.GET
    wanted = entry_filter(query)
    team = chosen_team(request)
    if team is not None and not wanted.team:
        wanted = EntryFilter(**{**vars(wanted), "team": team.pk})
    found = selector.entries(
        who, wanted, before=number(query.get("before", "")), after=number(query.get("after", ""))
    )
    known = selector.clusters(who)
    opened = number(query.get("entry", ""))
    page = next(
        (selector.entry_page(who, row.sequence) for row in found.rows if row.sequence == opened), None
    )
    values: dict[str, Any] = {
        "found": found,
        "lines": [presenter.line(row, dict(known)) for row in found.rows],
        "columns": COLUMNS,
        "wanted": wanted,
        "filtered": wanted.any,
        "opened": _detail(page) if page is not None else None,
        "carried": [
            (name, query[name])
            for name in ("who", "team", "action", "object", "cluster", "outcome")
            if query.get(name)
        ],
        "from_words": exact(wanted.since) if wanted.since else "",
        "to_words": exact(wanted.until) if wanted.until else "",
        "people": [(name, name) for name in selector.people(who)],
        "teams": [(str(row.pk), row.name) for row in teams(request)],
        "actions": presenter.actions(),
        "clusters": [(str(pk), name) for pk, name in known],
        "outcomes": [(outcome.value, AUDIT[outcome].label) for outcome in Outcome],
        "objects": _object_choices(who, wanted),
        **_seal(who),
    }
    return render(request, "audit/audit.html", values)


def _object_choices(who: Actor, wanted: EntryFilter) -> list[tuple[str, str]]:
    """What the list is narrowed to; an object is chosen on its own page and not here."""
    if not wanted.object:
        return []
    kind, pk = wanted.object_parts
    name = presenter.object_name(kind, selector.object_name(who, kind, pk))
    return [(wanted.object, f"{presenter.OBJECTS.get(kind, kind)} {name}")]


def _seal(who: Actor) -> dict[str, Any]:
    """Whether the chain holds, as far as it was looked at; only for those who see all of it."""
    verification = selector.newest_verification(who)
    return {
        "may_verify": may(who, Action.VERIFY_AUDIT),
        "may_export": may(who, Action.EXPORT_AUDIT),
        "may_keep": may(who, Action.KEEP_AUDIT),
        "verification": verification,
        "verifying": verification is not None and verification.state == VerificationState.RUNNING,
        "holds": verification is not None and verification.state == VerificationState.HOLDS,
        "checkpoint": selector.newest_checkpoint(who),
    }


@require_GET
def seal(request: HttpRequest) -> HttpResponse:
    """The state of the chain alone, as a live fragment."""
    return render(request, "audit/seal.html", _seal(actor(request)))


@require_GET
def entry(request: HttpRequest, sequence: int) -> HttpResponse:
    """One entry with its difference and its proof."""
    page = selector.entry_page(actor(request), sequence)
    return render(request, "audit/entry.html", _detail(page))


@require_GET
def entry_json(request: HttpRequest, sequence: int) -> HttpResponse:
    """The entry as an export writes it."""
    found = selector.entry(actor(request), sequence)
    text = json.dumps(presenter.as_record(found, values_of(found)), ensure_ascii=False, indent=2)
    return HttpResponse(text + "\n", content_type="application/json; charset=utf-8")


def _detail(page: selector.EntryPage) -> dict[str, Any]:
    row = page.entry
    lines = presenter.difference(row)
    release = page.release
    return {
        "page": page,
        "entry": row,
        "line": presenter.line(row, {page.cluster.pk: page.cluster.name} if page.cluster else {}),
        "facts": presenter.facts(page),
        "difference": lines,
        "masked": presenter.masked(row),
        "object_href": presenter.href(row),
        "release": release,
        "release_href": reverse("deployment_release", args=[release.deployment_id, release.number])
        if release is not None
        else "",
        "digest": presenter.short(row.digest),
        "hash": presenter.short(row.hash),
        "previous": presenter.short(row.previous),
    }


@require_POST
def verify(request: HttpRequest) -> HttpResponse:
    """Have the whole chain walked; the list shows how it goes and what came out."""
    commands.begin_verification(actor(request))
    messages.info(request, _("The chain is being verified."))
    return HttpResponseRedirect(reverse("audit"))


urlpatterns = [
    path("", audit, name="audit"),
    path("", include("dashboard.views.audit_export")),
    path("", include("dashboard.views.audit_retention")),
    path("seal", seal, name="audit_seal"),
    path("verify", verify, name="audit_verify"),
    path("<int:sequence>/", entry, name="audit_entry"),
    path("<int:sequence>/json", entry_json, name="audit_entry_json"),
]
