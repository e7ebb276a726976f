"""Every fault that the practice cluster can have is seen by a test."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from sandbox.world.faults import NAMES
from tests.faults.claims import ELSEWHERE, IN_THE_BROWSER

ROOT = Path(__file__).parents[2]
CLAIMS = {**IN_THE_BROWSER, **{name: path for name, (path, _) in ELSEWHERE.items()}}


def test_every_fault_is_claimed_once() -> None:
    assert set(IN_THE_BROWSER) | set(ELSEWHERE) == set(NAMES)
    assert not set(IN_THE_BROWSER) & set(ELSEWHERE)


@pytest.mark.parametrize("name", NAMES)
def test_the_claimed_test_switches_the_fault_on(name: str) -> None:
    text = (ROOT / CLAIMS[name]).read_text()
    assert re.search(rf"[\"']{name}[\"']", text), f"{CLAIMS[name]} has nothing about {name}"
