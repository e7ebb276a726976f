"""A cluster's connection in words."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext_lazy as _

from dashboard.presenters.states import HEALTH, Look, Words
from deployments.domain.errors import REPLACE_CREDENTIAL
from deployments.domain.states import Health
from deployments.models import Cluster

# Where the error itself knows no remedy.
LOOK_FOR_IT = _("Check again; when it stays so, look whether the API server can be reached from here.")


@dataclass(frozen=True)
class Connection:
    """``look`` is of the health vocabulary, ``word`` its own label, ``sentence`` the whole of it."""

    health: Health
    word: Words
    sentence: Words
    remedy: Words = ""

    @property
    def look(self) -> Look:
        return HEALTH[self.health]

    @property
    def wants_credential(self) -> bool:
        """Whether another credential is the remedy."""
        return self.remedy == REPLACE_CREDENTIAL


def connection(cluster: Cluster, *, checking: bool = False) -> Connection:
    """What is known of the way to a cluster. A running check does not hide what the last one found."""
    if cluster.last_error:
        remedy = cluster.last_error_remedy or LOOK_FOR_IT
        return Connection(Health.FAILED, _("Not reachable"), cluster.last_error, remedy)
    if cluster.last_seen_at is None:
        if checking:
            return Connection(
                Health.PROGRESSING, _("Being checked"), _("The first connection check is under way.")
            )
        return Connection(Health.UNKNOWN, _("Not checked"), _("Nobody has asked this cluster yet."))
    return Connection(
        Health.HEALTHY,
        _("Reachable"),
        _("It answers as Kubernetes %(version)s.") % {"version": cluster.kubernetes_version}
        if cluster.kubernetes_version
        else _("It answers."),
    )
