"""Pages of requests that wait for a yes: the queue, its badge, the answer."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse
from django.utils import timezone

from deployments.domain.states import Approver, OperationKind, OperationState, Role
from deployments.models import Approval, Deployment, Operation, User
from tests import factories as make
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def asker() -> User:
    return make.make_member(make.default_team(), Role.OPERATOR, "asker")


@pytest.fixture
def owner(client: Client) -> User:
    person = make.make_member(make.default_team(), Role.OWNER, "olga")
    client.force_login(person)
    return person


def request_of(asker: User, name: str = "r1", approver: str = Approver.OWNER) -> Approval:
    cluster = rows.cluster(f"c-{name}")
    deployment = rows.deployment(
        rows.revision(make.default_team(), name), cluster, name, demand={"gpus": 2, "memory": 2**33}
    )
    operation = rows.operation(
        deployment, OperationKind.INSTALL, OperationState.AWAITING_APPROVAL, at="approval"
    )
    Operation.objects.filter(pk=operation.pk).update(actor=asker, actor_name=str(asker), reason="a demo")
    release = rows.release(deployment, 1, [])
    release.__class__.objects.filter(pk=release.pk).update(applied_at=None)
    now = timezone.now()
    return Approval.objects.create(
        operation=operation,
        release=release,
        digest=release.digest,
        approver=approver,
        asked_at=now,
        expires_at=now + timedelta(days=7),
    )


def badge(client: Client) -> bool:
    page = client.get(reverse("teams")).content.decode()
    return 'Approvals<span class="n">1</span>' in page


def test_the_queue_has_a_badge_for_those_who_may_decide(client: Client, owner: User, asker: User):
    assert not badge(client)
    request_of(asker)
    assert badge(client)
    assert "waits for you" in client.get(reverse("approvals")).content.decode()
    client.force_login(asker)
    assert not badge(client)
    assert "waits for you" not in client.get(reverse("approvals")).content.decode()


def test_the_page_shows_what_would_be_applied(client: Client, owner: User, asker: User):
    found = request_of(asker)
    page = client.get(reverse("approval", args=[found.pk])).content.decode()
    assert "2 GPUs, 8Gi memory" in page
    assert reverse("deployment_release", args=[found.operation.deployment_id, 1]) in page
    assert "a demo" in page


def test_agreeing_queues_it(client: Client, owner: User, asker: User):
    found = request_of(asker)
    answer = client.post(reverse("approval", args=[found.pk]), {"decision": "agree"})
    assert answer.url == reverse("approvals")
    found.operation.refresh_from_db()
    assert found.operation.state == OperationState.QUEUED
    again = client.post(reverse("approval", args=[found.pk]), {"decision": "refuse", "reason": "late"})
    assert again.status_code == 409


def test_a_refusal_needs_a_reason_and_shows_it(client: Client, owner: User, asker: User):
    found = request_of(asker)
    there = reverse("approval", args=[found.pk])
    assert client.post(there, {"decision": "refuse"}).status_code == 422
    assert client.post(there, {"decision": "maybe"}).status_code == 422
    assert client.post(there, {"decision": "refuse", "reason": "<b>too large</b>"}).status_code == 302
    assert "&lt;b&gt;too large" in client.get(there).content.decode()
    assert not Deployment.objects.filter(removed_at=None).exists()


def test_ones_own_request_has_no_buttons(client: Client, owner: User):
    found = request_of(owner)
    there = reverse("approval", args=[found.pk])
    assert "This is your own request" in client.get(there).content.decode()
    assert client.post(there, {"decision": "agree"}).status_code == 403


def test_an_owner_does_not_decide_what_an_admin_has_to(client: Client, owner: User, asker: User):
    found = request_of(asker, approver=Approver.ADMIN)
    assert client.post(reverse("approval", args=[found.pk]), {"decision": "agree"}).status_code == 403
    client.force_login(make.make_admin())
    assert client.post(reverse("approval", args=[found.pk]), {"decision": "agree"}).status_code == 302


def test_a_grant_says_who_has_to_agree(client: Client):
    admin = make.make_admin()
    client.force_login(admin)
    cluster = make.make_cluster(admin, teams=[make.default_team()])
    there = reverse("cluster_grant", args=[cluster.pk, make.default_team().pk])
    client.post(there, {"namespaces": "*", "approver": "admin", "approve_over_gpus": "4"})
    grant = cluster.grants.get()
    assert (grant.approver, grant.approve_over_gpus) == (Approver.ADMIN, 4)
    assert client.post(there, {"namespaces": "*", "approver": "me"}).status_code == 422


def test_the_queue_asks_as_often_for_many(client: Client, owner: User, asker: User):
    def queries() -> int:
        with CaptureQueriesContext(connection) as seen:
            client.get(reverse("approvals"))
        return len(seen)

    request_of(asker)
    few = queries()
    for number in range(5):
        request_of(asker, f"r-{number}")
    assert queries() == few
