"""The rows that every installation starts with, and the triggers that keep the audit append-only."""

from __future__ import annotations

import uuid

from django.db import migrations

SQLITE = [
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON deployments_auditentry "
    "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON deployments_auditentry "
    "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END",
]
POSTGRESQL = [
    "CREATE FUNCTION pilothouse_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
    "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$",
    "CREATE TRIGGER audit_no_update BEFORE UPDATE ON deployments_auditentry "
    "FOR EACH ROW EXECUTE FUNCTION pilothouse_audit_refuse()",
    "CREATE TRIGGER audit_no_delete BEFORE DELETE ON deployments_auditentry "
    "FOR EACH ROW EXECUTE FUNCTION pilothouse_audit_refuse()",
    "CREATE TRIGGER audit_no_truncate BEFORE TRUNCATE ON deployments_auditentry "
    "FOR EACH STATEMENT EXECUTE FUNCTION pilothouse_audit_refuse()",
]


def first_rows(apps, schema_editor):
    apps.get_model("deployments", "Installation").objects.create(uid=uuid.uuid4())
    apps.get_model("deployments", "AuditHead").objects.create()
    apps.get_model("deployments", "Team").objects.create(name="Default", slug="default")


def triggers(apps, schema_editor):
    statements = {"sqlite": SQLITE, "postgresql": POSTGRESQL}[schema_editor.connection.vendor]
    for statement in statements:
        schema_editor.execute(statement)


def no_triggers(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    on = " ON deployments_auditentry" if postgresql else ""
    names = ["audit_no_update", "audit_no_delete", *(["audit_no_truncate"] if postgresql else [])]
    for name in names:
        schema_editor.execute(f"DROP TRIGGER IF EXISTS {name}{on}")
    if postgresql:
        schema_editor.execute("DROP FUNCTION IF EXISTS pilothouse_audit_refuse()")


class Migration(migrations.Migration):
    dependencies = [("deployments", "0001_initial")]

    operations = [
        migrations.RunPython(first_rows, migrations.RunPython.noop),
        migrations.RunPython(triggers, no_triggers),
    ]
