"""Pages that are left open: as light after many changes as after a few, and never stale while they say "Live".

Hours pass on the page's clock, which is moved on; the server's goes as ever.
"""

from __future__ import annotations

import os
import re
import socket
import threading
from collections.abc import Iterator
from functools import partial
from urllib.parse import urlsplit

import orjson
import pytest
import redis
from playwright.sync_api import CDPSession, Page, Route, StorageState, expect

from dashboard.environment import socket_path
from dashboard.fetch_assets import present
from deployments.ledger.announce import CHANNEL
from tests.e2e.conftest import Installed, Opens, complaints
from tests.smoke.product import Product, wait

LIVE = "Live"
A_GAP = 1500  # ms; a region asks no more often than this
WARM, MANY = 10, 30  # rounds of changes


class Road:
    """The way to the product, on which connections that are there can be left open and lose every byte."""

    def __init__(self, product: Product) -> None:
        self._to = ("127.0.0.1", urlsplit(product.address).port or 80)
        self._listener = socket.create_server(("127.0.0.1", 0))
        self._ends: list[socket.socket] = []
        self._dead: set[socket.socket] = set()
        host, port = urlsplit(product.address).hostname, self._listener.getsockname()[1]
        self.address = f"http://{host}:{port}"
        threading.Thread(target=self._admit, daemon=True).start()

    def fall_silent(self) -> None:
        self._dead.update(self._ends)

    def close(self) -> None:
        for each in (self._listener, *self._ends):
            each.close()

    def _admit(self) -> None:
        try:
            while True:
                near, _from = self._listener.accept()
                far = socket.create_connection(self._to)
                self._ends += [near, far]
                for source, target in ((near, far), (far, near)):
                    threading.Thread(target=self._carry, args=(source, target), daemon=True).start()
        except OSError:
            return

    def _carry(self, source: socket.socket, target: socket.socket) -> None:
        try:
            while piece := source.recv(65536):
                if source not in self._dead:
                    target.sendall(piece)
            target.shutdown(socket.SHUT_WR)
        except OSError:
            return


@pytest.fixture
def road(product: Product) -> Iterator[Road]:
    made = Road(product)
    yield made
    made.close()


def with_a_clock(opens: Opens, signed_in: StorageState, address: str) -> Page:
    page = opens(storage_state=signed_in).new_page()
    page.clock.install()
    page.goto(address)
    expect(page.locator("#live")).to_have_text(LIVE)
    return page


def pass_with_a_stream(page: Page, seconds: int) -> None:
    """Let time pass in which the stream says that it lives, and nothing else."""
    for _each in range(seconds // 10):
        page.evaluate("new BroadcastChannel('pilothouse-live').postMessage({line: {o: 'nothing:0'}})")
        page.clock.fast_forward(10_000)


def test_a_stream_that_dies_without_a_word_is_read_anew(
    opens: Opens, signed_in: StorageState, installed: Installed, road: Road
) -> None:
    page = with_a_clock(opens, signed_in, road.address + installed.deployment)
    road.fall_silent()
    came: set[str] = set()
    page.on("response", lambda answer: came.add(urlsplit(answer.url).path))
    page.clock.fast_forward("08:00:00")
    for _each in range(60):  # a connection after the other is found dead
        page.wait_for_timeout(100)
        page.clock.fast_forward(5_000)
        if came >= {"/live/stream", "/menu", installed.deployment}:
            break
    assert came >= {"/live/stream", "/menu", installed.deployment}
    expect(page.locator("#live")).to_have_text(LIVE)


def test_a_page_whose_changes_got_lost_asks_and_says_where_nothing_answers(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = with_a_clock(opens, signed_in, installed.deployment)
    head = page.locator("#live")
    with page.expect_request("**/*part=state*", timeout=15_000):
        pass_with_a_stream(page, 80)

    def hang(route: Route) -> None:
        if "x-fragment" not in route.request.headers:
            route.continue_()

    page.route("**/*", hang)
    pass_with_a_stream(page, 120)
    expect(head).to_have_text(re.compile("^Not updated for"))
    page.unroute("**/*", hang)
    pass_with_a_stream(page, 40)
    expect(head).to_have_text(LIVE)

    page.evaluate("document.documentElement.dataset.built = 'the last release'")
    pass_with_a_stream(page, 80)
    expect(head).to_have_text("Pilothouse was upgraded. Load the page again.")


def test_what_a_page_may_no_longer_show_stays_said_until_it_may(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = with_a_clock(opens, signed_in, installed.deployment)
    head = page.locator("#live")
    page.route("**/*part=state*", lambda route: route.fulfill(status=404))
    pass_with_a_stream(page, 80)
    expect(head).to_have_text("A part of this page no longer exists.")
    with page.expect_response(re.compile("/menu")):
        pass_with_a_stream(page, 80)
    expect(head).to_have_text("A part of this page no longer exists.")
    page.unroute("**/*part=state*")
    pass_with_a_stream(page, 80)
    expect(head).to_have_text(LIVE)
    page.context.clear_cookies()
    pass_with_a_stream(page, 80)
    expect(head).to_have_text("Signed out. Load the page again to sign in.")


class Weighed:
    """An open page and what it holds of its browser's memory."""

    def __init__(self, page: Page) -> None:
        self.page = page
        self._session: CDPSession = page.context.new_cdp_session(page)
        self._session.send("Performance.enable")
        page.evaluate("addEventListener('fresh', () => { window.fresh = (window.fresh ?? 0) + 1; })")

    @property
    def fresh(self) -> int:
        return int(self.page.evaluate("window.fresh ?? 0"))

    def held(self) -> dict[str, float]:
        for _each in range(2):
            self._session.send("HeapProfiler.collectGarbage")
        metrics = self._session.send("Performance.getMetrics")["metrics"]
        found = {each["name"]: each["value"] for each in metrics}
        return {name: found[name] for name in ("Nodes", "JSEventListeners", "JSHeapUsedSize")}


def test_many_changes_leave_open_pages_as_light_as_a_few(
    opens: Opens, signed_in: StorageState, installed: Installed, product: Product
) -> None:
    deployment, operation, cluster = (
        int(re.sub(r"\D", "", path))
        for path in (installed.deployment, installed.operation, installed.cluster)
    )
    changed = ("list:0", f"deployment:{deployment}", f"operation:{operation}", f"cluster:{cluster}", "gpus:1")
    lines = [orjson.dumps({"o": about, "v": 1, "t": None}) for about in changed]
    addresses = ("/", installed.deployment, "/gpus/1/")
    # Windows of their own: of several tabs in one window the hidden ones would not ask.
    pages = [Weighed(with_a_clock(opens, signed_in, address)) for address in addresses]
    said = [complaints(each.page) for each in pages]
    with redis.Redis.from_url(f"unix://{socket_path(product.directory)}") as broker:

        def asked(before: list[int]) -> bool:
            return not any(each.fresh == count for each, count in zip(pages, before, strict=True))

        def change(rounds: int) -> None:
            for _each in range(rounds):
                before = [each.fresh for each in pages]
                for line in lines:
                    broker.publish(CHANNEL, line)
                for each in pages:
                    each.page.clock.fast_forward(A_GAP)
                wait(partial(asked, before), 30, "each page to ask", pause=0.01)

        change(WARM)
        first = [each.held() for each in pages]
        change(MANY)
        for address, page, before in zip(addresses, pages, first, strict=True):
            after = page.held()
            assert after["Nodes"] < before["Nodes"] + 2000, address
            assert after["JSEventListeners"] <= before["JSEventListeners"] + 5, address
            assert after["JSHeapUsedSize"] < before["JSHeapUsedSize"] + 400_000, address
        assert sum(broker.pubsub_numsub(CHANNEL)[0][1:]) == 1, "the pages share a subscription"
    assert said == [[] for _each in pages]


@pytest.mark.skipif(
    not present() and os.environ.get("REQUIRE_BROWSER") != "1",
    reason="uPlot was not fetched: ./run does so where npm packages can be reached",
)
def test_a_value_between_two_gaps_is_seen(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = opens(storage_state=signed_in).new_page()

    def drawing(lonely: float | None) -> str:
        """What the first chart looks like with a line that has a value in the middle and none beside it."""

        def answer(route: Route) -> None:
            whole = {"name": "whole"}
            holed = {"name": "holed"}
            for key in ("utilisation", "memory_used", "temperature", "power"):
                whole[key] = [10.0] * 21  # type: ignore[assignment]
                holed[key] = [None] * 10 + [lonely] + [None] * 10  # type: ignore[assignment]
            route.fulfill(json={"from": 1_700_000_000, "step": 60, "count": 21, "lines": [whole, holed]})

        page.route("**/figures*", answer)
        page.goto("/gpus/1/")
        canvas = page.locator("[data-chart=utilisation] .plot[data-drawn] canvas")
        expect(canvas).to_have_count(1)
        page.wait_for_function("canvas => canvas.width > 0", arg=canvas.element_handle())
        page.evaluate("() => new Promise(requestAnimationFrame)")
        page.unroute("**/figures*")
        return str(canvas.evaluate("canvas => canvas.toDataURL()"))

    assert drawing(None) == drawing(None)
    assert drawing(60.0) != drawing(None)
