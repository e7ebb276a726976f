"""Claims that a StatefulSet's controller made: noted as the deployment's own, whoever is asked for at once."""

from __future__ import annotations

import pytest
from django.utils import timezone

from deployments.models import Deployment, ObservedObject, OwnedObject, Revision
from deployments.observer import owners
from tests.web import rows

pytestmark = pytest.mark.django_db


def seen(deployment: Deployment, name: str) -> None:
    ObservedObject.objects.create(
        cluster=deployment.cluster, deployment=deployment, kind="PersistentVolumeClaim",
        namespace=deployment.namespace, name=name, uid=f"uid of {name}", data={}, changed_at=timezone.now(),
    )  # fmt: skip


@pytest.mark.parametrize("few", [100, 0])
def test_only_what_the_controller_made_in_this_cluster_is_noted(
    few: int, revision: Revision, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(owners, "FEW", few)  # 0: as where a list of hundreds comes in
    mine = rows.deployment(revision, rows.cluster("here"), name="mine")
    other = rows.deployment(revision, rows.cluster("there"), name="other")
    for deployment in (mine, other):
        OwnedObject.objects.create(
            deployment=deployment, api_version="apps/v1", kind="StatefulSet",
            namespace="llm", name=f"{deployment.name}-server", uid=f"set of {deployment.name}",
        )  # fmt: skip
        seen(deployment, f"models-{deployment.name}-server-0")
    seen(mine, "models-mine-server-x")
    for _ in range(2):
        owners.record_claims(mine.cluster_id, {mine.pk})
        noted = OwnedObject.objects.filter(kind="PersistentVolumeClaim")
        assert [(each.name, each.by_controller) for each in noted] == [("models-mine-server-0", True)]
