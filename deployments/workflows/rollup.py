"""Roll-ups of GPU figures: samples into five minutes, those into hours; and forgetting what is too old.

Of a step in which a device changed hands, each pod's part is written beside the whole.

How far a resolution is rolled up stands in one row, and each step moves it on in the transaction that
appends the roll-ups: two workers at the same step write it once. A step is rolled up half a minute after
its end, when the last round of it has been stored.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from django.conf import settings
from django.db import transaction
from django.db.models import Q
from django.utils import timezone

from deployments.domain.gpu_rollup import roll_up
from deployments.domain.gpu_series import (
    FIGURES,
    HEADER,
    Mark,
    MarkKind,
    Part,
    Rolled,
    Sample,
    Unpackable,
    pack_mark,
    pack_part,
    pack_rolled,
    period_of,
    step_of,
    unpack,
    when,
)
from deployments.domain.gpus import Resolution
from deployments.models import GpuDevice, GpuHolding, GpuPod, GpuRollUp, GpuSeries
from deployments.workflows.gpu_rows import append, series_of
from deployments.workflows.keeper import keeper

GRACE = timedelta(seconds=30)
MOST_STEPS = 24  # in one go; the next one follows in five minutes
DELETED_TOGETHER = 1000
MOST_DELETED = 50_000
FINER = {Resolution.FIVE_MINUTES: Resolution.RAW, Resolution.HOUR: Resolution.FIVE_MINUTES}
PERIOD = {
    Resolution.RAW: timedelta(hours=1),
    Resolution.FIVE_MINUTES: timedelta(days=1),
    Resolution.HOUR: timedelta(days=31),
}

log = logging.getLogger(__name__)


Stretch = tuple[datetime, datetime | None]
"""A time in which a pod held a device: from, and until before, None for still."""


@dataclass
class Slice:
    """What a device's finer series holds of one step, with the parts of single pods by when and pod;
    the error that it reported before, and the newest in the step, None where none changed."""

    rows: list[Sample | Rolled] = field(default_factory=list)
    parts: dict[tuple[int, int], Rolled] = field(default_factory=dict)
    before: str = ""
    during: str | None = None


def roll_up_due(now: datetime | None = None) -> int:
    """Roll up what has ended by now; returns how many steps that were."""
    now = now or timezone.now()
    done = 0
    for resolution in FINER:
        for _ in range(MOST_STEPS):
            if keeper.stopping.is_set() or not _step(resolution, now - GRACE):
                break
            done += 1
    return done


def _step(resolution: Resolution, by: datetime) -> bool:
    """Roll up the next step that ended before ``by``. False where there is none, or where another
    worker is at it."""
    length = step_of(resolution)
    progress, _ = GpuRollUp.objects.get_or_create(resolution=resolution, defaults={"until": None})
    start = _next(resolution, progress.until)
    if start is None or start + length > by:
        return False
    slices = dict(_slices(FINER[resolution], start, start + length))
    return _commit(resolution, progress.until, start, slices)


def _commit(
    resolution: Resolution, until: datetime | None, start: datetime, slices: dict[int, Slice]
) -> bool:
    """Append a step's roll-ups where nobody has since they were read up to ``until``."""
    with transaction.atomic():
        mine = GpuRollUp.objects.filter(resolution=resolution, until=until).update(
            until=start + step_of(resolution)
        )
        if mine:
            _write(resolution, start, slices)
    return bool(mine)


def _next(resolution: Resolution, until: datetime | None) -> datetime | None:
    """The start of the next step for which there is something finer; times without anything, as after
    a week of standing still, are passed over. None where there is nothing."""
    finer = FINER[resolution]
    rows = GpuSeries.objects.filter(resolution=finer)
    if until is not None:
        rows = rows.filter(start__gte=period_of(finer, until))
    first = rows.order_by("start").values_list("start", flat=True).first()
    if first is None:
        return None
    return first if until is None else max(first, until)


def _slices(finer: Resolution, start: datetime, end: datetime) -> Iterator[tuple[int, Slice]]:
    """Each device's share of a step; a step lies within one period of the finer series."""
    period = period_of(finer, start)
    first, last = when(finer, start), when(finer, start) + int((end - start) / step_of(finer))
    rows = GpuSeries.objects.filter(resolution=finer, start=period)
    for device_id, packed in rows.values_list("device_id", "packed").iterator():
        found = Slice()
        try:
            for row in unpack(finer, packed):
                if isinstance(row, Part):
                    found.parts[row.row.at, row.pod] = row.row
                    continue
                if row.at >= last:
                    break
                if not isinstance(row, Mark):
                    if row.at >= first:
                        found.rows.append(row)
                elif row.kind is MarkKind.ERROR:
                    if row.at >= first:
                        found.during = row.text
                    else:
                        found.before = row.text
        except Unpackable as error:
            log.error("a series of device %s is not readable: %s", device_id, error)
            continue
        yield device_id, found


def _write(resolution: Resolution, start: datetime, slices: dict[int, Slice]) -> None:
    period = period_of(resolution, start)
    at = when(resolution, start)
    finer = FINER[resolution]
    fresh = period_of(finer, start) == start
    began = series_of(list(slices), resolution, period)
    held = _held(start, start + step_of(resolution))
    growing: list[tuple[int, bytes]] = []
    new: list[GpuSeries] = []
    for device_id, found in slices.items():
        rolled = roll_up(at, found.rows)
        if rolled is None:
            continue
        first = device_id not in began
        packed = b""
        # Of what changed within the step, what held at its end counts for all of it.
        error = found.before if found.during is None else found.during
        # The first step of a finer series cannot tell what changed since the one before it.
        if error if first else (found.during is not None or fresh):
            packed += pack_mark(at, MarkKind.ERROR, error)
        for pod, stretches in sorted(held.get(device_id, {}).items()):
            mine = _share(found, pod, stretches, finer, period_of(finer, start))
            if mine != found.rows:
                packed += pack_part(Part(pod, roll_up(at, mine) or Rolled(at, 0, (None,) * len(FIGURES))))
        packed += pack_rolled(rolled)
        if first:
            new.append(
                GpuSeries(device_id=device_id, resolution=resolution, start=period, packed=HEADER + packed)
            )
        else:
            growing.append((began[device_id], packed))
    append(growing)
    GpuSeries.objects.bulk_create(new)


def _held(start: datetime, end: datetime) -> dict[int, dict[int, list[Stretch]]]:
    """Who held what in a step: device -> pod -> when."""
    held: dict[int, dict[int, list[Stretch]]] = {}
    rows = GpuHolding.objects.filter(Q(until=None) | Q(until__gt=start), since__lt=end).order_by()
    for device, pod, since, until in rows.values_list("device_id", "pod_id", "since", "until"):
        held.setdefault(device, {}).setdefault(pod, []).append((since, until))
    return held


def _share(
    found: Slice, pod: int, stretches: Sequence[Stretch], finer: Resolution, period: datetime
) -> list[Sample | Rolled]:
    """What of a step was while a pod held the device."""
    step = step_of(finer)
    mine: list[Sample | Rolled] = []
    for row in found.rows:
        part = found.parts.get((row.at, pod))
        begin = period + row.at * step
        if part is not None:
            if part.samples:
                mine.append(part)
        elif any(since < begin + step and (until is None or until > begin) for since, until in stretches):
            mine.append(row)
    return mine


def kept(resolution: Resolution) -> timedelta:
    """For how long series of a resolution are kept, by the settings."""
    days = {
        Resolution.RAW: settings.GPU_SAMPLES_KEPT_DAYS,
        Resolution.FIVE_MINUTES: settings.GPU_FIVE_MINUTES_KEPT_DAYS,
        Resolution.HOUR: settings.GPU_HOURS_KEPT_DAYS,
    }
    return timedelta(days=days[resolution])


def forget_old(now: datetime | None = None) -> int:
    """Delete series whose whole period is older than they are kept for, and devices that nothing is
    left of; returns how many rows. In pieces, so that nobody waits for the database meanwhile."""
    now = now or timezone.now()
    deleted = 0
    for resolution in Resolution:
        old = GpuSeries.objects.filter(
            resolution=resolution, start__lt=now - kept(resolution) - PERIOD[resolution]
        )
        while deleted < MOST_DELETED and not keeper.stopping.is_set():
            ids = list(old.values_list("pk", flat=True)[:DELETED_TOGETHER])
            if not ids:
                break
            GpuSeries.objects.filter(pk__in=ids).delete()
            deleted += len(ids)
    return deleted + _forget_unseen(now - kept(Resolution.HOUR))


def _forget_unseen(before: datetime) -> int:
    """Delete devices that nothing is left of, what ended before that time, and pods that held nothing
    since."""
    devices = GpuDevice.objects.filter(sampled_at__lt=before, series=None)
    ids = list(devices.values_list("pk", flat=True)[:DELETED_TOGETHER])
    deleted = GpuDevice.objects.filter(pk__in=ids).delete()[0]
    for old in (GpuHolding.objects.filter(until__lt=before), GpuPod.objects.filter(holdings=None)):
        ids = list(old.values_list("pk", flat=True)[:MOST_DELETED])
        for start in range(0, len(ids), DELETED_TOGETHER):
            deleted += old.model.objects.filter(pk__in=ids[start : start + DELETED_TOGETHER]).delete()[0]
    return deleted
