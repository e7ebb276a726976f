"""The whole product, started once, and Chromium to use it with."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from playwright.sync_api import (
    Browser,
    BrowserContext,
    ConsoleMessage,
    Page,
    StorageState,
    expect,
    sync_playwright,
)

from tests.run_tests import BROWSERS
from tests.smoke.product import Product, running_product

FLAGS = (
    "--no-sandbox",
    "--disable-gpu",
    "--disable-background-networking",
    "--host-resolver-rules=MAP *.localhost 127.0.0.1",
)
PATIENCE = 60_000  # ms for what a page shows; a busy machine takes its time


def chromium() -> str | None:
    return os.environ.get("CHROMIUM") or next(filter(None, map(shutil.which, BROWSERS)), None)


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    for item in items:
        if not item.path.is_relative_to(Path(__file__).parent):
            continue
        item.add_marker("browser")
        item.add_marker(pytest.mark.timeout(420))  # the first one starts everything
        if chromium() is None and os.environ.get("REQUIRE_BROWSER") != "1":
            item.add_marker(pytest.mark.skip(reason=f"no Chromium (looked for {', '.join(BROWSERS)})"))


@pytest.fixture(scope="session")
def product(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Product]:
    with running_product(tmp_path_factory.mktemp("product")) as up:
        yield up


@pytest.fixture(scope="session")
def browser() -> Iterator[Browser]:
    expect.set_options(timeout=PATIENCE)
    path = chromium()
    assert path, "REQUIRE_BROWSER=1 and no Chromium"
    with sync_playwright() as playwright:
        launched = playwright.chromium.launch(executable_path=path, args=list(FLAGS))
        yield launched
        launched.close()


@pytest.fixture(scope="session")
def signed_in(browser: Browser, product: Product) -> StorageState:
    """The cookies of a browser where the admin signed in."""
    context = browser.new_context(base_url=product.address, locale="en-US")
    sign_in(context.new_page(), product)
    state = context.storage_state()
    context.close()
    return state


Opens = Callable[..., BrowserContext]


@pytest.fixture
def opens(browser: Browser, product: Product) -> Iterator[Opens]:
    """Make a browser's profile of its own, with the options of ``Browser.new_context``."""
    made: list[BrowserContext] = []

    def make(**options: object) -> BrowserContext:
        context = browser.new_context(base_url=product.address, locale="en-US", **options)  # type: ignore[arg-type]
        context.set_default_timeout(PATIENCE)
        made.append(context)
        return context

    yield make
    for context in made:
        context.close()


def sign_in(page: Page, product: Product) -> None:
    page.goto("/account/login/")
    page.locator("[name=login]").fill(product.user)
    page.locator("[name=password]").fill(product.password)
    page.get_by_role("button", name="Sign in").click()
    expect(page).to_have_url(re.compile(r"/$"))


def complaints(page: Page) -> list[str]:
    """What the page will complain of: exceptions, errors in the console, refusals of its policy.

    The chat's frame is another program's page: it asks for server actions, which its gateway refuses
    on purpose, and says so in the console.
    """
    said: list[str] = []

    def hear(line: ConsoleMessage) -> None:
        if line.type == "error" and ".chat." not in str(line.location.get("url", "")):
            said.append(f"console: {line.text}")

    page.on("pageerror", lambda error: said.append(f"exception: {error}"))
    page.on("console", hear)
    return said
