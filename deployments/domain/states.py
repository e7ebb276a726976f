"""The vocabularies of state: one place for each value, its order and what it means.

Labels and colours for people are in ``dashboard.presenters.states``; nothing else may invent a state.
"""

from __future__ import annotations

from enum import StrEnum


class Health(StrEnum):
    """How an installed stack is, worst first. The order is the order of the members."""

    FAILED = "failed"
    MISSING = "missing"
    DEGRADED = "degraded"
    PROGRESSING = "progressing"
    UNKNOWN = "unknown"
    STOPPED = "stopped"
    HEALTHY = "healthy"

    @property
    def badness(self) -> int:
        """0 is the worst."""
        return list(Health).index(self)

    @staticmethod
    def worst(states: list[Health]) -> Health:
        """The worst of several; UNKNOWN where there is nothing to judge by."""
        return min(states, key=lambda state: state.badness) if states else Health.UNKNOWN


class OperationState(StrEnum):
    """The life of an operation. Parked work is QUEUED with a ``wake_at``."""

    AWAITING_APPROVAL = "awaiting_approval"
    QUEUED = "queued"
    RUNNING = "running"
    SUCCEEDED = "succeeded"
    FAILED = "failed"
    CANCELLED = "cancelled"

    @property
    def terminal(self) -> bool:
        return self in TERMINAL


TERMINAL = frozenset({OperationState.SUCCEEDED, OperationState.FAILED, OperationState.CANCELLED})
ACTIVE = frozenset(set(OperationState) - TERMINAL)


class OperationKind(StrEnum):
    """What an operation does."""

    INSTALL = "install"
    UPGRADE = "upgrade"
    ROLL_BACK = "roll_back"
    SCALE = "scale"
    RESTART = "restart"
    UNINSTALL = "uninstall"
    PULL = "pull"
    DELETE_MODEL = "delete_model"
    CHECK_CHAT = "check_chat"
    CHECK_CONNECTION = "check_connection"
    PREFLIGHT = "preflight"
    DIFF = "diff"


# At most one of these may be active for a deployment. Pulls run beside them and yield to UNINSTALL.
CHANGING = frozenset(
    {
        OperationKind.INSTALL,
        OperationKind.UPGRADE,
        OperationKind.ROLL_BACK,
        OperationKind.SCALE,
        OperationKind.RESTART,
        OperationKind.UNINSTALL,
    }
)

# Questions asked of a cluster or of a draft: no audit entry, gone after an hour.
EPHEMERAL = frozenset({OperationKind.CHECK_CONNECTION, OperationKind.PREFLIGHT, OperationKind.DIFF})


class StepState(StrEnum):
    TODO = "todo"
    RUNNING = "running"
    WAITING = "waiting"
    DONE = "done"
    SKIPPED = "skipped"
    FAILED = "failed"
    CANCELLED = "cancelled"


class Queue(StrEnum):
    """Where a step runs. A long pull must never stand before an apply or a sample."""

    CONTROL = "control"
    PULL = "pull"
    SAMPLE = "sample"


class FindingLevel(StrEnum):
    """What a preflight check found, worst first."""

    FAIL = "fail"
    WARN = "warn"
    CANNOT_TELL = "cannot_tell"
    PASS = "pass"


class Role(StrEnum):
    """A member's role in a team, weakest first."""

    VIEWER = "viewer"
    OPERATOR = "operator"
    MAINTAINER = "maintainer"
    OWNER = "owner"

    @property
    def rank(self) -> int:
        return list(Role).index(self)


class SiteRole(StrEnum):
    """What somebody is on the whole site, beside his teams."""

    NONE = ""
    AUDITOR = "auditor"
    ADMIN = "admin"


class Approver(StrEnum):
    """Who has to agree before a team's request on a cluster is carried out."""

    NOBODY = ""
    OWNER = "owner"  # another owner of the team, or a site admin
    ADMIN = "admin"  # a site admin


class ShareLevel(StrEnum):
    """What another team may do with a profile, weakest first."""

    USE = "use"
    EDIT = "edit"


class Outcome(StrEnum):
    """How an audited act ended."""

    DONE = "done"
    DENIED = "denied"
    FAILED = "failed"
