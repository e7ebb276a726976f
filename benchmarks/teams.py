"""The lists of teams, profiles, accounts and approvals, at the size of a large site: time, and queries.

    python -m benchmarks.teams [--teams 200] [--profiles 5000] [--revisions 20000] [--rounds 40] [--most 50]

Measured as `benchmarks.pages` does, in a throwaway SQLite file, for a site admin, who sees everything, and
for an operator of ten teams, whose pages are filtered. Ends with an error where a page's p95 of processor
time is above --most milliseconds.
"""

from __future__ import annotations

import argparse
import sys
import tempfile
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.machine import machine, percentile
from benchmarks.pages import Measured, ask, signed_in
from benchmarks.product import set_up_django

REQUESTS = 500  # that wait for an answer
OWN_TEAMS = 10  # of the operator
SHARED_WITH = 3  # teams, each tenth profile


def fill(teams: int, profiles: int, revisions: int, prefix: str = "") -> Any:
    """Teams with five accounts each, profiles with their revisions and a deployment of every fifth one, and
    requests that wait; names begin with ``prefix``. Returns an account that is operator in some of the teams."""
    from django.utils import timezone

    from deployments.domain.spec import StackSpec, spec_to_json
    from deployments.domain.states import Approver, OperationKind, OperationState, Role, ShareLevel
    from deployments.models import (
        Approval,
        Cluster,
        ClusterGrant,
        Deployment,
        Membership,
        Operation,
        Profile,
        ProfileShare,
        Release,
        Revision,
        Team,
        User,
    )

    now = timezone.now()
    cluster = Cluster.objects.create(
        name=f"{prefix}bench", server="https://127.0.0.1:6443", credential=b"", credential_kind="token"
    )
    made = Team.objects.bulk_create(
        Team(name=f"{prefix}Team {n}", slug=f"{prefix}team-{n}", skeleton=f"{prefix}team {n}")
        for n in range(teams)
    )
    people = User.objects.bulk_create(
        User(username=f"{prefix}person-{n}", email=f"{prefix}person-{n}@example.org", password="!")
        for n in range(5 * teams)
    )
    Membership.objects.bulk_create(
        Membership(team=made[n // 5], user=person, role=Role.OWNER if n % 5 == 0 else Role.OPERATOR)
        for n, person in enumerate(people)
    )
    ClusterGrant.objects.bulk_create(
        ClusterGrant(team=team, cluster=cluster, namespaces=["*"]) for team in made
    )
    written = Profile.objects.bulk_create(
        Profile(team=made[n % teams], name=f"profile {n}", catalog_at=now if n % 100 == 0 else None)
        for n in range(profiles)
    )
    spec = spec_to_json(StackSpec())
    kept = Revision.objects.bulk_create(
        (
            Revision(profile=written[n % profiles], number=n // profiles + 1, spec=spec, created_by=people[0])
            for n in range(revisions)
        ),
        batch_size=500,
    )
    ProfileShare.objects.bulk_create(
        ProfileShare(profile=profile, team=made[(n + step) % teams], level=ShareLevel.USE)
        for n, profile in enumerate(written)
        if n % 10 == 0
        for step in range(1, SHARED_WITH + 1)
        if step % teams
    )
    running = Deployment.objects.bulk_create(
        Deployment(
            team=made[n % teams], cluster=cluster, namespace=f"ns-{n}", name=f"bench-{n}", revision=kept[n]
        )
        for n in range(0, profiles, 5)
    )
    waiting = running[:REQUESTS]
    operations = Operation.objects.bulk_create(
        Operation(
            kind=OperationKind.INSTALL,
            state=OperationState.AWAITING_APPROVAL,
            team=row.team,
            cluster=cluster,
            deployment=row,
            actor=people[1],
            actor_name=people[1].username,
        )
        for row in waiting
    )
    releases = Release.objects.bulk_create(
        Release(deployment=row, number=1, revision=row.revision, spec=spec, manifests=[], digest="0" * 64)
        for row in waiting
    )
    Approval.objects.bulk_create(
        Approval(
            operation=operation,
            release=release,
            digest=release.digest,
            approver=Approver.OWNER,
            asked_at=now,
            expires_at=now + timedelta(days=7),
        )
        for operation, release in zip(operations, releases, strict=True)
    )
    operator = User.objects.create_user(f"{prefix}operator", password=None)
    Membership.objects.bulk_create(
        Membership(team=team, user=operator, role=Role.OPERATOR) for team in made[:OWN_TEAMS]
    )
    return operator


def addresses(admin: bool) -> dict[str, str]:
    """Page -> path; the accounts are an admin's."""
    from django.urls import reverse

    profiles = reverse("profiles")
    return {
        "Teams": reverse("teams"),
        "Profiles": profiles,
        "Profiles, most used": f"{profiles}?sort=-used",
        "Profiles, page 50" if admin else "Profiles, page 5": f"{profiles}?page={50 if admin else 5}",
        "Profiles, found": f"{profiles}?q=profile+1",
        "Approvals": reverse("approvals"),
        **({"Accounts": reverse("users")} if admin else {}),
    }


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--teams", type=int, default=200)
    parser.add_argument("--profiles", type=int, default=5_000)
    parser.add_argument("--revisions", type=int, default=20_000)
    parser.add_argument("--rounds", type=int, default=40)
    parser.add_argument(
        "--most", type=float, default=50, help="ms of processor time that a page's p95 may be"
    )
    options = parser.parse_args()
    slow = []
    with tempfile.TemporaryDirectory(prefix="bench-") as name:
        set_up_django(Path(name), pages=True)
        operator = fill(options.teams, options.profiles, options.revisions)
        print(
            f"{options.teams} teams, {options.profiles} profiles, {options.revisions} revisions, "
            f"{options.rounds} rounds, {machine()}"
        )
        client = signed_in()
        for who in ("admin", "operator"):
            if who == "operator":
                client.force_login(operator, "django.contrib.auth.backends.ModelBackend")
            for page, path in addresses(who == "admin").items():
                ask(client, path, 3)  # templates and plans are loaded once in the life of a server
                found = ask(client, path, options.rounds)
                print(f"{who:9}{_line(page, found)}", flush=True)
                if (busy := percentile(found.processor, 0.95) * 1000) > options.most:
                    slow.append(f"{page} of the {who}: {busy:.0f} ms of processor time")
    if slow:
        sys.exit(f"above {options.most:g} ms:\n" + "\n".join(slow))


def _line(page: str, found: Measured) -> str:
    return (
        f"{page:20} p50 {percentile(found.seconds, 0.5) * 1000:6.1f} ms   "
        f"p95 {percentile(found.seconds, 0.95) * 1000:6.1f} ms   "
        f"processor p95 {percentile(found.processor, 0.95) * 1000:6.1f} ms   "
        f"{found.queries:3} queries   {found.size / 1024:4.0f} KB"
    )


if __name__ == "__main__":
    main()
