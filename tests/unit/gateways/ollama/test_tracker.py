"""What lines of a pull add up to, on a clock that the test holds."""

from __future__ import annotations

import pytest

from deployments.gateways.ollama import PullEvent, PullPhase, PullTracker
from deployments.gateways.ollama.answers import IDLE

A, B, C = ("sha256:" + letter * 64 for letter in "abc")
MB = 1_000_000


def layer(digest: str, completed: int, total: int) -> PullEvent:
    return PullEvent(f"pulling {digest[7:19]}", digest, total, completed)


def test_the_whole_is_known_from_the_manifest() -> None:
    tracker = PullTracker(started=0, expected=[(A, 100 * MB), (B, 10 * MB), (B, 10 * MB)])
    assert (tracker.total, tracker.total_known, tracker.completed) == (110 * MB, True, 0)
    tracker.feed(layer(A, 50 * MB, 100 * MB), 1)
    assert tracker.completed == 50 * MB


def test_without_it_the_whole_is_not_claimed() -> None:
    tracker = PullTracker(started=0)
    tracker.feed(layer(A, 0, 100 * MB), 1)
    tracker.feed(layer(A, 50 * MB, 100 * MB), 2)
    assert not tracker.total_known
    assert tracker.eta(2) is None
    tracker.feed(PullEvent("verifying sha256 digest"), 3)
    assert tracker.total_known


def test_the_rate_is_the_mean_of_twenty_seconds_and_gives_the_time_left() -> None:
    tracker = PullTracker(started=0, expected=[(A, 1000 * MB)])
    for second in range(41):
        tracker.feed(
            layer(A, second * 10 * MB if second <= 20 else (200 + (second - 20) * 5) * MB, 1000 * MB), second
        )
    assert tracker.rate(40) == pytest.approx(5 * MB, rel=0.02)
    assert tracker.eta(40) == pytest.approx(700 / 5, rel=0.02)
    assert tracker.rate(70) < 1.0, "half a minute without a byte leaves no rate"


def test_what_the_disk_had_is_no_speed() -> None:
    tracker = PullTracker(started=0, expected=[(A, 500 * MB), (B, 500 * MB)])
    tracker.feed(layer(A, 500 * MB, 500 * MB), 1)  # cached
    tracker.feed(layer(B, 400 * MB, 500 * MB), 2)  # resumed
    assert tracker.rate(2) == 0
    assert tracker.completed == 900 * MB
    assert tracker.snapshot(2).layers[0].cached


def test_completed_may_go_down_without_a_negative_rate() -> None:
    tracker = PullTracker(started=0, expected=[(A, 100 * MB)])
    tracker.feed(layer(A, 0, 100 * MB), 0)
    tracker.feed(layer(A, 60 * MB, 100 * MB), 1)
    tracker.feed(layer(A, 20 * MB, 100 * MB), 2)
    assert tracker.completed == 20 * MB
    assert 0 <= tracker.rate(2) <= 10 * MB
    tracker.feed(layer(A, 0, 100 * MB), 3)
    assert tracker.rate(3) == 0


def test_a_stall_is_seen_although_lines_keep_coming() -> None:
    tracker = PullTracker(started=0, stall_seconds=30)
    tracker.feed(layer(A, 10, 100), 1)
    tracker.feed(layer(A, 20, 100), 2)
    for second in range(3, 33):
        tracker.feed(layer(A, 20, 100), second)
    assert not tracker.stalled(32)
    assert tracker.stalled(32.1)
    tracker.feed(layer(A, 21, 100), 33)
    assert not tracker.stalled(33)


def test_going_down_is_no_progress() -> None:
    tracker = PullTracker(started=0, stall_seconds=30)
    tracker.feed(layer(A, 0, 100), 0)
    tracker.feed(layer(A, 50, 100), 1)
    tracker.feed(layer(A, 10, 100), 20)
    assert tracker.stalled(31.5)


def test_silence_is_allowed_while_a_large_layer_is_hashed_but_not_for_ever() -> None:
    tracker = PullTracker(started=0, stall_seconds=30, expected=[(A, 40_000 * MB)])
    tracker.feed(layer(A, 0, 40_000 * MB), 1)
    tracker.feed(PullEvent("verifying sha256 digest"), 2)
    tracker.feed(IDLE, 900)
    assert not tracker.stalled(900)
    assert tracker.stalled(2 + 120 + 2000 + 1)


def test_a_manifest_that_never_comes_is_a_stall() -> None:
    tracker = PullTracker(started=0)
    tracker.feed(PullEvent("pulling manifest"), 1)
    assert not tracker.stalled(100)
    assert tracker.stalled(122)


def test_a_layer_without_lines_is_complete_when_what_follows_begins() -> None:
    tracker = PullTracker(started=0, expected=[(A, 100), (B, 10), (C, 5)])
    tracker.feed(layer(A, 40, 100), 1)
    tracker.feed(layer(C, 1, 5), 2)
    assert tracker.completed == 101
    for status in ("verifying sha256 digest", "writing manifest", "removing unused layers", "success"):
        tracker.feed(PullEvent(status), 3)
    assert tracker.phase is PullPhase.DONE
    assert tracker.completed == tracker.total == 115
    assert not tracker.stalled(10_000)
