"""Which steps an operation of each kind has, by name. ``deployments.workflows`` carries them out."""

from __future__ import annotations

from deployments.domain.states import OperationKind

STEPS: dict[OperationKind, list[str]] = {
    OperationKind.INSTALL: ["preflight", "approval", "apply", "start", "pull", "ready", "check"],
    OperationKind.UPGRADE: ["preflight", "approval", "apply", "start", "pull", "ready", "check"],
    OperationKind.ROLL_BACK: ["preflight", "approval", "apply", "start", "pull", "ready", "check"],
    OperationKind.SCALE: ["preflight", "approval", "apply", "start", "pull", "ready", "check"],
    OperationKind.RESTART: ["apply", "start", "pull", "ready", "check"],
    OperationKind.UNINSTALL: ["stop", "delete", "data", "namespace"],
    OperationKind.PULL: ["pull"],
    OperationKind.DELETE_MODEL: ["delete_model"],
    OperationKind.CHECK_CHAT: ["check"],
    OperationKind.CHECK_CONNECTION: ["reach", "identify", "rights"],
    OperationKind.PREFLIGHT: ["preflight"],
    OperationKind.DIFF: ["diff"],
}
