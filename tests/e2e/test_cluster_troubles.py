"""An open page of a cluster, and one of GPUs, while the API server and the exporters misbehave.

The cluster is one that the test starts, so that it can be taken away, and another one put in its place.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
from playwright.sync_api import Page, StorageState, expect

from tests.e2e.conftest import Opens
from tests.sandbox_server import RunningSandbox, running_sandbox

# Fault, its parameters, the sentence on the cluster's page, the remedy. The first request that the observer
# sends is for the version.
WALK: tuple[tuple[str, dict[str, Any], str, str], ...] = (
    (
        "http_5xx",
        {"code": 503},
        "The cluster's API server failed to answer.",
        "If this stays, ask whoever runs the cluster.",
    ),
    (
        "unauthorized",
        {},
        "The cluster does not accept the stored credential (any more).",
        "Replace the stored credential with one that the cluster accepts.",
    ),
    ("html_answer", {}, "failed to answer", "If this stays, ask"),
    ("http_429", {"retry_after": 1}, "The cluster asks for patience", "If this stays, ask"),
    ("drop", {}, "The connection to the cluster broke", "look whether the API server can be reached"),
)


class Place:
    """An address at which one practice cluster after another may be."""

    def __init__(self, state: Path) -> None:
        self._state = state
        self._stack = ExitStack()

    def start(self) -> RunningSandbox:
        """A new one, with the address and the certificates of the one before and nothing else of it."""
        self.stop()
        (self._state / "objects.json").unlink(missing_ok=True)
        made = running_sandbox(world=True, scenario="small", speed=100, state=self._state, seed=None)
        self.running = self._stack.enter_context(made)
        return self.running

    def stop(self) -> None:
        self._stack.close()


@pytest.fixture
def place(tmp_path: Path) -> Iterator[Place]:
    found = Place(tmp_path)
    yield found
    found.stop()


def connect(page: Page, sandbox: RunningSandbox) -> None:
    """To the page of the cluster, connected through the pages."""
    page.goto("/clusters/connect")
    page.locator("[name=name]").fill("troubled")
    page.locator("[name=kubeconfig]").fill(sandbox.kubeconfig_path.read_text())
    page.get_by_role("button", name="Connect the cluster").click()
    reachable(page)
    page.evaluate("document.documentElement.dataset.loaded = 'once'")


def reachable(page: Page) -> None:
    expect(page.locator(".hero.healthy .say")).to_contain_text("It answers as Kubernetes")


def says(page: Page, sentence: str, remedy: str) -> None:
    expect(page.locator(".hero.failed .say")).to_contain_text(sentence)
    expect(page.locator(".hero .remedy")).to_contain_text(remedy)
    assert page.evaluate("document.documentElement.dataset.loaded") == "once", "it was never loaded anew"


@pytest.fixture
def page(opens: Opens, signed_in: StorageState, place: Place) -> Iterator[Page]:
    """Of the cluster at the place. It is removed afterwards: other tests use the same product."""
    found = opens(storage_state=signed_in).new_page()
    connect(found, place.start())
    address = found.url
    yield found
    found.goto(f"{address}remove")
    found.locator("[name=confirm]").fill("troubled")
    found.get_by_role("button", name="Remove troubled").click()
    expect(found).to_have_url(re.compile(r"/clusters/$"))


def test_open_pages_say_what_the_api_server_and_the_exporters_do(
    opens: Opens, signed_in: StorageState, place: Place, page: Page
) -> None:
    sandbox = place.running
    # In a window of its own: of two tabs in one window the hidden one would not be told anything.
    gpus = opens(storage_state=signed_in).new_page()
    gpus.goto("/gpus/")
    expect(gpus.locator("#gpus")).to_contain_text("practice-gpu-1")
    sandbox.faults("exporters_gone")  # seen when the GPUs are sampled next; the other page goes on meanwhile
    nodes = opens(storage_state=signed_in).new_page()
    nodes.goto(f"{page.url}nodes/")
    of_nodes = nodes.get_by_role("heading", level=1)
    expect(of_nodes).to_contain_text("all ready")
    for fault, params, sentence, remedy in WALK:
        # Watches that are open would go on, and nobody would ask anew for a quarter of a minute.
        sandbox.faults(fault, **params)
        sandbox.faults("watch_close")
        says(page, sentence, remedy)
        expect(of_nodes).to_contain_text("When last seen:")
        expect(nodes.locator("#inventory .notice")).to_contain_text(sentence)
        sandbox.clear_faults(fault)
        sandbox.clear_faults("watch_close")
        reachable(page)
        expect(of_nodes).not_to_contain_text("When last seen:")
    expect(gpus.locator("#gpus")).to_contain_text("The cluster has no exporter that measures GPUs.")
    place.stop()
    says(page, "Nothing listens at the address of the cluster's server.", "look whether the API server")
    place.start()
    says(page, "Another cluster answers at this address", "connect it again under another name")
