"""Where a pod's models sit, from Ollama's answer to the page, with its age."""

from __future__ import annotations

import json
from collections.abc import Iterator
from datetime import datetime, timedelta
from typing import Any

import pytest
from django.utils import timezone

from deployments.gateways.ollama import HttpTransport, OllamaClient
from deployments.models import Deployment
from deployments.selectors.placements import placements_of
from deployments.workflows.placement import loaded_in
from tests.unit.gateways.loopback import Loopback, loopback

GIB = 1024**3


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as state:
        yield state


def ask(server: Loopback, models: Any, status: int = 200) -> dict[str, Any]:
    server.answers["GET /api/ps"] = lambda exchange: exchange.whole(status, json.dumps(models))
    return loaded_in(OllamaClient(HttpTransport(server.url)), 5.0)


def stored(at: datetime, **pods: dict[str, Any]) -> Deployment:
    asked = {pod: {"model_present": True, "at": at.isoformat(), **said} for pod, said in pods.items()}
    return Deployment(probes={"pods": asked})


@pytest.mark.parametrize(
    ("size_vram", "placement", "share"),
    [(8 * GIB, "on GPU", 1.0), (4 * GIB, "split 50:50", 0.5), (0, "on CPU", 0.0)],
)
def test_a_loaded_model_is_placed_by_its_share(
    server: Loopback, size_vram: int, placement: str, share: float
) -> None:
    now = timezone.now()
    said = ask(server, {"models": [{"name": "deepseek-r1:7b", "size": 8 * GIB, "size_vram": size_vram}]})
    (found,), empty, silent = placements_of(stored(now, a=said), now + timedelta(seconds=40))
    assert (found.pod, found.model, found.placement, found.share) == ("a", "deepseek-r1:7b", placement, share)
    assert (found.size, found.size_vram, found.at, found.fresh) == (8 * GIB, size_vram, now, True)
    assert (empty, silent) == ([], [])


def test_an_old_answer_is_not_fresh_and_no_answer_is_no_placement(server: Loopback) -> None:
    now = timezone.now()
    said = ask(server, {"models": [{"name": "m", "size": 1, "size_vram": 1}]})
    nothing = ask(server, {"models": []})
    failed = ask(server, {"error": "out of order"}, 500)
    assert (nothing, failed) == ({"loaded": []}, {})
    (found,), empty, silent = placements_of(
        stored(now, a=said, b=nothing, c=failed), now + timedelta(minutes=5)
    )
    assert not found.fresh and (empty, silent) == (["b"], ["c"])
    assert placements_of(Deployment(probes={}), now) == ([], [], [])
