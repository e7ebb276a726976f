"""The first page: what needs somebody, what runs, what changed, and the way to begin."""

from __future__ import annotations

import re
from datetime import timedelta

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from dashboard.presenters.audit import LABELS
from dashboard.presenters.change_words import ALL
from deployments.domain.states import Approver, Health, OperationKind, OperationState, Outcome, Role
from deployments.domain.subjects import Subject
from deployments.ledger import audit
from deployments.models import Approval, ClusterGrant, Membership, Operation, Team, User
from deployments.selectors.actors import actor_for
from tests.factories import make_team
from tests.web import rows

pytestmark = pytest.mark.django_db


def page(client: Client) -> str:
    answer = client.get("/")
    assert answer.status_code == 200
    return answer.content.decode()


def test_with_nothing_deployed_it_shows_the_way_there(signed_in: Client) -> None:
    html = page(signed_in)
    assert "Nothing is deployed yet" in html
    assert "Connect a cluster" in html


def test_the_title_counts_what_needs_somebody(signed_in: Client, team: Team) -> None:
    revision, cluster = rows.revision(team), rows.cluster()
    rows.deployment(revision, cluster, "fine")
    rows.deployment(revision, cluster, "ill", health=Health.FAILED, health_sentence="No image.")
    upgraded = rows.deployment(revision, cluster, "upgraded")
    rows.operation(upgraded, OperationKind.UPGRADE, OperationState.FAILED, failure="The apply was refused.")
    html = page(signed_in)
    assert "2 things need you" in html
    assert "No image." in html
    assert "The apply was refused." in html
    assert "2 of 3 deployments are healthy" in html


def menu_count(html: str) -> int:
    """The figure beside Overview in the menu; 0 where there is none."""
    found = re.search(r'<a class="nav" href="/"[^>]*>.*?Overview(?:<span class="n">(\d+)</span>)?</a>', html)
    assert found, "there is no Overview in the menu"
    return int(found[1] or 0)


def test_the_menu_counts_what_the_page_lists(signed_in: Client, team: Team) -> None:
    assert menu_count(page(signed_in)) == 0
    revision, cluster = rows.revision(team), rows.cluster()
    ClusterGrant.objects.create(team=team, cluster=cluster, namespaces=["*"])
    ill = rows.deployment(revision, cluster, "ill", health=Health.FAILED)
    rows.operation(ill, OperationKind.UPGRADE, OperationState.FAILED)
    upgraded = rows.deployment(revision, cluster, "upgraded")
    rows.operation(upgraded, OperationKind.UPGRADE, OperationState.FAILED)
    mended = rows.deployment(revision, cluster, "mended")
    rows.operation(mended, OperationKind.UPGRADE, OperationState.FAILED)
    rows.operation(mended, OperationKind.UPGRADE, OperationState.SUCCEEDED)
    silent = rows.cluster("silent", last_error="It does not answer.")
    ClusterGrant.objects.create(team=team, cluster=silent, namespaces=["*"])
    html = page(signed_in)
    assert "3 things need you" in html
    assert menu_count(html) == 3
    assert menu_count(signed_in.get("/deployments/").content.decode()) == 3


def test_a_silent_cluster_has_the_remedy_of_its_own_page(signed_in: Client, team: Team) -> None:
    rows.deployment(rows.revision(team), rows.cluster("here"))
    silent = rows.cluster("silent", last_error="It does not answer.")
    ClusterGrant.objects.create(team=team, cluster=silent, namespaces=["*"])
    remedy = "Check again; when it stays so, look whether the API server can be reached from here."
    assert remedy in page(signed_in)
    assert remedy in signed_in.get(f"/clusters/{silent.pk}/").content.decode()


def test_a_request_for_ones_yes_needs_one(signed_in: Client, team: Team) -> None:
    asked = rows.deployment(rows.revision(team), rows.cluster(), "asked")
    operation = rows.operation(asked, OperationKind.INSTALL, OperationState.AWAITING_APPROVAL)
    now = timezone.now()
    request = Approval.objects.create(
        operation=operation,
        release=rows.release(asked, 1, []),
        digest="0" * 64,
        approver=Approver.OWNER,
        asked_at=now,
        expires_at=now + timedelta(days=1),
    )
    html = page(signed_in)
    assert "1 thing needs you" in html and menu_count(html) == 1
    assert "somebody asks for your yes." in html
    assert f'href="/approvals/{request.pk}/"' in html
    assert "Running" not in html, "it waits for a person and not for a worker"
    Operation.objects.update(actor_id=User.objects.get().pk)
    html = page(signed_in)
    assert "Nothing needs you" in html and menu_count(html) == 0


def test_every_act_is_said_in_words() -> None:
    """What the audit has a name for, the feed has one, too."""
    silent = {action for action in LABELS if action.startswith("session.")} | {"release.make"}
    assert set(LABELS) - set(ALL) - silent == set()


def test_the_menu_counts_for_the_team_that_the_pages_show(signed_in: Client, team: Team) -> None:
    other, cluster = make_team("Other"), rows.cluster()
    Membership.objects.create(team=other, user=User.objects.get(), role=Role.VIEWER)
    rows.deployment(rows.revision(team), cluster, "ill", health=Health.FAILED)
    rows.deployment(rows.revision(other), cluster, "ill too", health=Health.FAILED)
    assert menu_count(page(signed_in)) == 2
    signed_in.post("/team", {"team": other.pk})
    assert menu_count(page(signed_in)) == 1


def test_a_failure_that_was_made_good_needs_nobody(signed_in: Client, team: Team) -> None:
    deployment = rows.deployment(rows.revision(team), rows.cluster())
    rows.operation(deployment, OperationKind.UPGRADE, OperationState.FAILED, failure="Refused.")
    rows.operation(deployment, OperationKind.UPGRADE, OperationState.SUCCEEDED)
    assert "Nothing needs you" in page(signed_in)


def test_running_work_shows_how_far_its_pulls_are_and_not_each_pull(signed_in: Client, team: Team) -> None:
    deployment = rows.deployment(rows.revision(team), rows.cluster(), health=Health.PROGRESSING)
    install = rows.operation(deployment, at="pull")
    rows.pull(install, 600_000_000, 1_000_000_000, rate=50e6)
    rows.pull(install, 400_000_000, 1_000_000_000, stalled_since=timezone.now())
    html = page(signed_in)
    assert "Installing r1" in html
    assert "1.0 of 2.0\u00a0GB" in html
    assert "50\u00a0MB/s" in html
    assert "8\u00a0s left" in html
    assert "1 stands still" in html
    assert "Pulling deepseek-r1:1.5b" not in html


def test_changes_of_other_teams_stay_unseen(signed_in: Client, team: Team) -> None:
    other = make_team("Other")
    actor = actor_for(rows.person("stranger", other), "127.0.0.1")
    rows.deployment(rows.revision(team), rows.cluster())
    audit.record(actor, "deployment.install", Subject("deployment", "9", "c/ns/secret", other.pk))
    audit.record(actor, "deployment.install", Subject("deployment", "8", "c/ns/ours", team.pk))
    html = page(signed_in)
    assert "ours" in html
    assert "secret" not in html


def test_the_fragment_is_the_region_of_the_page(signed_in: Client, team: Team) -> None:
    deployment = rows.deployment(rows.revision(team), rows.cluster(), health=Health.FAILED)
    fragment = signed_in.get("/", headers={"X-Fragment": "1"}).content.decode().strip()
    assert fragment.startswith('<div id="overview" data-live="list:0 ')
    assert f"deployment:{deployment.pk}" in fragment
    assert "<html" not in fragment


@pytest.mark.parametrize("role", [Role.VIEWER, Role.OWNER])
def test_the_number_of_queries_does_not_grow(
    client: Client, team: Team, role: Role, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    client.force_login(rows.person("olga", team, role))
    revision, cluster = rows.revision(team), rows.cluster()

    def fill(names: range) -> None:
        for name in names:
            ill = Health.FAILED if name % 2 else Health.HEALTHY
            deployment = rows.deployment(revision, cluster, f"r{name}", health=ill)
            rows.pull(rows.operation(deployment, at="pull"), 10, 100)

    fill(range(10))  # more than are shown
    with django_assert_max_num_queries(60) as few:
        page(client)
    fill(range(10, 50))
    with django_assert_max_num_queries(len(few.captured_queries)):
        page(client)


def test_beginnings_and_ends_are_told_in_words(signed_in: Client, team: Team) -> None:
    actor = actor_for(rows.person("otto", team), "127.0.0.1")
    rows.deployment(rows.revision(team), rows.cluster())
    subject = Subject("deployment", "1", "practice/llm/r1", team.pk)
    audit.record(actor, "deployment.install", subject, reason="Pilot")
    audit.record(actor, "operation.install", subject)
    audit.record(actor, "operation.pull", subject, outcome=Outcome.FAILED, reason="No such tag.")
    audit.record(actor, "deployment.uninstall", subject, outcome=Outcome.DENIED, reason="Needs more.")
    audit.record(actor, "session.begin", subject)
    told = " ".join(re.sub(r"<[^>]*>", " ", page(signed_in)).split())
    for words in (
        "otto began to install r1 practice / llm · “Pilot”",
        "otto installed r1",
        "otto failed to pull a model for r1 practice / llm · No such tag.",
        "otto was refused: uninstall r1 practice / llm · Needs more.",
    ):
        assert words in told
    assert "session.begin" not in told
