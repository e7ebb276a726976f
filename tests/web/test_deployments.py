"""Pages of deployments: list, sections, and what can be done with one."""

from __future__ import annotations

import re
from datetime import timedelta
from typing import Any
from urllib.parse import parse_qs, urlsplit

import pytest
from django.conf import settings
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dashboard.chat_tickets import redeem
from deployments.domain.errors import Denied
from deployments.domain.health.assess import PULL_AGAIN
from deployments.domain.spec import (
    ChatSpec,
    IngressSpec,
    ModelSpec,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
    Toleration,
)
from deployments.domain.states import Health, OperationKind, OperationState, Role
from deployments.models import ClusterGrant, Deployment, Operation, OwnedObject, Team
from tests.factories import make_team
from tests.web import rows
from tests.web.reading import html

pytestmark = pytest.mark.django_db

SECRET = {
    "apiVersion": "v1",
    "kind": "Secret",
    "metadata": {"name": "r1-access-code"},
    "stringData": {"code": "masked:0123456789abcdef"},
}


def service(port: int) -> dict[str, Any]:
    return {
        "apiVersion": "v1",
        "kind": "Service",
        "metadata": {"name": "r1-server"},
        "spec": {"ports": [{"port": port}]},
    }


# The list -----------------------------------------------------------------------------------------
def test_where_its_cluster_does_not_answer_a_deployment_says_that_it_is_as_last_seen(
    signed_in: Client, team: Team
) -> None:
    silent = rows.cluster("silent", last_error="The cluster's server did not answer in time.")
    deployment = rows.deployment(rows.revision(team), silent)
    page = html(signed_in, f"/deployments/{deployment.pk}/")
    assert "silent is out of reach; this is as last seen." in page
    assert "did not answer in time." in page and f'href="/clusters/{silent.pk}/"' in page
    assert "out of reach" in html(signed_in, "/deployments/")
    silent.last_error = ""
    silent.save()
    for address in (f"/deployments/{deployment.pk}/", "/deployments/"):
        assert "out of reach" not in html(signed_in, address)


def test_the_list_is_worst_first_and_filters(signed_in: Client, team: Team) -> None:
    revision, here, there = rows.revision(team), rows.cluster("here"), rows.cluster("there")
    rows.deployment(revision, here, "healthy-one")
    rows.deployment(revision, there, "failed-one", health=Health.FAILED)
    rows.deployment(revision, here, "gone-one", removed_at=timezone.now())
    page = html(signed_in, "/deployments/")
    assert page.index("failed-one") < page.index("healthy-one")
    assert "gone-one" not in page
    for query in ("health=failed", f"cluster={there.pk}", "q=failed"):
        page = html(signed_in, f"/deployments/?{query}")
        assert "failed-one" in page and "healthy-one" not in page, query
    page = html(signed_in, "/deployments/?sort=-name")
    assert page.index("healthy-one") < page.index("failed-one")
    assert "The filters hide all others." in html(signed_in, "/deployments/?q=nothing")
    for query in ("health=nonsense", "sort=password", "page=x", "cluster=x", "team=99999999999999999999"):
        html(signed_in, f"/deployments/?{query}")


def test_the_list_shows_what_runs_on_a_deployment(signed_in: Client, deployment: Deployment) -> None:
    rows.operation(deployment, OperationKind.UPGRADE)
    assert "Upgrading r1" in html(signed_in, "/deployments/")


def test_the_number_of_queries_does_not_grow(
    signed_in: Client, team: Team, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    revision, cluster = rows.revision(team), rows.cluster()

    def fill(names: range) -> None:
        for name in names:
            rows.operation(rows.deployment(revision, cluster, f"r{name}"))

    fill(range(5))
    with django_assert_max_num_queries(30) as few:
        html(signed_in, "/deployments/")
    fill(range(5, 50))
    with django_assert_max_num_queries(len(few.captured_queries)):
        html(signed_in, "/deployments/")


# One deployment -----------------------------------------------------------------------------------
def test_an_ill_deployment_says_why_and_what_to_do(signed_in: Client, team: Team) -> None:
    ill = rows.deployment(
        rows.revision(team),
        rows.cluster(),
        health=Health.DEGRADED,
        health_sentence="One of two servers is out of memory.",
        health_evidence=["container ollama ended with OOMKilled"],
        health_remedy="Raise the memory limit.",
        health_since=timezone.now(),
    )
    page = html(signed_in, f"/deployments/{ill.pk}/")
    for words in (ill.health_sentence, ill.health_evidence[0], ill.health_remedy, "not checked yet"):
        assert words in page


def test_evidence_is_not_said_to_be_older_than_what_it_is_evidence_of(signed_in: Client, team: Team) -> None:
    now = timezone.now()
    ill = rows.deployment(
        rows.revision(team),
        rows.cluster(),
        health=Health.FAILED,
        health_evidence=["the pod was evicted"],
        health_since=now - timedelta(seconds=3),
        observed_at=now - timedelta(seconds=55),
    )
    page = html(signed_in, f"/deployments/{ill.pk}/")
    assert ">3\u00a0s ago<" in page.partition("the pod was evicted")[2].partition("</li>")[0]


def test_a_model_that_is_missing_is_pulled_from_where_it_is_said(signed_in: Client, team: Team) -> None:
    ill = rows.deployment(
        rows.revision(team), rows.cluster(), health=Health.DEGRADED, health_remedy=PULL_AGAIN
    )
    rows.release(ill, 1, [])
    offer = f'href="/deployments/{ill.pk}/models/pull"'
    assert offer in html(signed_in, f"/deployments/{ill.pk}/")
    rows.operation(ill, OperationKind.PULL)
    assert offer not in html(signed_in, f"/deployments/{ill.pk}/")


def test_pods_and_their_containers_are_told_in_words(signed_in: Client, deployment: Deployment) -> None:
    rows.seen(
        deployment,
        "Pod",
        "r1-server-0",
        {
            "labels": {"app.kubernetes.io/component": "server"},
            "createdAt": "2026-01-31T12:00:00Z",
            "phase": "Running",
            "node": "node-7",
            "conditions": [{"type": "Ready", "status": "False", "message": ""}],
            "containers": [{"name": "ollama"}],
            "containerStatuses": [
                {
                    "name": "ollama",
                    "image": "ollama/ollama:0.9.6",
                    "ready": False,
                    "restartCount": 4,
                    "state": {"waiting": {"reason": "CrashLoopBackOff", "message": "back-off 40s"}},
                    "lastState": {"terminated": {"reason": "OOMKilled", "exitCode": 137}},
                }
            ],
        },
    )
    rows.seen(
        deployment,
        "Pod",
        "r1-server-1",
        {
            "phase": "Pending",
            "conditions": [{"type": "PodScheduled", "status": "False", "message": "0/3 nodes have a GPU"}],
        },
    )
    page = html(signed_in, f"/deployments/{deployment.pk}/")
    for words in ("CrashLoopBackOff", "back-off 40s", "OOMKilled", "137", "node-7", "0 of 1", "model server"):
        assert words in page
    assert "Cannot be placed" in page and "0/3 nodes have a GPU" in page


def test_an_object_with_nothing_in_it_does_not_break_a_section(
    signed_in: Client, deployment: Deployment
) -> None:
    for kind in ("Pod", "Event", "PersistentVolumeClaim", "StatefulSet"):
        rows.seen(deployment, kind, "empty", {})
    for tab in ("pods", "model", "chat", "events", "releases", "configuration", "nonsense"):
        html(signed_in, f"/deployments/{deployment.pk}/?tab={tab}")


def test_where_the_model_lies_is_told_or_said_to_be_unknown(signed_in: Client, team: Team) -> None:
    now = timezone.now().isoformat()
    probes = {"pods": {"r1-server-0": {"model_present": True, "at": now}}}
    deployment = rows.deployment(rows.revision(team), rows.cluster(), probes=probes)
    for number in (0, 1):
        labels = {"app.kubernetes.io/component": "server"}
        rows.seen(deployment, "Pod", f"r1-server-{number}", {"labels": labels, "claims": [f"m-{number}"]})
        rows.seen(deployment, "PersistentVolumeClaim", f"m-{number}", {"phase": "Bound", "capacity": "20Gi"})
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=model")
    assert "There" in page and "Not asked yet" in page and "20\u00a0GiB" in page and "m-1" in page
    assert "on 1 of 1 pod · server check, " in " ".join(re.sub(r"<[^>]+>", "", page).split())


def test_a_check_is_begun_from_the_page(
    signed_in: Client, deployment: Deployment, sent: list[tuple[int, str]]
) -> None:
    rows.release(deployment, 1, [])
    assert "Check with one token" in html(signed_in, f"/deployments/{deployment.pk}/?tab=model")
    answer = signed_in.post(f"/deployments/{deployment.pk}/check")
    check = Operation.objects.get(kind=OperationKind.CHECK_CHAT)
    assert answer["Location"] == f"/operations/{check.pk}/"
    assert "A check is under way." in html(signed_in, f"/deployments/{deployment.pk}/?tab=model")


def test_fragments_are_the_regions_alone(signed_in: Client, deployment: Deployment) -> None:
    here, header = f"/deployments/{deployment.pk}/", {"X-Fragment": "1"}
    assert html(signed_in, f"{here}?part=state", **header).strip().startswith('<div id="state" data-live="')
    section = html(signed_in, f"{here}?part=section&tab=events", **header).strip()
    assert section.startswith('<section class="panel" id="section"')
    assert "The cluster reported nothing" in section and "<html" not in section


@pytest.mark.parametrize("way", ["", "uninstall", "upgrade", "chat", "releases/1/"])
def test_another_team_finds_nothing(client: Client, deployment: Deployment, way: str) -> None:
    rows.release(deployment, 1, [service(1)])
    client.force_login(rows.person("stranger", make_team("Other")))
    html(client, f"/deployments/{deployment.pk}/{way}", 404)


def test_the_page_takes_the_same_queries_for_many_pods(
    signed_in: Client, deployment: Deployment, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    def fill(names: range) -> None:
        for name in names:
            rows.seen(deployment, "Pod", f"r1-server-{name}", {"phase": "Running"})
            rows.seen(deployment, "Event", f"e{name}", {"reason": "Pulled"})

    for tab in ("pods", "model", "events"):
        address = f"/deployments/{deployment.pk}/?tab={tab}"
        deployment.observed.all().delete()
        fill(range(5))
        with django_assert_max_num_queries(40) as few:
            html(signed_in, address)
        fill(range(5, 50))
        with django_assert_max_num_queries(len(few.captured_queries)):
            html(signed_in, address)


# Chat ---------------------------------------------------------------------------------------------
def test_the_chat_is_framed_with_a_ticket_that_opens_once(signed_in: Client, deployment: Deployment) -> None:
    rows.release(deployment, 1, [])
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=chat")
    found = re.search(r'<iframe class="chat-frame" src="([^"]+)"', page)
    assert found is not None
    address = urlsplit(found.group(1).replace("&amp;", "&"))
    assert address.hostname == f"{deployment.public_id}.{settings.CHAT_DOMAIN}"
    ticket = parse_qs(address.query)["ticket"][0]
    visitor = redeem(ticket, deployment.public_id)
    assert visitor.user_id == int(signed_in.session["_auth_user_id"])
    with pytest.raises(Denied):
        redeem(ticket, deployment.public_id)


def test_opening_the_chat_makes_a_new_ticket_each_time(signed_in: Client, deployment: Deployment) -> None:
    ways = {signed_in.get(f"/deployments/{deployment.pk}/chat")["Location"] for _ in range(2)}
    assert len(ways) == 2
    answer = signed_in.get(f"/deployments/{deployment.pk}/chat")
    assert answer["Cache-Control"] == "no-store" and answer["Referrer-Policy"] == "no-referrer"


def test_where_there_is_no_chat_the_page_says_why(signed_in: Client, team: Team) -> None:
    without = rows.revision(team, spec=StackSpec(chat=ChatSpec(enabled=False)))
    page = html(signed_in, f"/deployments/{rows.deployment(without, rows.cluster()).pk}/?tab=chat")
    assert "asks for no chat" in page and "<iframe" not in page


def test_the_ingress_is_a_second_way(signed_in: Client, team: Team) -> None:
    ingress = IngressSpec(enabled=True, host="chat.example.com", tls_secret="tls")
    spec = StackSpec(ingress=ingress, chat=ChatSpec(has_access_code=True))
    deployment = rows.deployment(rows.revision(team, spec=spec), rows.cluster())
    rows.release(deployment, 1, [])
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=chat")
    assert 'href="https://chat.example.com/"' in page and "asks for the access code" in page


# Releases -----------------------------------------------------------------------------------------
def test_a_release_shows_its_objects_and_what_changed(signed_in: Client, deployment: Deployment) -> None:
    rows.release(deployment, 1, [service(11434), SECRET])
    rows.release(deployment, 2, [service(11435), SECRET])
    here = f"/deployments/{deployment.pk}/releases/2/"
    page = html(signed_in, here)
    assert "port: 11435" in page and "masked:0123456789abcdef" in page
    page = html(signed_in, f"{here}?changes")
    assert "port: 11434" in page and "port: 11435" in page
    assert "r1-access-code" not in page
    html(signed_in, f"/deployments/{deployment.pk}/releases/3/", 404)


def test_the_configuration_is_told_in_the_words_of_its_form(signed_in: Client, team: Team) -> None:
    server = ServerSpec(
        tolerations=(Toleration("gpu", "Exists", "", "NoSchedule"),), node_selector={"disk": "ssd"}
    )
    spec = StackSpec(server=server, storage=StorageSpec(size="20Gi"))
    deployment = rows.deployment(rows.revision(team, spec=spec), rows.cluster())
    page = html(signed_in, f"/deployments/{deployment.pk}/?tab=configuration")
    for words in (
        "Servers and GPUs",
        "Taints that servers tolerate",
        "disk=ssd",
        "20\u00a0GiB",
        "a claim for each",
    ):
        assert words in page
    for raw in ("gpu_vendor", "keep_alive", "20Gi<", "replicas", "template<"):
        assert raw not in page


# Upgrade ------------------------------------------------------------------------------------------
def test_a_newer_revision_is_offered_compared_and_applied(
    signed_in: Client, team: Team, deployment: Deployment, sent: list[tuple[int, str]]
) -> None:
    newer = rows.revision(team, spec=StackSpec(model=ModelSpec(tag="7b")))
    assert "Apply revision 2…" in html(signed_in, f"/deployments/{deployment.pk}/")
    page = html(signed_in, f"/deployments/{deployment.pk}/upgrade")
    assert "Tag" in page and "7b" in page and "model.tag" not in page
    answer = signed_in.post(
        f"/deployments/{deployment.pk}/upgrade", {"revision": newer.pk, "reason": "larger"}
    )
    upgrade = Operation.objects.get(kind=OperationKind.UPGRADE)
    deployment.refresh_from_db()
    assert answer["Location"] == f"/operations/{upgrade.pk}/"
    assert upgrade.request["revision"] == newer.pk and upgrade.reason == "larger"
    assert deployment.revision.number == 1, "until the other one is applied"
    # a second one must wait for the first, and the page says for whom
    answer = signed_in.post(f"/deployments/{deployment.pk}/upgrade", {"revision": newer.pk})
    assert answer.status_code == 409 and "started by olga" in answer.content.decode()


def test_too_much_for_the_quota_is_told_with_what_was_typed(
    signed_in: Client, team: Team, deployment: Deployment
) -> None:
    ClusterGrant.objects.create(
        team=team, cluster=deployment.cluster, namespaces=["*"], quota={"memory": 2**30}
    )
    given = {"revision": deployment.revision_id, "reason": "for the demo"}
    answer = signed_in.post(f"/deployments/{deployment.pk}/upgrade", given)
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "too much" in page and "ask a site admin for a larger quota" in page
    assert 'value="for the demo"' in page


def test_a_reason_that_is_too_long_is_told_and_kept(signed_in: Client, deployment: Deployment) -> None:
    answer = signed_in.post(
        f"/deployments/{deployment.pk}/upgrade", {"revision": deployment.revision_id, "reason": "x" * 501}
    )
    assert answer.status_code == 422
    assert "longer than 500" in answer.content.decode() and "x" * 501 in answer.content.decode()
    assert not Operation.objects.exists()


# Uninstall ----------------------------------------------------------------------------------------
def test_an_uninstall_wants_the_name_and_says_what_becomes_of_the_data(
    signed_in: Client, deployment: Deployment, sent: list[tuple[int, str]]
) -> None:
    OwnedObject.objects.create(
        deployment=deployment,
        api_version="v1",
        kind="PersistentVolumeClaim",
        namespace="llm",
        name="models-r1-server-0",
        uid="u",
        by_controller=True,
    )
    here = f"/deployments/{deployment.pk}/uninstall"
    rows.seen(deployment, "PersistentVolumeClaim", "models-r1-server-0", {"capacity": "20Gi"})
    page = html(signed_in, here)
    assert "(20\u00a0GiB)" in page
    assert "models-r1-server-0" in page and "cannot be had back" in page
    wrong = signed_in.post(here, {"confirm": "r2", "data": "delete", "reason": "over"})
    assert wrong.status_code == 422
    text = wrong.content.decode()
    assert "Type r1 to confirm." in text and 'value="over"' in text
    assert re.search(r'value="delete" checked', text)
    assert not Operation.objects.exists()
    answer = signed_in.post(here, {"confirm": "r1", "data": "delete"})
    uninstall = Operation.objects.get(kind=OperationKind.UNINSTALL)
    assert uninstall.request == {"delete_data": True}
    assert answer["Location"] == f"/operations/{uninstall.pk}/"


def test_a_claim_that_was_there_before_is_said_to_stay(signed_in: Client, team: Team) -> None:
    storage = StorageSpec(mode=StorageMode.EXISTING, claim_name="deepseek-models")
    deployment = rows.deployment(rows.revision(team, spec=StackSpec(storage=storage)), rows.cluster())
    rows.seen(deployment, "PersistentVolumeClaim", "deepseek-models", {"capacity": "100Gi"})
    page = html(signed_in, f"/deployments/{deployment.pk}/uninstall")
    assert "deepseek-models, which was there before" in page
    assert 'value="delete"' not in page


@pytest.mark.parametrize(
    ("role", "status", "offers_data"),
    [(Role.VIEWER, 403, False), (Role.OPERATOR, 403, False), (Role.MAINTAINER, 200, False)],
)
def test_the_role_decides_what_an_uninstall_may_do(
    client: Client, team: Team, deployment: Deployment, role: Role, status: int, offers_data: bool
) -> None:
    client.force_login(rows.person("somebody", team, role))
    page = html(client, f"/deployments/{deployment.pk}/uninstall", status)
    assert ('value="delete"' in page) is offers_data
    answer = client.post(f"/deployments/{deployment.pk}/uninstall", {"confirm": "r1", "data": "delete"})
    assert answer.status_code == 403
    assert not Operation.objects.exists()


def test_what_is_gone_is_still_shown_and_no_longer_changed(signed_in: Client, team: Team) -> None:
    gone = rows.deployment(rows.revision(team), rows.cluster(), removed_at=timezone.now())
    page = html(signed_in, f"/deployments/{gone.pk}/")
    assert "It was uninstalled." in page and "Uninstall…" not in page
    html(signed_in, f"/deployments/{gone.pk}/uninstall", 409)
    html(signed_in, f"/deployments/{gone.pk}/chat", 409)


def test_work_under_way_stands_on_top(signed_in: Client, deployment: Deployment) -> None:
    install = rows.operation(deployment, state=OperationState.RUNNING, at="pull")
    rows.pull(install, 50, 100)
    page = html(signed_in, f"/deployments/{deployment.pk}/")
    assert "Installing r1" in page and "50\u00a0%" in page
    assert "Apply revision" not in page


def test_a_chat_that_the_revision_asks_no_pod_of_is_not_told_to_be_unchecked(
    signed_in: Client, team: Team
) -> None:
    for name, chat, words in (
        ("stopped", ChatSpec(replicas=0), "the revision asks for no chat pod"),
        ("none", ChatSpec(enabled=False), "the revision asks for no chat"),
    ):
        spec = StackSpec(model=ModelSpec(), chat=chat)
        row = rows.deployment(rows.revision(team, name, spec), rows.cluster(name), name)
        page = html(signed_in, f"/deployments/{row.pk}/")
        assert words in page and "not checked yet" not in page, name


def test_a_missing_model_says_why_its_last_pull_failed_and_what_comes_before_another(
    signed_in: Client, team: Team
) -> None:
    row = rows.deployment(
        rows.revision(team),
        rows.cluster(),
        health=Health.DEGRADED,
        health_sentence="The model deepseek-r1:7b is not on every server.",
        health_remedy=PULL_AGAIN,
    )
    full = {"failure": "The volume of the models is full.", "failure_remedy": "Remove models first."}
    rows.operation(row, OperationKind.PULL, OperationState.FAILED, **full)
    page = html(signed_in, f"/deployments/{row.pk}/")
    assert full["failure"] in page and full["failure_remedy"] in page
    rows.operation(row, OperationKind.PULL, OperationState.SUCCEEDED)
    page = html(signed_in, f"/deployments/{row.pk}/")
    assert full["failure"] not in page and PULL_AGAIN in page


def test_a_stack_that_was_stopped_is_not_said_to_be_unseen(signed_in: Client, team: Team) -> None:
    row = rows.deployment(
        rows.revision(team),
        rows.cluster("fra"),
        health=Health.STOPPED,
        health_sentence="The stack is stopped: no server is wanted.",
        health_remedy="Scale it up to use it.",
        observed_at=timezone.now(),
    )
    page = html(signed_in, f"/deployments/{row.pk}/")
    assert "The stack is stopped" in page and "Scale it up to use it." in page
    assert "Nothing has been seen yet." not in page
