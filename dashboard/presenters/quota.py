"""A team's quota on a cluster, and what of it is taken, as rows of a table."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.functional import Promise
from django.utils.translation import gettext_lazy as _
from django.utils.translation import ngettext

from dashboard.presenters.words import comma
from deployments.domain.quota import NAMES, Amounts, from_json, left, shares, words
from deployments.models import ClusterGrant

LABELS: dict[str, str | Promise] = {
    "gpus": _("GPUs"),
    "cpu": _("CPU"),
    "memory": _("Memory"),
    "storage": _("Storage"),
    "deployments": _("Deployments"),
}


@dataclass(frozen=True)
class QuotaRow:
    """One bound. ``share`` is what is taken of it in percent, at most 100; ``over`` where more is taken
    than the bound allows now."""

    label: str | Promise
    used: str
    most: str
    left: str
    share: int
    over: bool


def quota_rows(grant: ClusterGrant, used: Amounts) -> list[QuotaRow]:
    """A row for each bound that the grant sets; none where it sets none."""
    quota = from_json(grant.quota, missing=None)
    rows = []
    for name in NAMES:
        most, has = getattr(quota, name), getattr(used, name) or 0
        if most is None:
            continue
        rows.append(
            QuotaRow(
                label=LABELS[name],
                used=words(name, has),
                most=words(name, most),
                left=words(name, max(0, most - has)),
                share=min(100, round(100 * has / most)) if most else 100,
                over=has > most,
            )
        )
    return rows


def left_words(grant: ClusterGrant, used: Amounts) -> str:
    """What of a quota is left, in one line: "2 GPUs, 16Gi memory"; "" where nothing is bounded."""
    rest = left(from_json(grant.quota, missing=None), used)
    return comma().join(_taken(name, amount) for name in NAMES if (amount := getattr(rest, name)) is not None)


def too_much_words(grant: ClusterGrant, used: Amounts, asked: Amounts) -> str:
    """By how much something new goes over a quota: "49Gi memory"; "" where it fits."""
    over = shares(from_json(grant.quota, missing=None), used, Amounts(), asked)
    return comma().join(_taken(one.name, one.over) for one in over if one.over)


def demand_words(stored: object) -> str:
    """What a stack takes, in one line: "2 GPUs, 8 CPU, 32Gi memory, 50Gi storage"."""
    taken = from_json(stored, missing=0)
    parts = [
        _taken(name, amount) for name in NAMES if name != "deployments" and (amount := getattr(taken, name))
    ]
    return comma().join(parts)


def _taken(name: str, amount: int) -> str:
    if name == "gpus":
        return ngettext("%(n)s GPU", "%(n)s GPUs", amount) % {"n": amount}
    if name == "deployments":
        return ngettext("%(n)s deployment", "%(n)s deployments", amount) % {"n": amount}
    return f"{words(name, amount)} {LABELS[name] if name == 'cpu' else str(LABELS[name]).lower()}"
