"""The three addresses that machines ask, and the checks of the configuration."""

from __future__ import annotations

from typing import Any

import pytest
from django.core.checks import run_checks
from django.db import OperationalError
from django.db.migrations.recorder import MigrationRecorder
from django.test import Client

from deployments.domain.actors import PILOTHOUSE
from deployments.domain.states import OperationKind
from deployments.ledger import transitions

pytestmark = pytest.mark.django_db


def test_a_living_process_says_so_without_asking_the_database(
    client: Client, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", _broken)
    answer = client.get("/healthz")
    assert (answer.status_code, answer.content) == (200, b"ok\n")


def test_ready_without_a_broker_but_not_without_a_migration(client: Client) -> None:
    answer = client.get("/readyz")
    assert answer.status_code == 200
    assert answer.json() == {"ready": True, "database": "ok", "broker": "does not answer"}
    MigrationRecorder.Migration.objects.filter(app="deployments").order_by("-id")[:1].get().delete()
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "1 migrations are missing"


def test_not_ready_without_the_database(client: Client, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("django.db.backends.base.base.BaseDatabaseWrapper.cursor", _broken)
    answer = client.get("/readyz")
    assert answer.status_code == 503
    assert answer.json()["database"] == "does not answer"


def test_metrics_count_operations_and_name_nobody(client: Client) -> None:
    transitions.create(
        kind=OperationKind.CHECK_CONNECTION, title="Secret title", actor=PILOTHOUSE, steps=["reach"]
    )
    answer = client.get("/metrics")
    text = answer.content.decode()
    assert answer["Content-Type"].startswith("text/plain; version=0.0.4")
    assert 'pilothouse_operations{state="queued"} 1\n' in text
    assert 'pilothouse_operations{state="failed"} 0\n' in text
    assert "pilothouse_broker_up 0\n" in text
    assert "Secret" not in text


@pytest.mark.parametrize("path", ["/healthz", "/readyz", "/metrics"])
def test_they_only_answer_questions(client: Client, path: str) -> None:
    assert client.post(path).status_code == 405


@pytest.mark.parametrize(
    ("changed", "found"),
    [
        ({"PUBLIC_URL": "https://a.example.com", "CHAT_DOMAIN": "example.com"}, "dashboard.E001"),
        ({"PUBLIC_URL": "https://a.example.com", "CHAT_DOMAIN": "a.example.com"}, "dashboard.E001"),
        ({"REDIS_URL": "amqp://broker"}, "dashboard.E002"),
        ({"ALLOWED_HOSTS": ["*"]}, "dashboard.E004"),
        ({"HTTPS": True, "SECURE_PROXY_SSL_HEADER": None}, "dashboard.W001"),
    ],
)
def test_what_would_go_wrong_later_is_said_at_the_start(
    settings: Any, changed: dict[str, Any], found: str
) -> None:
    before = {message.id for message in run_checks(include_deployment_checks=True)}
    for name, value in changed.items():
        setattr(settings, name, value)
    after = {message.id for message in run_checks(include_deployment_checks=True)}
    assert found not in before
    assert found in after


def _broken(*args: object, **more: object) -> None:
    raise OperationalError("the disk is gone")
