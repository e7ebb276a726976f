"""The rows and triggers that migrations lay as the ground, taken up and laid again by tests."""

from __future__ import annotations

from importlib import import_module

from django.apps import apps
from django.db import connection

_GROUND = import_module("deployments.migrations.0002_ground")
_PROOF = import_module("deployments.migrations.0006_audit_proof")
_TEAMS = import_module("deployments.migrations.0007_teams")


def lay_rows() -> None:
    """The first rows, where a test's end swept them away."""
    if not apps.get_model("deployments", "AuditHead").objects.exists():
        with connection.schema_editor() as editor:
            _GROUND.first_rows(apps, editor)
            _TEAMS.fill_skeletons(apps, editor)


def set_triggers(*, present: bool) -> None:
    """The audit's triggers: there, or not."""
    with connection.schema_editor() as editor:
        _PROOF.no_triggers(apps, editor)
        if present:
            _PROOF.triggers(apps, editor)
