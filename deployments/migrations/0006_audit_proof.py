"""Checkpoints, gaps of retention, verifications; and the triggers that let retention through its gate only."""

from importlib import import_module

import django.db.models.deletion
from django.db import migrations, models

APPEND_ONLY = ("deployments_auditentry", "deployments_auditcheckpoint", "deployments_auditgap")
OPEN = "SELECT 1 FROM deployments_auditgate WHERE OLD.sequence BETWEEN first AND last"


def _name(table: str, act: str) -> str:
    part = table.removeprefix("deployments_audit")
    return f"audit_no_{act}" if part == "entry" else f"audit_{part}_no_{act}"


def _sqlite():
    for table in APPEND_ONLY:
        refuse = "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
        gate = f"WHEN NOT EXISTS ({OPEN}) " if table == "deployments_auditentry" else ""
        yield f"CREATE TRIGGER {_name(table, 'update')} BEFORE UPDATE ON {table} {refuse}"
        yield f"CREATE TRIGGER {_name(table, 'delete')} BEFORE DELETE ON {table} {gate}{refuse}"
    # INSERT OR REPLACE deletes the row that is in its way without a DELETE trigger.
    yield (
        "CREATE TRIGGER audit_no_replace BEFORE INSERT ON deployments_auditentry WHEN EXISTS (SELECT 1 FROM "
        "deployments_auditentry WHERE sequence = NEW.sequence OR hash = NEW.hash) "
        "BEGIN SELECT RAISE(ABORT, 'the audit is append-only'); END"
    )


def _postgresql():
    yield (
        "CREATE OR REPLACE FUNCTION pilothouse_audit_refuse() RETURNS trigger LANGUAGE plpgsql AS "
        "$$ BEGIN RAISE EXCEPTION 'the audit is append-only'; END $$"
    )
    yield (
        "CREATE OR REPLACE FUNCTION pilothouse_audit_gate() RETURNS trigger LANGUAGE plpgsql AS "
        f"$$ BEGIN IF EXISTS ({OPEN}) THEN RETURN OLD; END IF; "
        "RAISE EXCEPTION 'the audit is append-only'; END $$"
    )
    for table in APPEND_ONLY:
        for act in ("update", "delete", "truncate"):
            gated = act == "delete" and table == "deployments_auditentry"
            each = "STATEMENT" if act == "truncate" else "ROW"
            function = "pilothouse_audit_gate" if gated else "pilothouse_audit_refuse"
            yield (
                f"CREATE TRIGGER {_name(table, act)} BEFORE {act.upper()} ON {table} "
                f"FOR EACH {each} EXECUTE FUNCTION {function}()"
            )
            # Also where a session says that it is a replica.
            yield f"ALTER TABLE {table} ENABLE ALWAYS TRIGGER {_name(table, act)}"


def triggers(apps, schema_editor):
    """All triggers as they have to be; those of the same names are made anew."""
    no_triggers(apps, schema_editor)
    for statement in {"sqlite": _sqlite, "postgresql": _postgresql}[schema_editor.connection.vendor]():
        schema_editor.execute(statement)


def no_triggers(apps, schema_editor):
    postgresql = schema_editor.connection.vendor == "postgresql"
    for table in APPEND_ONLY:
        on = f" ON {table}" if postgresql else ""
        for act in ("update", "delete", *(["truncate"] if postgresql else ["replace"])):
            schema_editor.execute(f"DROP TRIGGER IF EXISTS {_name(table, act)}{on}")
    if postgresql:
        for function in ("refuse", "gate"):
            schema_editor.execute(f"DROP FUNCTION IF EXISTS pilothouse_audit_{function}()")


def earlier_triggers(apps, schema_editor):
    no_triggers(apps, schema_editor)
    import_module("deployments.migrations.0002_ground").triggers(apps, schema_editor)


SEARCHED = ("object_name", "reason")


def text_indexes(apps, schema_editor):
    """Trigram indexes for the search of texts, on PostgreSQL where its extension may be had: a database
    owner may create pg_trgm, which is trusted, where the server has it installed. Without it the same
    search reads more rows."""
    if schema_editor.connection.vendor != "postgresql":
        return
    with schema_editor.connection.cursor() as cursor:
        cursor.execute(
            "SELECT 1 FROM pg_available_extension_versions "
            "WHERE name = 'pg_trgm' AND (trusted OR (SELECT rolsuper FROM pg_roles WHERE rolname = current_user)) "
            "AND has_database_privilege(current_database(), 'CREATE') "
            "UNION SELECT 1 FROM pg_extension WHERE extname = 'pg_trgm'"
        )
        if cursor.fetchone() is None:
            return
    schema_editor.execute("CREATE EXTENSION IF NOT EXISTS pg_trgm")
    for column in SEARCHED:
        schema_editor.execute(
            f"CREATE INDEX audit_text_{column} ON deployments_auditentry USING gin (upper({column}::text) gin_trgm_ops)"
        )


def no_text_indexes(apps, schema_editor):
    if schema_editor.connection.vendor == "postgresql":
        for column in SEARCHED:
            schema_editor.execute(f"DROP INDEX IF EXISTS audit_text_{column}")


class Migration(migrations.Migration):
    dependencies = [
        ("deployments", "0005_gpu_sampling"),
    ]

    operations = [
        migrations.CreateModel(
            name="AuditCheckpoint",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("sequence", models.PositiveBigIntegerField()),
                ("hash", models.CharField(max_length=64)),
                ("at", models.DateTimeField()),
                (
                    "kind",
                    models.CharField(
                        choices=[("daily", "daily"), ("retention", "retention"), ("asked", "asked")],
                        max_length=10,
                    ),
                ),
                ("pruned", models.CharField(blank=True, max_length=64)),
                ("statement", models.TextField()),
                ("public_key", models.CharField(max_length=64)),
                ("signature", models.CharField(max_length=128)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.CreateModel(
            name="AuditGap",
            fields=[
                ("first", models.PositiveBigIntegerField(primary_key=True, serialize=False)),
                ("last", models.PositiveBigIntegerField()),
                ("before", models.CharField(max_length=64)),
                ("after", models.CharField(max_length=64)),
            ],
            options={
                "ordering": ["first"],
            },
        ),
        migrations.CreateModel(
            name="AuditGate",
            fields=[
                ("singleton", models.PositiveSmallIntegerField(default=1, primary_key=True, serialize=False)),
                ("first", models.PositiveBigIntegerField()),
                ("last", models.PositiveBigIntegerField()),
            ],
        ),
        migrations.CreateModel(
            name="AuditRetention",
            fields=[
                ("entry_class", models.CharField(max_length=20, primary_key=True, serialize=False)),
                ("days", models.PositiveIntegerField()),
                ("applied_at", models.DateTimeField(null=True)),
            ],
        ),
        migrations.CreateModel(
            name="AuditTally",
            fields=[
                ("key", models.CharField(max_length=64, primary_key=True, serialize=False)),
                ("source", models.CharField(blank=True, max_length=200)),
                ("action", models.CharField(max_length=60)),
                ("object_type", models.CharField(blank=True, max_length=40)),
                ("count", models.PositiveBigIntegerField(default=0)),
                ("names", models.JSONField(default=list)),
                ("since", models.DateTimeField()),
                ("last_at", models.DateTimeField()),
            ],
        ),
        migrations.CreateModel(
            name="AuditVerification",
            fields=[
                (
                    "id",
                    models.BigAutoField(
                        auto_created=True, primary_key=True, serialize=False, verbose_name="ID"
                    ),
                ),
                ("asked_at", models.DateTimeField()),
                ("actor_id", models.BigIntegerField(null=True)),
                ("actor_name", models.CharField(max_length=150)),
                ("source", models.CharField(blank=True, max_length=200)),
                (
                    "state",
                    models.CharField(
                        choices=[
                            ("running", "running"),
                            ("holds", "holds"),
                            ("broken", "broken"),
                            ("failed", "failed"),
                        ],
                        max_length=10,
                    ),
                ),
                ("message_at", models.DateTimeField(null=True)),
                ("beat_at", models.DateTimeField(null=True)),
                ("finished_at", models.DateTimeField(null=True)),
                ("checked", models.PositiveBigIntegerField(default=0)),
                ("total", models.PositiveBigIntegerField(default=0)),
                ("broken_at", models.PositiveBigIntegerField(null=True)),
                ("sentence", models.CharField(blank=True, max_length=500)),
                ("notes", models.JSONField(default=list)),
                ("version", models.PositiveBigIntegerField(default=1)),
            ],
            options={
                "ordering": ["-id"],
            },
        ),
        migrations.AddField(
            model_name="cluster",
            name="reason_required",
            field=models.BooleanField(default=False),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["actor_name", "-sequence"], name="audit_by_actor"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["action", "-sequence"], name="audit_by_action"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["cluster_id", "-sequence"], name="audit_by_cluster"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["operation_id", "-sequence"], name="audit_by_operation"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(fields=["at", "sequence"], name="audit_by_time"),
        ),
        migrations.AddIndex(
            model_name="auditentry",
            index=models.Index(
                condition=models.Q(("outcome", "done"), _negated=True),
                fields=["outcome", "-sequence"],
                name="audit_by_outcome",
            ),
        ),
        migrations.AddIndex(
            model_name="auditcheckpoint",
            index=models.Index(fields=["sequence"], name="audit_checkpoint_at"),
        ),
        migrations.AddField(
            model_name="auditgap",
            name="checkpoint",
            field=models.ForeignKey(
                on_delete=django.db.models.deletion.PROTECT,
                related_name="gaps",
                to="deployments.auditcheckpoint",
            ),
        ),
        migrations.AddField(
            model_name="auditgate",
            name="closes",
            field=models.ForeignKey(
                default=0,
                on_delete=django.db.models.deletion.DO_NOTHING,
                related_name="+",
                to="deployments.auditgate",
            ),
        ),
        migrations.AddConstraint(
            model_name="auditverification",
            constraint=models.UniqueConstraint(
                condition=models.Q(("state", "running")),
                fields=("state",),
                name="audit_verification_one",
            ),
        ),
        migrations.AddConstraint(
            model_name="auditgap",
            constraint=models.CheckConstraint(
                condition=models.Q(("last__gte", models.F("first"))), name="audit_gap_runs"
            ),
        ),
        migrations.AddConstraint(
            model_name="auditgate",
            constraint=models.CheckConstraint(condition=models.Q(("singleton", 1)), name="audit_gate_one"),
        ),
        migrations.RunPython(triggers, earlier_triggers),
        migrations.RunPython(text_indexes, no_text_indexes),
    ]
