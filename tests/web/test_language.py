"""The language of pages and letters: how it is chosen, and that Chinese pages are Chinese."""

from __future__ import annotations

import gettext
import re
from collections.abc import Iterator
from html.parser import HTMLParser

import pytest
from django.conf import settings
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone, translation

from deployments.commands.approvals import tell_approvers
from deployments.domain.states import Health, OperationKind, OperationState
from deployments.models import Approval, Cluster, Deployment, Operation, OperationLog, User
from deployments.sentences import Catalogue, said
from tests import factories as make
from tests.catalogue import check
from tests.web import rows
from tests.web.reading import html
from tests.web.test_access import DOORS, NONE, ROUTES, STREAMS, World, address, make_world, patterns

pytestmark = pytest.mark.django_db
CHINESE = re.compile("[\u4e00-\u9fff]")


@pytest.fixture
def olga(client: Client) -> User:
    user = rows.person("olga", make.default_team())
    client.force_login(user)
    return user


# The choice ---------------------------------------------------------------------------------------
def test_a_browser_that_asks_for_chinese_gets_it_before_and_after_the_sign_in(client: Client, olga: User):
    assert "概览" in html(client, "/", **{"Accept-Language": "zh-CN,zh;q=0.9,en;q=0.8"})
    assert 'lang="zh-hans"' in html(client, "/", **{"Accept-Language": "zh-CN"})
    assert "Overview" in html(client, "/", **{"Accept-Language": "de"})
    client.logout()
    door = html(client, "/account/login/", **{"Accept-Language": "zh-CN"})
    assert "登录" in door and 'lang="zh-hans"' in door and ">English<" in door


def test_the_language_is_chosen_on_the_sign_in_page(client: Client):
    door = html(client, "/account/login/?next=/audit/")
    assert 'value="zh-hans"' in door and "简体中文" in door
    answer = client.post("/language", {"language": "zh-hans", "next": "/account/login/?next=/audit/"})
    assert answer.status_code == 302 and answer.url == "/account/login/?next=/audit/"
    assert answer.cookies[settings.LANGUAGE_COOKIE_NAME]["httponly"]
    assert "登录" in html(client, "/account/login/")


def test_the_choice_goes_with_the_account_to_another_browser(client: Client, olga: User):
    client.post("/language", {"language": "zh-hans", "next": "/"})
    olga.refresh_from_db()
    assert olga.language == "zh-hans"
    other = Client()
    other.force_login(olga)
    page = html(other, "/", **{"Accept-Language": "en"})
    assert "概览" in page and 'lang="zh-hans"' in page
    client.post("/language", {"language": "", "next": "/"})
    olga.refresh_from_db()
    assert olga.language == ""
    assert "Overview" in html(client, "/")


def test_who_chose_english_gets_it_whatever_the_browser_asks(client: Client, olga: User):
    client.post("/language", {"language": "en", "next": "/"})
    assert "Overview" in html(client, "/", **{"Accept-Language": "zh-CN"})


def test_another_language_or_another_site_is_refused(client: Client, olga: User):
    assert client.post("/language", {"language": "xx"}).status_code == 422
    assert client.post("/language", {"language": "en", "next": "https://evil.example/"}).url == "/"
    assert client.get("/language").status_code == 405


def test_the_language_costs_no_query(client: Client, olga: User):
    counts = []
    for language in ("", "zh-hans"):
        User.objects.update(language=language)
        client.get("/")
        with CaptureQueriesContext(connection) as asked:
            client.get("/")
        counts.append(len(asked))
    assert counts[0] == counts[1]


def test_a_fragment_comes_in_the_readers_language(client: Client, olga: User):
    olga.language = "zh-hans"
    olga.save()
    deployment = rows.deployment(
        rows.revision(make.default_team()), rows.cluster(), health_sentence="Ollama does not answer."
    )
    fragment = client.get(f"/deployments/{deployment.pk}/?part=state", headers={"X-Fragment": "1"})
    text = fragment.content.decode()
    assert "Ollama 没有应答。" in text and "<html" not in text


def test_an_export_stays_english(client: Client):
    auditor = rows.person("auditor", site="auditor")
    auditor.language = "zh-hans"
    auditor.save()
    client.force_login(auditor)
    answer = client.post("/audit/export/file", {"form": "csv"})
    text = b"".join(answer.streaming_content).decode()  # type: ignore[attr-defined]
    assert "user.create" in text or "audit.export" in text
    assert not CHINESE.search(text)


# Letters ------------------------------------------------------------------------------------------
def test_an_invitation_is_written_in_the_language_of_its_recipient(client: Client, olga: User, settings):
    settings.MAIL_CONFIGURED = True
    reader = rows.person("reader")
    reader.email, reader.language = "reader@example.com", "zh-hans"
    reader.save()
    for email in ("reader@example.com", "nobody@example.com"):
        client.post(reverse("team_invite", args=[make.default_team().pk]), {"email": email, "role": "viewer"})
    known, unknown = mail.outbox
    assert "邀请你加入" in known.subject and "打开此链接即可接受" in known.body
    assert "invites you" in unknown.subject and not CHINESE.search(unknown.body)


def test_letters_about_approvals_are_written_in_each_ones_language(world: World, settings, monkeypatch):
    settings.MAIL_CONFIGURED = True
    monkeypatch.setattr("django.db.transaction.on_commit", lambda act: act())
    for name, language in (("owner", "zh-hans"), ("second-owner", "")):
        User.objects.filter(username=name).update(email=f"{name}@example.com", language=language)
    approval = Approval.objects.get()
    Operation.objects.filter(pk=approval.operation_id).update(title="Install r1", reason="因为需要")
    approval.refresh_from_db()
    with translation.override("zh-hans"):  # of whoever asks; it says nothing about who reads
        tell_approvers(approval)
    letters = {letter.to[0]: letter for letter in mail.outbox}
    assert letters["owner@example.com"].subject == "待审批：安装 r1"
    assert "原因：因为需要" in letters["owner@example.com"].body
    assert letters["second-owner@example.com"].subject == "To agree to: Install r1"


# Every page ---------------------------------------------------------------------------------------
@pytest.fixture
def world() -> World:
    return make_world()


def trouble(world: World) -> None:
    """What makes the core speak: a failing deployment, cluster and operation, findings, a log."""
    now = timezone.now()
    Cluster.objects.update(
        last_error="The cluster's server did not answer in time.",
        last_error_remedy="Check the connection to the cluster.",
        last_error_at=now,
    )
    Deployment.objects.update(
        health=Health.FAILED,
        health_sentence="The claim models-r1-server-0 gets no volume.",
        health_remedy="Check the storage class: its name, its provisioner and its quota.",
        health_evidence=["PersistentVolumeClaim models-r1-server-0: not found"],
    )
    finding = {
        "check": "room",
        "level": "fail",
        "title": "The server pod finds no node",
        "evidence": "of 5 nodes: 3 with taint a:NoSchedule, 2 not ready",
        "remedy": "Lower the requests or free the node.",
        "source": "scheduler arithmetic",
    }
    Operation.objects.filter(state=OperationState.FAILED).update(
        title="Apply revision 2 to r1",
        failure="It did not become ready within 10 minutes.",
        failure_tried="wait for r1-server-0 to start",
        failure_answered="no address",
        failure_remedy="Look at the deployment's health for the cause; what is installed stays. Retry when it is solved.",
        failure_retryable=True,
        result={"findings": [finding, {**finding, "level": "pass", "title": "All 27 rights are granted"}]},
    )
    Operation.objects.filter(state=OperationState.AWAITING_APPROVAL).update(title="Install r1")
    first = Deployment.objects.get()
    running = rows.operation(
        rows.deployment(first.revision, first.cluster, "r2", health_sentence="Ollama does not answer."),
        OperationKind.RESTART,
        waiting_for="StatefulSet r1-server to be ready, 0 of 1",
    )
    rows.pull(running, 10, 100)
    for row in Operation.objects.all():
        OperationLog.objects.create(operation=row, at=now, step="ready", text="r1-server-0 to start")
        row.steps.filter(state="done").update(detail="3 server pods ready, chat ready")


class Texts(HTMLParser):
    """What a page shows: its text and the words in its attributes, without code and what was typed."""

    QUIET = {"script", "style", "pre", "textarea"}
    SAYS_NOTHING = {
        "class",
        "id",
        "href",
        "src",
        "value",
        "name",
        "content",
        "lang",
        "type",
        "action",
        "data-live",
    }
    VOID = {"area", "br", "col", "hr", "img", "input", "link", "meta", "source", "wbr", "rect", "use", "path"}

    def __init__(self, page: str) -> None:
        super().__init__()
        self._open: list[tuple[str, bool]] = []
        self.found: list[str] = []
        self.feed(page)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        own = dict(attrs)
        css = (own.get("class") or "").split()
        quiet = tag in self.QUIET or "mono" in css or "code" in css or any(q for _, q in self._open)
        if not quiet:
            self.found += [text for name, text in attrs if text and name not in self.SAYS_NOTHING]
        if tag not in self.VOID:
            self._open.append((tag, quiet))

    def handle_endtag(self, tag: str) -> None:
        while self._open and self._open.pop()[0] != tag:
            pass

    def handle_data(self, data: str) -> None:
        text = " ".join(data.split())
        if text and not any(quiet for _tag, quiet in self._open):
            self.found.append(text)


@pytest.fixture(scope="module")
def english() -> Catalogue:
    """The English of the pages as templates; what is the same in both languages is none."""
    with (check.ROOT / check.PAGES).with_suffix(".mo").open("rb") as opened:
        held = gettext.GNUTranslations(opened)._catalog  # type: ignore[attr-defined]
    pairs: dict[str, str] = {}
    for key, translated in held.items():
        source = key[0] if isinstance(key, tuple) else key
        source = re.sub(r"%\((\w+)\)[sd]", r"{\1}", source.rpartition("\x04")[2]).strip()
        if source and source != translated and len(re.sub(r"\{\w+\}", "", source)) > 6:
            pairs[source] = "译文"
    return Catalogue(pairs)


def left_in_english(page: str, english: Catalogue) -> list[str]:
    """The texts of a page that are ours and not translated."""
    return sorted(
        {
            text
            for text in Texts(page).found
            if re.search("[a-z]{2}", text)
            and not CHINESE.search(text)
            and (" " in text or text.istitle())
            and (english.text(text) != text or said(text) != text)
        }
    )


def pages(world: World) -> Iterator[str]:
    for name in sorted(set(ROUTES) - STREAMS):
        if ROUTES[name][0] != NONE:
            yield address(world, name)
    for pattern in patterns():
        # Of the library's own pages, those that need no key of somebody's.
        if pattern.name not in set(ROUTES) | DOORS and not str(pattern.name).endswith("_webauthn"):
            yield reverse(str(pattern.name))
    yield "/no-such-page"


# Names in this world that happen to be words of ours, and what a library of ours leaves untranslated.
NAMES = {"Default", "Other", "Shared with", "Pod", "Ollama", "Pilothouse"}


@pytest.mark.parametrize("who", ["admin", "owner", "viewer", "stranger"])
def test_no_page_is_left_in_english(world: World, english: Catalogue, who: str):
    trouble(world)
    User.objects.update(language="zh-hans")
    client = Client()
    client.force_login(world.people[who])  # type: ignore[arg-type]
    seen, wrong = 0, []
    with translation.override("zh-hans"):
        for place in pages(world):
            answer = client.get(place)
            if not answer.headers.get("Content-Type", "").startswith("text/html"):
                continue
            page = answer.content.decode()
            assert "<html" not in page or '<html lang="zh-hans"' in page, place
            seen += 1
            wrong += [(place, text) for text in left_in_english(page, english) if text not in NAMES]
    assert wrong == []
    assert seen > 60


def test_what_is_left_in_english_is_seen(world: World, english: Catalogue, client: Client):
    """The walk above can fail: in English nearly every text of a page is found."""
    client.force_login(world.people["admin"])  # type: ignore[arg-type]
    trouble(world)
    with translation.override("en"):
        page = client.get("/").content.decode()
        operation = client.get(address(world, "operation")).content.decode()
    with translation.override("zh-hans"):
        found = left_in_english(page, english) + left_in_english(operation, english)
    assert "Needs attention" in found
    assert "It did not become ready within 10 minutes." in found
    assert "The claim models-r1-server-0 gets no volume." in found
    assert len(found) > 60
