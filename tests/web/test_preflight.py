"""The preflight on pages: where it fits, going on without room, and a cluster that is asked for a size."""

from __future__ import annotations

from typing import Any

import pytest
from django.test import Client
from django.urls import reverse
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments.domain.findings import Finding
from deployments.domain.states import FindingLevel, OperationKind, OperationState, Role
from deployments.models import AuditEntry, Operation
from tests import factories as make

pytestmark = pytest.mark.django_db

NO_ROOM = Finding(
    "fit", FindingLevel.FAIL, "The server pod finds no node", "of 1 nodes: 1 cordoned"
).to_json()
TAKEN = Finding("ingress_host", FindingLevel.FAIL, "The chat's host is already taken").to_json()
FIT = {
    "answer": "does_not_fit",
    "found": 0,
    "wanted": 1,
    "asks": "1 nvidia.com/gpu",
    "gpu": "nvidia.com/gpu",
    "line": "1 cordoned",
    "hidden": 3,
    "rows": [
        {
            "name": "<b>node",
            "answer": "does_not_fit",
            "takes": 0,
            "chats": 0,
            "never": False,
            "reasons": ["the node is cordoned"],
            "cpu": "8",
            "memory": "",
            "gpus": {"held": 1, "new": 0, "free": 2, "broken": 1},
        }
    ],
}


@pytest.fixture
def world(client: Client) -> dict[str, Any]:
    """An operator signed in, a granted cluster and a revision."""
    team = make.default_team()
    cluster = make.make_cluster(make.make_admin())
    revision = make.make_revision(make.make_member(team, Role.OWNER), name="small")
    client.force_login(make.make_member(team, Role.OPERATOR, "operator"))
    query = {"revision": revision.pk, "cluster": cluster.pk, "namespace": "llm", "name": "r1"}
    return {"team": team, "cluster": cluster, "revision": revision, "query": query}


def answered(kind: OperationKind = OperationKind.PREFLIGHT, **result: Any) -> Operation:
    state = OperationState.SUCCEEDED
    Operation.objects.filter(kind=kind).update(state=state, result=result, finished_at=timezone.now())
    return Operation.objects.get(kind=kind)


def asked(client: Client, world: dict[str, Any], *findings: dict[str, Any]) -> dict[str, Any]:
    """The wizard's query after a preflight with these findings."""
    client.post(
        reverse("install_preflight", query=world["query"]),
    )
    return {**world["query"], "preflight": answered(findings=list(findings), fit=FIT).pk}


OVER = Finding(
    "team_quota",
    FindingLevel.FAIL,
    "The quota of Default on fra leaves too little",
    "GPUs: asks for 4, 6 of 8 used, 2 left, 2 too much",
    "Ask for less in the profile, uninstall something, or ask a site admin for a larger quota.",
    "the team's grant in Pilothouse",
).to_json()


def test_over_the_quota_is_told_before_the_last_step_and_not_gone_on_with(
    client: Client, world: dict[str, Any]
) -> None:
    query = asked(client, world, OVER)
    page = client.get(reverse("install_preflight", query=query)).content.decode()
    assert "GPUs: asks for 4, 6 of 8 used, 2 left, 2 too much" in page
    assert "ask a site admin for a larger quota" in page
    assert "Edit the profile" not in page, "an operator may not write it"
    answer = client.post(reverse("install_review", query=query), {"reason": "", "anyway": "on"})
    assert answer.status_code == 409
    assert not Operation.objects.filter(kind=OperationKind.INSTALL).exists()


def test_each_node_says_why_not(client: Client, world: dict[str, Any]) -> None:
    page = client.get(reverse("install_preflight", query=asked(client, world, NO_ROOM))).content.decode()
    assert "&lt;b&gt;node" in page and "<b>node" not in page
    assert "the node is cordoned" in page
    assert "1 held, 2 free, 1 broken" in page
    assert "3 more nodes, farther from fitting, are left out." in page
    assert '<details class="panel fold" id="where" open>' in page


def test_a_node_takes_no_pod_for_sure_where_nobody_can_tell(client: Client, world: dict[str, Any]) -> None:
    query = asked(client, world, NO_ROOM)
    row = {**FIT["rows"][0], "answer": "fits", "takes": 1, "chats": 1, "reasons": []}
    fit = {**FIT, "answer": "cannot_tell", "found": 1, "rows": [row]}
    Operation.objects.filter(kind=OperationKind.PREFLIGHT).update(result={"findings": [], "fit": fit})
    page = client.get(reverse("install_preflight", query=query)).content.decode()
    assert "1 of 1 server pod may find a node" in page and "May take 1 server" in page
    assert "Takes 1 server" not in page and "server pod placed" not in page


def test_without_room_a_person_may_go_on_and_it_is_on_record(client: Client, world: dict[str, Any]) -> None:
    query = asked(client, world, NO_ROOM)
    page = client.get(reverse("install_preflight", query=query)).content.decode()
    assert "Go on anyway" in page and "Review what will happen" not in page
    review = reverse("install_review", query=query)
    assert 'name="anyway"' in client.get(review).content.decode()

    refused = client.post(review, {"reason": "trial"})
    assert refused.status_code == 422
    assert not Operation.objects.filter(kind=OperationKind.INSTALL).exists()

    begun = client.post(review, {"reason": "trial", "anyway": "on"})
    assert begun.status_code == 302
    operation = Operation.objects.get(kind=OperationKind.INSTALL)
    assert operation.request["anyway"] is True
    assert AuditEntry.objects.get(action="deployment.install").after["anyway"] is True


@pytest.mark.parametrize(
    ("check", "comes"),
    [("driver", "the servers may compute on the CPU"), ("claim_size", "ends before the model is whole")],
)
def test_what_comes_of_going_on_is_said_of_what_was_found(
    client: Client, world: dict[str, Any], check: str, comes: str
) -> None:
    query = asked(client, world, Finding(check, FindingLevel.FAIL, "Too old or too small").to_json())
    for step in ("install_preflight", "install_review"):
        page = client.get(reverse(step, query=query)).content.decode()
        assert "nyway" in page and comes in page and "pods wait" not in page
    both = [Finding(check, FindingLevel.FAIL, "Too old or too small").to_json(), NO_ROOM]
    Operation.objects.filter(kind=OperationKind.PREFLIGHT).update(result={"findings": both})
    page = client.get(reverse("install_preflight", query=query)).content.decode()
    assert comes in page and "Without room the pods wait, and say for what." in page


def test_a_check_that_could_not_be_made_says_what_answered_apart(
    client: Client, world: dict[str, Any]
) -> None:
    query = asked(client, world)
    Operation.objects.filter(kind=OperationKind.PREFLIGHT).update(
        state=OperationState.FAILED,
        failure="The cluster's API server failed to answer.",
        failure_answered="unable to handle the request",
        failure_remedy="If this stays, ask whoever runs the cluster.",
    )
    page = client.get(reverse("install_preflight", query=query)).content.decode()
    assert "failed to answer. If this stays, ask" in page
    assert '<span class="mono">unable to handle the request</span>' in page


def test_nobody_goes_on_past_what_room_does_not_mend(client: Client, world: dict[str, Any]) -> None:
    query = asked(client, world, NO_ROOM, TAKEN)
    assert "Go on anyway" not in client.get(reverse("install_preflight", query=query)).content.decode()
    review = reverse("install_review", query=query)
    assert client.post(review, {"anyway": "on"}).status_code == 409


def test_a_sound_install_is_not_marked_as_gone_on_with(client: Client, world: dict[str, Any]) -> None:
    passed = Finding("fit", FindingLevel.PASS, "The server pod finds a node").to_json()
    review = reverse("install_review", query=asked(client, world, passed))
    assert 'name="anyway"' not in client.get(review).content.decode()
    client.post(review, {"anyway": "on"})
    assert Operation.objects.get(kind=OperationKind.INSTALL).request["anyway"] is False


def test_an_install_that_found_no_room_can_go_on_from_its_page(client: Client, world: dict[str, Any]) -> None:
    passed = Finding("fit", FindingLevel.PASS, "The server pod finds a node").to_json()
    client.post(reverse("install_review", query=asked(client, world, passed)))
    operation = Operation.objects.get(kind=OperationKind.INSTALL)
    Operation.objects.filter(pk=operation.pk).update(
        state=OperationState.FAILED, failure="No room.", result={"findings": [NO_ROOM], "fit": FIT}
    )
    page = client.get(reverse("operation", args=[operation.pk])).content.decode()
    assert "Go on anyway" in page and "Without room the pods wait" in page and "the node is cordoned" in page
    client.post(reverse("operation_retry", args=[operation.pk]), {"anyway": "1"})
    again = Operation.objects.filter(kind=OperationKind.INSTALL).latest("pk")
    assert again.pk != operation.pk and again.request["anyway"] is True


# -- a cluster by itself ------------------------------------------------------------------------------


def test_a_cluster_is_asked_for_a_model_or_a_profile(client: Client, world: dict[str, Any]) -> None:
    address = reverse("cluster_preflight", args=[world["cluster"].pk])
    assert address in client.get(reverse("cluster", args=[world["cluster"].pk])).content.decode()
    page = client.get(address).content.decode()
    assert "deepseek-r1:70b" in page and "small, revision 1" in page

    answer = client.post(address, {"what": "model:70b", "gpus": "nvidia", "servers": "2"})
    assert answer.status_code == 302
    operation = Operation.objects.get(kind=OperationKind.PREFLIGHT)
    server = operation.request["spec"]["server"]
    assert (server["gpu_vendor"], server["replicas"]) == ("nvidia", 2)
    assert f'data-live="operation:{operation.pk}"' in client.get(answer.url).content.decode()

    answered(findings=[NO_ROOM], fit=FIT)
    shown = client.get(answer.url).content.decode()
    assert "The server pod finds no node" in shown and "the node is cordoned" in shown
    fragment = client.get(answer.url, headers={"X-Fragment": "1"}).content.decode()
    assert fragment.strip().startswith("<div") and 'id="preflight"' in fragment and "<form" not in fragment

    profile = client.post(address, {"what": f"revision:{world['revision'].pk}"})
    assert profile.status_code == 302
    assert Operation.objects.latest("pk").request["spec"]["model"]["tag"] == "1.5b"


@pytest.mark.parametrize(
    "given",
    [{}, {"what": "model:9000b"}, {"what": "revision:1' or 1"}, {"what": "model:70b", "servers": "65"}],
)
def test_nonsense_is_refused_at_its_field(
    given: dict[str, str], client: Client, world: dict[str, Any]
) -> None:
    answer = client.post(reverse("cluster_preflight", args=[world["cluster"].pk]), given)
    assert answer.status_code == 422
    assert "aria-invalid" in answer.content.decode()


def test_who_may_ask_a_cluster(client: Client, world: dict[str, Any]) -> None:
    address = reverse("cluster_preflight", args=[world["cluster"].pk])
    ask = {"what": "model:1.5b"}
    client.post(address, ask)
    operation = Operation.objects.get(kind=OperationKind.PREFLIGHT)
    answered(findings=[NO_ROOM], fit=FIT)

    client.force_login(make.make_member(world["team"], Role.VIEWER))
    page = client.get(address)
    assert page.status_code == 200 and "Only operators may ask" in page.content.decode()
    assert client.post(address, ask).status_code == 403

    other = make.make_team("Other")
    client.force_login(make.make_member(other, Role.OWNER))
    assert client.get(address).status_code == 404
    assert client.post(address, ask).status_code == 404
    mine = make.make_cluster(make.make_admin("second"), name="theirs", teams=[other])
    elsewhere = reverse("cluster_preflight", args=[mine.pk], query={"preflight": operation.pk})
    assert "The server pod finds no node" not in client.get(elsewhere).content.decode()


def test_the_page_of_an_answer_costs_few_queries(
    client: Client, world: dict[str, Any], django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    address = reverse("cluster_preflight", args=[world["cluster"].pk])
    answer = client.post(address, {"what": "model:1.5b"})
    rows = [{**FIT["rows"][0], "name": f"n{number}"} for number in range(40)]
    answered(findings=[NO_ROOM] * 20, fit={**FIT, "rows": rows})
    with django_assert_max_num_queries(16):
        assert client.get(answer.url).status_code == 200
