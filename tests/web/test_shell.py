"""What surrounds every page: the search, the choice of a team."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from django.http import HttpResponse
from django.test import Client, RequestFactory
from django.urls import reverse

from dashboard.static_files import StaticFiles
from deployments.domain.states import Role
from deployments.models import Team
from tests.factories import (
    default_team,
    make_admin,
    make_cluster,
    make_member,
    make_revision,
    make_team,
)
from tests.web.reading import html

pytestmark = pytest.mark.django_db


@pytest.fixture
def browser() -> Client:
    team = default_team()
    owner = make_member(team, Role.OWNER, "owner")
    admin = make_admin()
    make_cluster(admin, "fra-l40s", [team])
    make_revision(owner, team, "support standard")
    client = Client()
    client.force_login(owner, backend="django.contrib.auth.backends.ModelBackend")
    return client


def test_a_search_leads_to_what_it_finds(browser: Client) -> None:
    page = browser.get(reverse("search"), {"q": "support"}).content.decode()
    assert 'href="/profiles/' in page
    assert "support standard" in page
    part = browser.get(reverse("search"), {"q": "l40"}, headers={"X-Fragment": "1"}).content.decode()
    assert 'href="/clusters/' in part
    assert "<html" not in part


def test_a_search_finds_nothing_of_other_teams(browser: Client) -> None:
    stranger = Client()
    other = make_member(make_team("Others"), Role.OWNER, "stranger")
    stranger.force_login(other, backend="django.contrib.auth.backends.ModelBackend")
    page = stranger.get(reverse("search"), {"q": "support"}).content.decode()
    assert "support standard" not in page


def test_the_menu_alone_is_the_menu_of_the_page(browser: Client) -> None:
    page = browser.get(reverse("deployments")).content.decode()
    part = browser.get("/menu", {"at": "/deployments/"}, headers={"X-Fragment": "1"}).content.decode()
    assert part.strip() in page
    assert part.count("aria-current") == 1


def test_the_pages_can_be_narrowed_to_ones_own_teams_only(browser: Client) -> None:
    mine, other = default_team(), make_team("Others")
    assert browser.post(reverse("switch_team"), {"team": mine.pk, "next": "/"}).status_code == 302
    assert browser.post(reverse("switch_team"), {"team": other.pk, "next": "/"}).status_code == 404
    # A digit of another kind is no number, and a number no database knows is no team.
    for odd in ("²", "9" * 30):
        assert browser.post(reverse("switch_team"), {"team": odd, "next": "/"}).status_code == 302
    away = browser.post(reverse("switch_team"), {"team": "", "next": "https://elsewhere.example/"})
    assert away.headers["Location"] == "/"
    assert Team.objects.count() == 2


def test_a_reset_by_mail_is_offered_only_where_mail_can_be_sent(client: Client, settings: Any) -> None:
    settings.MAIL_CONFIGURED = False
    page = html(client, "/account/login/")
    assert "password/reset" not in page and "An admin can set a new one" in page
    settings.MAIL_CONFIGURED = True
    page = html(client, "/account/login/")
    assert "password/reset" in page and "An admin can set a new one" not in page


def test_a_static_file_is_sent_whole_or_in_part_and_never_as_a_stream(tmp_path: Path) -> None:
    (tmp_path / "a.css").write_bytes(b"abc" * 9000)
    served = StaticFiles(lambda _request: HttpResponse("a page"))
    served.add_files(str(tmp_path), prefix="/static/")
    whole = served(RequestFactory().get("/static/a.css"))
    assert not whole.streaming and len(whole.content) == 27000
    assert whole["Content-Type"].startswith("text/css")
    part = served(RequestFactory().get("/static/a.css", headers={"Range": "bytes=3-7"}))
    assert (part.status_code, part.content) == (206, b"abcab")
    assert served(RequestFactory().head("/static/a.css")).content == b""
    known = {"If-None-Match": whole.get("ETag", ""), "If-Modified-Since": whole["Last-Modified"]}
    assert served(RequestFactory().get("/static/a.css", headers=known)).status_code == 304
