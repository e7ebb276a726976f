"""Every address, every method, every kind of caller: who gets in, who is refused, for whom it does not exist.

The addresses come from the project itself. One that the table below does not name fails, so nobody adds
an entrance without saying whose it is.
"""

from __future__ import annotations

import inspect
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import timedelta
from typing import Any

import pytest
from django.conf import settings
from django.core.management import get_commands
from django.db import transaction
from django.test import Client
from django.urls import URLPattern, URLResolver, get_resolver, reverse
from django.utils import timezone

from deployments.commands.invitations import invite_to_team
from deployments.domain.states import Approver, OperationKind, OperationState, Role, SiteRole
from deployments.models import (
    Approval,
    AuditEntry,
    Batch,
    ClusterGrant,
    ClusterNode,
    Operation,
    ProfileShare,
    User,
)
from tests import factories as make
from tests.web import gpu_rows, rows

pytestmark = pytest.mark.django_db

# Rules. Of a team's object: a role. OPEN: without signing in. IN: whoever is signed in. SITE: site
# admins. CLUSTER: site admins, of something that members see. SEEING: members, auditors and admins by
# what they may see of it. NONE: the method does not exist. ALLAUTH: tried by that library itself, but
# never open to somebody who is not signed in.
OPEN, IN, SITE, CLUSTER, NONE, ALLAUTH, AUDITORS = (
    "open",
    "in",
    "site",
    "cluster",
    "none",
    "allauth",
    "auditors",
)
OWN = "own"  # whoever is signed in, and what is not his own does not exist
V, OP, M, OW = Role.VIEWER, Role.OPERATOR, Role.MAINTAINER, Role.OWNER

# name: (GET, POST)
ROUTES: dict[str, tuple[Any, Any]] = {
    "healthz": (OPEN, NONE),
    "readyz": (OPEN, NONE),
    "metrics": (OPEN, NONE),
    "live_stream": (IN, NONE),
    "overview": (IN, NONE),
    "switch_team": (NONE, IN),
    "search": (IN, NONE),
    "clusters": (IN, NONE),
    "cluster_connect": (SITE, SITE),
    "cluster": (V, NONE),
    "cluster_check": (NONE, OP),
    "cluster_preflight": (V, OP),
    "cluster_nodes": (V, NONE),
    "cluster_node": (V, NONE),
    "cluster_classes": (V, NONE),
    "cluster_events": (V, NONE),
    "cluster_reasons": (NONE, CLUSTER),
    "cluster_credential": (CLUSTER, CLUSTER),
    "cluster_remove": (CLUSTER, CLUSTER),
    "cluster_grant_new": (CLUSTER, CLUSTER),
    "cluster_grant": (CLUSTER, CLUSTER),
    "cluster_grant_revoke": (CLUSTER, CLUSTER),
    "profiles": (IN, NONE),
    "profile_new": ("any maintainer", "any maintainer"),
    "profile_import": ("any maintainer", "any maintainer"),
    "profile": (V, NONE),
    "profile_edit": (M, M),
    "profile_export": (V, NONE),
    "profile_rename": (M, M),
    "profile_archive": (M, M),
    "profile_share": (M, M),
    "profile_withdraw": (NONE, M),
    "profile_ask": (NONE, OW),
    "profile_publish": (NONE, CLUSTER),
    "profile_unpublish": (NONE, CLUSTER),
    "profile_copy": (M, M),
    "profile_apply": (OP, OP),
    "batch": (V, NONE),
    "install": (IN, IN),
    "install_place": (OP, OP),
    "install_preflight": (OP, OP),
    "install_review": (OP, OP),
    "deployments": (IN, NONE),
    "deployment": (V, NONE),
    "deployment_uninstall": (M, M),
    "deployment_upgrade": (OP, OP),
    "deployment_check": (NONE, OP),
    "deployment_chat": ("chat", NONE),
    "deployment_release": (V, NONE),
    "deployment_scale": (OP, OP),
    "deployment_restart": (OP, OP),
    "deployment_pull": (OP, OP),
    "deployment_delete_model": (M, M),
    "deployment_roll_back": (OP, OP),
    "deployment_pod": (V, NONE),
    "deployment_logs": (V, NONE),
    "deployment_logs_stream": (V, NONE),
    "deployment_logs_text": (V, NONE),
    "deployment_logs_download": (V, NONE),
    "approvals": (IN, NONE),
    "approval": (V, OW),
    "gpus": (IN, NONE),
    "gpus_export": (IN, NONE),
    "gpu": (V, NONE),
    "gpu_figures": (V, NONE),
    "deployment_gpu_figures": (V, NONE),
    "operations": (IN, NONE),
    "operation": (V, NONE),
    "operation_cancel": (OP, OP),
    "operation_retry": (NONE, OP),
    "operation_log": (V, NONE),
    "teams": (IN, NONE),
    "team_new": (SITE, SITE),
    "invitation_revoke": (NONE, OW),
    "team": (V, NONE),
    "team_rename": (OW, OW),
    "team_invite": (NONE, OW),
    "team_add": (NONE, CLUSTER),
    "team_leave": ("members", "members"),
    "team_member": (OW, OW),
    "team_remove": (OW, OW),
    "users": (SITE, NONE),
    "user_invite": (NONE, SITE),
    "user": (SITE, NONE),
    "user_site_role": (NONE, SITE),
    "user_address": (NONE, SITE),
    "user_disable": (SITE, SITE),
    "user_enable": (NONE, SITE),
    "user_new_password": (NONE, SITE),
    "join": (OPEN, OPEN),
    "account": (IN, NONE),
    "account_email": (IN, IN),
    "account_confirm_email": (OWN, OWN),
    "audit": (IN, NONE),
    "audit_export": (AUDITORS, NONE),
    "audit_export_file": (NONE, AUDITORS),
    "audit_proof": (AUDITORS, NONE),
    "audit_checkpoint": ("auditors or none yet", NONE),
    "audit_retention": (SITE, SITE),
    "audit_seal": (IN, NONE),
    "menu": (IN, NONE),
    "audit_verify": (NONE, AUDITORS),
    "audit_entry": (V, NONE),
    "audit_entry_json": (V, NONE),
    "set_language": (NONE, OPEN),
    "oidc_login": (OPEN, OPEN),
    "oidc_callback": (OPEN, OPEN),
}
# What an address needs besides itself, to name an object that is there.
QUERIES = {
    "install_place": "revision={revision}",
    "install_preflight": "revision={revision}&cluster={cluster}&namespace=llm&name=r2",
    "install_review": "revision={revision}&cluster={cluster}&namespace=llm&name=r2",
    "deployment_delete_model": "model=deepseek-r1:1.5b",
    "deployment_pull": "model=deepseek-r1:1.5b",
    "deployment_logs_stream": "of=r1-server-0/server",
    "deployment_logs_text": "of=r1-server-0/server",
    "deployment_logs_download": "of=r1-server-0/server",
}
# Streams leave the database before their first byte, so they are tried where that is allowed.
STREAMS = {"live_stream", "deployment_logs_stream", "deployment_logs_text", "deployment_logs_download"}
# allauth's own pages that people must reach before they are signed in.
DOORS = {
    "account_login", "account_logout", "account_inactive", "account_signup", "account_reset_password",
    "account_reset_password_done", "account_reset_password_from_key", "account_reset_password_from_key_done",
    "account_email_verification_sent", "account_confirm_login_code",
    "socialaccount_login_cancelled", "socialaccount_login_error", "socialaccount_signup",
    "mfa_authenticate",
}  # fmt: skip
# Those that run with the rights of whoever has a shell on the machine, and say so in their help.
COMMANDS = {
    "connect_cluster", "create_admin", "generate_key", "import_profile", "install_profile", "observe",
    "quickstart", "rotate_keys", "verify_audit", "prune_audit", "checkpoint_audit",
}  # fmt: skip
PEOPLE = ("anonymous", "stranger", "viewer", "operator", "maintainer", "owner", "auditor", "admin")


def patterns(resolver: URLResolver | None = None) -> Iterator[URLPattern]:
    for found in (resolver or get_resolver()).url_patterns:
        if isinstance(found, URLResolver):
            yield from patterns(found)
        else:
            yield found


def pattern_of(name: str) -> URLPattern:
    return next(found for found in patterns() if found.name == name)


@dataclass
class World:
    """One object of every kind, of one team, and people around it."""

    people: dict[str, User | None]
    arguments: dict[str, dict[str, Any]]
    queries: dict[str, int]


@pytest.fixture
def world() -> World:
    return make_world()


def make_world() -> World:
    team, other = make.default_team(), make.make_team("Other")
    admin = make.make_admin("admin")
    people: dict[str, User | None] = {"anonymous": None, "admin": admin}
    people["stranger"] = rows.person("stranger", other, Role.OWNER)
    people["auditor"] = rows.person("auditor", site=SiteRole.AUDITOR)
    for role in Role:
        people[str(role)] = rows.person(str(role), team, role)
    rows.person("second-owner", team, Role.OWNER)
    cluster = make.make_cluster(admin, teams=[team])
    held = {"models": [{"name": "deepseek-r1:1.5b", "size": 1}], "volume": "claim:a"}
    deployment = rows.deployment(rows.revision(team), cluster, probes={"pods": {"r1-server-0": held}})
    operation = rows.operation(deployment, OperationKind.UPGRADE, OperationState.FAILED)
    Operation.objects.update(request={"revision": deployment.revision_id})
    rows.release(deployment, 1, [])
    pod = rows.seen(deployment, "Pod", "r1-server-0", {"phase": "Running"})
    invitation, token = invite_to_team(
        make.as_actor(admin), team_id=team.pk, email="x@example.com", role=Role.VIEWER
    )
    device = gpu_rows.device(cluster, "node-1")
    shared = make.make_team("Shared with")
    ProfileShare.objects.create(profile=deployment.revision.profile, team=shared, level="use")
    now = timezone.now()
    waiting = rows.operation(deployment, OperationKind.INSTALL, OperationState.AWAITING_APPROVAL)
    approval = Approval.objects.create(
        operation=waiting,
        release=deployment.releases.get(),
        digest="0" * 64,
        approver=Approver.OWNER,
        asked_at=now,
        expires_at=now + timedelta(days=1),
    )
    batch = Batch.objects.create(revision=deployment.revision)
    batch.operations.add(operation)
    ClusterNode.objects.create(
        cluster=cluster, name="node-1", uid="n1", data={}, resource_version="1", changed_at=now
    )
    entry = AuditEntry.objects.filter(team_id=team.pk).latest("sequence")
    viewer = people["viewer"]
    assert viewer is not None
    by_family = {
        "cluster": {"pk": cluster.pk, "team": team.pk, "name": "node-1"},
        "approval": {"pk": approval.pk},
        "batch": {"pk": batch.pk},
        "profile": {"pk": deployment.revision.profile_id, "team": shared.pk},
        "deployment": {"pk": deployment.pk, "release_number": 1, "name": pod.name},
        "gpu": {"pk": device.pk},
        "operation": {"pk": operation.pk},
        "team": {"pk": team.pk, "user": viewer.pk},
        "user": {"pk": viewer.pk},
        "invitation": {"pk": invitation.pk},
        "join": {"token": token},
        "account": {"key": "MQ:1"},
        "audit": {"sequence": entry.sequence},
    }
    queries = {"revision": deployment.revision_id, "cluster": cluster.pk}
    return World(people, by_family, queries)


def address(world: World, name: str) -> str:
    given = world.arguments.get(name.split("_")[0], {})
    path = reverse(name, kwargs={key: given[key] for key in pattern_of(name).pattern.converters})
    return f"{path}?{QUERIES[name].format(**world.queries)}" if name in QUERIES else path


def expected(rule: Any, who: str) -> set[str]:
    """What may come of it: "in", "sign in", "403", "404" or "405"."""
    if rule == OPEN:
        return {"in", "404", "403"}  # a page may be switched off, a link used up or somebody else's
    if rule == NONE:
        return {"405", "sign in"} if who == "anonymous" else {"405"}
    if who == "anonymous":
        return {"sign in"}
    if rule == IN:
        return {"in"}
    if rule == OWN:
        return {"in", "404"}
    if who == "admin":
        return {"404"} if rule in ("members", "auditors or none yet") else {"in"}
    if rule == SITE:
        return {"403"}
    if rule == "auditors or none yet":
        return {"404"} if who in ("auditor", "admin") else {"403"}
    if rule == AUDITORS:
        return {"in"} if who == "auditor" else {"403"}
    if rule == "any maintainer":
        return {"in"} if who in ("maintainer", "owner", "stranger") else {"403"}
    if who == "stranger":
        return {"404"}
    if rule == "chat":
        return {"403"} if who == "auditor" else {"in"}
    if rule == CLUSTER:
        return {"403"}
    if who == "auditor":
        return {"in"} if rule is Role.VIEWER else {"404"} if rule == "members" else {"403"}
    if rule == "members":
        return {"in"}
    return {"in"} if Role(who).rank >= rule.rank else {"403"}


def outcome(answer: Any) -> str:
    if answer.status_code in (403, 404, 405):
        return str(answer.status_code)
    # 502 and 503: somebody else does not answer, a cluster or Redis; the caller was let in to hear that.
    assert answer.status_code < 500 or answer.status_code in (502, 503), answer.status_code
    if answer.status_code == 401:
        return "sign in"
    if answer.status_code == 302 and answer.url.startswith(reverse(settings.LOGIN_URL)):
        return "sign in"
    return "in"


def test_every_address_is_in_the_table():
    known = set(ROUTES) | DOORS
    own = {
        str(p.name) for p in patterns() if not inspect.getmodule(p.callback).__name__.startswith("allauth.")
    }
    assert own - known == set()
    assert set(ROUTES) - {str(p.name) for p in patterns()} == set()


def test_every_command_is_known():
    own = {name for name, app in get_commands().items() if app in ("dashboard", "deployments")}
    assert own == COMMANDS


def deviation(world: World, name: str, method: str, who: str) -> str:
    """What went otherwise than the table says, or ""."""
    path, rule = address(world, name), ROUTES[name][method == "post"]
    client = Client()
    user = world.people[who]
    if user is not None:
        client.force_login(user)
    answer = getattr(client, method)(path)
    found = outcome(answer)
    if name in STREAMS:
        answer.close()
    allowed = expected(rule, who)
    return "" if found in allowed else f"{method} {path} by {who}: {found}, expected {sorted(allowed)}"


@pytest.mark.parametrize("who", PEOPLE)
def test_every_address(world: World, who: str):
    """In one world, each request undone before the next."""
    wrong = []
    for name in sorted(set(ROUTES) - STREAMS):
        for method in ("get", "post"):
            with transaction.atomic():
                wrong.append(deviation(world, name, method, who))
                transaction.set_rollback(True)
    assert [line for line in wrong if line] == []


@pytest.mark.django_db(transaction=True)
def test_every_stream():
    world = make_world()
    asked = [(name, method, who) for name in sorted(STREAMS) for method in ("get", "post") for who in PEOPLE]
    assert [line for line in (deviation(world, *one) for one in asked) if line] == []


def test_the_librarys_pages_are_for_whoever_is_signed_in(client: Client):
    for pattern in patterns():
        if pattern.name in set(ROUTES) | DOORS:
            continue
        keys = {"pk": 1} if str(pattern.name).endswith(("remove_webauthn", "edit_webauthn")) else {}
        for method in ("get", "post"):
            answer = getattr(client, method)(reverse(str(pattern.name), kwargs=keys))
            assert outcome(answer) == "sign in", pattern.name


def test_a_cluster_without_a_grant_does_not_exist(world: World, client: Client):
    ClusterGrant.objects.all().delete()
    owner = world.people["owner"]
    assert owner is not None
    client.force_login(owner)
    assert client.get(address(world, "cluster")).status_code == 404
