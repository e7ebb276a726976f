"""Somebody who is signed in, and something for him to look at."""

from __future__ import annotations

import pytest
from django.test import Client

from deployments.models import Deployment, Team
from tests.web import rows


@pytest.fixture
def team(db: None) -> Team:
    return Team.objects.get(slug="default")


@pytest.fixture
def deployment(team: Team) -> Deployment:
    return rows.deployment(rows.revision(team), rows.cluster())


@pytest.fixture
def signed_in(client: Client, team: Team) -> Client:
    client.force_login(rows.person("olga", team))
    return client
