"""Pages of operations: list, live page, cancel, retry, log."""

from __future__ import annotations

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments.domain.states import OperationKind, OperationState, Role
from deployments.models import Deployment, Operation, OperationLog, Team
from tests.factories import make_team
from tests.web import rows
from tests.web.reading import html

pytestmark = pytest.mark.django_db


def test_an_install_shows_step_figures_and_layers_of_its_pulls(
    signed_in: Client, deployment: Deployment
) -> None:
    install = rows.operation(deployment, at="pull", reason="Pilot")
    weights = {"digest": "sha256:4cd576d9aa16ffee", "total": 990_000_000, "completed": 590_000_000}
    layers = [
        {**weights, "state": "pulling"},
        *({"digest": f"sha256:{n}", "total": 500, "completed": 0, "state": "waiting"} for n in range(4)),
    ]
    pull = rows.pull(install, 590_000_000, 1_000_000_000, rate=41e6, rates=[40e6, 42e6], layers=layers)
    page = html(signed_in, f"/operations/{install.pk}/")
    assert "Installing r1" in page
    assert "Pull the model, step 5 of 7" in page
    assert "“Pilot”" in page
    assert "0.6 of 1.0\u00a0GB" in page
    assert "41\u00a0MB/s" in page
    assert "10\u00a0s" in page
    assert "4cd576d9aa16" in page and "ffee" not in page
    assert "4 small layers" in page
    assert f"operation:{install.pk} operation:{pull.operation_id} deployment:{deployment.pk}" in page
    assert "Cancel…" in page


def test_a_stalled_pull_says_since_when_and_tells_no_time_left(
    signed_in: Client, deployment: Deployment
) -> None:
    install = rows.operation(deployment, at="pull")
    rows.pull(install, 10, 100, stalled_since=timezone.now(), pod="r1-server-0")
    page = html(signed_in, f"/operations/{install.pk}/")
    assert "r1-server-0 has stood still for" in page
    assert "cannot tell" in page
    assert "No bytes now" in page


def test_a_failure_says_what_was_tried_and_can_be_begun_again(
    signed_in: Client, deployment: Deployment, sent: list[tuple[int, str]]
) -> None:
    failed = rows.operation(
        deployment,
        state=OperationState.FAILED,
        at="apply",
        failure="The server refused the claim.",
        failure_tried="apply of the claim",
        failure_answered="403 Forbidden",
        failure_remedy="Grant the right.",
        failure_retryable=False,
        request={"revision": deployment.revision_id, "create_namespace": True},
    )
    page = html(signed_in, f"/operations/{failed.pk}/")
    for words in ("The server refused the claim.", "apply of the claim", "403 Forbidden", "Grant the right."):
        assert words in page
    answer = signed_in.post(f"/operations/{failed.pk}/retry")
    again = Operation.objects.latest("pk")
    assert again.kind == OperationKind.INSTALL and again.pk != failed.pk
    assert answer.status_code == 302 and answer["Location"] == f"/operations/{again.pk}/"
    assert "It was begun again" in html(signed_in, f"/operations/{failed.pk}/")


def test_cancelling_asks_first_and_says_what_stays(signed_in: Client, deployment: Deployment) -> None:
    install = rows.operation(deployment, at="pull")
    pull = rows.pull(install, 5_000_000, 10_000_000)
    assert "The 5.0\u00a0MB already here stay" in html(signed_in, f"/operations/{pull.operation_id}/cancel")
    install.refresh_from_db()
    assert install.cancel_requested_at is None
    signed_in.post(f"/operations/{install.pk}/cancel", {"reason": "wrong model"})
    install.refresh_from_db()
    assert install.cancel_requested_by == "olga"
    assert "It is being stopped." in html(signed_in, f"/operations/{install.pk}/")


def test_what_has_ended_is_shown_in_place_of_the_question(signed_in: Client, deployment: Deployment) -> None:
    ended = rows.operation(deployment, state=OperationState.SUCCEEDED)
    answer = signed_in.get(f"/operations/{ended.pk}/cancel", follow=True)
    assert answer.redirect_chain == [(f"/operations/{ended.pk}/", 302)]
    assert "This operation has ended already." in answer.content.decode()


def test_a_viewer_sees_and_changes_nothing(client: Client, team: Team, deployment: Deployment) -> None:
    client.force_login(rows.person("vera", team, Role.VIEWER))
    install = rows.operation(deployment)
    assert "Cancel…" not in html(client, f"/operations/{install.pk}/")
    html(client, f"/operations/{install.pk}/cancel", 403)
    assert client.post(f"/operations/{install.pk}/cancel").status_code == 403
    install.refresh_from_db()
    assert install.cancel_requested_at is None


@pytest.mark.parametrize("way", ["", "cancel", "log"])
def test_another_team_finds_nothing(client: Client, deployment: Deployment, way: str) -> None:
    other = make_team("Other")
    client.force_login(rows.person("stranger", other))
    install = rows.operation(deployment)
    html(client, f"/operations/{install.pk}/{way}", 404)
    assert "Installing" not in html(client, "/operations/")


def test_what_a_check_proved_is_shown(signed_in: Client, deployment: Deployment) -> None:
    proof = {
        "model": "deepseek-r1:1.5b",
        "pod": "r1-server-0",
        "seconds": 1.9,
        "load_seconds": 0.4,
        "tokens_per_second": 17.4,
        "placement": "100% GPU",
        "chat_page": "",
    }
    check = rows.operation(
        deployment, OperationKind.CHECK_CHAT, OperationState.SUCCEEDED, result={"chat": proof}
    )
    page = html(signed_in, f"/operations/{check.pk}/")
    for words in ("1.9\u00a0s", "17.4 tokens/s", "100% GPU", "0.4\u00a0s of it to load the model"):
        assert words in page


def test_a_comparison_shows_lines_and_conflicts_and_escapes_them(
    signed_in: Client, deployment: Deployment
) -> None:
    item = {
        "kind": "Service",
        "name": "r1-server",
        "change": "changed",
        "added": 1,
        "removed": 1,
        "problem": "Others own fields.",
        "conflicts": [["kubectl", ".spec.ports"]],
        "lines": [
            ["del", "port: <b>1</b>", 2, None, 0],
            ["add", "port: 2", None, 2, 0],
            ["fold", "", None, None, 7],
        ],
    }
    diff = rows.operation(
        deployment, OperationKind.DIFF, OperationState.SUCCEEDED, result={"objects": [item], "asked": False}
    )
    page = html(signed_in, f"/operations/{diff.pk}/")
    assert "7 equal lines" in page
    assert "&lt;b&gt;1" in page and "<b>1</b>" not in page
    assert ".spec.ports" in page and "kubectl" in page
    assert "the server was not asked" in page


def test_the_log_is_newest_first_on_the_page_and_whole_as_a_file(
    signed_in: Client, deployment: Deployment
) -> None:
    install = rows.operation(deployment)
    OperationLog.objects.bulk_create(
        OperationLog(operation=install, at=timezone.now(), step="apply", text=f"line {n} end")
        for n in range(250)
    )
    page = html(signed_in, f"/operations/{install.pk}/")
    assert page.index("line 249 end") < page.index("line 248 end")
    assert "line 49 end" not in page and "newest 200 of 250" in page
    answer = signed_in.get(f"/operations/{install.pk}/log")
    text = answer.content.decode()
    assert answer["Content-Type"].startswith("text/plain") and "attachment" in answer["Content-Disposition"]
    assert text.index("line 0 end") < text.index("line 249 end")


def test_the_list_filters_by_state_kind_deployment_and_text(signed_in: Client, team: Team) -> None:
    revision, cluster = rows.revision(team), rows.cluster()
    first, second = (rows.deployment(revision, cluster, name) for name in ("first", "second"))
    rows.operation(first)
    rows.operation(second, OperationKind.UPGRADE, OperationState.FAILED)
    rows.operation(second, OperationKind.DIFF, OperationState.SUCCEEDED)
    everything = html(signed_in, "/operations/")
    assert "Installing first" in everything and "Upgrade second" in everything
    assert "Compare second" not in everything
    for query in ("state=failed", "kind=upgrade", f"deployment={second.pk}", "q=upgrade"):
        page = html(signed_in, f"/operations/?{query}")
        assert "Upgrade second" in page and "Installing first" not in page, query
    assert "No operation is like that" in html(signed_in, "/operations/?state=cancelled")
    # what an address may hold is nobody's promise
    for query in ("state=nonsense", "kind='", "sort=password", "page=999", "deployment=x"):
        html(signed_in, f"/operations/?{query}")


def test_fragments_are_the_regions_alone(signed_in: Client, deployment: Deployment) -> None:
    install = rows.operation(deployment)
    one = html(signed_in, f"/operations/{install.pk}/", **{"X-Fragment": "1"}).strip()
    assert one.startswith(f'<div id="operation-{install.pk}" data-live="operation:{install.pk}')
    many = html(signed_in, "/operations/", **{"X-Fragment": "1"}).strip()
    assert many.startswith('<section class="panel" id="operations"')


def test_the_number_of_queries_does_not_grow(
    signed_in: Client, team: Team, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    revision, cluster = rows.revision(team), rows.cluster()

    def fill(names: range) -> None:
        for name in names:
            deployment = rows.deployment(revision, cluster, f"r{name}")
            rows.pull(rows.operation(deployment, at="pull"), 10, 100)

    fill(range(5))
    with django_assert_max_num_queries(40) as few:
        html(signed_in, "/operations/")
    fill(range(5, 25))
    with django_assert_max_num_queries(len(few.captured_queries)):
        html(signed_in, "/operations/")


def test_a_pull_between_two_attempts_says_why_and_is_not_ended(signed_in: Client, team: Team) -> None:
    install = rows.operation(
        rows.deployment(rows.revision(team), rows.cluster()), OperationKind.INSTALL, OperationState.QUEUED
    )
    layer = {"digest": "sha256:0123456789abcdef", "total": 100, "completed": 30, "state": "pulling"}
    pull = rows.pull(install, 30, 100, phase="failed", attempt=2, layers=[layer])
    why = "The server cannot reach the model's registry. Attempt 3 of 6 in 4 s."
    Operation.objects.filter(pk=pull.operation_id).update(state=OperationState.QUEUED, waiting_for=why)
    for pk in (install.pk, pull.operation_id):
        page = html(signed_in, f"/operations/{pk}/")
        assert f"The pull on {pull.pod} failed and is tried again." in page
        assert "Attempt 3 of 6 in 4 s." in page and "No bytes now" in page
        assert "Waits for the next attempt" in page and ">Ended" not in page and "Pulling</span>" not in page
