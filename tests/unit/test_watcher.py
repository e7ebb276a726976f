"""One watch against a server that says strange things, or ends, or refuses."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from typing import Any

import pytest

from deployments.domain.errors import (
    ClusterError,
    Expired,
    RightMissing,
    ServerFault,
    WatchBroken,
    WatchSilent,
)
from deployments.domain.health.assess import STALE_AFTER
from deployments.gateways.kubernetes import Page, WatchEvent
from deployments.observer import watcher
from deployments.observer.backlog import Backlog, Upsert
from deployments.observer.backoff import Backoff
from deployments.observer.intake import Intake
from deployments.observer.leases import Held
from deployments.observer.scopes import ALL_PODS
from deployments.observer.watcher import Server, Surroundings, Watch
from tests.unit.test_intake import pod

Step = ClusterError | WatchEvent | str
HOLD = "hold"  # the watch stays open and says nothing


def added(name: str, version: int) -> WatchEvent:
    return WatchEvent("ADDED", pod(name, version), str(version))


class Scripted:
    """A client whose watches say what was written down, then end at once; its lists hold what is in ``pods``."""

    def __init__(self, *script: list[Step], streams: bool = False) -> None:
        self.script = list(script)
        self.pods = [pod("a", 5)]
        self.lists = 0
        self.watched: list[str] = []
        self.told: list[str] = []
        self.confirmed: list[tuple[str, bool]] = []
        self.refused: list[ClusterError] = []
        self.server = Server(streams_lists=streams)
        self.backlog = Backlog()
        self.ended = threading.Event()

    def list_pages(self, *_: object, **__: object) -> Iterator[Page]:
        self.lists += 1
        yield Page(list(self.pods), "5")

    def watch(self, *_: object, resource_version: str, **more: Any) -> Iterator[WatchEvent]:
        self.watched.append(resource_version)
        for step in self.script.pop(0) if self.script else []:
            if isinstance(step, ClusterError):
                raise step
            if isinstance(step, WatchEvent):
                yield step
            else:
                self.ended.wait(20)

    def names(self) -> set[str]:
        return {c.seen.name for c in self.backlog.take(1000, 0) if isinstance(c, Upsert)}

    @contextmanager
    def running(self) -> Iterator[None]:
        around = Surroundings(
            cluster_id=1,
            client=self,  # type: ignore[arg-type]
            intake=Intake(1, Held("cluster:1", "me", 1), self.backlog),
            backoff=Backoff(first=0.01),
            stop=self.ended,
            verify=str,
            confirm=lambda _, version, listed: self.confirmed.append((version, listed)),
            refused=lambda _, error: self.refused.append(error),
            failed=lambda _, error: self.told.append(error.sentence),
            server=self.server,
        )
        watch = Watch(ALL_PODS, around)
        watch._pauses = Backoff(first=0.02, longest=0.2)
        watch.start()
        try:
            yield
        finally:
            self.ended.set()
            watch.stop()
            watch.join(5)
            assert not watch.is_alive()


def until(condition: Callable[[], object], seconds: float = 10.0) -> None:
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def test_a_watch_that_ends_at_once_is_no_sign_that_nothing_changed() -> None:
    """Nor a reason to ask again without a pause; what it does not tell is listed."""
    scripted = Scripted()
    with scripted.running():
        until(lambda: scripted.lists >= 2)
        assert not [one for one in scripted.confirmed if not one[1]]
        assert "ended before it told anything" in scripted.told[0]
        scripted.pods.append(pod("b", 6))
        found: set[str] = set()
        until(lambda: found.update(scripted.names()) or "b" in found)
        time.sleep(0.5)
    assert len(scripted.watched) < 60


@pytest.mark.parametrize(
    "error",
    [
        ServerFault("an ERROR event", status=500),
        WatchBroken("an event that cannot be read"),
        ClusterError("a version it does not take", status=400),
    ],
    ids=str,
)
def test_what_always_fails_from_a_version_is_listed_anew(error: ClusterError) -> None:
    scripted = Scripted([error], [error], [HOLD])
    with scripted.running():
        until(lambda: len(scripted.watched) == 3)
    assert scripted.lists == 2
    assert scripted.told


def test_a_server_that_is_away_or_busy_is_gone_on_with_from_where_it_was() -> None:
    away = [ClusterError("nothing listens"), ClusterError("patience", status=429, retry_after=0.01)]
    scripted = Scripted([added("b", 7)], *([one] for one in away * 3), [HOLD])
    with scripted.running():
        until(lambda: len(scripted.watched) == 8)
    assert scripted.lists == 1 and set(scripted.watched[1:]) == {"7"}


def test_what_says_nothing_is_listed_anew_before_what_is_known_of_it_is_old() -> None:
    """Of events and of what nobody changes no bookmark comes; a list tells that nothing changed."""
    scripted = Scripted([WatchSilent("nothing")], [WatchSilent("nothing")], [HOLD])
    with scripted.running():
        until(lambda: len(scripted.watched) == 3)
    assert scripted.lists == 3 and scripted.confirmed == [("5", True)] * 3
    assert not scripted.told
    assert timedelta(seconds=watcher.SILENT_SECONDS) < STALE_AFTER / 1.5


def test_a_streamed_list_that_says_nothing_twice_comes_in_pages() -> None:
    scripted = Scripted([WatchSilent("nothing")], [WatchSilent("nothing")], [HOLD], streams=True)
    with scripted.running():
        until(lambda: scripted.lists == 1)
    assert not scripted.server.streams_lists


def test_a_version_that_is_forgotten_at_once_is_not_asked_for_without_a_pause() -> None:
    scripted = Scripted(*([Expired("410")] for _ in range(1000)))
    with scripted.running():
        until(lambda: scripted.lists >= 2)
        time.sleep(0.5)
    assert scripted.lists < 40


def test_a_list_that_never_comes_whole_as_a_stream_comes_in_pages() -> None:
    scripted = Scripted([added("a", 5)], [added("a", 5)], [HOLD], streams=True)
    with scripted.running():
        until(lambda: scripted.lists == 1)
    assert not scripted.server.streams_lists and scripted.confirmed[0] == ("5", True)


def test_a_missing_right_is_believed_when_it_is_said_again(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(watcher, "DENIED_AGAIN", 0.05)
    denied = RightMissing("no", status=403)
    scripted = Scripted([denied], [added("b", 7), HOLD])
    with scripted.running():
        until(lambda: len(scripted.watched) == 2)
    assert not scripted.refused
    scripted = Scripted([denied], [denied])
    with scripted.running():
        until(lambda: scripted.refused)
    assert len(scripted.watched) == 2


def test_an_event_of_an_unknown_type_or_without_metadata_costs_only_itself() -> None:
    odd = [
        WatchEvent("RENAMED", pod("x", 6), "6"),
        WatchEvent("ADDED", {}, ""),
        WatchEvent("BOOKMARK", {"metadata": []}, ""),
    ]
    scripted = Scripted([*odd, added("b", 7), HOLD])
    found: set[str] = set()
    with scripted.running():
        until(lambda: found.update(scripted.names()) or "b" in found)
    assert found == {"a", "b"} and scripted.lists == 1
