"""People, clusters and profiles for tests, made by the commands that make them in the product."""

from __future__ import annotations

import base64
from datetime import UTC, datetime, timedelta
from functools import cache
from itertools import count

import yaml
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID

from deployments.commands.addresses import vouch
from deployments.commands.clusters import Credential, connect_cluster
from deployments.commands.profiles import create_profile
from deployments.domain.actors import PILOTHOUSE, Actor
from deployments.domain.spec import Secrets, StackSpec
from deployments.domain.states import Role, SiteRole
from deployments.domain.team_names import skeleton
from deployments.models import Cluster, Membership, Revision, Team, User
from deployments.selectors.actors import actor_for

_numbers = count(1)
PASSWORD = "not-a-real-password"
SERVER = "https://203.0.113.7:6443"
TOKEN = "a-token-that-no-page-may-show"


def default_team() -> Team:
    return Team.objects.get(slug="default")


def make_team(name: str) -> Team:
    return Team.objects.create(name=name, skeleton=skeleton(name), slug=name.lower())


def make_user(name: str = "", *, site_role: SiteRole = SiteRole.NONE) -> User:
    return User.objects.create_user(
        name or f"person-{next(_numbers)}", password=PASSWORD, site_role=site_role
    )


def vouch_for(user: User, email: str) -> User:
    """An address that counts for the account."""
    vouch(PILOTHOUSE, user, email.lower())
    return user


def make_admin(name: str = "site-admin") -> User:
    return make_user(name, site_role=SiteRole.ADMIN)


def make_member(team: Team, role: Role, name: str = "") -> User:
    user = make_user(name)
    Membership.objects.create(team=team, user=user, role=role)
    return user


def as_actor(user: User) -> Actor:
    return actor_for(user, "127.0.0.1")


def make_cluster(admin: User, name: str = "fra", teams: list[Team] | None = None, **more: object) -> Cluster:
    cluster, _check = connect_cluster(
        as_actor(admin),
        name=name,
        credential=Credential(server=SERVER, ca_data=certificate(), token=TOKEN),
        teams=[default_team()] if teams is None else teams,
        namespaces=["*"],
        **more,  # type: ignore[arg-type]
    )
    return cluster


def make_revision(
    user: User, team: Team | None = None, name: str = "", spec: StackSpec | None = None, **secrets: str
) -> Revision:
    return create_profile(
        as_actor(user),
        team_id=(team or default_team()).pk,
        name=name or f"profile-{next(_numbers)}",
        spec=spec or StackSpec(),
        secrets=Secrets(**secrets),
    )


@cache
def certificate() -> str:
    """A certificate authority in PEM, good for an hour."""
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "test authority")])
    now = datetime.now(UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(minutes=5))
        .not_valid_after(now + timedelta(hours=1))
        .sign(key, hashes.SHA256())
    )
    return made.public_bytes(serialization.Encoding.PEM).decode()


def kubeconfig(*contexts: str, server: str = SERVER, user: dict[str, object] | None = None) -> str:
    """A kubeconfig with these contexts (one named "main" without any)."""
    names = contexts or ("main",)
    authority = base64.b64encode(certificate().encode()).decode()
    return yaml.safe_dump(
        {
            "apiVersion": "v1",
            "kind": "Config",
            "current-context": names[0],
            "clusters": [
                {"name": "c", "cluster": {"server": server, "certificate-authority-data": authority}}
            ],
            "users": [{"name": "u", "user": user or {"token": TOKEN}}],
            "contexts": [{"name": n, "context": {"cluster": "c", "user": "u"}} for n in names],
        }
    )
