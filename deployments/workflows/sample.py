"""One round of sampling a cluster's GPUs: ask what measures them, store what it says, or why it is silent.

A round belongs to the worker that took it (``GpuSampling.epoch``): a message delivered twice finds it
taken or done, and a worker that was away too long writes nothing. All asking comes before the one
transaction that writes. A cluster that does not answer costs one worker some seconds, and nobody else.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Collection, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.db import transaction
from django.db.models import F, Q
from django.utils import timezone

from deployments.domain.errors import (
    ClusterError,
    ClusterForbids,
    CredentialRefused,
    ObjectMissing,
    PilothouseError,
)
from deployments.domain.gpus import SAMPLE_EVERY, NoData, SourceKind, is_gpu
from deployments.gateways.kubernetes import ClusterClient
from deployments.gateways.metrics import (
    ExporterPod,
    GpuReading,
    PrometheusService,
    Told,
    ask_exporter,
    ask_prometheus,
)
from deployments.ledger.announce import announce
from deployments.models import Cluster, ClusterNode, GpuSampling, ObservedObject
from deployments.workflows import gpu_gone, gpu_rows, metrics_sources
from deployments.workflows.access import client_for
from deployments.workflows.gpu_gone import Heard
from deployments.workflows.keeper import Stopping, keeper
from deployments.workflows.metrics_sources import LOOK_AGAIN, LOOK_EVERY, Sources

SILENT_AFTER = timedelta(minutes=1)
TAKEN_FOR = timedelta(seconds=60)
AT_ONCE = 8  # exporters of one cluster asked at the same time
MOST_DEVICES = 20_000  # of one cluster, those that are gone included
ROUND_WITHIN = 12.0  # seconds for all exporters together
MOST_RESTING = 10_000
REST_AFTER_SILENCE = 60.0  # seconds for which what was silent is not asked again

VENDORS = {SourceKind.DCGM: "nvidia", SourceKind.AMD: "amd"}

log = logging.getLogger(__name__)
Asked = Future[Told]
_resting: dict[tuple[int, str, str], tuple[float, ClusterError]] = {}


@dataclass
class Round:
    """What a round brought. ``service`` is the Prometheus that answered, None for exporters; ``heard``
    what answered, with figures or without."""

    readings: list[GpuReading] = field(default_factory=list)
    heard: set[Heard] = field(default_factory=set)
    service: PrometheusService | None = None
    no_data: NoData | None = None
    answered: str = ""
    looked: bool = False
    look_again: bool = False


def sample(cluster_id: int, now: datetime | None = None) -> bool:
    """Take a round of a cluster. True where this worker took it and stored the outcome."""
    now = now or timezone.now()
    cluster = Cluster.objects.filter(pk=cluster_id, removed_at=None).first()
    if cluster is None or keeper.stopping.is_set():
        return False
    epoch = take(cluster_id, now)
    if epoch is None:
        return False
    if _known_silent(cluster, now):
        return _store(cluster, Round(no_data=NoData.UNREACHABLE, answered=cluster.last_error), epoch, now)
    state = GpuSampling.objects.get(cluster_id=cluster_id)
    try:
        outcome = _ask(client_for(cluster), cluster, state, now)
    except Stopping:
        GpuSampling.objects.filter(cluster_id=cluster_id, epoch=epoch).update(taken_until=None)
        return False
    except PilothouseError as error:
        log.info("GPUs of cluster %s: %s", cluster.name, error.sentence)
        outcome = Round(no_data=NoData.UNREACHABLE, answered=_words(error))
    return _store(cluster, outcome, epoch, now)


def take(cluster_id: int, now: datetime) -> int | None:
    """Take the cluster's round; the epoch to write it with, or None where somebody else is at it or it
    is done already."""
    taken = GpuSampling.objects.filter(
        Q(taken_until=None) | Q(taken_until__lt=now),
        Q(tried_at=None) | Q(tried_at__lte=now - SAMPLE_EVERY / 2),
        cluster_id=cluster_id,
    ).update(taken_until=now + TAKEN_FOR, epoch=F("epoch") + 1)
    return GpuSampling.objects.values_list("epoch", flat=True).get(cluster_id=cluster_id) if taken else None


def _known_silent(cluster: Cluster, now: datetime) -> bool:
    """Whether the observer has not reached the cluster for a while, or reached another one in its place:
    then it tries alone, and no worker waits for a server that hangs."""
    if cluster.foreign_uid:
        return True
    seen = cluster.last_seen_at
    return bool(cluster.last_error) and (seen is None or now - seen > SILENT_AFTER)


def slot_of(at: datetime) -> datetime:
    """The time that a round's points have: rounds that start late or early by some seconds are still
    15 seconds apart."""
    seconds = SAMPLE_EVERY.total_seconds()
    return datetime.fromtimestamp(at.timestamp() // seconds * seconds, at.tzinfo)


def _ask(client: ClusterClient, cluster: Cluster, state: GpuSampling, now: datetime) -> Round:
    sources = metrics_sources.known(cluster.pk)
    pause = LOOK_AGAIN if state.no_data else LOOK_EVERY
    looked = state.looked_at is None or now - state.looked_at >= pause
    if looked:
        sources = metrics_sources.look(client, cluster.pk, now)
    outcome = _read(client, cluster, sources)
    if outcome.look_again and not outcome.readings and not looked:
        # Gone, or others in their place: what this round says has to be true by then.
        looked, sources = True, metrics_sources.look(client, cluster.pk, now)
        outcome = _read(client, cluster, sources)
    outcome.looked = looked
    if not looked and outcome.no_data is NoData.NO_EXPORTER and state.no_data == NoData.MAY_NOT_LIST:
        # What the last look was refused is still not known.
        outcome.no_data, outcome.answered = NoData.MAY_NOT_LIST, state.answered
    if outcome.no_data in (NoData.EMPTY, NoData.NO_EXPORTER) and _no_gpus(cluster.pk):
        outcome.no_data = NoData.NO_GPUS
    return outcome


def _read(client: ClusterClient, cluster: Cluster, sources: Sources) -> Round:
    return _from_prometheus(client, cluster, sources) or _from_exporters(client, cluster, sources)


def _from_prometheus(client: ClusterClient, cluster: Cluster, sources: Sources) -> Round | None:
    """None where no Prometheus gives anything: then the exporters are asked themselves."""
    if not sources.prometheus:
        return None
    nodes = list(ClusterNode.objects.filter(cluster=cluster).values_list("name", flat=True))
    for service in sources.prometheus:
        mark = (cluster.pk, service.namespace, service.name)
        if _rests(mark) is not None:
            continue
        try:
            found = ask_prometheus(client, service, sources.exporters, nodes)
        except CredentialRefused:
            raise
        except ClusterError as error:
            log.info("Prometheus %s/%s: %s", service.namespace, service.name, error.sentence)
            _rest(mark, error)
            continue
        if found:
            return Round(found, {(one.vendor, one.node) for one in found}, service)
    return None


def _from_exporters(client: ClusterClient, cluster: Cluster, sources: Sources) -> Round:
    if not sources.exporters:
        if sources.refused is not None:
            return Round(no_data=NoData.MAY_NOT_LIST, answered=_words(sources.refused))
        empty = sources.empty or bool(sources.prometheus)
        return Round(no_data=NoData.PROMETHEUS_EMPTY if empty else NoData.NO_EXPORTER)
    outcome, failures, mute = Round(), dict[str, ClusterError](), dict[str, ClusterError]()
    for pod, answer in _ask_all(client, cluster.pk, sources.exporters):
        if isinstance(answer, CredentialRefused) and answer.reason:
            raise answer  # by the API server itself: an exporter's own refusal gives no reason
        if isinstance(answer, ClusterError):
            failures[pod.node or pod.name] = answer
            outcome.look_again |= isinstance(answer, ObjectMissing)
            continue
        if answer.whole:
            outcome.heard.add((VENDORS[pod.kind], pod.node))
        if answer.readings:
            outcome.readings += answer.readings
        else:
            mute[pod.node or pod.name] = ClusterError("It tells nothing about any GPU.")
    unasked = [pod for pod in sources.exporters if not pod.running]
    for pod in unasked:
        mute[pod.node or pod.name] = ClusterError(f"{pod.name} does not run.")
    outcome.look_again |= bool(unasked) and not outcome.readings
    if failures or (mute and outcome.readings):
        _tell(outcome, failures | mute, len(sources.exporters))
    elif not outcome.readings:
        outcome.no_data = NoData.EMPTY
        if len(unasked) == len(sources.exporters):
            outcome.no_data, outcome.answered = NoData.SILENT, f"{unasked[0].name} does not run."
    return outcome


def _tell(outcome: Round, failures: dict[str, ClusterError], every: int) -> None:
    """Say that exporters did not answer, in the words of the first that said something."""
    first = next(iter(failures.values()))
    forbidden = next((error for error in failures.values() if isinstance(error, ClusterForbids)), None)
    if outcome.readings:
        outcome.no_data = NoData.SOME_SILENT
        names = ", ".join(sorted(failures)[:5])
        outcome.answered = f"{len(failures)} of {every} ({names}): {_words(first)}"[:500]
    elif forbidden is not None:
        outcome.no_data, outcome.answered = NoData.MAY_NOT_PROXY, _words(forbidden)
    else:
        outcome.no_data, outcome.answered = NoData.SILENT, _words(first)


def _ask_all(
    client: ClusterClient, cluster_id: int, pods: Sequence[ExporterPod]
) -> list[tuple[ExporterPod, Told | ClusterError]]:
    """Every running exporter's answer or failure, by the pods' names, some at the same time. What a deadline
    for them all leaves out is asked first in one of the next rounds, as the order changes each time."""
    wanted = [pod for pod in pods if pod.running]
    random.shuffle(wanted)
    asked: dict[Asked, ExporterPod] = {}
    answers: list[tuple[ExporterPod, Told | ClusterError]] = []
    pool = ThreadPoolExecutor(AT_ONCE, thread_name_prefix="exporters")
    try:
        for pod in wanted:
            resting = _rests(_mark(cluster_id, pod))
            if resting is not None:
                answers.append((pod, resting))
            else:
                asked[pool.submit(ask_exporter, client, pod)] = pod
        done, late = _wait(asked)
        for future in late:
            future.cancel()
            answers.append((asked[future], ClusterError("There was no time left to ask the GPU exporter.")))
        for future in done:
            answers.append((asked[future], _result(future, cluster_id, asked[future])))
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return sorted(answers, key=lambda answer: (answer[0].namespace, answer[0].name))


def _wait(asked: Collection[Asked]) -> tuple[set[Asked], set[Asked]]:
    """The answers that came in time, and the others. Raises :class:`Stopping` where the worker is to end."""
    end = time.monotonic() + ROUND_WITHIN
    while True:
        done, late = wait(asked, timeout=min(0.5, max(0.0, end - time.monotonic())))
        if keeper.stopping.is_set() and late:
            raise Stopping
        if not late or time.monotonic() >= end:
            return done, late


def _result(future: Asked, cluster_id: int, pod: ExporterPod) -> Told | ClusterError:
    error = future.exception()
    if error is None:
        _resting.pop(_mark(cluster_id, pod), None)
        return future.result()
    if not isinstance(error, ClusterError):
        raise error
    if not isinstance(error, ClusterForbids | ObjectMissing):
        _rest(_mark(cluster_id, pod), error)
    return error


def _rest(mark: tuple[int, str, str], error: ClusterError) -> None:
    if len(_resting) > MOST_RESTING:
        _resting.clear()
    _resting[mark] = time.monotonic() + REST_AFTER_SILENCE, error


def _rests(mark: tuple[int, str, str]) -> ClusterError | None:
    """Why something is not asked now; None where it is."""
    until, error = _resting.get(mark, (0.0, None))
    return error if until > time.monotonic() else None


def _mark(cluster_id: int, pod: ExporterPod) -> tuple[int, str, str]:
    return cluster_id, pod.namespace, pod.name


def _no_gpus(cluster_id: int) -> bool:
    """Whether the cluster's nodes are known and none of them offers a GPU."""
    nodes = list(ClusterNode.objects.filter(cluster_id=cluster_id).values_list("data__capacity", flat=True))
    return bool(nodes) and not any(
        is_gpu(name) for capacity in nodes if isinstance(capacity, dict) for name in capacity
    )


def _store(cluster: Cluster, outcome: Round, epoch: int, now: datetime) -> bool:
    """Write the round in one transaction. False where another worker took it meanwhile."""
    known = gpu_rows.known_devices(cluster.pk)
    found = _bounded(gpu_rows.distinct(outcome.readings, known), known, cluster)
    gone = gpu_gone.gone(cluster.pk, known, found, outcome.heard, now)
    owned = gpu_rows.deployments_of(cluster.pk, found.values())
    no_data = outcome.no_data
    attributed = any(reading.holders for reading in found.values())
    if found and no_data is None and not attributed and _pods_with_gpus(cluster.pk):
        no_data = NoData.NO_PODS
    update: dict[str, object] = {
        "taken_until": None,
        "tried_at": now,
        "no_data": no_data or "",
        "answered": outcome.answered[:500],
    }
    if found:
        age = min(reading.age for reading in found.values())
        update |= {"sampled_at": now - timedelta(seconds=age), "devices": len(found)}
    elif no_data is NoData.NO_GPUS:
        update["devices"] = 0
    if outcome.look_again:
        update["looked_at"] = None
    elif outcome.looked:
        update["looked_at"] = now
    with transaction.atomic():
        mine = GpuSampling.objects.filter(
            Q(tried_at=None) | Q(tried_at__lt=now), cluster_id=cluster.pk, epoch=epoch
        ).update(**update)
        if not mine:
            return False
        if found:
            source = SourceKind.PROMETHEUS if outcome.service else None
            kinds = {SourceKind.DCGM if one.vendor == "nvidia" else SourceKind.AMD for one in found.values()}
            gpu_rows.write(cluster.pk, found, source, known, owned, now, slot_of(now))
            metrics_sources.choose(cluster.pk, {source} if source else kinds, outcome.service, now)
        gpu_gone.write(gone)
        announce("gpus", cluster.pk, int(now.timestamp()))
    return True


def _bounded(found: dict[str, GpuReading], known: Collection[str], cluster: Cluster) -> dict[str, GpuReading]:
    """Without the new ones of a cluster that has too many: an exporter that makes up identities would
    fill the database with them."""
    room = max(0, MOST_DEVICES - len(known))
    beyond = [key for key in found if key not in known][room:]
    if beyond:
        log.warning("cluster %s: %s more GPUs than %s are left out", cluster.name, len(beyond), MOST_DEVICES)
    for key in beyond:
        del found[key]
    return found


def _pods_with_gpus(cluster_id: int) -> bool:
    """Whether a running pod of a deployment has asked for a GPU."""
    pods = ObservedObject.objects.filter(cluster_id=cluster_id, kind="Pod").values_list("data", flat=True)
    for data in pods[:2000]:
        if data.get("phase") != "Running":
            continue
        for container in data.get("containers", []):
            if any(is_gpu(name) for name in container.get("limits", {})):
                return True
    return False


def _words(error: PilothouseError) -> str:
    return (error.answered or error.sentence)[:500]
