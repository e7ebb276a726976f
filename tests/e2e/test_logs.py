"""A log in a browser: followed as it is written, searched, paused, and taken up again without a line twice."""

from __future__ import annotations

from pathlib import Path

import pytest
from playwright.sync_api import Page, StorageState, expect

from deployments.gateways.kubernetes import connect, import_context, proxy_path, read_kubeconfig
from tests.e2e.conftest import Installed, Opens, complaints
from tests.smoke.product import Product

LINE = '.l:has-text("/api/{}")'


@pytest.fixture
def say(product: Product, tmp_path: Path):  # type: ignore[no-untyped-def]
    """Makes Ollama log a line: it writes down every path that it is asked for."""
    credential = import_context(read_kubeconfig(product.kubeconfig.read_bytes()), allow_loopback=True)
    with connect(credential, cluster_uid="", cache_dir=tmp_path, allow_loopback=True) as client:
        yield lambda word: client.request_through(
            "GET", proxy_path("smoke", "pods", "smoke-server-0", "http", 11434, f"api/{word}")
        )


def hide(page: Page, hidden: bool) -> None:
    page.evaluate(
        """hidden => {
            Object.defineProperty(document, 'hidden', {value: hidden, configurable: true});
            document.dispatchEvent(new Event('visibilitychange'));
        }""",
        hidden,
    )


def test_a_log_is_followed_searched_and_paused(
    opens: Opens,
    signed_in: StorageState,
    installed: Installed,
    say,  # type: ignore[no-untyped-def]
) -> None:
    context = opens(storage_state=signed_in)
    page, other = context.new_page(), context.new_page()
    said = complaints(page)
    for each in (page, other):
        each.goto(f"{installed.deployment}logs/?of=smoke-server-0/ollama")
        expect(each.locator("#log")).to_contain_text("Listening on")
    log, beside = page.locator("#log"), other.locator("#log")
    say("first")
    expect(log.locator(LINE.format("first"))).to_have_count(1)

    page.get_by_label("Search in what is shown").fill("LISTENING on")
    expect(page.locator("#log-tools [data-hits]")).to_have_text("1 of 1")
    page.get_by_label("Only hits").check()
    expect(log.locator(".l:visible")).to_have_count(1)
    page.get_by_label("Only hits").uncheck()

    page.get_by_role("button", name="Pause").click()
    say("second")
    expect(beside.locator(LINE.format("second"))).to_have_count(1)
    expect(log.locator(LINE.format("second"))).to_have_count(0)
    page.get_by_role("button", name="Go on").click()
    expect(log.locator(LINE.format("second"))).to_have_count(1)

    hide(page, True)
    say("third")
    expect(beside.locator(LINE.format("third"))).to_have_count(1)
    expect(log.locator(LINE.format("third"))).to_have_count(0)
    hide(page, False)
    expect(log.locator(LINE.format("third"))).to_have_count(1)
    for word in ("first", "second"):
        expect(log.locator(LINE.format(word))).to_have_count(1)
    expect(log).to_have_js_property("scrollTop", log.evaluate("box => box.scrollHeight - box.clientHeight"))
    assert said == []
