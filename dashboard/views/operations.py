"""Pages: operations. The list, one operation live, cancelling it, beginning it again, its log."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard.access import actor, chosen_team
from dashboard.presenters import progress
from dashboard.presenters.findings import preflight_values
from dashboard.presenters.numbers import duration, tokens_per_second
from dashboard.presenters.parts import CodeLine, Column, Fact, Finding, LogLine, ordering
from dashboard.presenters.states import DEEDS, OPERATION
from dashboard.presenters.times import exact
from dashboard.regions import page_or_region, watches
from deployments.commands import operations as commands
from deployments.commands.subjects import of_operation
from deployments.domain.errors import InvalidInput
from deployments.domain.states import EPHEMERAL, OperationKind, OperationState
from deployments.models import Operation, PullProgress
from deployments.policies import NEEDS, Action, require
from deployments.selectors import lookup
from deployments.selectors import operations as selector
from deployments.sentences import said

PER_PAGE = 25
COLUMNS = (
    Column(gettext_lazy("Operation"), "operation"),
    Column(gettext_lazy("State"), "state"),
    Column(gettext_lazy("Deployment"), "deployment"),
    Column(gettext_lazy("Started by"), "who"),
    Column(gettext_lazy("Begun"), "started", numeric=True),
    Column(gettext_lazy("Took"), numeric=True),
)


def number(text: str) -> int | None:
    """A primary key from the address; None for anything else."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 18 else None


@require_GET
def operations(request: HttpRequest) -> HttpResponse:
    """The list. Filters, order and page are in the address; with X-Fragment the table alone."""
    who, query = actor(request), request.GET
    team = chosen_team(request)
    kinds, states = set(OperationKind), {*OperationState, "active"}
    sort = ordering(query.get("sort", ""), COLUMNS, "-started")
    wanted = selector.OperationFilter(
        state=query.get("state", "") if query.get("state", "") in states else "",
        kind=query.get("kind", "") if query.get("kind", "") in kinds else "",
        deployment=number(query.get("deployment", "")),
        text=query.get("q", "").strip()[:80],
        team=team.pk if team else None,
        sort=sort,
    )
    page = Paginator(selector.operations(who, wanted), PER_PAGE).get_page(query.get("page"))
    about = lookup.deployment(who, wanted.deployment) if wanted.deployment else None
    now = timezone.now()
    rows: list[dict[str, Any]] = []
    for row in page.object_list:
        started = row.started_at
        rows.append(
            {
                "row": row,
                "title": progress.title(row),
                "seconds": ((row.finished_at or now) - started).total_seconds() if started else None,
                "item": progress.running_item(row, selector.pulls_of(row))
                if not OperationState(row.state).terminal
                else None,
            }
        )
    values = {
        "page": page,
        "rows": rows,
        "columns": COLUMNS,
        "sort": sort,
        "wanted": wanted,
        "filtered": bool(wanted.state or wanted.kind or wanted.text or about),
        "about": about,
        "about_choices": [(str(about.pk), about.name)] if about else [],
        "states": [("active", _("Under way")), *((s.value, OPERATION[s].label) for s in OperationState)],
        "kinds": [(kind.value, DEEDS[kind].label) for kind in OperationKind if kind not in EPHEMERAL],
        "live": watches("list:0", *(f"operation:{item['row'].pk}" for item in rows)),
        "source": request.get_full_path(),
    }
    return page_or_region(request, "operations/operations.html", "operations/list_live.html", values)


@require_GET
def operation(request: HttpRequest, pk: int) -> HttpResponse:
    """One operation: all of it is one live region."""
    return page_or_region(request, "operations/operation.html", "operations/live.html", _page(request, pk))


def _page(request: HttpRequest, pk: int) -> dict[str, Any]:
    found = selector.operation_page(actor(request), pk)
    row = found.operation
    total = progress.summed(found.pulls)
    now = timezone.now()
    state = OperationState(row.state)
    objects = [f"operation:{row.pk}", *(f"operation:{pull.operation_id}" for pull in found.pulls)]
    if row.deployment_id:
        objects.append(f"deployment:{row.deployment_id}")
    return {
        "page": found,
        "operation": row,
        "title": progress.title(row),
        "name": progress.name(row),
        "position": progress.position(row, found.steps) if not state.terminal else "",
        "running": not state.terminal,
        "begun": row.started_at is not None,
        "live": watches(*objects),
        "steps": progress.steps(found.steps, now),
        "total": total,
        "spark": progress.spark([pull for pull in found.pulls if pull.phase != "done"]),
        "pulls": [_pull(pull) for pull in found.pulls],
        "log": [
            LogLine(line.at, line.step, line.text, "warning" if line.warning else "info")
            for line in found.log
        ],
        "findings": _findings(row.result.get("findings")),
        **{
            key: value
            for key, value in preflight_values(row).items()
            if key in ("fit", "may_go_on", "comes_of")
        },
        "objects": _objects(row.result.get("objects")),
        "asked": row.result.get("asked", True),
        "proof": proof_facts(row.result.get("chat")),
        "seconds": (row.finished_at - row.started_at).total_seconds()
        if row.finished_at and row.started_at
        else None,
        "waiters": [(progress.title(waiter), waiter.pk) for waiter in found.waiters],
        "needed_role": NEEDS[Action.RETRY],
    }


def _pull(pull: PullProgress) -> dict[str, Any]:
    """A pull's rows of the table of layers; layers under a hundredth of the whole are told together."""
    whole = progress.total_of(pull)
    big: list[dict[str, Any]] = []
    small: list[dict[str, Any]] = []
    for layer in pull.layers if isinstance(pull.layers, list) else []:
        total, done = int(layer.get("total") or 0), int(layer.get("completed") or 0)
        state = str(layer.get("state"))
        if state == "pulling" and pull.phase == "failed":
            state = "stopped"  # whoever pulled it has gone
        word, css, icon = progress.LAYER_STATES.get(state, progress.LAYER_STATES["waiting"])
        entry = {
            "digest": str(layer.get("digest", "")).removeprefix("sha256:")[:12],
            "total": total,
            "done": done,
            "word": word,
            "css": css,
            "icon": icon,
            "pulling": state == "pulling",
        }
        (big if not whole or total * 100 >= whole else small).append(entry)
    if len(small) == 1:
        big, small = big + small, []
    return {
        "pull": pull,
        "title": progress.title(pull.operation),
        "phase": _("Waits for the next attempt")
        if progress.tried_again(pull)
        else progress.PHASES.get(pull.phase, pull.phase),
        "big": big,
        "small": len(small),
        "small_total": sum(item["total"] for item in small),
        "small_done": bool(small) and all(item["css"] == "healthy" for item in small),
        "stalled": pull.stalled_since is not None and pull.phase != "done",
        "whole": whole,
    }


def _findings(stored: object) -> list[Finding]:
    items = stored if isinstance(stored, list) else []
    return [
        Finding(
            str(item.get("level", "cannot_tell")),
            str(item.get("title", "")),
            str(item.get("evidence", "")),
            str(item.get("remedy", "")),
            str(item.get("source", "")),
        )
        for item in items
        if isinstance(item, dict)
    ]


CHANGES = {
    "new": ("healthy", gettext_lazy("New")),
    "changed": ("degraded", gettext_lazy("Change")),
    "same": ("dim", gettext_lazy("Same")),
}
SIGNS = {"add": "+", "del": "-", "fold": "h"}


def _objects(stored: object) -> list[dict[str, Any]]:
    """The objects of a comparison, with their lines."""
    found = []
    for item in stored if isinstance(stored, list) else []:
        css, word = CHANGES.get(str(item.get("change")), CHANGES["same"])
        lines = [
            CodeLine(_("%(n)s equal lines") % {"n": folded}, "h")
            if kind == "fold"
            else CodeLine(text, SIGNS.get(kind, ""), after or before)
            for kind, text, before, after, folded in item.get("lines", [])
        ]
        found.append(
            {
                "kind": item.get("kind", ""),
                "name": item.get("name", ""),
                "css": css,
                "word": word,
                "added": item.get("added", 0),
                "removed": item.get("removed", 0),
                "problem": item.get("problem", ""),
                "conflicts": item.get("conflicts", []),
                "lines": lines,
            }
        )
    return found


def proof_facts(stored: object) -> list[Fact]:
    """What a chat check proved, as figures; none where nothing was checked."""
    if not isinstance(stored, dict) or "seconds" not in stored:
        return []
    speed = stored.get("tokens_per_second")
    load = float(stored.get("load_seconds") or 0)
    return [
        Fact(
            _("Answered after"),
            duration(float(stored["seconds"])),
            _("%(span)s of it to load the model") % {"span": duration(load)} if load >= 0.05 else "",
        ),
        Fact(
            _("Speed"),
            tokens_per_second(float(speed) if speed else None),
            "" if speed else _("the answer was too short"),
        ),
        Fact(
            _("Where it runs"),
            said(stored.get("placement") or _("cannot tell")),
            str(stored.get("pod") or ""),
        ),
    ]


@require_http_methods(["GET", "HEAD", "POST"])
def cancel(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before an operation is stopped; POST asks it to stop."""
    who = actor(request)
    row = lookup.operation(who, pk)
    require(who, Action.CANCEL, of_operation(row))
    error = ""
    status = 200
    if request.method == "POST":
        try:
            commands.cancel(who, operation_id=pk, reason=request.POST.get("reason", ""))
        except InvalidInput as refused:
            error, status = said(refused.sentence), 422
        else:
            messages.success(request, _("The operation is being stopped."))
            return HttpResponseRedirect(reverse("operation", args=[pk]))
    elif not selector.may_cancel(who, row):
        messages.info(request, _("This operation has ended already."))
        return HttpResponseRedirect(reverse("operation", args=[pk]))
    found = selector.operation_page(who, pk)
    values = {
        "operation": row,
        "title": progress.title(row),
        "total": progress.summed(found.pulls),
        "error": error,
        "reason": request.POST.get("reason", ""),
        "own_pull": row.kind == OperationKind.PULL,
        "question": row.kind in EPHEMERAL or row.kind == OperationKind.CHECK_CHAT,
        "uninstall": row.kind == OperationKind.UNINSTALL,
    }
    return render(request, "operations/cancel.html", values, status=status)


@require_POST
def retry(request: HttpRequest, pk: int) -> HttpResponse:
    """Begin a failed operation again, as a new one; with ``anyway`` also where there is no room."""
    anyway = bool(request.POST.get("anyway"))
    again: Operation = commands.retry(actor(request), operation_id=pk, anyway=anyway)
    return HttpResponseRedirect(reverse("operation", args=[again.pk]))


@require_GET
def log(request: HttpRequest, pk: int) -> HttpResponse:
    """The whole log as a text file, oldest line first."""
    row, lines = selector.whole_log(actor(request), pk)
    text = "".join(
        f"{exact(line.at)}  {line.step:<10}  {'! ' if line.warning else ''}{line.text}\n" for line in lines
    )
    response = HttpResponse(f"{row.title}\n\n{text}", content_type="text/plain; charset=utf-8")
    response["Content-Disposition"] = f'attachment; filename="operation-{row.pk}.txt"'
    return response


urlpatterns = [
    path("", operations, name="operations"),
    path("<int:pk>/", operation, name="operation"),
    path("<int:pk>/cancel", cancel, name="operation_cancel"),
    path("<int:pk>/retry", retry, name="operation_retry"),
    path("<int:pk>/log", log, name="operation_log"),
]
