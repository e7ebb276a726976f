"""Checks of the core at start: the audit's triggers are where they belong.

Django rebuilds an SQLite table to change it, and triggers do not survive that: a migration that
touches the audit's table must recreate them, and this check fails where one forgot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

TRIGGERS = {
    "sqlite": {"audit_no_update", "audit_no_delete"},
    "postgresql": {"audit_no_update", "audit_no_delete", "audit_no_truncate"},
}
_NAMES = {
    "sqlite": "SELECT name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname FROM pg_trigger WHERE NOT tgisinternal",
}


@register(Tags.database)
def audit_triggers(databases: Sequence[str] | None = None, **_: Any) -> list[CheckMessage]:
    found: list[CheckMessage] = []
    for alias in databases or []:
        connection = connections[alias]
        if "deployments_auditentry" not in connection.introspection.table_names():
            continue
        with connection.cursor() as cursor:
            cursor.execute(_NAMES[connection.vendor])
            present = {row[0] for row in cursor.fetchall()}
        missing = TRIGGERS[connection.vendor] - present
        if missing:
            found.append(
                Error(
                    f"The audit is not protected: trigger {', '.join(sorted(missing))} is missing.",
                    hint="Run `python manage.py migrate`; if it is still missing, the last migration "
                    "rebuilt the table without recreating it.",
                    id="deployments.E001",
                )
            )
    return found
