"""What surrounds every page: the search, the choice of a team."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

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


def test_the_pages_can_be_narrowed_to_ones_own_teams_only(browser: Client) -> None:
    mine, other = default_team(), make_team("Others")
    assert browser.post(reverse("switch_team"), {"team": mine.pk, "next": "/"}).status_code == 302
    assert browser.post(reverse("switch_team"), {"team": other.pk, "next": "/"}).status_code == 404
    away = browser.post(reverse("switch_team"), {"team": "", "next": "https://elsewhere.example/"})
    assert away.headers["Location"] == "/"
    assert Team.objects.count() == 2
