"""What a load balancer and a monitor ask: /healthz, /readyz, /metrics. None needs a sign-in."""

from __future__ import annotations

import logging

import redis
from django.conf import settings
from django.contrib.auth.decorators import login_not_required
from django.db import DatabaseError, connection
from django.db.migrations.executor import MigrationExecutor
from django.http import HttpRequest, HttpResponse, JsonResponse
from django.urls import path
from django.views.decorators.cache import never_cache
from django.views.decorators.http import require_safe

from deployments.selectors.sums import oldest_queued_seconds, operation_counts, silent_clusters

BROKER_SECONDS = 1.0
log = logging.getLogger(__name__)


@require_safe
@login_not_required
@never_cache
def healthz(request: HttpRequest) -> HttpResponse:
    """200 while the process answers. Asks nobody: a broken database must not restart the web."""
    return HttpResponse("ok\n", content_type="text/plain; charset=utf-8")


@require_safe
@login_not_required
@never_cache
def readyz(request: HttpRequest) -> JsonResponse:
    """200 when pages can be served: the database answers and has every migration. Else 503.

    The broker is told of and changes nothing: signing in and reading work without it, and queued
    work waits in the database.
    """
    state = {"database": _database(), "broker": _broker()}
    ready = state["database"] == "ok"
    return JsonResponse({"ready": ready, **state}, status=200 if ready else 503)


@require_safe
@login_not_required
@never_cache
def metrics(request: HttpRequest) -> HttpResponse:
    """Sums for Prometheus, in its text format 0.0.4. Neither teams nor names appear."""
    lines = ["# HELP pilothouse_operations Operations by state.", "# TYPE pilothouse_operations gauge"]
    lines += [f'pilothouse_operations{{state="{state}"}} {n}' for state, n in operation_counts().items()]
    lines += [
        "# HELP pilothouse_oldest_queued_seconds How long the oldest due operation has waited.",
        "# TYPE pilothouse_oldest_queued_seconds gauge",
        f"pilothouse_oldest_queued_seconds {oldest_queued_seconds():.1f}",
        "# HELP pilothouse_silent_clusters Connected clusters not seen for two minutes.",
        "# TYPE pilothouse_silent_clusters gauge",
        f"pilothouse_silent_clusters {silent_clusters()}",
        "# HELP pilothouse_broker_up Whether the broker answers.",
        "# TYPE pilothouse_broker_up gauge",
        f"pilothouse_broker_up {int(_broker() == 'ok')}",
    ]
    return HttpResponse("\n".join(lines) + "\n", content_type="text/plain; version=0.0.4; charset=utf-8")


def _database() -> str:
    try:
        executor = MigrationExecutor(connection)
        missing = executor.migration_plan(executor.loader.graph.leaf_nodes())
    except DatabaseError:
        log.exception("the database does not answer")
        return "does not answer"
    return f"{len(missing)} migrations are missing" if missing else "ok"


def _broker() -> str:
    try:
        with redis.from_url(
            settings.REDIS_URL, socket_timeout=BROKER_SECONDS, socket_connect_timeout=BROKER_SECONDS
        ) as client:
            client.ping()
    except (redis.RedisError, OSError) as error:
        log.warning("the broker does not answer: %s", error)
        return "does not answer"
    return "ok"


urlpatterns = [
    path("healthz", healthz, name="healthz"),
    path("readyz", readyz, name="readyz"),
    path("metrics", metrics, name="metrics"),
]
