"""Work under way in words and figures: titles, steps, and the sum of several pulls."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from django.urls import reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext, pgettext_lazy

from dashboard.presenters.numbers import data_of, duration, rate, share
from dashboard.presenters.parts import Step
from dashboard.presenters.states import Words, deed
from deployments.domain.states import ACTIVE, OperationKind, OperationState, StepState
from deployments.models import Operation, OperationStep, PullProgress
from deployments.sentences import said

STEPS: Mapping[str, Words] = {
    "preflight": gettext_lazy("Check before the apply"),
    "approval": gettext_lazy("Approval"),
    "apply": gettext_lazy("Apply the objects"),
    "start": gettext_lazy("Wait until the servers answer"),
    "pull": gettext_lazy("Pull the model"),
    "ready": gettext_lazy("Wait until all is ready"),
    "check": gettext_lazy("Check with one token"),
    "stop": gettext_lazy("Stop what runs"),
    "delete": gettext_lazy("Delete the objects"),
    "delete_model": gettext_lazy("Delete the model from each volume"),
    "data": gettext_lazy("See to the model data"),
    "namespace": gettext_lazy("See to the namespace"),
    "reach": gettext_lazy("Reach the API server"),
    "identify": gettext_lazy("See which cluster it is"),
    "rights": gettext_lazy("Ask for the rights"),
    "diff": gettext_lazy("Compare by a dry run"),
}

LAYER_STATES: Mapping[str, tuple[Words, str, str]] = {
    "there": (gettext_lazy("Was there"), "healthy", "check"),
    "done": (gettext_lazy("Done"), "healthy", "healthy"),
    "pulling": (gettext_lazy("Pulling"), "progressing", "progressing"),
    "waiting": (pgettext_lazy("layer", "Waiting"), "dim", "waiting"),
    "stopped": (gettext_lazy("Stopped"), "dim", "waiting"),
}
"""A layer's state -> word, class, icon."""

PHASES: Mapping[str, Words] = {
    "starting": gettext_lazy("Starting"),
    "manifest": gettext_lazy("Reading the manifest"),
    "downloading": gettext_lazy("Downloading"),
    "verifying": gettext_lazy("Verifying"),
    "writing": gettext_lazy("Writing"),
    "done": gettext_lazy("Done"),
    "failed": gettext_lazy("Stopped"),
}

SPARK_POINTS = 60


def step_title(name: str) -> Words:
    return STEPS.get(name, name)


def subject(operation: Operation) -> str:
    """What an operation is about: the model of a pull, else deployment or cluster."""
    request = operation.request if isinstance(operation.request, dict) else {}
    if operation.kind in (OperationKind.PULL, OperationKind.DELETE_MODEL) and request.get("model"):
        return str(request["model"])
    if operation.deployment is not None:
        return operation.deployment.name
    if request.get("name"):
        return str(request["name"])
    return operation.cluster.name if operation.cluster is not None else said(operation.title)


def name(operation: Operation) -> str:
    """“Install r1”, whatever its state: for what a live region does not draw anew."""
    return str(deed(operation.kind).named) % {"name": subject(operation)}


def title(operation: Operation) -> str:
    """“Installing r1” while it runs, “Install r1” before and after."""
    words = deed(operation.kind)
    running = operation.state == OperationState.RUNNING or (
        operation.state == OperationState.QUEUED and operation.started_at is not None
    )
    return str(words.doing if running else words.named) % {"name": subject(operation)}


def steps(rows: Iterable[OperationStep], now: datetime) -> list[Step]:
    """The steps with how long each took, or has run."""
    found = []
    for row in rows:
        end = row.finished_at or (now if row.state in (StepState.RUNNING, StepState.WAITING) else None)
        seconds = (end - row.started_at).total_seconds() if end and row.started_at else None
        note = row.detail
        if row.state == StepState.TODO:
            note, seconds = "", None
        found.append(Step(step_title(row.name), row.state, note, seconds))
    return found


def position(operation: Operation, rows: Sequence[OperationStep]) -> str:
    """“Pull the model, step 4 of 6” of work that runs; nothing where there is one step only."""
    if len(rows) < 2 or operation.step >= len(rows):
        return ""
    return _("%(step)s, step %(number)s of %(all)s") % {
        "step": step_title(rows[operation.step].name),
        "number": operation.step + 1,
        "all": len(rows),
    }


@dataclass(frozen=True)
class Sum:
    """Several pulls as one. ``total`` 0 where nobody told the size; ``left`` seconds, None where it
    cannot be told; ``stalled`` the pulls that stand still, ``again`` those that failed and are to be tried
    again, ``moving`` how many get bytes."""

    count: int
    completed: int
    total: int
    rate: float
    left: float | None
    stalled: list[PullProgress]
    again: list[PullProgress]
    moving: int
    active: bool
    stalled_bytes: int

    @property
    def percent(self) -> float | None:
        return share(self.completed, self.total)

    @property
    def shares(self) -> list[tuple[str, float]]:
        """For a bar in parts: what moves, what stands still, what is still to come."""
        rest = max(0, self.total - self.completed)
        moved = self.completed - self.stalled_bytes
        return [("v", moved), ("stalled", self.stalled_bytes), ("rest", rest)]

    @property
    def figures(self) -> list[str]:
        """Short texts for a line of running work."""
        if not self.count or not (self.total or self.completed):
            return []
        texts = [data_of(self.completed, self.total)]
        if self.active and self.rate:
            texts.append(rate(self.rate))
        if self.active and self.left is not None and self.completed < self.total:
            texts.append(_("%(span)s left") % {"span": duration(self.left)})
        if self.stalled:
            texts.append(
                ngettext("%(n)s stands still", "%(n)s stand still", len(self.stalled))
                % {"n": len(self.stalled)}
            )
        return texts


def total_of(pull: PullProgress) -> int:
    """The bytes of the whole model, as far as anybody told."""
    return max(pull.expected, pull.total)


def tried_again(pull: PullProgress) -> bool:
    """Whether an attempt has failed and another one is to come: its operation says why it waits."""
    return pull.phase == "failed" and pull.operation.state in ACTIVE and bool(pull.operation.waiting_for)


def summed(pulls: Sequence[PullProgress]) -> Sum:
    """The pulls as one. The time left is that of the slowest one that moves."""
    stalled = [pull for pull in pulls if pull.stalled_since is not None and pull.phase != "done"]
    again = [pull for pull in pulls if tried_again(pull)]
    open_ = [pull for pull in pulls if pull.phase not in ("done", "failed")] + again
    moving = [pull for pull in open_ if pull not in stalled and pull.rate > 0]
    lefts = [(total_of(pull) - pull.completed) / pull.rate for pull in moving if total_of(pull)]
    known = all(total_of(pull) for pull in pulls)
    return Sum(
        count=len(pulls),
        completed=sum(pull.completed for pull in pulls),
        total=sum(total_of(pull) for pull in pulls) if known else 0,
        rate=sum(pull.rate for pull in moving),
        left=max(lefts) if lefts and len(lefts) == len(moving) else None,
        stalled=stalled,
        again=again,
        moving=len(moving),
        active=bool(open_),
        stalled_bytes=sum(pull.completed for pull in stalled),
    )


def spark(pulls: Sequence[PullProgress]) -> tuple[str, float, float] | None:
    """The recent rates as points of a line in a square of 100, with the least and the most of them;
    None with fewer than two."""
    rows = [[float(value) for value in pull.rates][-SPARK_POINTS:] for pull in pulls if pull.rates]
    length = max((len(row) for row in rows), default=0)
    if length < 2:
        return None
    sums = [sum(row[at - length] for row in rows if len(row) >= length - at) for at in range(length)]
    top = max(sums) or 1.0
    points = " ".join(
        f"{100 * at / (length - 1):.1f},{95 - 90 * value / top:.1f}" for at, value in enumerate(sums)
    )
    return points, min(sums), max(sums)


def running_item(operation: Operation, pulls: Sequence[PullProgress]) -> dict[str, Any]:
    """A line of running work, as ``components/operations.html`` takes it."""
    rows = list(operation.steps.all())
    total = summed(pulls)
    note = position(operation, rows)
    if operation.kind == OperationKind.PULL and operation.deployment is not None:
        note = _("for %(name)s") % {"name": operation.deployment.name}
    elif operation.waiting_for and not pulls:
        note = _("waits for %(what)s") % {"what": said(operation.waiting_for)}
    pulling = bool(pulls) and (
        operation.kind == OperationKind.PULL
        or (operation.step < len(rows) and rows[operation.step].name == "pull")
    )
    return {
        "title": title(operation),
        "href": reverse("operation", args=[operation.pk]),
        "note": note,
        # A row that is parked between two steps is at work; one that waits for somebody is not.
        "state": OperationState.RUNNING
        if operation.started_at and operation.state != OperationState.AWAITING_APPROVAL
        else operation.state,
        "percent": total.percent if pulling else None,
        "kind": "degraded" if total.stalled and not total.moving else "",
        "figures": total.figures if pulling else [],
    }
