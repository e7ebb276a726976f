"""One practice cluster for the tests of a module that only need the API."""

from __future__ import annotations

from collections.abc import Iterator

import pytest

from tests.sandbox_server import RunningSandbox, running_sandbox


@pytest.fixture(scope="module")
def cluster() -> Iterator[RunningSandbox]:
    """No world: no controllers, no nodes."""
    tokens = {"nobody-token": ("nobody", ()), "dash-token": ("dashboard-sa", ("dashboards",))}
    with running_sandbox(tokens=tokens) as running:
        yield running


_count = iter(range(1, 10_000))


@pytest.fixture
def namespace(cluster: RunningSandbox) -> str:
    """A namespace of its own for each test."""
    name = f"t-{next(_count)}"
    code, _, _ = cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    assert code == 201
    return name
