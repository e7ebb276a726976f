"""The pages that everybody opens, and the lists of a large site, take as many queries for much as for little."""

from __future__ import annotations

import pytest
from django.test import Client

from benchmarks import teams
from benchmarks.fleet_rows import fill
from benchmarks.pages import addresses, ask, baseline
from deployments.domain.gpus import Gone
from deployments.domain.states import Health, SiteRole
from deployments.models import Cluster, Deployment, GpuDevice, Team, User
from sandbox.scale import Size
from tests.web import rows

SMALL = Size(nodes=4, pods=30, gpus=8, changes=0, seed=1, labelled=0.8)
LARGER = Size(nodes=12, pods=240, gpus=40, changes=0, seed=2, labelled=0.8)


def queries(client: Client) -> dict[str, int]:
    """Page -> queries, of a deployment that holds GPUs."""
    device = GpuDevice.objects.filter(deployment__isnull=False).order_by("-pk")[0]
    assert device.deployment_id is not None
    paths = addresses(device.deployment_id, device.pk)
    for path in paths.values():
        ask(client, path)  # what is cached for all requests is read once
    return {page: ask(client, path).queries for page, path in paths.items()}


@pytest.mark.django_db
def test_queries_do_not_grow_with_the_fleet(client: Client) -> None:
    revision = rows.revision(Team.objects.get())
    client.force_login(rows.person("admin", site=SiteRole.ADMIN))
    first = rows.cluster("first")
    few = fill(first, revision, SMALL, prefix="a-")
    # Questions of which there is nothing to show are not asked.
    Cluster.objects.filter(pk=first.pk).update(last_error="It does not answer.")
    Deployment.objects.filter(pk=Deployment.objects.earliest("pk").pk).update(health=Health.FAILED)
    lost = GpuDevice.objects.filter(deployment=None).earliest("pk")
    GpuDevice.objects.filter(pk=lost.pk).update(gone=Gone.REPORT)
    small = queries(client)
    fill(rows.cluster("second"), revision, LARGER, prefix="b-")
    assert Deployment.objects.count() > 5 * len(few)
    assert queries(client) == small
    accepted = baseline()
    assert small.keys() == accepted.keys()
    more = {page: number for page, number in small.items() if number > accepted[page]}
    assert not more, "more queries than accepted; where they are worth it: python -m benchmarks.pages --write"


@pytest.mark.django_db
def test_queries_of_lists_do_not_grow_with_the_site(client: Client) -> None:
    admin = rows.person("admin", site=SiteRole.ADMIN)

    def asked(operator: User) -> list[dict[str, int]]:
        found = []
        for person in (admin, operator):
            client.force_login(person)
            paths = teams.addresses(person == admin)
            found.append({page: ask(client, path).queries for page, path in paths.items()})
        return found

    few = asked(teams.fill(teams=4, profiles=12, revisions=24))
    assert asked(teams.fill(teams=30, profiles=150, revisions=600, prefix="more-")) == few
