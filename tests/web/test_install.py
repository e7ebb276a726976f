"""The install step by step: the address holds every choice, nothing is applied before the last step."""

from __future__ import annotations

import re
from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone

from deployments.domain.findings import Finding
from deployments.domain.states import FindingLevel, OperationKind, OperationState, Role
from deployments.models import ClusterGrant, Deployment, Operation, Profile
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def world(client: Client):
    """An operator signed in, a granted cluster and a revision."""
    team = make.default_team()
    cluster = make.make_cluster(make.make_admin())
    revision = make.make_revision(make.make_member(team, Role.OWNER), name="small", access_code="secret-code")
    client.force_login(make.make_member(team, Role.OPERATOR, "operator"))
    query = {"revision": revision.pk, "cluster": cluster.pk, "namespace": "llm", "name": "r1"}
    return {"team": team, "cluster": cluster, "revision": revision, "query": query}


def address(name: str, query: dict[str, Any]) -> str:
    return reverse(name, query=query)


def test_the_place_says_what_is_left_and_what_is_too_much(client: Client, world):
    page = address("install_place", {"revision": world["revision"].pk})
    assert "too much" not in client.get(page).content.decode()
    ClusterGrant.objects.update(quota={"gpus": 2, "memory": 4 * 2**30, "deployments": 1})
    html = client.get(page).content.decode()
    assert "left of the quota: 2 GPUs, 4Gi memory, 1 deployment" in html
    # 8Gi for the server and some for the chat
    assert "This is 5Gi memory too much." in html, re.findall("This is [^<]*", html)


def ask_place(client: Client, world: dict[str, Any], **given: Any):
    data = {"cluster": world["cluster"].pk, "namespace": "llm", "name": "r1", **given}
    return client.post(address("install_place", {"revision": world["revision"].pk}), data)


def answered(kind: OperationKind, **result: Any) -> Operation:
    Operation.objects.filter(kind=kind).update(
        state=OperationState.SUCCEEDED, result=result, finished_at=timezone.now()
    )
    return Operation.objects.get(kind=kind)


def found(level: FindingLevel, title: str = "The chat's host is already taken") -> dict[str, Any]:
    return Finding("host", level, title, "served by another", "Give another host.").to_json()


def test_the_road_from_the_choice_to_the_operation(client: Client, world):
    begun = client.get(reverse("install"))
    assert "small, revision 1" in begun.content.decode()
    answer = ask_place(client, world)
    assert answer.status_code == 302
    asked = Operation.objects.get(kind=OperationKind.PREFLIGHT)
    assert f"preflight={asked.pk}" in answer.url

    waiting = client.get(answer.url).content.decode()
    assert f'data-live="operation:{asked.pk}"' in waiting
    assert "Review what will happen" not in waiting

    answered(OperationKind.PREFLIGHT, findings=[found(FindingLevel.WARN)])
    assert "Review what will happen" in client.get(answer.url).content.decode()

    review = address("install_review", {**world["query"], "preflight": asked.pk})
    compared = client.post(review, {"ask": "1"})
    assert compared.status_code == 302
    lines = [["add", "kind: Service", None, 1, 0]]
    item = {"kind": "Service", "name": "r1-chat", "change": "new", "added": 1, "removed": 0, "lines": lines}
    answered(OperationKind.DIFF, objects=[item], asked=False)
    page = client.get(compared.url).content.decode()
    assert "kind: Service" in page
    assert "the server was not asked" in page
    assert "secret-code" not in page
    assert not Deployment.objects.exists(), "nothing happens before the last step"

    installed = client.post(compared.url, {"reason": "a try"})
    operation = Operation.objects.get(kind=OperationKind.INSTALL)
    assert installed.url == reverse("operation", args=[operation.pk])
    assert operation.reason == "a try"


def test_a_problem_blocks_and_comes_first(client: Client, world):
    where = ask_place(client, world).url
    asked = answered(
        OperationKind.PREFLIGHT,
        findings=[found(FindingLevel.PASS, "Rights are granted"), found(FindingLevel.FAIL)],
    )
    page = client.get(where).content.decode()
    assert page.index("already taken") < page.index("Rights are granted")
    assert "Give another host." in page
    assert "Review what will happen" not in page
    review = address("install_review", {**world["query"], "preflight": asked.pk})
    assert client.post(review, {"reason": ""}).status_code == 409
    assert not Deployment.objects.exists()


def test_the_fragment_is_the_same_region(client: Client, world):
    where = ask_place(client, world).url
    fragment = client.get(where, headers={"X-Fragment": "1"}).content.decode().strip()
    assert fragment.startswith('<div class="stack" id="preflight"')
    assert "<main" not in fragment


@pytest.mark.parametrize(
    "given, field",
    [
        ({"namespace": "Not Valid"}, "namespace"),
        ({"namespace": ""}, "namespace"),
        ({"name": "-x"}, "name"),
        ({"name": "a" * 64}, "name"),
        ({"cluster": 999}, "cluster"),
    ],
)
def test_a_wrong_place_is_said_at_its_field(client: Client, world, given: dict[str, Any], field: str):
    answer = ask_place(client, world, **given)
    assert answer.status_code == 422
    assert answer.context["form"].errors[field]
    assert not Operation.objects.filter(kind=OperationKind.PREFLIGHT).exists()


def test_a_namespace_outside_the_grant_is_refused_with_what_is_allowed(client: Client, world):
    world["cluster"].grants.update(namespaces=["team-*"])
    answer = ask_place(client, world)
    assert answer.status_code == 422
    assert "team-*" in str(answer.context["form"].errors["namespace"])


def test_a_taken_name_is_a_conflict_on_the_page(client: Client, world):
    review = address("install_review", world["query"])
    assert client.post(review, {"reason": ""}).status_code == 302
    answer = client.post(review, {"reason": "again"})
    assert answer.status_code == 409
    assert "already" in answer.content.decode()
    assert "again" in answer.content.decode(), "the reason stays"


def test_another_drafts_answer_is_not_shown(client: Client, world):
    where = ask_place(client, world).url
    asked = answered(OperationKind.PREFLIGHT, findings=[found(FindingLevel.PASS, "Rights are granted")])
    other = address("install_preflight", {**world["query"], "name": "other", "preflight": asked.pk})
    assert "Rights are granted" in client.get(where).content.decode()
    assert "Rights are granted" not in client.get(other).content.decode()


def test_an_answer_that_was_forgotten_can_be_asked_again(client: Client, world):
    page = client.get(address("install_preflight", {**world["query"], "preflight": 12345})).content.decode()
    assert "No answer is kept" in page
    assert client.post(address("install_preflight", world["query"])).status_code == 302


def test_a_quick_choice_makes_one_profile_and_uses_it_again(client: Client, world):
    client.force_login(make.make_member(world["team"], Role.MAINTAINER))
    data = {"tag": "1.5b", "gpus": "none", "team": world["team"].pk}
    first = client.post(reverse("install"), data)
    again = client.post(reverse("install"), data)
    assert first.status_code == again.status_code == 302
    assert first.url == again.url
    assert Profile.objects.filter(name="deepseek-r1 1.5b").count() == 1


def test_who_may_not_see_it_gets_404_and_a_viewer_cannot_ask(client: Client, world):
    client.force_login(make.make_member(world["team"], Role.VIEWER))
    assert ask_place(client, world).status_code == 403
    client.force_login(make.make_user())
    assert ask_place(client, world).status_code == 404
    assert client.get(address("install_review", world["query"])).status_code == 404


def test_a_viewer_is_told_which_role_it_takes(client: Client, world):
    client.force_login(make.make_member(world["team"], Role.VIEWER))
    page = client.get(reverse("install")).content.decode()
    assert "Installing needs the role operator." in page and "has no profile yet" not in page
