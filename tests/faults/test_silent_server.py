"""A cluster whose API server takes connections and never answers: its own page says so, and nobody else
waits for it."""

from __future__ import annotations

import socket
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import replace

import pytest
from django.urls import reverse

from deployments.commands.clusters import connect_cluster
from deployments.domain.actors import Actor
from deployments.gateways.kubernetes import import_context, read_kubeconfig
from deployments.models import Cluster, ClusterNode, Team
from tests.core.conftest import connected
from tests.faults.conftest import observing, switched
from tests.faults.pages import Page, hero, until
from tests.sandbox_server import RunningSandbox, running_sandbox

pytestmark = pytest.mark.django_db(transaction=True)

PATIENCE = 0.5  # seconds; in earnest it is ANSWERS_WITHIN


@contextmanager
def before_tls(actor: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    """Nobody shakes hands."""
    listener = socket.create_server(("127.0.0.1", 0))
    held: list[socket.socket] = []

    def hold() -> None:
        while True:
            try:
                held.append(listener.accept()[0])
            except OSError:
                return  # closed: the test is over

    thread = threading.Thread(target=hold, daemon=True)
    thread.start()
    known = import_context(read_kubeconfig(world.kubeconfig_path.read_text()), allow_loopback=True)
    silent = replace(known, server=f"https://127.0.0.1:{listener.getsockname()[1]}")
    try:
        yield connect_cluster(actor, name="silent", credential=silent, teams=[team], namespaces=["*"])[0]
    finally:
        listener.shutdown(socket.SHUT_RDWR)
        listener.close()
        thread.join(5)
        for one in held:
            one.close()


@contextmanager
def after_tls(actor: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    """The connection is there, and requests get no answer."""
    with running_sandbox(world=True, scenario="empty") as other:
        switched(other, "slow", {"seconds": 3600})
        yield connected(actor, team, other, name="silent")


@contextmanager
def behind_the_version(actor: Actor, team: Team, world: RunningSandbox) -> Iterator[Cluster]:
    """It knows its version, and nothing that it would have to read from etcd."""
    with running_sandbox(world=True, scenario="empty") as other:
        switched(other, "slow", {"seconds": 3600, "path": "/api*"})
        yield connected(actor, team, other, name="silent")


@pytest.mark.parametrize("silence", [before_tls, after_tls, behind_the_version])
def test_a_server_that_never_answers_costs_only_its_own_page(
    silence: Callable[[Actor, Team, RunningSandbox], object],
    actor: Actor,
    team: Team,
    cluster: Cluster,
    world: RunningSandbox,
    page: Page,
) -> None:
    with silence(actor, team, world) as silent, observing(answers_within=PATIENCE):  # type: ignore[attr-defined]
        until(lambda: ClusterNode.objects.filter(cluster=cluster).count() == 2, "the other cluster's nodes")
        here = reverse("cluster", args=[silent.pk])
        until(lambda: "in time." in hero(page(here)), "the silent cluster's page to say so")
        assert 'class="hero failed"' in page(here) and "Not reachable" in page(here)
        rows = page(reverse("clusters")).split("<tr>")
        (row,) = [row for row in rows if "<b>silent</b>" in row]
        assert "Not reachable" in row and "in time." in row
        # The other one is watched as ever.
        (row,) = [row for row in rows if f"<b>{cluster.name}</b>" in row]
        assert "Not reachable" not in row
        switched(world, "cordon", {"node": "*"})
        nodes = reverse("cluster_nodes", args=[cluster.pk])
        until(lambda: "cordoned" in page(nodes).lower(), "the other cluster's nodes to be seen cordoned")
        assert not Cluster.objects.get(pk=cluster.pk).last_error
