"""Checks of the core at start: the audit's triggers are where they belong.

Django rebuilds an SQLite table to change it, and triggers do not survive that: a migration that
touches the audit's table must recreate them, and this check fails where one forgot.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django.core.checks import CheckMessage, Error, Tags, register
from django.db import connections

_TABLES = {"": "entry", "checkpoint_": "checkpoint", "gap_": "gap"}


def _expected(*acts: str) -> set[tuple[str, str]]:
    return {
        (f"audit_{part}no_{act}", f"deployments_audit{table}")
        for part, table in _TABLES.items()
        for act in acts
    }


# (trigger, table)
TRIGGERS = {
    "sqlite": {*_expected("update", "delete"), ("audit_no_replace", "deployments_auditentry")},
    "postgresql": _expected("update", "delete", "truncate"),
}
# A trigger that is switched off (tgenabled D) is as good as none.
_NAMES = {
    "sqlite": "SELECT name, tbl_name FROM sqlite_master WHERE type = 'trigger'",
    "postgresql": "SELECT tgname, relname FROM pg_trigger JOIN pg_class ON pg_class.oid = tgrelid "
    "WHERE NOT tgisinternal AND tgenabled <> 'D'",
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
            present = {(str(name), str(table)) for name, table in cursor.fetchall()}
        missing = TRIGGERS[connection.vendor] - present
        if missing:
            found.append(
                Error(
                    f"The audit is not protected: trigger {', '.join(sorted(name for name, _table in missing))} is missing.",
                    hint="Run `python manage.py migrate`; if it is still missing, the last migration "
                    "rebuilt the table without recreating it.",
                    id="deployments.E001",
                )
            )
    return found
