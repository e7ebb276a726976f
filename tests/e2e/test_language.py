"""Chinese in a browser: chosen at the door, in the menu and on the account's page; nothing grows too wide."""

from __future__ import annotations

import re
from urllib.parse import urlsplit

import pytest
from playwright.sync_api import BrowserContext, Page, Response, StorageState, expect

from tests.e2e.conftest import Installed, Opens
from tests.e2e.test_pages import DESK, PAGES, holds
from tests.smoke.product import Product

# Those with the longest words, the most figures, and words from scripts.
WIDE = (
    "overview",
    "deployments",
    "pods",
    "logs",
    "preflight",
    "review",
    "operation",
    "edit profile",
    "audit",
    "own account",
)


@pytest.fixture
def chinese(opens: Opens, signed_in: StorageState, product: Product) -> BrowserContext:
    """A browser whose language cookie says Chinese; the account itself chose nothing."""
    context = opens(storage_state=signed_in, viewport=DESK)
    host = str(urlsplit(product.address).hostname)
    context.add_cookies([{"name": "django_language", "value": "zh-hans", "domain": host, "path": "/"}])
    return context


@pytest.mark.parametrize("name", WIDE)
def test_a_chinese_page_is_for_everybody(name: str, chinese: BrowserContext, installed: Installed) -> None:
    page = chinese.new_page()
    holds(page, PAGES[name](installed))
    assert page.locator("html").get_attribute("lang") == "zh-hans"


def test_the_language_is_chosen_at_the_door_and_kept_after_it(opens: Opens, product: Product) -> None:
    page = opens(viewport=DESK).new_page()
    page.goto("/account/login/?next=/clusters/")
    page.get_by_role("button", name="简体中文").click()
    expect(page.get_by_role("heading", level=1)).to_have_text("登录")
    expect(page).to_have_url(re.compile(r"next=/clusters/$"))
    page.locator("[name=login]").fill(product.user)
    page.locator("[name=password]").fill(product.password)
    page.get_by_role("button", name="登录").click()
    expect(page).to_have_url(re.compile("/clusters/$"))
    expect(page.get_by_role("navigation", name="主导航")).to_contain_text("配置档案")
    # What the scripts say comes in the same language.
    expect(page.locator("#live")).to_have_text("实时")


def test_the_menu_and_the_account_change_the_language(opens: Opens, signed_in: StorageState) -> None:
    page = opens(storage_state=signed_in, viewport=DESK).new_page()
    page.goto("/operations/")
    try:
        page.locator("[popovertarget=account]").click()
        page.get_by_role("button", name="简体中文").click()
        expect(page.get_by_role("heading", level=1)).to_have_text("操作")
        page.context.clear_cookies(name="django_language")
        page.goto("/account/")  # it is the account's now, not the browser's
        expect(page.get_by_role("heading", name="语言")).to_be_visible()
        choose(page, "en")
        expect(page.get_by_role("heading", name="Language")).to_be_visible()
    finally:
        page.goto("/account/")
        choose(page, "")
    expect(page.get_by_role("heading", name="Language")).to_be_visible()


def choose(page: Page, code: str) -> None:
    page.locator("#id_language").select_option(code)
    with page.expect_navigation():
        page.locator("form:has(#id_language) [type=submit]").click()


def test_a_region_that_is_refreshed_stays_chinese(chinese: BrowserContext, installed: Installed) -> None:
    page = chinese.new_page()

    def refreshed(answer: Response) -> bool:
        return urlsplit(answer.url).path == installed.operation and "x-fragment" in answer.request.headers

    # Every connection of the stream asks for each region once.
    with page.expect_response(refreshed) as fragment:
        page.goto(installed.operation)
    assert "成功" in fragment.value.text()
