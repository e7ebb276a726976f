"""The simulated world of the practice cluster: controllers, scheduler, nodes, containers and what runs in them."""

from __future__ import annotations

from pathlib import Path

from sandbox.store import Store
from sandbox.world.scenarios import SCENARIOS
from sandbox.world.world import World


def make_world(
    store: Store,
    *,
    speed: float = 1.0,
    scenario: str = "practice",
    seed: int | None = None,
    data_dir: Path | None = None,
) -> World:
    """A world for a store; start it inside the event loop. Raises ValueError for an unknown scenario or speed."""
    return World(store, speed=speed, scenario=scenario, seed=seed, data_dir=data_dir)


__all__ = ["SCENARIOS", "World", "make_world"]
