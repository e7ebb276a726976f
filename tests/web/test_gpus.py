"""Pages of GPUs: the list with its strip, one device, figures for charts, and who may see what."""

from __future__ import annotations

import pytest
from django.test import Client

from deployments.domain.states import Role
from deployments.models import Cluster, ClusterGrant, Deployment, Team
from tests.web import gpu_rows, rows
from tests.web.reading import html

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster(team: Team) -> Cluster:
    cluster = rows.cluster("fra")
    ClusterGrant.objects.create(cluster=cluster, team=team, namespaces=["*"])
    gpu_rows.sampling(cluster)
    return cluster


@pytest.fixture
def deployment(team: Team, cluster: Cluster) -> Deployment:
    return rows.deployment(rows.revision(team), cluster, "r1-70b-search")


@pytest.fixture
def signed_in(client: Client, team: Team) -> Client:
    client.force_login(rows.person("olga", team, Role.VIEWER))
    return client


def test_the_list_answers_what_is_held_and_what_is_free(
    signed_in: Client, cluster: Cluster, deployment: Deployment
) -> None:
    held = {"pod_namespace": "llm", "pod_name": "r1-server-0", "deployment": deployment}
    busy = gpu_rows.device(cluster, "fra-1", 0, **held)
    gpu_rows.device(cluster, "fra-1", 1, utilisation=0.0, memory_used=0)
    gpu_rows.series([busy], lambda ago: 81.0)
    gpu_rows.node(cluster, "fra-1", gpus=2, requested=1)
    page = html(signed_in, "/gpus/")
    assert "1 of 2 GPUs held, 1 free" in page
    assert "Largest free block: 1 on fra-1." in page
    assert f'href="/deployments/{deployment.pk}/"' in page and "llm/r1-server-0" in page
    assert "fra-1 · 0: between 81 and 81\u00a0%, now 81\u00a0%" in page
    assert "fra-1 · 1: no data" in page
    for figure in ("81\u00a0%", "71\u00a0°C", "298\u00a0W", "46\u00a0GiB of 48\u00a0GiB", "dcgm-exporter"):
        assert figure in page, figure
