"""What holds for every page: for all eyes and hands, on a phone, in the dark, and without scripts."""

from __future__ import annotations

import re
from collections.abc import Callable

import pytest
from axe_playwright_python.sync_playwright import Axe
from playwright.sync_api import Page, StorageState, expect

from tests.e2e.conftest import Installed, Opens, complaints, sign_in
from tests.smoke.product import Product

MOST_BYTES = 80 * 1024  # of a page's first load, compressed
PHONE, DESK = {"width": 390, "height": 844}, {"width": 1280, "height": 900}
# On each size every rule in one theme, and, in the long run, in the other one those that colours decide.
Look = tuple[str, dict[str, int], list[str] | None]
LOOKS: tuple[Look, ...] = (("light", DESK, None), ("dark", PHONE, None))
OTHER_LOOKS: tuple[Look, ...] = (
    ("dark", DESK, ["color-contrast", "link-in-text-block"]),
    ("light", PHONE, ["color-contrast", "link-in-text-block"]),
)
FIRST_LOAD = {"Document", "Stylesheet", "Script", "Image", "Font"}


PAGES: dict[str, Callable[[Installed], str]] = {
    "overview": lambda _: "/",
    "search": lambda _: "/search?q=smoke",
    "clusters": lambda _: "/clusters/",
    "cluster": lambda at: at.cluster,
    "connect": lambda _: "/clusters/connect",
    "credential": lambda at: at.cluster + "credential",
    "remove cluster": lambda at: at.cluster + "remove",
    "grant": lambda at: at.cluster + "grants/1",
    "another grant": lambda at: at.cluster + "grants/new",
    "take back": lambda at: at.cluster + "grants/1/revoke",
    "cluster preflight": lambda at: at.cluster + "preflight",
    "profiles": lambda _: "/profiles/",
    "profile": lambda at: at.profile,
    "share profile": lambda at: at.profile + "share",
    "copy profile": lambda at: at.profile + "copy",
    "apply profile": lambda at: at.profile + "apply",
    "new profile": lambda _: "/profiles/new",
    "edit profile": lambda at: at.profile + "edit",
    "rename profile": lambda at: at.profile + "rename",
    "import": lambda _: "/profiles/import",
    "install": lambda _: "/install/",
    "place": lambda at: at.place,
    "preflight": lambda at: at.preflight,
    "review": lambda at: at.review,
    "deployments": lambda _: "/deployments/",
    "pods": lambda at: at.deployment + "?tab=pods",
    "pod": lambda at: at.deployment + "pods/smoke-server-0/",
    "logs": lambda at: at.deployment + "logs/",
    "model": lambda at: at.deployment + "?tab=model",
    "chat": lambda at: at.deployment + "?tab=chat",
    "events": lambda at: at.deployment + "?tab=events",
    "releases": lambda at: at.deployment + "?tab=releases",
    "configuration": lambda at: at.deployment + "?tab=configuration",
    "release": lambda at: at.deployment + "releases/1/",
    "upgrade": lambda at: at.deployment + "upgrade",
    "scale": lambda at: at.deployment + "scale",
    "restart": lambda at: at.deployment + "restart",
    "uninstall": lambda at: at.deployment + "uninstall",
    "audit": lambda _: "/audit/?entry=1",
    "audit entry": lambda _: "/audit/2/",
    "audit export": lambda _: "/audit/export?who=admin",
    "audit proof": lambda _: "/audit/proof",
    "audit retention": lambda _: "/audit/retention",
    "operations": lambda _: "/operations/",
    "operation": lambda at: at.operation,
    "approvals": lambda _: "/approvals/",
    "all approvals": lambda _: "/approvals/?show=all",
    "teams": lambda _: "/teams/",
    "new team": lambda _: "/teams/new",
    "team": lambda _: "/teams/1/",
    "rename team": lambda _: "/teams/1/rename",
    "member": lambda _: "/teams/1/members/1/",
    "remove member": lambda _: "/teams/1/members/1/remove",
    "accounts": lambda _: "/users/",
    "an account": lambda _: "/users/1/",
    "disable account": lambda _: "/users/1/disable",
    "own account": lambda _: "/account/",
    "password": lambda _: "/account/password/change/",
    "second factor": lambda _: "/account/2fa/",
    "sessions": lambda _: "/account/sessions/",
}


@pytest.mark.parametrize("name", PAGES)
def test_a_page_is_for_everybody(
    name: str, opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = opens(storage_state=signed_in, viewport=DESK).new_page()
    holds(page, PAGES[name](installed))


@pytest.mark.long
@pytest.mark.parametrize("name", PAGES)
def test_a_page_has_its_contrast_the_other_way_round(
    name: str, opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = opens(storage_state=signed_in, viewport=DESK).new_page()
    holds(page, PAGES[name](installed), looks=OTHER_LOOKS)


def test_signing_in_is_for_everybody(opens: Opens) -> None:
    holds(opens(viewport=DESK).new_page(), "/account/login/")


def holds(page: Page, address: str, most: int = MOST_BYTES, looks: tuple[Look, ...] = LOOKS) -> None:
    """Accessible in both themes and on a phone, nothing cut off, nothing complained of, and light."""
    said = complaints(page)
    with first_load(page) as weight:
        answer = page.goto(address, wait_until="load")
    assert answer is not None and answer.status == 200
    expect(page.get_by_role("heading", level=1)).to_be_visible()
    faults = []
    page.evaluate(Axe().axe_script)
    for scheme, size, rules in looks:
        page.emulate_media(color_scheme=scheme, reduced_motion="reduce")  # type: ignore[arg-type]
        page.set_viewport_size(size)  # type: ignore[arg-type]
        # The chat's frame is another program's page.
        only = {"runOnly": {"type": "rule", "values": rules}} if rules else {}
        found = page.evaluate(
            "([context, options]) => axe.run(context, options)",
            [{"exclude": [["iframe.chat-frame"]]}, {"resultTypes": ["violations"], **only}],
        )
        faults += [
            f"{scheme} {size['width']}: {each['id']}: {node['html'][:200]} ({node['failureSummary']})"
            for each in found["violations"]
            for node in each["nodes"][:3]
        ]
        wide = page.evaluate("document.documentElement.scrollWidth")
        if wide > size["width"]:
            faults.append(f"{size['width']}: the page is {wide} px wide")
    assert not faults, "\n".join(faults)
    assert said == []
    assert sum(weight.values()) <= most, weight


class first_load:
    """Bytes over the wire by address, of what a page needs before its scripts ask for more."""

    def __init__(self, page: Page) -> None:
        self._session = page.context.new_cdp_session(page)
        self._asked: dict[str, str] = {}
        self._bytes: dict[str, int] = {}

    def __enter__(self) -> dict[str, int]:
        self._session.on("Network.responseReceived", self._received)
        self._session.on("Network.loadingFinished", self._finished)
        self._session.send("Network.enable")
        return self._bytes

    def __exit__(self, *_: object) -> None:
        self._session.detach()

    def _received(self, event: dict) -> None:
        own = ".chat." not in event["response"]["url"]
        if event["type"] in FIRST_LOAD and own and event["response"]["url"].startswith("http"):
            self._asked[event["requestId"]] = event["response"]["url"]

    def _finished(self, event: dict) -> None:
        url = self._asked.get(event["requestId"])
        if url is not None:
            self._bytes[url] = int(event["encodedDataLength"])


# Hands on the keyboard ---------------------------------------------------------------------------
def test_a_page_is_used_by_keyboard_alone(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = opens(storage_state=signed_in, viewport=DESK).new_page()
    page.goto(installed.deployment, wait_until="load")
    page.keyboard.press("Tab")
    assert focused(page) == "Skip to content"
    page.keyboard.press("Enter")
    expect(page.locator("#main")).to_be_focused()

    tab_to(page, "Uninstall…")
    page.keyboard.press("Enter")
    dialog = page.get_by_role("dialog")
    expect(dialog).to_be_visible()
    assert page.evaluate("document.querySelector('dialog[open]').contains(document.activeElement)")
    page.keyboard.press("Escape")
    expect(dialog).to_have_count(0)
    expect(page.locator(":focus")).to_have_text("Uninstall…")  # which comes just after the dialog has gone

    page.keyboard.press("Enter")
    expect(dialog).to_be_visible()
    tab_to(page, "confirm")
    page.keyboard.type("smoke")
    expect(dialog.locator("button[type=submit]")).to_be_enabled()
    tab_to(page, "Leave it installed")
    page.keyboard.press("Enter")
    expect(dialog).to_have_count(0)


def test_a_dialog_from_a_menu_gives_the_focus_back_to_the_menu(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    page = opens(storage_state=signed_in, viewport=DESK).new_page()
    page.goto(installed.deployment, wait_until="load")
    tab_to(page, "Change")
    page.keyboard.press("Enter")
    tab_to(page, "Scale…")
    page.keyboard.press("Enter")
    expect(page.get_by_role("dialog")).to_be_visible()
    page.keyboard.press("Escape")
    expect(page.get_by_role("dialog")).to_have_count(0)
    expect(page.locator(":focus")).to_have_text("Change")


def test_the_menu_of_a_phone_is_used_by_keyboard(opens: Opens, signed_in: StorageState) -> None:
    page = opens(storage_state=signed_in, viewport=PHONE).new_page()
    page.goto("/", wait_until="load")
    menu = page.get_by_role("navigation", name="Main")
    expect(menu).to_be_hidden()
    tab_to(page, "Menu")
    page.keyboard.press("Enter")
    expect(menu).to_be_visible()
    page.keyboard.press("Escape")
    expect(menu).to_be_hidden()
    page.keyboard.press("Enter")
    tab_to(page, "Light or dark")  # behind the menu
    expect(menu).to_be_hidden()
    assert focused(page) == "Light or dark"
    tab_to(page, "Menu")
    page.keyboard.press("Enter")
    tab_to(page, "Profiles")
    page.keyboard.press("Enter")
    expect(page).to_have_url(re.compile("/profiles/$"))


def test_words_on_a_phone_stay_in_their_place(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    """A state as long as ProvisioningSucceeded wraps; a label is no code where its figure is."""
    page = opens(storage_state=signed_in, viewport=PHONE).new_page()
    page.goto(installed.deployment + "?tab=events", wait_until="load")
    wide = "[...document.querySelectorAll('.cards td .st')].filter((at) => at.scrollWidth > at.parentElement.clientWidth)"
    assert page.locator(".cards td .st").count()
    assert page.evaluate(f"{wide}.map((at) => at.innerText)") == []
    page.goto(installed.cluster + "classes/", wait_until="load")
    fonts = "[...document.querySelectorAll('.cards td[data-l]')].map((at) => getComputedStyle(at, '::before').fontFamily)"
    assert page.evaluate(f"[...new Set({fonts})].length") == 1


def focused(page: Page) -> str:
    """The name of what has the focus."""
    text = page.evaluate(
        """() => {
          const at = document.activeElement;
          return at.getAttribute('aria-label') || at.name || at.innerText || at.id;
        }"""
    )
    return str(text).strip()


def tab_to(page: Page, name: str, most: int = 60) -> None:
    passed = []
    for _ in range(most):
        page.keyboard.press("Tab")
        at = focused(page)
        if at.split("\n")[0] == name:
            return
        passed.append(at)
    raise AssertionError(f"Tab does not reach {name!r}; it passes {passed}")


# Without ------------------------------------------------------------------------------------------
@pytest.fixture
def scriptless(opens: Opens, product: Product) -> Page:
    page = opens(java_script_enabled=False).new_page()
    sign_in(page, product)
    return page


def test_without_scripts_pages_are_read_and_forms_sent(scriptless: Page, installed: Installed) -> None:
    page = scriptless
    page.goto(installed.operation)
    expect(page.locator("main .head .sub")).to_contain_text("Succeeded")
    page.goto("/install/")
    page.get_by_role("button", name="Go on with this profile").click()
    expect(page).to_have_url(re.compile("/install/place"))
    page.locator("[name=name]").fill("No Such Name")
    page.get_by_role("button", name="Check the place").click()
    expect(page.locator(".err").first).to_be_visible()

    page.goto(installed.deployment)
    page.get_by_role("link", name="Uninstall…").click()
    page.locator("[name=confirm]").fill("something-else")
    with page.expect_response(re.compile("/uninstall$")) as answer:
        page.get_by_role("button", name=re.compile("^Uninstall")).click()
    assert answer.value.status == 422
    expect(page.locator("#confirm_error")).to_be_visible()


def test_without_the_stream_the_head_says_that_it_asks(
    opens: Opens, signed_in: StorageState, installed: Installed
) -> None:
    context = opens(storage_state=signed_in)
    context.route("**/live/stream*", lambda route: route.abort())
    page = context.new_page()
    page.goto(installed.operation)
    expect(page.locator("#live")).to_have_text("Asks every 10\u00a0s")
    with page.expect_request(lambda request: "x-fragment" in request.headers, timeout=15_000):
        pass
