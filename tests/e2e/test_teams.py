"""From an invitation to a shared profile, a full quota, a request that waits and its yes; and a security key."""

from __future__ import annotations

import re

from playwright.sync_api import Page, expect

from tests.e2e.conftest import Opens, complaints, sign_in
from tests.e2e.test_journey import CLUSTER, LONG, choose, mark, marked
from tests.e2e.test_pages import holds
from tests.smoke.product import Product

TEAM, PERSON, PASSWORD = "Reading room", "robin", "a quiet place to read"
PROFILE = "deepseek-r1 1.5b nvidia"


def test_a_team_gets_a_profile_a_quota_and_a_yes(opens: Opens, product: Product) -> None:
    admin, person = opens().new_page(), opens().new_page()
    said = complaints(admin)
    sign_in(admin, product)
    link = make_the_team(admin)
    grant_the_cluster(admin)
    share_a_profile(admin)

    join(person, link)
    add_a_security_key(person)
    ask_for_too_much(person)
    wait_for_a_yes(person)
    mark(person)

    agree(admin)
    expect(person.locator("main .head .sub")).to_contain_text("Succeeded", timeout=LONG)
    assert marked(person), "the page was loaded again"
    person.goto("/deployments/")
    expect(person.get_by_role("main").get_by_role("link", name="reading")).to_be_visible()
    assert said == []


def make_the_team(admin: Page) -> str:
    """An invitation's link for an owner of the new team."""
    admin.goto("/teams/")
    admin.get_by_role("link", name="New team").click()
    admin.locator("[name=name]").fill(TEAM)
    admin.get_by_role("button", name="Make the team").click()
    expect(admin.get_by_role("heading", name=TEAM, level=1)).to_be_visible()
    invitations = admin.get_by_role("region", name="Invitations")
    invitations.locator("[name=email]").fill(f"{PERSON}@example.org")
    invitations.locator("[name=role]").select_option("owner")
    invitations.get_by_role("button", name="Invite").click()
    link = admin.locator(".notice code").inner_text()
    assert "/join/" in link
    copies(admin, link)
    return link


def copies(admin: Page, link: str) -> None:
    """The button puts the link on the clipboard; where that is forbidden it chooses the text instead."""
    button = admin.locator("[data-copy]")
    admin.evaluate(
        "() => { navigator.clipboard.writeText = () => Promise.reject(new Error('not allowed')); }"
    )
    button.click()
    admin.wait_for_function("wanted => getSelection().toString() === wanted", arg=link)
    expect(button).to_have_text("Copy")
    admin.evaluate("() => { navigator.clipboard.writeText = async text => { window.copied = text; }; }")
    button.click()
    expect(button).to_have_text("Copied")
    assert admin.evaluate("window.copied") == link


def grant_the_cluster(admin: Page) -> None:
    admin.goto("/clusters/")
    admin.get_by_role("main").get_by_role("link", name=CLUSTER).first.click()
    admin.get_by_role("link", name="Grant to a team").click()
    choose(admin, "team", TEAM)
    admin.locator("[name=memory]").fill("16Gi")
    admin.locator("[name=deployments]").fill("2")
    admin.locator("[name=approver]").select_option("admin")
    admin.locator("[name=approve_over_gpus]").fill("0")
    admin.get_by_role("button", name="Grant the cluster").click()
    expect(admin.get_by_text(f"{TEAM} may use {CLUSTER}.")).to_be_visible()


def share_a_profile(admin: Page) -> None:
    quick_choice(admin, "1.5b")
    admin.get_by_role("main").get_by_role("link", name=PROFILE).click()
    admin.get_by_role("link", name="Share").click()
    admin.locator("[name=team_name]").fill(TEAM)
    admin.get_by_role("button", name="Share").click()
    expect(admin.get_by_role("cell", name=TEAM, exact=True)).to_be_visible()


def quick_choice(page: Page, tag: str) -> None:
    """A model on a GPU, of which the install makes a profile."""
    page.goto("/install/")
    page.locator("[name=tag]").select_option(tag)
    page.locator("[name=gpus]").select_option("nvidia")
    page.get_by_role("button", name="Go on with this model").click()
    expect(page).to_have_url(re.compile("/install/place"))


def join(person: Page, link: str) -> None:
    person.goto(link)
    expect(person.get_by_role("heading", name=f"Join {TEAM}")).to_be_visible()
    person.locator("[name=username]").fill(PERSON)
    person.locator("[name=password]").fill(PASSWORD)
    person.get_by_role("button", name="Make the account").click()
    expect(person.get_by_role("heading", name=TEAM, level=1)).to_be_visible()
    person.get_by_role("navigation", name="Main").get_by_role("link", name="Teams").click()
    expect(person.get_by_role("row", name=TEAM)).to_contain_text("Owner")
    expect(person.get_by_role("main").get_by_role("row")).to_have_count(2)
    person.goto(link)
    expect(person.get_by_role("button", name="Make the account")).to_have_count(0)


def add_a_security_key(person: Page) -> None:
    session = person.context.new_cdp_session(person)
    session.send("WebAuthn.enable")
    made = {
        "protocol": "ctap2",
        "transport": "internal",
        "hasResidentKey": True,
        "hasUserVerification": True,
        "isUserVerified": True,
        "automaticPresenceSimulation": True,
    }
    key = session.send("WebAuthn.addVirtualAuthenticator", {"options": made})["authenticatorId"]
    person.goto("/account/2fa/webauthn/add/")
    expect(person).to_have_url(re.compile("/account/reauthenticate/"))
    person.locator("[name=password]").fill(PASSWORD)
    person.get_by_role("button", name="Go on").click()
    expect(person.get_by_role("heading", name="Add Security Key")).to_be_visible()
    person.get_by_role("button", name="Add").click()
    expect(person).not_to_have_url(re.compile("/webauthn/add/"))
    assert len(session.send("WebAuthn.getCredentials", {"authenticatorId": key})["credentials"]) == 1
    person.goto("/account/")
    expect(person.get_by_role("row", name="Second factor")).to_contain_text("on")


def ask_for_too_much(person: Page) -> None:
    quick_choice(person, "7b")
    expect(person.get_by_role("main")).to_contain_text("left of the quota: 16Gi memory, 2 deployments")
    expect(person.get_by_role("main")).to_contain_text("This is 1Gi memory too much.")
    ask_the_place(person, "large")
    expect(person.get_by_text(f"The quota of {TEAM} on {CLUSTER} leaves too little")).to_be_visible()
    said = "Memory: asks for 17Gi, 0 of 16Gi used, 16Gi left, 1Gi too much"
    expect(person.get_by_role("main")).to_contain_text(said)
    expect(person.get_by_role("button", name="Review what will happen")).to_have_count(0)


def wait_for_a_yes(person: Page) -> None:
    person.goto("/install/")
    choose(person, "revision", PROFILE)
    person.get_by_role("button", name="Go on with this profile").click()
    to_the_review(person, "reading")
    person.locator("[name=reason]").fill("for the readers")
    person.get_by_role("button", name="Install reading").click()
    expect(person).to_have_url(re.compile(r"/operations/\d+/$"))
    expect(person.locator("main .head .sub")).to_contain_text("approval", ignore_case=True)


def to_the_review(person: Page, name: str) -> None:
    ask_the_place(person, name)
    person.get_by_role("button", name="Review what will happen").click()
    expect(person).to_have_url(re.compile("/install/review"))


def ask_the_place(person: Page, name: str) -> None:
    """Until the findings of its preflight stand on the page."""
    choose(person, "cluster", CLUSTER)
    person.locator("[name=namespace]").fill("reading")
    person.locator("[name=name]").fill(name)
    person.get_by_role("button", name="Check the place").click()
    expect(person.locator("#preflight").get_by_text(re.compile(r"^\d+ pass$"))).to_be_visible()


def agree(admin: Page) -> None:
    admin.goto("/")
    waiting = admin.get_by_role("navigation", name="Main").get_by_role("link", name="Approvals")
    expect(waiting).to_contain_text("1")
    waiting.click()
    admin.get_by_role("link", name="Install reading").click()
    expect(admin.get_by_role("main")).to_contain_text("for the readers")
    beside = admin.context.new_page()
    holds(beside, admin.url)
    beside.close()
    admin.get_by_role("link", name=re.compile("^Objects of release")).click()
    expect(admin.get_by_role("main")).to_contain_text("StatefulSet")
    admin.go_back()
    admin.get_by_role("button", name="Agree").click()
    expect(admin.get_by_text("It goes on now.")).to_be_visible()
    expect(waiting).not_to_contain_text("1")
