"""What a fresh checkout starts with: an admin, the practice cluster, a profile to install."""

from __future__ import annotations

from pathlib import Path

from deployments.commands.accounts import create_first_admin
from deployments.commands.clusters import connect_cluster, replace_credential
from deployments.commands.profiles import create_profile
from deployments.domain.actors import PILOTHOUSE
from deployments.domain.spec import StackSpec
from deployments.gateways.kubernetes import ClusterCredential, import_context, read_kubeconfig
from deployments.ledger import vault
from deployments.models import Cluster, Team, User

ADMIN = "admin"
PRACTICE = "practice"
PROFILE = "deepseek-r1 1.5b"


def first_account() -> str | None:
    """Make the admin with its team's starter profile; the one-time password, or None if there are accounts."""
    if User.objects.exists():
        return None
    _, password = create_first_admin(ADMIN)
    for team in Team.objects.all():
        create_profile(
            PILOTHOUSE,
            team_id=team.pk,
            name=PROFILE,
            spec=StackSpec(),
            description="The smallest DeepSeek R1, on CPU alone, with a chat page.",
            note="The starter profile",
        )
    return password


def practice_cluster(kubeconfig: Path) -> None:
    """Connect the practice cluster, or give it its new credential where its certificates were made anew.

    Removed by somebody, it stays removed.
    """
    credential = import_context(read_kubeconfig(kubeconfig.read_bytes()), allow_loopback=True)
    known = Cluster.objects.filter(name=PRACTICE)
    cluster = known.filter(removed_at=None).first() or known.first()
    if cluster is None:
        connect_cluster(
            PILOTHOUSE,
            name=PRACTICE,
            credential=credential,
            teams=list(Team.objects.all()),
            namespaces=["*"],
            simulated=True,
        )
    elif cluster.removed_at is None and cluster.simulated and _stored(cluster) != credential:
        replace_credential(PILOTHOUSE, cluster_id=cluster.pk, credential=credential)


def _stored(cluster: Cluster) -> ClusterCredential:
    return ClusterCredential.from_json(vault.unseal(cluster.credential))
