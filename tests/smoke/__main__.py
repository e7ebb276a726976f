"""`./run smoke`: the main job from nothing to a chat token, through the pages, in a fresh installation.

Starts everything on free ports with its state in a temporary directory, signs in with the one-time
password, installs deepseek-r1:1.5b with the install pages, waits for the operation, opens the chat by
the page's own way, reads one token, and stops. Prints the seconds; the exit code tells.
"""

from __future__ import annotations

import html
import json
import re
import shutil
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from urllib.parse import urljoin, urlsplit

from tests.smoke.browser import Browser, Form, Page
from tests.smoke.product import Broken, Product, running_product, wait

MODEL = "deepseek-r1:1.5b"
PROFILE, CLUSTER, NAME = "deepseek-r1 1.5b", "practice", "smoke"
CHECK_SECONDS, INSTALL_SECONDS = 60.0, 180.0
ENDED = re.compile(r'data-say="[^"]*: (Succeeded|Failed|Cancelled)"')


def main() -> int:
    began = time.monotonic()
    directory = Path(tempfile.mkdtemp(prefix="pilothouse-smoke-"))
    told = Narrator(began)
    try:
        with running_product(directory) as product:
            drive(product, told)
    except (Broken, OSError, KeyError) as trouble:
        print(f"smoke: FAILED after {time.monotonic() - began:.0f} s: {trouble}", flush=True)
        print((directory / "output.log").read_text(errors="replace")[-3000:])
        print(f"The logs are in {directory / 'log'}")
        return 1
    finally:
        told("stopped")
    shutil.rmtree(directory)
    print(f"smoke: fine in {time.monotonic() - began:.1f} s", flush=True)
    return 0


class Narrator:
    """Says what was reached, and after how many seconds."""

    def __init__(self, began: float) -> None:
        self._began = began

    def __call__(self, what: str) -> None:
        print(f"{time.monotonic() - self._began:6.1f} s  {what}", flush=True)


def drive(product: Product, told: Narrator) -> None:
    address = product.address
    told(f"up at {address}")
    browser = Browser()
    sign_in(browser, address, product.user, product.password)
    told(f"signed in as {product.user}")
    wait(lambda: usable_cluster(browser, address), CHECK_SECONDS, "the practice cluster to be checked")
    operation = install(browser, address)
    told(f"installing: {operation.url}")
    page = wait(lambda: ended(browser, operation.url), INSTALL_SECONDS, "the install to end")
    state = ENDED.search(page.text)
    if state is None or state[1] != "Succeeded":
        raise Broken(f"the install ended otherwise: {words(page)}")
    told(f"{MODEL} is installed")
    token = chat(browser, page)
    told(f"the chat says {token!r}")


def sign_in(browser: Browser, address: str, user: str, password: str) -> None:
    page = browser.open(urljoin(address, "/account/login/"))
    form = find(page, lambda each: "password" in each.names)
    form.set("login", user)
    form.set("password", password)
    page = browser.submit(form)
    if page.status != 200 or any("password" in each.names for each in page.forms):
        raise Broken(f"signing in led to {page.status} {page.url}: {words(page)}")


def usable_cluster(browser: Browser, address: str) -> bool:
    """The first check of the connection is an operation; an install before its end would be told to wait."""
    page = browser.open(urljoin(address, "/operations/?kind=check_connection"))
    return "Succeeded" in page.text


def install(browser: Browser, address: str) -> Page:
    """Go through the wizard as a person in a hurry does; the operation's page at its end."""
    page = browser.open(urljoin(address, "/install/"))
    form = find(page, lambda each: "/install/place" in each.action)
    form.choose("revision", PROFILE)
    page = browser.submit(form)
    form = find(page, lambda each: {"cluster", "namespace", "name"} <= each.names)
    form.choose("cluster", CLUSTER)
    form.set("namespace", NAME)
    form.set("name", NAME)
    page = browser.submit(form)
    if "/install/preflight" not in page.url:
        raise Broken(f"the place was refused: {words(page)}")
    form = wait(lambda: checked(browser, page.url), CHECK_SECONDS, "the preflight to find no problem")
    page = browser.submit(form, ("ask", "1"))
    form = find(page, lambda each: "reason" in each.names)
    page = browser.submit(form)
    if not re.fullmatch(r"/operations/\d+/", urlsplit(page.url).path):
        raise Broken(f"the review led to {page.status} {page.url}: {words(page)}")
    return page


def checked(browser: Browser, url: str) -> Form | None:
    """The form that leads on from the preflight, once there is one."""
    page = browser.open(url)
    if "The preflight found a problem" in page.text or "could not be made" in page.text:
        raise Broken(f"the preflight failed: {words(page)}")
    forms = page.forms
    return next((each for each in forms if any(name == "ask" for name, _, _ in each.buttons)), None)


def ended(browser: Browser, url: str) -> Page | None:
    page = browser.open(url)
    return page if ENDED.search(page.text) else None


def chat(browser: Browser, operation: Page) -> str:
    """Enter the chat's own host by the deployment's page, and read the first token of an answer."""
    found = re.search(r'href="(/deployments/\d+/)', operation.text)
    if found is None:
        raise Broken("the operation's page does not lead to the deployment")
    page = browser.open(urljoin(operation.url, found[1] + "chat"))
    if page.status != 200:
        raise Broken(f"the chat answered {page.status} at {page.url}: {words(page)}")
    question = {
        "model": MODEL,
        "messages": [{"role": "user", "content": "Say hello."}],
        "stream": True,
    }
    answer = browser.stream(
        urljoin(page.url, "/api/openai/v1/chat/completions"),
        json.dumps(question).encode(),
        "application/json",
    )
    if answer.status != 200:
        raise Broken(f"the model answered {answer.status}: {answer.read()[:500]!r}")
    with answer:
        for line in answer:
            data = line.decode().strip().removeprefix("data:").strip()
            if not data or data == "[DONE]":
                continue
            choices = json.loads(data).get("choices") or [{}]
            token = choices[0].get("delta", {}).get("content")
            if token:
                return str(token)
    raise Broken("the model's answer held no token")


def find(page: Page, wanted: Callable[[Form], bool]) -> Form:
    for form in page.forms:
        if wanted(form):
            return form
    raise Broken(f"{page.url} ({page.status}) has no such form: {words(page)}")


def words(page: Page) -> str:
    """What a person would read first."""
    main_part = page.text.partition("<main")[2] or page.text
    bare = re.sub(r"<(script|style|template)\b.*?</\1>|<[^>]*>", " ", main_part, flags=re.DOTALL)
    return " ".join(html.unescape(bare).split())[:600]


if __name__ == "__main__":
    sys.exit(main())
