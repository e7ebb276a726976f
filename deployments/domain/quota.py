"""How much a team may take of a cluster: what a stack asks for, what is left, what is too much.

Amounts are whole numbers in the scheduler's units: CPU in millicores, memory and storage in bytes, GPUs and
deployments as counts. A stack counts with the most pods it may come to have: an autoscaler's upper bound,
or its replicas.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field, fields
from decimal import ROUND_CEILING, Decimal

from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.quantities import format_bytes, format_cpu, parse_amount
from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import AutoscalingSpec, GpuVendor, StackSpec, StorageMode, spec_from_json
from deployments.domain.states import Approver


@dataclass(frozen=True)
class Amounts:
    """What something takes. In a quota None is "as much as there is"."""

    gpus: int | None = 0
    cpu: int | None = 0
    memory: int | None = 0
    storage: int | None = 0
    deployments: int | None = 0

    def to_json(self) -> dict[str, int]:
        return {name: value for name, value in asdict(self).items() if value is not None}


NAMES = tuple(one.name for one in fields(Amounts))
UNLIMITED = Amounts(None, None, None, None, None)
WORDS = {
    "gpus": "GPUs",
    "cpu": "CPU",
    "memory": "memory",
    "storage": "storage",
    "deployments": "deployments",
}


MOST_HOSTS = 50
_HOST = re.compile(r"[a-z0-9]([a-z0-9.-]*[a-z0-9])?(:[0-9]{1,5})?")


class OverQuota(Conflict):
    """The team would take more than it may; the sentence says by how much."""


@dataclass(frozen=True)
class Share:
    """One bound of a quota and what is asked of it. ``others`` is what the team takes beside the stack that is
    asked about, ``own`` what that one takes already, ``asked`` what it would take instead."""

    name: str
    most: int
    others: int
    own: int
    asked: int

    @property
    def left(self) -> int:
        """For this stack, before it takes anything."""
        return max(0, self.most - self.others)

    @property
    def over(self) -> int:
        """By how much it is too much. What was taken before a bound was lowered stays; only more of it is
        too much."""
        return max(0, self.others + self.asked - self.most) if self.asked > self.own else 0


@dataclass(frozen=True)
class Limits:
    """What a grant bounds beside namespaces. ``quota`` by the names of :class:`Amounts`; the lists name
    hosts, and an empty one allows any. ``approver`` has to agree to what takes more GPUs than
    ``approve_over_gpus``, or to everything where that is None."""

    quota: dict[str, int] = field(default_factory=dict)
    model_registries: list[str] = field(default_factory=list)
    image_registries: list[str] = field(default_factory=list)
    approver: Approver = Approver.NOBODY
    approve_over_gpus: int | None = None


def read_hosts(name: str, given: list[str]) -> list[str]:
    """Hosts of registries, in small letters and without repeats. Raises :class:`InvalidInput` at ``name``."""
    hosts = list(dict.fromkeys(host.lower() for host in given))
    for host in hosts:
        if len(host) > 253 or not _HOST.fullmatch(host):
            raise InvalidInput(
                f"“{host[:80]}” is no host of a registry.", field=name, remedy="As in ghcr.io."
            )
    if len(hosts) > MOST_HOSTS:
        raise InvalidInput(f"These are more than {MOST_HOSTS} hosts.", field=name)
    return hosts


def from_json(stored: object, *, missing: int | None) -> Amounts:
    """Amounts from a stored mapping; ``missing`` stands for what is not in it or no whole number."""
    given = stored if isinstance(stored, Mapping) else {}
    return Amounts(**{name: _whole(given.get(name), missing) for name in NAMES})


def demand(spec: StackSpec) -> Amounts:
    """What a stack takes at its largest. ``spec`` is one whose sizes are filled in
    (:func:`deployments.domain.sizing.sized`)."""
    servers = _most(spec.server.replicas, spec.server.autoscaling)
    chats = _most(spec.chat.replicas, spec.chat.autoscaling) if spec.chat.enabled else 0
    gpus = 0 if spec.server.gpu_vendor is GpuVendor.NONE else spec.server.gpu_count
    claims = {StorageMode.EXISTING: 0, StorageMode.SHARED: 1}.get(spec.storage.mode, servers)
    of_server, of_chat = spec.server.resources, spec.chat.resources
    return Amounts(
        gpus=gpus * servers,
        cpu=_milli(of_server.cpu_request) * servers + _milli(of_chat.cpu_request) * chats,
        memory=_bytes(of_server.memory_request) * servers + _bytes(of_chat.memory_request) * chats,
        storage=_bytes(spec.storage.size) * claims,
        deployments=1,
    )


def of_spec(spec: StackSpec) -> Amounts:
    """:func:`demand` of a spec as it was given, with the sizes that it leaves out filled in."""
    return demand(sized(spec, size_stack(spec, None)))


def of_stored(spec: object) -> Amounts:
    """:func:`of_spec` of a spec as revisions and releases keep it."""
    return of_spec(spec_from_json(spec))


def larger(one: Amounts, other: Amounts) -> Amounts:
    """Of each amount the larger one."""
    return Amounts(**{name: max(getattr(one, name) or 0, getattr(other, name) or 0) for name in NAMES})


def without(one: Amounts, other: Amounts) -> Amounts:
    """What is left of each amount when the other is taken out of it."""
    return Amounts(**{name: (getattr(one, name) or 0) - (getattr(other, name) or 0) for name in NAMES})


def total(parts: Iterable[Amounts]) -> Amounts:
    """The sum of what several take."""
    sums = dict.fromkeys(NAMES, 0)
    for part in parts:
        for name in NAMES:
            sums[name] += getattr(part, name) or 0
    return Amounts(**sums)


def left(quota: Amounts, used: Amounts) -> Amounts:
    """What may still be taken, never below nothing; None where there is no bound."""
    return Amounts(
        **{
            name: None
            if (most := getattr(quota, name)) is None
            else max(0, most - (getattr(used, name) or 0))
            for name in NAMES
        }
    )


def shares(quota: Amounts, others: Amounts, own: Amounts, asked: Amounts) -> list[Share]:
    """What is asked of each bound that the quota sets."""
    return [
        Share(name, most, *(getattr(part, name) or 0 for part in (others, own, asked)))
        for name in NAMES
        if (most := getattr(quota, name)) is not None
    ]


def require_within(asked: Iterable[Share], who: str, where: str) -> None:
    """Raise :class:`OverQuota` where one of the shares goes over its bound."""
    over = [_excess(one) for one in asked if one.over]
    if over:
        raise OverQuota(
            f"The quota of {who} on {where} is too small. {'; '.join(over)}.",
            remedy="Ask for less, uninstall something, or ask a site admin for a larger quota.",
        )


def _excess(one: Share) -> str:
    """ "GPUs: it may use 8, 6 are taken and this asks for 4, 2 too much"."""
    what = WORDS[one.name]
    most, taken, more, over = (
        words(one.name, n) for n in (one.most, one.others + one.own, one.asked - one.own, one.over)
    )
    return (
        f"{what}: it may use {most}, {taken} are taken and this asks for {more}{' more' if one.own else ''}, "
        f"{over} too much"
    )


def words(name: str, amount: int) -> str:
    """An amount as people write it: 8, 2500m, 64Gi."""
    if name == "cpu":
        return format_cpu(Decimal(amount) / 1000)
    return format_bytes(amount) if name in ("memory", "storage") else str(amount)


def read_amount(name: str, text: str) -> int | None:
    """What a person wrote for a bound; None for nothing. Raises :class:`InvalidInput` at ``name``."""
    text = text.strip()
    if not text:
        return None
    value = parse_amount(text, field=name)
    return int((value * 1000 if name == "cpu" else value).to_integral_value(ROUND_CEILING))


def _most(replicas: int, scaler: AutoscalingSpec) -> int:
    return max(replicas, scaler.max_replicas) if scaler.enabled else replicas


def _milli(text: str) -> int:
    return int((parse_amount(text) * 1000).to_integral_value(ROUND_CEILING)) if text else 0


def _bytes(text: str) -> int:
    return int(parse_amount(text).to_integral_value(ROUND_CEILING)) if text else 0


def _whole(value: object, missing: int | None) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) and value >= 0 else missing
