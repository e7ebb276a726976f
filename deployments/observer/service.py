"""The observer's process: which clusters are this one's, and the threads that look after them."""

from __future__ import annotations

import ctypes
import hashlib
import logging
import math
import os
import secrets
import socket
import threading
import time
from collections.abc import Sequence
from pathlib import Path

from django.conf import settings
from django.db import DatabaseError, connections

from deployments.domain.errors import PilothouseError
from deployments.gateways.kubernetes import ClusterCredential
from deployments.ledger import vault
from deployments.models import Cluster
from deployments.observer import leases
from deployments.observer.backlog import Backlog
from deployments.observer.clusters import ANSWERS_WITHIN, ClusterObserver, Target
from deployments.observer.timekeeper import Timekeeper
from deployments.observer.writer import Writer
from deployments.selectors import system

TICK = 1.0
# What comes round by the clock rests on observations, which are old where nobody watched for a while: an
# observer that has just started waits for its clusters' first lists, but no longer than this.
SETTLES_WITHIN = 5.0  # seconds
STOP_WITHIN = 4.0
_M_ARENA_MAX = -8  # glibc, malloc.h

log = logging.getLogger(__name__)


class BrokenOff(Exception):
    """Threads of an observer ended by an error."""

    def __init__(self, threads: Sequence[str]) -> None:
        names = " and ".join(threads)
        super().__init__(f"The observer stopped: its {names} ended by an error, which the log above names.")


class Observer:
    """``run`` blocks until :meth:`stop`, which may be called from a signal handler. A cluster that does not
    answer ``answers_within`` so many seconds counts as gone."""

    def __init__(self, holder: str = "", *, answers_within: float = ANSWERS_WITHIN) -> None:
        self.holder = holder or f"{socket.gethostname()}:{os.getpid()}:{secrets.token_hex(3)}"[-100:]
        self._answers_within = answers_within
        self._asked_to_stop = False
        self._ended = threading.Event()
        self._backlog = Backlog()
        self._writer = Writer(self._backlog)
        self._timekeeper = Timekeeper(self.holder)
        self._held: dict[int, leases.Held] = {}
        self._observers: dict[int, tuple[str, ClusterObserver]] = {}

    def stop(self) -> None:
        # A plain flag: a signal handler that takes a lock can wait for itself.
        self._asked_to_stop = True

    def run(self) -> None:
        """Look after clusters and time until stopped, then give everything back within five seconds.

        Raises :class:`BrokenOff` where a thread that it needs has ended by an error: with the leases
        renewed and nothing written, no other observer would take over.
        """
        _one_arena()
        threads = [
            threading.Thread(target=self._writer.run, name="writer", daemon=True),
            threading.Thread(target=self._keep_time, name="timekeeper", daemon=True),
        ]
        for thread in threads:
            thread.start()
        log.info("observer %s has started", self.holder)
        renew_at = 0.0
        while not self._asked_to_stop and all(thread.is_alive() for thread in threads):
            try:
                if time.monotonic() >= renew_at:
                    renew_at = time.monotonic() + leases.RENEW_EVERY
                    self._share()
                self._look_after()
            except DatabaseError:
                log.exception("the observer cannot reach its database")
                connections.close_all()
            self._sleep(TICK)
        ended = [thread.name for thread in threads if not thread.is_alive()]
        self._ended.set()
        self._close(threads)
        if ended:
            raise BrokenOff(ended)

    def _sleep(self, seconds: float) -> None:
        end = time.monotonic() + seconds
        while not self._asked_to_stop and time.monotonic() < end:
            time.sleep(0.1)

    def _keep_time(self) -> None:
        settled_at = time.monotonic() + SETTLES_WITHIN
        while not self._ended.wait(TICK):
            if time.monotonic() < settled_at and not self._settled():
                continue
            try:
                self._timekeeper.tick()
            except DatabaseError:
                log.exception("the timekeeper cannot reach its database")
                connections.close_all()
                self._ended.wait(leases.RENEW_EVERY)
        connections.close_all()

    def _settled(self) -> bool:
        watching = [running for _, running in list(self._observers.values())]
        return len(watching) == len(self._held) and all(running.listed for running in watching)

    def _share(self) -> None:
        """Renew what is held, give up what is more than a fair share, take what nobody holds."""
        observers = leases.present(self.holder)
        clusters = set(system.watched_clusters().values_list("pk", flat=True))
        for cluster_id, held in list(self._held.items()):
            if cluster_id not in clusters:
                leases.release(held)
                del self._held[cluster_id]
            elif not leases.renew(held):
                log.info("cluster %s is another observer's now", cluster_id)
                del self._held[cluster_id]
        fair = math.ceil(len(clusters) / max(1, observers))
        for cluster_id in sorted(self._held, reverse=True)[: max(0, len(self._held) - fair)]:
            leases.release(self._held.pop(cluster_id))
        for cluster_id in sorted(clusters - set(self._held)):
            if len(self._held) >= fair:
                break
            taken = leases.acquire(leases.cluster_lease(cluster_id), self.holder)
            if taken is not None:
                self._held[cluster_id] = taken

    def _look_after(self) -> None:
        """Start, stop and retarget the clusters' threads by what is held and stored now."""
        rows = {row.pk: row for row in system.watched_clusters().filter(pk__in=self._held)}
        for cluster_id, (_, running) in list(self._observers.items()):
            held = self._held.get(cluster_id)
            if cluster_id not in rows or held != running.lease:
                log.info("no longer watching cluster %s", running.target.name)
                running.stop()
                del self._observers[cluster_id]
        for cluster_id, row in rows.items():
            mark = hashlib.sha256(bytes(row.credential)).hexdigest()
            known = self._observers.get(cluster_id)
            if known and known[0] == mark:
                spaces = tuple(system.namespaces_of(cluster_id))
                if known[1].target.namespaces != spaces:
                    known[1].retarget(_target(row, known[1].target.credential))
                continue
            if known:
                known[1].stop()
                del self._observers[cluster_id]
            try:
                credential = ClusterCredential.from_json(vault.unseal(row.credential))
            except PilothouseError as error:
                log.error("cluster %s: %s %s", row.name, error.sentence, error.remedy)
                continue
            log.info("watching cluster %s at %s", row.name, row.server)
            observer = ClusterObserver(
                _target(row, credential),
                self._held[cluster_id],
                self._backlog,
                cache_dir=Path(settings.VAR_DIR) / "discovery",
                allow_loopback=settings.ALLOW_LOOPBACK_CLUSTERS,
                answers_within=self._answers_within,
            )
            self._observers[cluster_id] = (mark, observer)
            observer.start()

    def _close(self, threads: list[threading.Thread]) -> None:
        log.info("observer %s is stopping", self.holder)
        for _, observer in self._observers.values():
            observer.stop()
        self._writer.stop()
        deadline = time.monotonic() + STOP_WITHIN
        for thread in threads:
            thread.join(max(0.0, deadline - time.monotonic()))
        try:
            for held in self._held.values():
                leases.release(held)
            self._timekeeper.stop()
            leases.absent(self.holder)
        except DatabaseError as error:
            log.warning("the leases were not given back and will expire: %s", error)
        for _, observer in self._observers.values():
            observer.join(max(0.0, deadline - time.monotonic()))
        connections.close_all()


def _one_arena() -> None:
    """glibc gives each thread a heap of its own, and a dozen watches that read lists keep a dozen lists'
    worth of freed memory: a fifth of the process. Python's threads gain nothing by it."""
    try:
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)
    except (AttributeError, OSError, TypeError):
        log.debug("this C library has no arenas to limit")


def _target(row: Cluster, credential: ClusterCredential) -> Target:
    return Target(row.pk, row.name, row.uid, credential, tuple(system.namespaces_of(row.pk)))
