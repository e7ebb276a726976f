"""The connection check: does it answer, which cluster is it, what may we do there."""

from __future__ import annotations

from django.db.models import F
from django.utils import timezone

from deployments.domain.errors import ClusterError, PilothouseError
from deployments.domain.rights import HELPFUL_RIGHTS, RIGHTS
from deployments.gateways.kubernetes import Decision
from deployments.ledger.announce import announce
from deployments.models import Cluster
from deployments.workflows.access import client_for, require_known
from deployments.workflows.engine import Done, Run

OLDEST_SUPPORTED = 29


def reach(run: Run) -> Done:
    """Ask for the version. An answer clears the cluster's last error, a failure becomes it."""
    cluster = _cluster(run)
    try:
        version = client_for(cluster).version()
    except PilothouseError as error:
        _remember(cluster, error)
        raise
    _save(
        cluster,
        kubernetes_version=version.git_version[:64],
        last_seen_at=timezone.now(),
        last_error="",
        last_error_remedy="",
        last_error_at=None,
    )
    old = version.major == 1 and version.minor < OLDEST_SUPPORTED
    words = f"Kubernetes {version.git_version}"
    return Done(f"{words}, older than the oldest supported 1.{OLDEST_SUPPORTED}" if old else words)


def identify(run: Run) -> Done:
    """Note the cluster's uid at the first time; afterwards refuse another cluster behind the address."""
    cluster = _cluster(run)
    try:
        uid = client_for(cluster).cluster_uid()
    except PilothouseError as error:
        _remember(cluster, error)
        raise
    try:
        require_known(cluster, uid)
    except ClusterError as other:
        _remember(cluster, other)
        raise
    if not cluster.uid:
        _save(cluster, uid=uid)
    return Done("it is the cluster that was connected" if cluster.uid else f"uid {uid}")


def rights(run: Run) -> Done:
    """Ask about each right, everywhere; what is missing may still be granted in single namespaces."""
    client = client_for(_cluster(run))
    missing: list[str] = []
    helpful: list[str] = []
    for right in (*RIGHTS, *HELPFUL_RIGHTS):
        run.hold.check()
        verdict = client.allowed(right.verb, right.group, right.resource, right.subresource)
        if verdict.decision is Decision.DENIED:
            (helpful if right in HELPFUL_RIGHTS else missing).append(str(right))
    result = {"missing": missing, "missing_helpful": helpful, "asked": len(RIGHTS)}
    if missing:
        words = f"{len(missing)} of {len(RIGHTS)} rights are not granted for all namespaces"
    else:
        words = f"all {len(RIGHTS)} rights are granted"
    return Done(words, result=result)


def _cluster(run: Run) -> Cluster:
    run.cluster.refresh_from_db()
    return run.cluster


def _remember(cluster: Cluster, error: PilothouseError) -> None:
    _save(
        cluster,
        last_error=error.sentence[:1000],
        last_error_remedy=error.remedy[:1000],
        last_error_at=timezone.now(),
    )


def _save(cluster: Cluster, **changes: object) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(version=F("version") + 1, **changes)
    announce("cluster", cluster.pk, cluster.version + 1)
