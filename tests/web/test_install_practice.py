"""The pages against the practice cluster: real answers from the API server, drawn from the database."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from deployments.models import Cluster, Operation
from tests import factories as make
from tests.sandbox_server import running_sandbox
from tests.working import work_off

pytestmark = pytest.mark.django_db(transaction=True)


def test_from_a_kubeconfig_to_the_review(client: Client):
    client.force_login(make.make_admin())
    team = make.default_team()
    with running_sandbox(world=True, scenario="small", speed=60) as sandbox:
        connected = client.post(
            reverse("cluster_connect"),
            {
                "name": "practice",
                "way": "kubeconfig",
                "kubeconfig": sandbox.kubeconfig_path.read_text(),
                "teams": [team.pk],
                "namespaces": "*",
            },
        )
        assert connected.status_code == 302
        work_off(Operation.objects.latest("pk"))
        assert "It answers as Kubernetes" in client.get(connected.url).content.decode()

        chosen = client.post(reverse("install"), {"tag": "1.5b", "gpus": "none", "team": team.pk})
        place = {"cluster": Cluster.objects.get().pk, "namespace": "llm", "name": "r1"}
        checked = client.post(chosen.url, place)
        work_off(Operation.objects.latest("pk"))
        page = client.get(checked.url).content.decode()
        assert "Namespace llm is free and will be made" in page
        assert "Review what will happen" in page

        review = checked.url.replace("/preflight?", "/review?")
        compared = client.post(review, {"ask": "1"})
        work_off(Operation.objects.latest("pk"))
        page = client.get(compared.url).content.decode()
        assert "StatefulSet" in page
        assert "YAML as it will be sent" in page
