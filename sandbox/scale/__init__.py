"""A large practice cluster: many nodes, pods and GPUs that change at a set rate, without controllers."""

from __future__ import annotations

from sandbox.scale.fleet import Fleet, Size, Stack
from sandbox.scale.world import ScaleWorld

__all__ = ["Fleet", "ScaleWorld", "Size", "Stack"]
