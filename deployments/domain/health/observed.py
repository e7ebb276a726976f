"""What was last seen of a stack: the input of the health function. Times are aware datetimes."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from deployments.domain.fit.shapes import Taint


@dataclass(frozen=True)
class ObservedContainer:
    """One container, init containers included. ``state`` is "waiting", "running" or "terminated";
    ``reason`` and ``message`` are the state's; ``last_*`` are of ``lastState.terminated``;
    ``memory_limited`` is whether it has a memory limit of its own, ``init`` whether others wait for it."""

    name: str
    ready: bool = False
    restarts: int = 0
    state: str = "waiting"
    reason: str = ""
    message: str = ""
    exit_code: int | None = None
    last_reason: str = ""
    last_message: str = ""
    last_exit_code: int | None = None
    image: str = ""
    memory_limited: bool = True
    init: bool = False


@dataclass(frozen=True)
class NodeTaints:
    """What keeps pods off a node, in its order; ``cordoned`` is said apart."""

    taints: tuple[Taint, ...] = ()
    cordoned: bool = False


@dataclass(frozen=True)
class ObservedPod:
    """``component`` is "server" or "chat"; ``scheduled`` is the PodScheduled condition (None: the
    scheduler has not spoken yet), ``scheduling_*`` its reason and message; ``reason`` and ``message``
    are the pod's own status ("Evicted"). ``node_ready``: None where its node was not seen;
    ``node_gone``: all nodes were, without it. ``end_due_at`` is by when a pod that is being deleted should
    be gone. ``model_present``: None where nobody could ask. ``kept_off`` is the taint that it does not
    tolerate ("example.com/team: x"), one for each node that has any, where the scheduler names none."""

    name: str
    component: str
    phase: str = "Pending"
    ready: bool = False
    reason: str = ""
    message: str = ""
    node: str = ""
    node_ready: bool | None = None
    node_gone: bool = False
    deleting: bool = False
    end_due_at: datetime | None = None
    created_at: datetime | None = None
    scheduled: bool | None = None
    scheduling_reason: str = ""
    scheduling_message: str = ""
    kept_off: tuple[str, ...] = ()
    containers: tuple[ObservedContainer, ...] = ()
    model_present: bool | None = None

    @property
    def node_lost(self) -> bool:
        """Whether nobody looks after it any more. A node that is new may be seen after its first pod, which
        does not run yet then."""
        return self.node_ready is False or (self.node_gone and self.phase == "Running")


@dataclass(frozen=True)
class ObservedWorkload:
    """A StatefulSet or Deployment. ``exists`` False: it should be there and is not. ``replicas`` are all
    pods that it has, ``available`` those ready for long enough; None where not told. ``overdue`` is what
    it says when its update takes longer than its deadline, ``refused`` what it says when its pods are
    refused; "" otherwise."""

    kind: str
    name: str
    component: str
    exists: bool = True
    desired: int = 1
    ready: int = 0
    updated: int = 0
    current_generation_seen: bool = True
    replicas: int | None = None
    available: int | None = None
    overdue: str = ""
    refused: str = ""
    paused: bool = False
    deleting: bool = False


@dataclass(frozen=True)
class ObservedClaim:
    """``phase`` is Pending, Bound, Lost or "" where the claim is not there."""

    name: str
    phase: str = "Bound"


@dataclass(frozen=True)
class ObservedEvent:
    """An event about one of the stack's objects; ``about`` is "Kind/name"."""

    reason: str
    message: str
    at: datetime
    about: str = ""
    kind: str = "Warning"


@dataclass(frozen=True)
class Unapplied:
    """Why no release of a stack was ever applied whole: ``what`` ("Install r1") failed or was cancelled,
    with its sentence or cause, what answered, and what to do ("" where not told). ``begun`` is True where
    some objects had been applied by then."""

    what: str
    sentence: str
    answered: str = ""
    remedy: str = ""
    cancelled: bool = False
    begun: bool = False


@dataclass(frozen=True)
class ObservedStack:
    """Everything known. ``server_answers`` and ``chat_reaches`` are None where not asked (yet); ``*_said``
    is what was asked and what came instead of an answer, "" where that is not known.
    ``pulling`` is a sentence about a running download ("4.1 of 4.7 GB"), or ""; ``foreign`` is True
    where another cluster answers at the address of the one that was observed; ``unapplied`` is None
    where a release was applied, or where nobody has tried yet."""

    observed_at: datetime | None
    model: str
    workloads: tuple[ObservedWorkload, ...] = ()
    pods: tuple[ObservedPod, ...] = ()
    claims: tuple[ObservedClaim, ...] = ()
    events: tuple[ObservedEvent, ...] = ()
    server_answers: bool | None = None
    server_said: str = ""
    chat_reaches: bool | None = None
    chat_said: str = ""
    chat_expected: bool = True
    pulling: str = ""
    foreign: bool = False
    unapplied: Unapplied | None = None
