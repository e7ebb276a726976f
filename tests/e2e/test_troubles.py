"""An open page of a deployment while one trouble after another befalls it.

The page is loaded once; the live stream brings every sentence and every remedy. What cannot be seen
quickly on such a page stands in :mod:`tests.faults.claims`, with the test that sees it elsewhere.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from playwright.sync_api import Page, StorageState, expect

from tests.e2e.conftest import Installed, Opens
from tests.e2e.practice import FAST, Practice, caught, crashes
from tests.smoke.product import Product

SPACE = "smoke"
POD = f"/api/v1/namespaces/{SPACE}/pods/smoke-server-0"
CLAIM = f"/api/v1/namespaces/{SPACE}/persistentvolumeclaims/models-smoke-server-0"
SERVER = {"namespace": SPACE, "pod": "smoke-server-*"}
# The first age of a region that has just come from the server.
AGE_OF_FRESH_WORDS = """() => {
  const age = document.querySelector('#overview time[data-age]');
  age.textContent = 'as it came';
  age.dispatchEvent(new CustomEvent('fresh', { bubbles: true }));
  return age.textContent;
}"""


class OpenPage:
    """A deployment's page that somebody has open, and the cluster that it tells of."""

    def __init__(self, page: Page, practice: Practice) -> None:
        self.page = page
        self.practice = practice
        self.hero = page.locator(".hero")
        self._mark = "document.documentElement.dataset.loaded"
        page.evaluate(f"{self._mark} = 'once'")

    def says(self, health: str, sentence: str, remedy: str, evidence: str = "") -> None:
        """What it says by itself, sooner or later."""
        expect(self.page.locator(f".hero.{health} .say")).to_contain_text(sentence)
        expect(self.hero.locator(".remedy")).to_contain_text(remedy)
        if evidence:
            expect(self.hero.locator(".ev")).to_contain_text(evidence)
        assert self.page.evaluate(self._mark) == "once", "it was never loaded anew"

    def well(self) -> None:
        """Every fault is over, and it says that."""
        self.practice.clear()
        self.practice.speed(FAST)
        expect(self.page.locator(".hero.healthy .say")).to_contain_text("ready on every server")

    def anew(self) -> None:
        """The server's pod begins anew."""
        self.practice.delete(POD)

    def uid(self) -> str:
        (pod,) = self.practice.pods(SPACE, "server")
        return str(pod["metadata"]["uid"])


@pytest.fixture
def opened(
    opens: Opens, signed_in: StorageState, product: Product, installed: Installed
) -> Iterator[OpenPage]:
    practice = Practice(product)
    page = opens(storage_state=signed_in).new_page()
    page.goto(installed.deployment)
    with practice.at(FAST):
        found = OpenPage(page, practice)
        found.well()
        yield found
        found.well()


def test_the_open_page_says_each_trouble_of_its_pods_and_its_end(opened: OpenPage) -> None:
    practice = opened.practice
    (pod,) = practice.pods(SPACE, "server")
    node = pod["spec"]["nodeName"]

    practice.fault("probe_failure", **SERVER, kind="readiness")
    opened.says(
        "degraded",
        "smoke-server-0 runs, but fails its readiness probe and gets no requests.",
        "Read the log: why does it not answer?",
        "Readiness probe failed",
    )
    opened.well()

    practice.fault("node_not_ready", node="*")
    opened.says(
        "failed",
        "does not answer any more",
        "Repair the node; if it does not come back, delete the pod by force.",
    )
    opened.well()

    practice.speed(1)  # after 40 seconds its pods would be collected
    practice.fault("node_lost", node=node)
    opened.says("failed", f"The node {node} is gone, and smoke-", "Another node takes its pods")
    opened.well()

    for fault, params, sentence, remedy in (
        (
            "crash_loop",
            {"code": 3},
            "ends with exit code 3 again and again",
            "Read the last lines of its log.",
        ),
        ("oom", {}, "was killed: it used more memory than its limit.", "Raise the memory limit"),
    ):
        practice.fault(fault, **SERVER, **params)
        look_closely(practice, lambda: crashes(practice.pods(SPACE, "server")[0], 4), fault)
        opened.says("failed", sentence, remedy, "CrashLoopBackOff")
        opened.well()
        before = opened.uid()
        opened.anew()  # what it has crashed is forgotten with it
        caught(lambda before=before: opened.uid() != before, "another pod")  # type: ignore[misc]
        opened.well()

    practice.fault("probe_failure", **SERVER, kind="liveness")
    look_closely(practice, lambda: crashes(practice.pods(SPACE, "server")[0], 4), "liveness")
    opened.says(
        "failed",
        "smoke-server-0 fails its liveness probe, and it is started again and again",
        "Read the log: why does it not answer any more?",
        "Liveness probe failed",
    )
    opened.well()

    # Those that only a pod meets which begins.
    for fault, params, health, sentence, remedy in (
        (
            "container_error",
            SERVER,
            "failed",
            "The node's runtime refused to start",
            "check the runtime class",
        ),
        (
            "pod_start_error",
            {**SERVER, "reason": "FailedMount"},
            "degraded",
            "A volume cannot be mounted.",
            "a Secret, a claim, or NFS",
        ),
        (
            "quota",
            {"namespace": SPACE},
            "failed",
            "The namespace's quota has no room for these pods.",
            "Raise the namespace's quota.",
        ),
    ):
        practice.fault(fault, **params)
        opened.anew()
        opened.says(health, sentence, remedy)
        opened.well()

    # Machines that come back have no images, and only they take the pod.
    practice.fault("node_lost", node="*1")
    practice.clear("node_lost")
    practice.fault("cordon", node="*[!1]")
    practice.fault("image_pull_error", **SERVER, text="dial tcp: lookup registry-1.docker.io: no such host")
    opened.anew()
    opened.says(
        "failed", "The node cannot download", "The node does not reach the registry; set a mirror on it."
    )
    opened.well()


def test_the_open_overview_says_what_needs_somebody_and_when_nothing_does(
    opens: Opens, signed_in: StorageState, opened: OpenPage
) -> None:
    # In a window of its own: of two tabs in one window the hidden one would not be told anything.
    page = opens(storage_state=signed_in).new_page()
    page.goto("/")
    # A page that is not live itself: its menu is, and says nothing of the page.
    beside = opens(storage_state=signed_in).new_page()
    beside.goto("/teams/")
    figure = beside.locator("#menu a[href='/'] .n")
    expect(figure).to_have_count(0)
    title, mark = page.get_by_role("heading", level=1), "document.documentElement.dataset.loaded"
    expect(title).to_have_text("Nothing needs you")
    page.evaluate(f"{mark} = 'once'")
    opened.practice.fault("probe_failure", **SERVER, kind="readiness")
    expect(title).to_have_text("1 thing needs you")
    expect(page.locator("#overview")).to_contain_text("smoke-server-0 runs, but fails its readiness probe")
    expect(figure).to_have_text("1")
    expect(beside.locator("#live > span")).to_be_hidden()
    assert page.evaluate(AGE_OF_FRESH_WORDS) != "as it came", "it goes on where the page's clock is"
    opened.well()
    expect(title).to_have_text("Nothing needs you")
    expect(figure).to_have_count(0)
    expect(beside.locator("#menu [aria-current]")).to_have_text("Teams")
    assert page.evaluate(mark) == "once", "it was never loaded anew"


def test_the_open_page_says_why_its_pods_find_no_node(opened: OpenPage) -> None:
    """One pod waits all the time: that it finds no node is said after 15 seconds, and then for each reason."""
    practice = opened.practice
    practice.fault("cordon", node="*")
    practice.fault("evict", namespace=SPACE)
    opened.says(
        "failed",
        "was evicted: its node ran short.",
        "Free disk or memory on the node.",
        "The node was low on resource",
    )
    for pod in practice.pods(SPACE, "chat"):
        if pod["status"].get("reason") == "Evicted":
            practice.delete(f"/api/v1/namespaces/{SPACE}/pods/{pod['metadata']['name']}")
    opened.says("failed", "The nodes are cordoned", "Uncordon a node.")
    practice.fault("node_pressure", node="*", type="DiskPressure")
    practice.clear("cordon")
    opened.says("failed", "short of disk", "Free on the nodes what they lack.", "disk-pressure")
    practice.fault("unschedulable")
    practice.clear("node_pressure")
    opened.says(
        "failed",
        "No node has enough free GPUs",
        "Free a GPU: the page of GPUs says who holds them.",
        "Insufficient nvidia.com/gpu",
    )
    practice.fault("taint", node="*", key="example.com/reserved")
    practice.clear("unschedulable")
    opened.says(
        "failed",
        "5 with taints that it does not tolerate",
        "Add the toleration in the profile",
        "example.com/reserved",
    )


def test_the_open_page_follows_a_lost_volume_to_its_end(opened: OpenPage) -> None:
    """Its claim is lost; a new one waits; the model is pulled again and stalls; then all is well."""
    practice = opened.practice
    practice.fault("lost_claims", namespace=SPACE)
    sentence = "The volume behind the claim models-smoke-server-0 is gone."
    opened.says("degraded", sentence, "Delete the claim and the pods that use it")
    practice.fault("unbound_claims", namespace=SPACE)
    practice.fault("stalled_pull", namespace=SPACE, at=0.3)
    practice.clear("lost_claims")
    practice.delete(CLAIM)
    opened.anew()
    opened.says("progressing", "The claim models-smoke-server-0 waits for its volume.", "")
    practice.clear("unbound_claims")
    opened.says("progressing", "Downloading deepseek-r1:1.5b: 0.3 of 1.1 GB.", "")
    opened.well()


def look_closely(practice: Practice, condition: Callable[[], object], what: str) -> None:
    """Let time fly until something is so, and then go as slowly as real time does."""
    practice.speed(1000)
    try:
        caught(condition, what)
    finally:
        practice.speed(1)
