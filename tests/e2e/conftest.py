"""The whole product, started once, and Chromium to use it with."""

from __future__ import annotations

import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import partial
from pathlib import Path
from urllib.parse import urljoin, urlsplit

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
from tests.smoke import __main__ as smoke
from tests.smoke.browser import Browser as PlainBrowser
from tests.smoke.product import Product, running_product, wait

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
    # The journey begins with a product that nobody has used yet.
    items.sort(key=lambda item: item.path.name != "test_journey.py")
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


@dataclass(frozen=True)
class Installed:
    """Something to look at on every page: addresses of what smoke's driver installed."""

    operation: str
    deployment: str
    profile: str
    cluster: str
    place: str
    preflight: str
    review: str


@pytest.fixture(scope="session")
def installed(product: Product) -> Installed:
    driver = PlainBrowser()
    smoke.sign_in(driver, product.address, product.user, product.password)
    wait(partial(smoke.usable_cluster, driver, product.address), 60, "the practice cluster to be checked")
    seen: list[str] = []
    driver_open = driver.open

    def remember(url: str) -> smoke.Page:
        page = driver_open(url)
        seen.append(page.url)
        return page

    driver.open = remember  # type: ignore[method-assign]
    submit = driver.submit

    def remember_too(form: smoke.Form, button: tuple[str, str] | None = None) -> smoke.Page:
        page = submit(form, button)
        seen.append(page.url)
        return page

    driver.submit = remember_too  # type: ignore[method-assign]
    operation = smoke.install(driver, product.address)
    wait(lambda: smoke.ended(driver, operation.url), 180, "the install to end")
    page = driver.open(operation.url)

    def first(pattern: str, text: str) -> str:
        found = re.search(pattern, text)
        assert found, f"no {pattern}"
        return found[1]

    def walked(step: str) -> str:
        url = next(url for url in seen if f"/install/{step}" in url)
        return url.removeprefix(product.address)

    return Installed(
        operation=urlsplit(operation.url).path,
        deployment=first(r'href="(/deployments/\d+/)', page.text),
        profile=first(r'href="(/profiles/\d+/)"', driver.open(urljoin(product.address, "/profiles/")).text),
        cluster=first(r'href="(/clusters/\d+/)"', driver.open(urljoin(product.address, "/clusters/")).text),
        place=walked("place"),
        preflight=walked("preflight"),
        review=walked("review"),
    )


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
