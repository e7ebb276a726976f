"""The audit as pages show it: whoever sees everything sees all of it, a member what his teams did."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from django.db import connection
from django.db.models import F, Q, QuerySet
from django.db.models.expressions import OrderBy

from deployments.domain.actors import Actor
from deployments.domain.errors import NotFound
from deployments.models import (
    AuditCheckpoint,
    AuditEntry,
    AuditHead,
    AuditVerification,
    Cluster,
    Deployment,
    Operation,
    Profile,
    Release,
    Team,
    User,
)
from deployments.selectors import scope

PER_PAGE = 50
COUNTED = 1000  # beyond it the page says "more than": an exact count would read the whole table
CHOICES = 200
# A text is common where so many of the newest entries have it.
SAMPLED, COMMON = 5000, 50


@dataclass(frozen=True)
class EntryFilter:
    """What the audit is narrowed to; "" and None are everything. ``object`` is "type:id"."""

    since: datetime | None = None
    until: datetime | None = None
    who: str = ""
    team: int | None = None
    action: str = ""
    object: str = ""
    cluster: int | None = None
    outcome: str = ""
    text: str = ""

    @property
    def any(self) -> bool:
        return self != EntryFilter()

    @property
    def object_parts(self) -> tuple[str, str]:
        """(type, id)."""
        kind, _colon, pk = self.object.partition(":")
        return kind, pk


@dataclass(frozen=True)
class EntryList:
    """A page of entries, newest first. ``newer`` and ``older`` are the sequences to go on from, or None;
    ``count`` is how many there are in all, or :data:`COUNTED` where ``more`` says that there are more."""

    rows: list[AuditEntry]
    count: int
    more: bool
    newer: int | None
    older: int | None


@dataclass(frozen=True)
class EntryPage:
    """One entry with what it points at, as far as it is there and the caller may see it."""

    entry: AuditEntry
    team: Team | None
    cluster: Cluster | None
    operation: Operation | None
    release: Release | None
    actor_gone: bool


def visible(actor: Actor) -> QuerySet[AuditEntry]:
    """Every entry that the caller may see."""
    rows = AuditEntry.objects.order_by("-sequence")
    return rows if actor.sees_everything else rows.filter(team_id__in=actor.roles)


def narrowed(rows: QuerySet[AuditEntry], wanted: EntryFilter) -> QuerySet[AuditEntry]:
    """The entries that fit the filter."""
    if wanted.since:
        rows = rows.filter(at__gte=wanted.since)
    if wanted.until:
        rows = rows.filter(at__lt=wanted.until)
    if wanted.who:
        rows = rows.filter(actor_name=wanted.who)
    if wanted.team:
        rows = rows.filter(team_id=wanted.team)
    if wanted.action:
        rows = rows.filter(action=wanted.action)
    if wanted.object:
        rows = rows.filter(_about(*wanted.object_parts))
    if wanted.cluster:
        rows = rows.filter(cluster_id=wanted.cluster)
    if wanted.outcome:
        rows = rows.filter(outcome=wanted.outcome)
    if wanted.text:
        rows = rows.filter(
            Q(object_name__icontains=wanted.text)
            | Q(reason__icontains=wanted.text)
            | Q(actor_name__in=_people_like(wanted.text))
        )
    return rows


def _people_like(text: str) -> list[str]:
    """Names that a text may mean: of accounts that have it in theirs, and itself for one that is gone. Few
    names of many entries are found faster than a part of a name in every entry."""
    found = User.objects.filter(username__icontains=text).order_by("username")
    return [text, *found.values_list("username", flat=True)[:CHOICES]]


def _about(kind: str, pk: str) -> Q:
    """Entries about an object. What was done to a deployment's operations, and what an operation did, is
    part of the object's history."""
    itself = Q(object_type=kind, object_id=pk)
    if not pk.isdecimal() or len(pk) > 18:
        return itself
    if kind == "operation":
        return itself | Q(operation_id=int(pk))
    if kind == "deployment":
        acts = Operation.objects.filter(deployment_id=int(pk)).order_by().values("pk")
        return itself | Q(operation_id__in=list(acts.values_list("pk", flat=True)[:1000]))
    return itself


def entries(
    actor: Actor, wanted: EntryFilter, *, before: int | None = None, after: int | None = None
) -> EntryList:
    """A page of the filtered entries: those before a sequence, or those right after one.

    A list of a span of time is in the order of time, which is an index of its own; any other in that of
    the chain. They differ only where a clock was wrong.
    """
    rows = narrowed(visible(actor), wanted)
    keys = ["at", "sequence"] if wanted.since or wanted.until else ["sequence"]
    up, down = _orders(rows, wanted, keys)
    if after is not None:
        onwards = _beyond(rows, keys, after, "gt")
        found = list(onwards.order_by(*up)[: PER_PAGE + 1])
        further, found = len(found) > PER_PAGE, found[:PER_PAGE][::-1]
        newer = found[0].sequence if found and further else None
        older = found[-1].sequence if found else None
    else:
        onwards = _beyond(rows, keys, before, "lt") if before is not None else rows
        found = list(onwards.order_by(*down)[: PER_PAGE + 1])
        further, found = len(found) > PER_PAGE, found[:PER_PAGE]
        newer = found[0].sequence if found and before is not None else None
        older = found[-1].sequence if found and further else None
    if before is None and after is None and not further:
        count = len(found)
    else:
        count = rows.order_by()[: COUNTED + 1].count()
    return EntryList(found, min(count, COUNTED), count > COUNTED, newer, older)


def _orders(
    rows: QuerySet[AuditEntry], wanted: EntryFilter, keys: list[str]
) -> tuple[list[OrderBy], list[OrderBy]]:
    """The order of a list, upwards and downwards.

    PostgreSQL takes any text for a common one and walks the chain until the page is full, which for a
    rare text is the whole chain. Where the newest entries show that it is rare, the order is written so
    that the chain's own index does not fit it, and the texts' indexes are used.
    """
    if wanted.text and keys == ["sequence"] and connection.vendor == "postgresql":
        newest = AuditHead.objects.values_list("sequence", flat=True).get()
        shown = rows.filter(sequence__gt=newest - SAMPLED).order_by()[:COMMON].count()
        if shown < COMMON:
            by = F("sequence") + 0
            return [by.asc()], [by.desc()]
    return [F(key).asc() for key in keys], [F(key).desc() for key in keys]


def _beyond(rows: QuerySet[AuditEntry], keys: list[str], sequence: int, way: str) -> QuerySet[AuditEntry]:
    """Rows that stand further that ``way`` ("lt", "gt") than an entry in the order of ``keys``."""
    if keys == ["sequence"]:
        return rows.filter(**{f"sequence__{way}": sequence})
    at = AuditEntry.objects.filter(sequence=sequence).values_list("at", flat=True).first()
    if at is None:
        return rows.filter(**{f"sequence__{way}": sequence})
    beside = Q(at=at, **{f"sequence__{way}": sequence})
    return rows.filter(Q(**{f"at__{way}": at}) | beside, **{f"at__{way}e": at})


def entry(actor: Actor, sequence: int) -> AuditEntry:
    """Raises :class:`NotFound`."""
    found = visible(actor).filter(sequence=sequence).first()
    if found is None:
        raise NotFound("There is no such entry.")
    return found


def entry_page(actor: Actor, sequence: int) -> EntryPage:
    """Raises :class:`NotFound`."""
    found = entry(actor, sequence)
    operation = (
        scope.operations(actor).select_related("release").filter(pk=found.operation_id).first()
        if found.operation_id
        else None
    )
    return EntryPage(
        entry=found,
        team=scope.teams(actor).filter(pk=found.team_id).first() if found.team_id else None,
        cluster=Cluster.objects.filter(pk=found.cluster_id).first() if found.cluster_id else None,
        operation=operation,
        release=_release(actor, found, operation),
        actor_gone=found.actor_id is not None and not User.objects.filter(pk=found.actor_id).exists(),
    )


def _release(actor: Actor, found: AuditEntry, operation: Operation | None) -> Release | None:
    """The release whose manifests have the digest that the entry names."""
    if not found.manifest_digest:
        return None
    made = operation.release if operation is not None else None
    if made is not None and made.digest == found.manifest_digest:
        return Release.objects.select_related("deployment").get(pk=made.pk)
    rows = Release.objects.select_related("deployment").filter(
        digest=found.manifest_digest, deployment__in=scope.deployments(actor)
    )
    if found.object_type == "deployment" and found.object_id.isdecimal():
        rows = rows.filter(deployment_id=int(found.object_id))
    return rows.order_by("-pk").first()


def people(actor: Actor) -> list[str]:
    """Names to choose from: the accounts that there are. Those of gone accounts are found by a click on
    them, or by their text."""
    accounts = User.objects.order_by("username")
    if not actor.sees_everything:
        accounts = accounts.filter(memberships__team_id__in=actor.roles).distinct()
    return list(accounts.values_list("username", flat=True)[:CHOICES])


def clusters(actor: Actor) -> list[tuple[int, str]]:
    """Clusters to choose from; for those who see everything also the ones that were removed."""
    rows = Cluster.objects.order_by("name") if actor.sees_everything else scope.clusters(actor)
    return list(rows.values_list("pk", "name")[:CHOICES])


def object_name(actor: Actor, kind: str, pk: str) -> str:
    """How an object is called that a list is narrowed to; its number where it is unknown to the caller."""
    if not pk.isdecimal() or len(pk) > 18:
        return pk
    rows: dict[str, QuerySet[Deployment] | QuerySet[Profile] | QuerySet[Operation] | QuerySet[Cluster]] = {
        "deployment": scope.deployments(actor),
        "profile": scope.profiles(actor),
        "operation": scope.operations(actor),
        "cluster": scope.clusters(actor),
    }
    found = rows[kind].filter(pk=int(pk)).first() if kind in rows else None
    if found is None:
        newest = visible(actor).filter(object_type=kind, object_id=pk).first()
        return newest.object_name if newest is not None else pk
    return found.title if isinstance(found, Operation) else found.name


def newest_checkpoint(actor: Actor) -> AuditCheckpoint | None:
    """None also for those who do not see everything: it speaks of the whole audit."""
    return AuditCheckpoint.objects.first() if actor.sees_everything else None


def newest_verification(actor: Actor) -> AuditVerification | None:
    return AuditVerification.objects.first() if actor.sees_everything else None
