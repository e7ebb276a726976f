"""Charts in a browser: drawn, read by pointer and by keyboard, over another range, and light enough."""

from __future__ import annotations

import os
import re

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, StorageState, expect

from dashboard.fetch_assets import present
from tests.e2e.conftest import Installed, Opens, complaints
from tests.e2e.test_pages import DESK, holds

MOST_BYTES = 110 * 1024  # of a first load with charts, compressed
VALUE = re.compile(r"^\d+\u00a0%$")


def drawn(page: Page) -> None:
    expect(page.locator(".plot[data-drawn] canvas")).to_have_count(4)


def read_by_pointer(page: Page) -> str:
    """The value under the pointer, which is moved from now to the left until it stands on one."""
    busy = page.locator("[data-chart=utilisation]")
    box = busy.locator(".u-over").bounding_box()
    assert box is not None
    for left in range(1, 60):
        page.mouse.move(box["x"] + box["width"] - left, box["y"] + box["height"] / 2)
        value, when = busy.locator(".read b").inner_text(), busy.locator(".read span").inner_text()
        if VALUE.match(value) and when != "newest":
            return value
    raise AssertionError(f"no value under the pointer, but {value!r} at {when!r}")


@pytest.mark.skipif(
    not present() and os.environ.get("REQUIRE_BROWSER") != "1",
    reason="uPlot was not fetched: ./run does so where npm packages can be reached",
)
def test_charts_are_drawn_and_read(opens: Opens, signed_in: StorageState, installed: Installed) -> None:
    page = opens(storage_state=signed_in, viewport=DESK).new_page()
    said = complaints(page)
    page.goto("/gpus/")
    expect(page.get_by_role("heading", level=1)).to_have_text(re.compile(r"\d+ of \d+ GPUs held, \d+ free"))
    assert Axe().run(page).violations_count == 0
    page.locator(".strip a.l").first.click()
    drawn(page)
    assert read_by_pointer(page)
    page.mouse.move(0, 0)
    expect(page.locator("[data-chart=power] .read span")).to_have_text("newest")

    page.locator("[data-chart=memory_used] .plot").focus()
    page.keyboard.press("Home")
    expect(page.locator("[data-chart=temperature] .read b")).to_have_text("no data")
    page.keyboard.press("Tab")
    expect(page.locator("[data-chart=temperature] .read span")).to_have_text("newest")

    page.get_by_role("link", name="24 h").click()
    expect(page).to_have_url(re.compile(r"\?range=24h$"))
    expect(page.get_by_role("heading", name="The last 24 hours")).to_be_visible()
    drawn(page)
    page.locator("#as-table summary").click()
    expect(page.locator("#as-table td").first).to_be_visible()
    assert said == []
    holds(page, page.url, MOST_BYTES)

    for address in ("nodes/", "nodes/practice-gpu-1/", "classes/", "events/"):
        page.goto(f"{installed.cluster}{address}")
        assert Axe().run(page).violations_count == 0, address
    page.goto(f"{installed.deployment}?tab=gpus")
    assert Axe().run(page).violations_count == 0
    assert said == []
