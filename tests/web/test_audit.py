"""Pages of the audit: list, filters, entry, who sees what."""

from __future__ import annotations

import json
import re
from datetime import timedelta
from pathlib import Path

import pytest
from django.test import Client
from django.utils import timezone
from pytest_django import DjangoAssertNumQueries

from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.states import Outcome, Role, SiteRole
from deployments.domain.subjects import Subject
from deployments.ledger import audit, checkpoints
from deployments.ledger.export_check import check_file
from deployments.models import AuditEntry, AuditRetention, AuditVerification, Release, Team
from deployments.workflows import audit as workflow
from tests.factories import make_team
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def team() -> Team:
    return Team.objects.get(slug="default")


@pytest.fixture
def auditor(client: Client) -> Client:
    client.force_login(rows.person("audrey", site=SiteRole.AUDITOR))
    return client


def html(client: Client, address: str, status: int = 200) -> str:
    answer = client.get(address)
    assert answer.status_code == status
    return answer.content.decode()


def test_the_list_tells_who_did_what_where_and_why(auditor: Client, team: Team) -> None:
    cluster = rows.cluster("fra-l40s")
    subject = Subject("deployment", "7", "fra-l40s/llm/r1", team.pk, cluster.pk)
    audit.record(Actor(5, "olga", "198.51.100.23"), "deployment.restart", subject, reason="Slow since noon")
    audit.record(
        Actor(6, "otto"), "deployment.uninstall", subject, outcome=Outcome.DENIED, reason="needs maintainer"
    )
    page = html(auditor, "/audit/")
    for told in ("olga", "Restart", "fra-l40s", "Slow since noon", "otto", "Uninstall", "needs maintainer"):
        assert told in page
    assert "2 entries" in page


def subject(team: Team, number: int = 7, cluster: int | None = None) -> Subject:
    return Subject("deployment", str(number), f"fra-l40s/llm/r{number}", team.pk, cluster)


def test_members_see_what_their_teams_did_and_nothing_else(client: Client, team: Team) -> None:
    other = make_team("Other")
    mine = audit.record(PILOTHOUSE, "deployment.install", subject(team, 1))
    theirs = audit.record(PILOTHOUSE, "deployment.install", subject(other, 2))
    site = audit.record(PILOTHOUSE, "cluster.connect", Subject("cluster", "3", "fra"))
    client.force_login(rows.person("vera", team, Role.VIEWER))
    page = html(client, "/audit/")
    assert "llm/r1" in page and "llm/r2" not in page and "Connect" not in page.partition("<tbody>")[2]
    assert "Verify now" not in page and "Export…" not in page and "signed checkpoint" not in page
    html(client, f"/audit/{mine.sequence}/")
    for hidden in (theirs, site):
        html(client, f"/audit/{hidden.sequence}/", 404)
        html(client, f"/audit/{hidden.sequence}/json", 404)
    assert "r2" not in html(client, f"/audit/?object=deployment:2&team={other.pk}")
    for closed in ("/audit/export", "/audit/proof", "/audit/retention"):
        html(client, closed, 403)
    for closed in ("/audit/verify", "/audit/export/file"):
        assert client.post(closed).status_code == 403
    refused = AuditEntry.objects.filter(outcome="denied").values_list("action", flat=True)
    assert sorted(refused) == [
        "audit.export",
        "audit.export",
        "audit.retention",
        "audit.verify",
        "audit.verify",
    ]
    html(client, "/audit/proof", 403)
    assert refused.count() == 5, "the same page refused again is no new entry"


def test_filters_narrow_the_list_and_stay_in_the_address(auditor: Client, team: Team) -> None:
    cluster = rows.cluster("fra-l40s")
    olga, otto = Actor(5, "olga"), Actor(6, "otto")
    audit.record(olga, "deployment.install", subject(team, 1, cluster.pk), reason="The pilot")
    audit.record(otto, "deployment.upgrade", subject(team, 2), outcome=Outcome.FAILED)
    old = timezone.now() - timedelta(days=3)
    for address, found in {
        "?who=olga": 1,
        "?action=deployment.upgrade": 1,
        "?outcome=failed": 1,
        f"?cluster={cluster.pk}": 1,
        f"?team={team.pk}": 2,
        "?object=deployment:2": 1,
        "?q=PILOT": 1,
        f"?to={old:%Y-%m-%d}": 0,
        f"?from={old:%Y-%m-%dT%H:%M}&who=otto": 1,
        # What cannot be meant narrows nothing.
        "?from=yesterday&outcome=perhaps&cluster=x&object=%00&before=-1&entry=²": 2,
    }.items():
        page = html(auditor, f"/audit/{address}")
        assert page.count('id="e') == found, address
    assert 'value="olga"' in html(auditor, "/audit/?who=olga"), "a search keeps the other filters"
    assert "History of deployment fra-l40s/llm/r2" in html(auditor, "/audit/?object=deployment:2")


def test_an_entry_shows_its_difference_its_proof_and_the_manifests_that_were_applied(
    auditor: Client, team: Team
) -> None:
    row = rows.deployment(rows.revision(team), rows.cluster("fra"))
    release = Release.objects.create(
        deployment=row,
        number=3,
        revision=row.revision,
        spec={},
        manifests=[],
        digest="ab" * 32,
        cause="upgrade",
    )
    entry = audit.record(
        Actor(99, "gone"),
        "release.make",
        Subject("deployment", str(row.pk), str(row), team.pk, row.cluster_id),
        before={"memory": "160Gi", "same": 1, "password": "old"},
        after={"memory": "192Gi", "same": 1, "password": "new"},
        manifest_digest=release.digest,
    )
    for address in (f"/audit/{entry.sequence}/", f"/audit/?entry={entry.sequence}"):
        page = html(auditor, address)
        assert f"/deployments/{row.pk}/releases/3" in page and release.digest in page
        assert '<div class="d">' in page and "memory: 160Gi" in page and "memory: 192Gi" in page
        assert "the account is gone" in page and entry.hash in page
        assert "••••••••" in page
    told = json.loads(html(auditor, f"/audit/{entry.sequence}/json"))
    assert told["hash"] == entry.hash and told["after"]["password"] == "••••••••"
    assert audit.digest_of(told) == entry.digest


def test_markup_in_an_entry_is_text(auditor: Client) -> None:
    nasty = "<script>alert(1)</script>"
    entry = audit.record(Actor(1, nasty), nasty, Subject("x", "1", nasty), reason=nasty, after={nasty: nasty})
    for address in ("/audit/", f"/audit/{entry.sequence}/", f"/audit/?q={nasty}"):
        assert nasty not in html(auditor, address)


def test_long_lists_go_on_by_number_and_cost_the_same(
    auditor: Client, team: Team, django_assert_max_num_queries: DjangoAssertNumQueries
) -> None:
    for number in range(120):
        audit.record(PILOTHOUSE, "deployment.install", subject(team, number))
    html(auditor, "/audit/")
    with django_assert_max_num_queries(18):
        page = html(auditor, "/audit/")
    assert page.count('id="e') == 50 and "120 entries" in page
    older = re.search(r'rel="next" href="(\?before=\d+)"', page)
    assert older is not None
    with django_assert_max_num_queries(18):
        page = html(auditor, f"/audit/{older[1]}")
    assert 'id="e70"' in page and 'id="e71"' not in page
    newer = re.search(r'rel="prev" href="(\?after=\d+)"', page)
    assert newer is not None
    assert 'id="e120"' in html(auditor, f"/audit/{newer[1]}")


def test_an_auditor_asks_exports_and_proves(auditor: Client, team: Team, tmp_path: Path) -> None:
    for number in range(30):
        audit.record(
            Actor(number, "olga" if number % 3 else "otto"), "deployment.install", subject(team, number)
        )
    assert "20 entries that are like this" in html(auditor, "/audit/export?who=olga")
    answer = auditor.post("/audit/export/file?who=olga", {"form": "jsonl", "links": "on"})
    assert "attachment" in answer["Content-Disposition"]
    path = tmp_path / "export.jsonl"
    path.write_bytes(b"".join(answer.streaming_content))  # type: ignore[attr-defined]
    with path.open("rb") as file:
        verdict = check_file(file, checkpoints.known_keys())
    assert (verdict.broken, verdict.entries) == (None, 20)
    told = AuditEntry.objects.latest("sequence")
    assert (told.action, told.actor_name, told.after["filter"]) == ("audit.export", "audrey", {"who": "olga"})
    assert verdict.last == told.sequence, "the act of exporting is in the file's chain"
    whole = b"".join(auditor.post("/audit/export/file", {"form": "csv"}).streaming_content)  # type: ignore[attr-defined]
    assert whole.count(b'"entry"') == 32
    assert checkpoints.public_key() in html(auditor, "/audit/proof")


def test_verifying_shows_how_it_stands_and_what_came_out(auditor: Client) -> None:
    audit.record(PILOTHOUSE, "one")
    assert "Not verified yet" in html(auditor, "/audit/")
    auditor.post("/audit/verify")
    assert "Verifying" in html(auditor, "/audit/seal")
    asked = AuditVerification.objects.get()
    workflow.verify(asked.pk)
    assert "Chain verified" in html(auditor, "/audit/seal")
    AuditVerification.objects.update(state="broken", broken_at=12, sentence="its content was altered")
    assert "Broken at entry 12" in html(auditor, "/audit/")


def test_an_admin_sees_what_retention_would_delete_before_he_decides(client: Client) -> None:
    client.force_login(rows.person("ada", site=SiteRole.ADMIN))
    assert "Keep for so many days" in html(client, "/audit/retention")
    form = {"change": "365", "refused": "", "session": "90", "reason": "the policy of 2026"}
    page = client.post("/audit/retention", form).content.decode()
    assert "Delete 0 entries now" in page and "Refusals" in page
    assert client.post("/audit/retention", {"change": "3"}).status_code == 422
    assert client.post("/audit/retention", form | {"confirm": "yes", "seen": "0"}).status_code == 422
    assert client.post("/audit/retention", form | {"confirm": "audit", "seen": "5"}).status_code == 409
    assert not AuditRetention.objects.exists()
    answer = client.post("/audit/retention", form | {"confirm": "audit", "seen": "0"})
    assert answer.status_code == 302
    assert dict(AuditRetention.objects.values_list("entry_class", "days")) == {"change": 365, "session": 90}
    told = AuditEntry.objects.latest("sequence")
    assert (told.action, told.reason) == ("audit.retention", "the policy of 2026")


def test_a_cluster_is_told_to_ask_for_reasons_on_its_page(client: Client, team: Team) -> None:
    cluster = rows.cluster("fra")
    client.force_login(rows.person("ada", site=SiteRole.ADMIN))
    address = f"/clusters/{cluster.pk}/"
    assert "Ask for reasons" in html(client, address)
    client.post(f"{address}reasons", {"required": "1"})
    assert "says why" in html(client, address)
    assert AuditEntry.objects.latest("sequence").action == "cluster.require_reasons"
    client.post(f"{address}reasons")
    cluster.refresh_from_db()
    assert not cluster.reason_required


def test_every_object_leads_to_its_history(client: Client, team: Team) -> None:
    client.force_login(rows.person("ada", site=SiteRole.ADMIN))
    row = rows.deployment(rows.revision(team), rows.cluster("fra"))
    operation = rows.operation(row)
    for address, link in {
        f"/deployments/{row.pk}/": f"object=deployment:{row.pk}",
        f"/clusters/{row.cluster_id}/": f"cluster={row.cluster_id}",
        f"/profiles/{row.revision.profile_id}/": f"object=profile:{row.revision.profile_id}",
        f"/operations/{operation.pk}/": f"object=operation:{operation.pk}",
    }.items():
        assert f'href="/audit/?{link}"' in html(client, address)
    cancelled = Subject("operation", str(operation.pk), "Install r1", team.pk)
    audit.record(PILOTHOUSE, "operation.cancel", cancelled, operation_id=operation.pk)
    assert "1 entry" in html(client, f"/audit/?object=deployment:{row.pk}")


def test_where_a_cluster_asks_for_reasons_the_pages_say_so(client: Client, team: Team) -> None:
    row = rows.deployment(rows.revision(team), rows.cluster("fra", reason_required=True))
    client.force_login(rows.person("olga", team))
    for act in ("uninstall", "upgrade"):
        assert 'maxlength="500" required' in html(client, f"/deployments/{row.pk}/{act}")
    for act in ("uninstall", "restart"):
        sent = {"confirm": row.name, "data": "keep", "components": ["server"], "reason": " "}
        answer = client.post(f"/deployments/{row.pk}/{act}", sent)
        assert answer.status_code in (409, 422), act
    assert "says why" in client.post(f"/deployments/{row.pk}/uninstall", sent).content.decode()
    assert not row.operations.exists()
