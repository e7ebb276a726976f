"""The place for a scale mode: thousands of nodes and pods that only exist in the store, for measurements.

Not built. `World.start` calls `furnish`, which makes nothing.
"""

from __future__ import annotations

from sandbox.store import Store


def furnish(store: Store) -> None:
    """Would create the objects of a large cluster."""
