"""Pages of the audit: list, filters, entry, who sees what."""

from __future__ import annotations

import pytest
from django.test import Client
from pytest_django import DjangoAssertNumQueries

from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.states import Outcome, Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.models import Team
from tests.factories import make_team
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return Team.objects.get(slug="default")


@pytest.fixture
def auditor(client: Client) -> Client:
    client.force_login(rows.person("audrey", site=SiteRole.AUDITOR))
    return client


def html(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return answer.content.decode()


def test_the_list_tells_who_did_what_where_and_why(auditor: Client, team: Team) -> None:
    cluster = rows.cluster("fra-l40s")
    subject = Subject("deployment", "7", "fra-l40s/llm/r1", team.pk, cluster.pk)
    audit.record(Actor(5, "olga", "198.51.100.23"), "deployment.restart", subject, reason="Slow since noon")
    audit.record(
        Actor(6, "otto"), "deployment.uninstall", subject, outcome=Outcome.DENIED, reason="needs maintainer"
    )
    page = html(auditor, "/audit/")
    for told in ("olga", "Restart", "fra-l40s", "Slow since noon", "otto", "Uninstall", "needs maintainer"):
        assert told in page
    assert "2 entries" in page
