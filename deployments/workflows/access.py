"""A worker's way to a cluster: one client for each cluster and credential, kept open."""

from __future__ import annotations

import hashlib
import threading
from pathlib import Path

from django.conf import settings

from deployments.domain.errors import ClusterError
from deployments.gateways.kubernetes import ClusterClient, ClusterCredential, connect
from deployments.ledger import vault
from deployments.models import Cluster

_clients: dict[int, tuple[str, ClusterClient]] = {}
_lock = threading.Lock()


def credential_of(cluster: Cluster) -> ClusterCredential:
    """Raises :class:`Unreadable` where the key is gone."""
    return ClusterCredential.from_json(vault.unseal(cluster.credential))


def require_known(cluster: Cluster, uid: str) -> None:
    """Raises :class:`ClusterError` where the one that answers is not the one that was connected."""
    if cluster.uid and cluster.uid != uid:
        raise ClusterError(
            "Another cluster answers at this address than the one that was connected.",
            tried="compare the uid of namespace kube-system",
            answered=f"{uid}, known is {cluster.uid}",
            remedy="If the cluster was rebuilt, remove it here and connect it anew.",
            retryable=False,
        )


def client_for(cluster: Cluster) -> ClusterClient:
    """The open client of a cluster; a new one when its credential changed."""
    mark = hashlib.sha256(bytes(cluster.credential) + cluster.uid.encode()).hexdigest()
    with _lock:
        known = _clients.get(cluster.pk)
        if known and known[0] == mark:
            return known[1]
        client = connect(
            credential_of(cluster),
            cluster_uid=cluster.uid,
            cache_dir=Path(settings.VAR_DIR) / "discovery",
            allow_loopback=settings.ALLOW_LOOPBACK_CLUSTERS,
        )
        _clients[cluster.pk] = (mark, client)
        if known:
            known[1].close()
        return client
