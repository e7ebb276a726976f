"""What most tests need: a database with its ground rows and triggers, and a broker that takes messages."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from django.core.management import call_command

from tests.ground import lay_rows, set_triggers


@pytest.fixture(autouse=True)
def sent(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, str]]:
    """The messages that would go to the broker, as (operation id, queue): the row is the outbox, and
    a test that wants the work done runs it (tests.working.work_off) or starts real workers and asks
    for them with the marker ``real_broker``."""
    messages: list[tuple[int, str]] = []
    if request.node.get_closest_marker("real_broker"):
        return messages

    def take(operation_id: int, queue: str) -> bool:
        messages.append((operation_id, str(queue)))
        return True

    monkeypatch.setattr("deployments.ledger.queue.send", take)
    monkeypatch.setattr("deployments.ledger.queue._send", lambda *message: True)
    monkeypatch.setattr("deployments.ledger.announce._publish", lambda line: None)
    return messages


@pytest.fixture
def ground(request: pytest.FixtureRequest) -> Iterator[None]:
    """For tests with real transactions: Django empties every table after each of them, ground rows
    included, and the audit's triggers would refuse that. So they go before and come back after."""
    request.getfixturevalue("transactional_db")
    lay_rows()
    set_triggers(present=True)
    yield
    set_triggers(present=False)


@pytest.fixture(scope="session")
def django_db_setup(django_db_setup: None, django_db_blocker) -> None:
    with django_db_blocker.unblock():
        call_command("createcachetable", verbosity=0)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        marker = item.get_closest_marker("django_db")
        if marker and marker.kwargs.get("transaction"):
            item.fixturenames.insert(0, "ground")  # type: ignore[attr-defined]
