"""Who may use a cluster: granted, narrowed and taken back through the pages, and on record."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from deployments.domain.states import Role
from deployments.models import AuditEntry, Cluster, ClusterGrant, Deployment, Team
from tests import factories as make
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def cluster(client: Client) -> Cluster:
    admin = make.make_admin()
    client.force_login(admin)
    return make.make_cluster(admin)


def installed(team: Team, cluster: Cluster, namespace: str, name: str = "r1") -> Deployment:
    return rows.deployment(rows.revision(team, f"p-{name}"), cluster, name, namespace=namespace)


def of(cluster: Cluster, team: Team) -> list[str]:
    return ClusterGrant.objects.get(cluster=cluster, team=team).namespaces


def test_another_team_is_granted_and_it_is_on_record(client: Client, cluster: Cluster):
    other = make.make_team("Search")
    where = reverse("cluster_grant_new", args=[cluster.pk])
    assert where in client.get(reverse("cluster", args=[cluster.pk])).content.decode()
    answer = client.post(where, {"team": other.pk, "namespaces": "llm-* shared, llm-*"}, follow=True)
    assert of(cluster, other) == ["llm-*", "shared"]
    assert "llm-*, shared" in answer.content.decode()
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.action, entry.before) == ("cluster.grant", None)
    assert entry.after == {"team": "Search", "namespaces": ["llm-*", "shared"]}
    assert "Search in llm-*, shared" in client.get("/").content.decode()
    assert "Every team may use it already" in client.get(where).content.decode()


def test_namespaces_are_changed_and_the_audit_has_before_and_after(
    client: Client, cluster: Cluster, team: Team
):
    where = reverse("cluster_grant", args=[cluster.pk, team.pk])
    assert client.post(where, {"namespaces": "llm-a"}).status_code == 302
    assert of(cluster, team) == ["llm-a"]
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.before["namespaces"], entry.after["namespaces"]) == (["*"], ["llm-a"])
    assert client.post(where, {"namespaces": "llm-a"}).status_code == 302
    assert AuditEntry.objects.latest("sequence") == entry, "nothing was changed, so nothing is on record"


@pytest.mark.parametrize(
    "given, words",
    [
        ("", "required"),
        ("Llm", "can match no namespace"),
        (" ".join(f"n{number}" for number in range(101)), "more than 100"),
    ],
)
def test_what_can_match_nothing_is_said_at_the_field(
    client: Client, cluster: Cluster, team: Team, given: str, words: str
):
    answer = client.post(reverse("cluster_grant", args=[cluster.pk, team.pk]), {"namespaces": given})
    assert answer.status_code == 422
    assert words in str(answer.context["form"].errors["namespaces"])
    assert of(cluster, team) == ["*"]


def test_a_namespace_in_use_stays_covered(client: Client, cluster: Cluster, team: Team):
    installed(team, cluster, "llm-a")
    where = reverse("cluster_grant", args=[cluster.pk, team.pk])
    assert "llm-a/r1" in client.get(where).content.decode()
    answer = client.post(where, {"namespaces": "other"})
    assert answer.status_code == 422
    assert "llm-a/r1 outside of these" in str(answer.context["form"].errors["namespaces"])
    assert of(cluster, team) == ["*"]
    assert client.post(where, {"namespaces": "other llm-a"}).status_code == 302


def test_a_name_does_not_close_what_another_team_has_in_use(client: Client, cluster: Cluster, team: Team):
    installed(team, cluster, "llm-a")
    other = make.make_team("Search")
    where = reverse("cluster_grant_new", args=[cluster.pk])
    answer = client.post(where, {"team": other.pk, "namespaces": "llm-a"})
    assert answer.status_code == 422
    assert "llm-a/r1" in str(answer.context["form"].errors["namespaces"])
    client.post(reverse("cluster_grant", args=[cluster.pk, team.pk]), {"namespaces": "* llm-a"})
    assert client.post(where, {"team": other.pk, "namespaces": "llm-a"}).status_code == 302


def test_a_cluster_is_taken_back_only_when_nothing_of_the_team_is_there(
    client: Client, cluster: Cluster, team: Team
):
    deployment = installed(team, cluster, "llm-a")
    where = reverse("cluster_grant_revoke", args=[cluster.pk, team.pk])
    assert "llm-a/r1" in client.get(where).content.decode()
    answer = client.post(where, {"reason": "moved"})
    assert answer.status_code == 409
    assert "has llm-a/r1 there" in answer.content.decode()
    Deployment.objects.filter(pk=deployment.pk).update(removed_at=deployment.created_at)
    assert client.post(where, {"reason": "moved"}).status_code == 302
    assert not ClusterGrant.objects.exists()
    entry = AuditEntry.objects.latest("sequence")
    assert (entry.action, entry.reason, entry.before["team"]) == ("cluster.revoke", "moved", team.name)
    client.force_login(make.make_member(team, Role.OWNER))
    assert client.get(reverse("cluster", args=[cluster.pk])).status_code == 404


@pytest.mark.parametrize("way", ["cluster_grant_new", "cluster_grant", "cluster_grant_revoke"])
def test_only_site_admins_grant(client: Client, cluster: Cluster, team: Team, way: str):
    where = reverse(way, args=[cluster.pk] if way.endswith("new") else [cluster.pk, team.pk])
    client.force_login(make.make_member(team, Role.OWNER))
    assert client.get(where).status_code == 403
    assert client.post(where, {"team": team.pk, "namespaces": "*"}).status_code == 403
    client.force_login(make.make_member(make.make_team("Other"), Role.OWNER))
    assert client.get(where).status_code == 404
    assert of(cluster, team) == ["*"]


def test_a_quota_is_set_and_shown_with_what_is_taken(client: Client) -> None:
    admin = make.make_admin()
    client.force_login(admin)
    team = make.default_team()
    cluster = make.make_cluster(admin, teams=[team])
    page = reverse("cluster_grant", args=[cluster.pk, team.pk])
    given = {"namespaces": "*", "gpus": "8", "memory": "64Gi", "model_registries": "Registry.Ollama.ai"}
    assert client.post(page, given).status_code == 302
    grant = cluster.grants.get()
    assert grant.quota == {"gpus": 8, "memory": 64 * 2**30}
    assert grant.model_registries == ["registry.ollama.ai"]
    assert 'value="64Gi"' in client.get(page).content.decode()
    assert "64Gi" in client.get(reverse("team", args=[team.pk])).content.decode()
    entry = AuditEntry.objects.filter(action="cluster.grant").first()
    assert entry is not None and entry.after["gpus"] == "8"


@pytest.mark.parametrize(
    "field, text", [("memory", "8G i"), ("gpus", "-1"), ("image_registries", "http://x"), ("cpu", "many")]
)
def test_a_bad_bound_is_told_at_its_field(client: Client, field: str, text: str) -> None:
    admin = make.make_admin()
    client.force_login(admin)
    team = make.default_team()
    cluster = make.make_cluster(admin, teams=[team])
    answer = client.post(
        reverse("cluster_grant", args=[cluster.pk, team.pk]), {"namespaces": "*", field: text}
    )
    assert answer.status_code == 422
    assert answer.context["form"].errors.keys() == {field}
    assert cluster.grants.get().quota == {}
