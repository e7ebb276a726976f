"""From the first sign-in to an uninstall, as a new user does it."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Opens, complaints, sign_in
from tests.e2e.practice import Practice
from tests.smoke.product import Product, wait

PROFILE, CLUSTER, NAME, REASON = "deepseek-r1 1.5b", "practice", "journey", "the first try"
LONG = 180_000  # ms for an install or uninstall on a busy machine


def test_from_the_first_sign_in_to_the_uninstall(opens: Opens, product: Product) -> None:
    page = opens().new_page()
    said = complaints(page)
    sign_in(page, product)
    expect(page.get_by_role("heading", name="Nothing is deployed yet")).to_be_visible()
    cluster_is_checked(page)

    page.goto("/")
    page.get_by_role("listitem").filter(has_text="Install it").get_by_role("link", name="Install").click()
    fill_in_the_wizard(page)
    watch_it_succeed(page, f"Install {NAME}")

    page.get_by_role("link", name="Open deployment").click()
    expect(page.locator(".hero .lab")).to_contain_text("Healthy", timeout=LONG)
    address = page.url
    with Practice(product).at(1):  # faster, and a busy browser sees an answer come in one piece
        ask_the_chat(page)

    uninstall(page)
    watch_it_succeed(page, f"Uninstall {NAME}")
    page.goto("/deployments/")
    expect(page.get_by_role("heading", name="Deployments", level=1)).to_be_visible()
    expect(page.get_by_role("main").get_by_role("link", name=NAME)).to_have_count(0)
    page.goto(address)
    expect(page.get_by_text("It was uninstalled.")).to_be_visible()
    page.goto("/")
    recent = page.get_by_role("region", name="Recent changes")
    lines = recent.get_by_role("listitem").filter(has_text=NAME)
    expect(lines.first).to_contain_text("uninstalled")
    for act in ("began to install", "installed", "began to uninstall"):
        expect(lines.filter(has_text=act)).not_to_have_count(0)
    assert said == []


def cluster_is_checked(page: Page) -> None:
    page.goto("/operations/?kind=check_connection")
    expect(page.get_by_role("cell", name="Succeeded")).to_be_visible()


def fill_in_the_wizard(page: Page) -> None:
    choose(page, "revision", PROFILE)
    page.get_by_role("button", name="Go on with this profile").click()
    choose(page, "cluster", CLUSTER)
    page.locator("[name=namespace]").fill(NAME)
    page.locator("[name=name]").fill(NAME)
    page.get_by_role("button", name="Check the place").click()
    expect(page).to_have_url(re.compile("/install/preflight"))
    # The findings come by the stream, without a reload.
    mark(page)
    expect(page.locator("#preflight").get_by_text(re.compile(r"^\d+ pass$"))).to_be_visible()
    assert marked(page)
    page.get_by_role("button", name="Review what will happen").click()
    expect(page).to_have_url(re.compile("/install/review"))
    expect(page.locator("#review details.fold").first).to_be_visible()
    expect(page.locator("#review")).to_contain_text("StatefulSet")
    page.locator("#yaml > summary").click()
    expect(page.locator("#yaml")).to_contain_text("apiVersion: apps/v1")
    page.locator("[name=reason]").fill(REASON)
    page.get_by_role("button", name=f"Install {NAME}").click()
    expect(page).to_have_url(re.compile(r"/operations/\d+/$"))
    expect(page.get_by_text(f"“{REASON}”")).to_be_visible()


def choose(page: Page, name: str, text: str) -> None:
    value = page.locator(f"select[name={name}] option").filter(has_text=text).first.get_attribute("value")
    page.locator(f"select[name={name}]").select_option(value)


def watch_it_succeed(page: Page, title: str) -> None:
    """The operation's page goes to its end by itself: the same document from first to last."""
    expect(page.get_by_role("heading", name=title, level=1)).to_be_visible()
    mark(page)
    expect(page.locator("#live")).to_have_text("Live")
    expect(page.locator("main .head .sub")).to_contain_text("Succeeded", timeout=LONG)
    assert marked(page), "the page was loaded again"


def ask_the_chat(page: Page) -> None:
    page.get_by_role("navigation").get_by_role("link", name="Chat").click()
    handle = page.locator("iframe.chat-frame").element_handle()
    frame = handle and handle.content_frame()
    assert frame is not None
    frame.locator("#text").fill("Say hello.")
    # Counts each change of the text: an answer that came in one piece would change it once.
    frame.evaluate(
        """() => {
          window.lengths = new Set();
          new MutationObserver(() => window.lengths.add(document.body.innerText.length))
            .observe(document.body, { subtree: true, childList: true, characterData: true });
        }"""
    )
    frame.get_by_role("button", name="Send").click()

    def in_pieces() -> bool:
        assert frame.locator(".error").all_inner_texts() == []
        return bool(frame.evaluate("window.lengths.size") > 5)

    # Not wait_for_function: the chat's own policy forbids what that evaluates.
    wait(in_pieces, LONG / 1000, "an answer, piece by piece")


def uninstall(page: Page) -> None:
    page.get_by_role("link", name="Uninstall…").click()
    dialog = page.get_by_role("dialog")
    deed = dialog.get_by_role("button", name=f"Uninstall {NAME}")
    dialog.get_by_text("Delete it").click()
    dialog.locator("[name=confirm]").fill("something-else")
    expect(deed).to_be_disabled()
    expect(dialog.get_by_role("status")).not_to_be_empty()
    dialog.locator("[name=confirm]").press("Enter")
    expect(dialog).to_be_visible()
    dialog.locator("[name=confirm]").fill(NAME)
    deed.click()
    expect(page).to_have_url(re.compile(r"/operations/\d+/$"))


def mark(page: Page) -> None:
    page.evaluate("window.sameDocument = true")


def marked(page: Page) -> bool:
    return bool(page.evaluate("window.sameDocument === true"))
