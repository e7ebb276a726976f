"""States for people: the word, the colour and the icon of each value of the domain's vocabularies.

A state is always shown by icon and word together; the icons differ in shape, so that nothing hangs on
colour alone.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import pgettext_lazy

from deployments.domain.states import (
    FindingLevel,
    Health,
    OperationKind,
    OperationState,
    Outcome,
    StepState,
)

Words = str | Promise


@dataclass(frozen=True)
class Look:
    """``css`` is a class of the stylesheet, ``icon`` a symbol of the sprite, ``turning`` work under way."""

    label: Words
    css: str
    icon: str
    turning: bool = False


@dataclass(frozen=True)
class Deed:
    """The words for a kind of operation.

    ``label`` stands alone ("Install"), ``doing`` and ``named`` take the object's name ("Installing r1",
    "Install r1").
    """

    label: Words
    doing: Words
    named: Words
    icon: str


HEALTH: Mapping[Health, Look] = {
    Health.FAILED: Look(pgettext_lazy("health", "Failed"), "failed", "failed"),
    Health.MISSING: Look(_("Missing"), "missing", "missing"),
    Health.DEGRADED: Look(_("Degraded"), "degraded", "degraded"),
    Health.PROGRESSING: Look(_("Progressing"), "progressing", "progressing", turning=True),
    Health.UNKNOWN: Look(_("Unknown"), "unknown", "unknown"),
    Health.STOPPED: Look(_("Stopped"), "stopped", "stopped"),
    Health.HEALTHY: Look(_("Healthy"), "healthy", "healthy"),
}

OPERATION: Mapping[OperationState, Look] = {
    OperationState.AWAITING_APPROVAL: Look(_("Awaiting approval"), "progressing", "approvals"),
    OperationState.QUEUED: Look(_("Queued"), "dim", "waiting"),
    OperationState.RUNNING: Look(_("Running"), "progressing", "progressing", turning=True),
    OperationState.SUCCEEDED: Look(_("Succeeded"), "healthy", "healthy"),
    OperationState.FAILED: Look(pgettext_lazy("operation", "Failed"), "failed", "failed"),
    OperationState.CANCELLED: Look(_("Cancelled"), "dim", "stop"),
}

STEP: Mapping[StepState, Look] = {
    StepState.TODO: Look(_("To do"), "todo", "todo"),
    StepState.RUNNING: Look(_("Under way"), "progressing", "progressing", turning=True),
    StepState.WAITING: Look(_("Waiting"), "progressing", "waiting"),
    StepState.DONE: Look(_("Done"), "healthy", "healthy"),
    StepState.SKIPPED: Look(_("Not needed"), "faint", "check"),
    StepState.FAILED: Look(pgettext_lazy("operation", "Failed"), "failed", "failed"),
    StepState.CANCELLED: Look(_("Cancelled"), "dim", "stop"),
}

FINDING: Mapping[FindingLevel, Look] = {
    FindingLevel.FAIL: Look(_("Problem"), "fail", "failed"),
    FindingLevel.WARN: Look(_("Warning"), "warn", "degraded"),
    FindingLevel.CANNOT_TELL: Look(_("Cannot tell"), "cant", "unknown"),
    FindingLevel.PASS: Look(_("Pass"), "pass", "healthy"),
}

AUDIT: Mapping[Outcome, Look] = {
    Outcome.DONE: Look(_("Done"), "healthy", "check"),
    Outcome.DENIED: Look(_("Denied"), "degraded", "lock"),
    Outcome.FAILED: Look(pgettext_lazy("operation", "Failed"), "failed", "x"),
}

DEEDS: Mapping[OperationKind, Deed] = {
    OperationKind.INSTALL: Deed(_("Install"), _("Installing %(name)s"), _("Install %(name)s"), "deployments"),
    OperationKind.UPGRADE: Deed(_("Upgrade"), _("Upgrading %(name)s"), _("Upgrade %(name)s"), "deployments"),
    OperationKind.ROLL_BACK: Deed(
        _("Roll back"), _("Rolling back %(name)s"), _("Roll back %(name)s"), "again"
    ),
    OperationKind.SCALE: Deed(_("Scale"), _("Scaling %(name)s"), _("Scale %(name)s"), "up-down"),
    OperationKind.RESTART: Deed(_("Restart"), _("Restarting %(name)s"), _("Restart %(name)s"), "again"),
    OperationKind.UNINSTALL: Deed(_("Uninstall"), _("Uninstalling %(name)s"), _("Uninstall %(name)s"), "x"),
    OperationKind.PULL: Deed(_("Pull"), _("Pulling %(name)s"), _("Pull %(name)s"), "pull"),
    OperationKind.DELETE_MODEL: Deed(
        _("Delete model"), _("Deleting the model %(name)s"), _("Delete the model %(name)s"), "x"
    ),
    OperationKind.CHECK_CHAT: Deed(
        _("Check chat"), _("Checking the chat of %(name)s"), _("Check the chat of %(name)s"), "chat"
    ),
    OperationKind.CHECK_CONNECTION: Deed(
        _("Check connection"),
        _("Checking the connection to %(name)s"),
        _("Check the connection to %(name)s"),
        "clusters",
    ),
    OperationKind.PREFLIGHT: Deed(
        _("Preflight"), _("Checking before the install of %(name)s"), _("Preflight of %(name)s"), "check"
    ),
    OperationKind.DIFF: Deed(_("Compare"), _("Comparing %(name)s"), _("Compare %(name)s"), "copy"),
}

# Keyed by name, since a value that comes from a table is a plain string and has lost its vocabulary.
VOCABULARIES: Mapping[str, tuple[type[StrEnum], Mapping[StrEnum, Look]]] = {
    "health": (Health, HEALTH),  # type: ignore[dict-item]
    "operation": (OperationState, OPERATION),  # type: ignore[dict-item]
    "step": (StepState, STEP),  # type: ignore[dict-item]
    "finding": (FindingLevel, FINDING),  # type: ignore[dict-item]
    "audit": (Outcome, AUDIT),  # type: ignore[dict-item]
}


def look(value: str, vocabulary: str = "") -> Look:
    """The look of a state. A member of an enumeration names its own vocabulary, a plain string needs it.

    Raises ValueError for a value or a vocabulary that does not exist.
    """
    if not vocabulary:
        vocabulary = next((name for name, (kind, _look) in VOCABULARIES.items() if type(value) is kind), "")
    if vocabulary not in VOCABULARIES:
        raise ValueError(
            f"{value!r} is a plain string: name its vocabulary, one of {', '.join(VOCABULARIES)}"
        )
    kind, looks = VOCABULARIES[vocabulary]
    return looks[kind(value)]


def deed(kind: str) -> Deed:
    """The words for a kind of operation. Raises ValueError for an unknown one."""
    return DEEDS[OperationKind(kind)]
