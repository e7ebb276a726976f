"""Where the pods of an install would go: the preflight's table by node, as a page shows it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.presenters.states import look
from dashboard.presenters.words import colon, comma
from deployments.sentences import said

MOST_SLOTS = 16


@dataclass(frozen=True)
class NodeRow:
    """``css`` and ``icon`` of the verdict; ``slots`` one class a GPU ("u" held, "new" this install, "" free,
    "x" broken), ``slots_text`` the same in words, "" where the node has none."""

    name: str
    css: str
    icon: str
    verdict: str
    reasons: str
    slots: list[str]
    slots_text: str
    cpu: str
    memory: str


@dataclass(frozen=True)
class FitTable:
    """``summary`` is one line; ``gpu`` whether a column shows GPUs; ``hidden`` nodes are left out;
    ``open`` where the table is what somebody has to read."""

    summary: str
    gpu: bool
    rows: list[NodeRow]
    hidden: int
    open: bool


def fit_table(fit: dict[str, Any]) -> FitTable | None:
    """From an operation's ``result["fit"]``; None where no node was seen."""
    if not fit.get("rows"):
        return None
    wanted, found = int(fit["wanted"]), int(fit["found"])
    sure = fit["answer"] != "cannot_tell"
    words = (
        ngettext(
            "%(found)s of %(wanted)s server pod placed", "%(found)s of %(wanted)s server pods placed", wanted
        )
        if sure
        else ngettext(
            "%(found)s of %(wanted)s server pod may find a node",
            "%(found)s of %(wanted)s server pods may find a node",
            wanted,
        )
    )
    placed = words % {"found": found, "wanted": wanted}
    asks = said(fit["asks"])
    each = _("each asks for %(asks)s") % {"asks": asks} if wanted > 1 else asks
    return FitTable(
        summary=f"{placed}{colon()}{each}",
        gpu=bool(fit["gpu"]),
        rows=[_row(row, bool(fit["gpu"]), sure) for row in fit["rows"]],
        hidden=int(fit["hidden"]),
        open=fit["answer"] != "fits",
    )


def _row(row: dict[str, Any], with_gpus: bool, sure: bool) -> NodeRow:
    css, icon, verdict = _verdict(row, sure)
    slots, text = _slots(row.get("gpus")) if with_gpus else ([], "")
    return NodeRow(
        name=row["name"],
        css=css,
        icon=icon,
        verdict=verdict,
        reasons=_reasons(row),
        slots=slots,
        slots_text=text,
        cpu=row["cpu"] or _("cannot tell"),
        memory=row["memory"] or _("cannot tell"),
    )


def _verdict(row: dict[str, Any], sure: bool) -> tuple[str, str, str]:
    takes, chats = int(row["takes"]), int(row["chats"])
    passed, unknown = look("pass", "finding"), look("cannot_tell", "finding")
    if takes and not sure:
        words = ngettext("May take %(n)s server", "May take %(n)s servers", takes) % {"n": takes}
        return unknown.css, unknown.icon, words
    if takes:
        words = ngettext("Takes %(n)s server", "Takes %(n)s servers", takes) % {"n": takes}
        return passed.css, passed.icon, words + (_(" and the chat") if chats else "")
    if chats:
        return passed.css, passed.icon, _("Takes the chat")
    if row["answer"] == "fits":
        return "dim", passed.icon, _("Has room too")
    if row["answer"] == "cannot_tell":
        return unknown.css, unknown.icon, str(unknown.label)
    return "dim", "x", _("Never") if row["never"] else _("Not now")


def _reasons(row: dict[str, Any]) -> str:
    if row["takes"] or not row["reasons"]:
        return ""
    why = said("; ".join(row["reasons"]))
    return _("No server: %(why)s") % {"why": why} if row["chats"] else why


def _slots(gpus: dict[str, int] | None) -> tuple[list[str], str]:
    if not gpus:
        return [], ""
    kinds = (("u", "held"), ("new", "new"), ("", "free"), ("x", "broken"))
    slots = [css for css, name in kinds for _index in range(gpus[name])]
    words = {
        "held": _("%(n)s held"),
        "new": _("%(n)s for this install"),
        "free": _("%(n)s free"),
        "broken": _("%(n)s broken"),
    }
    told = [words[name] % {"n": gpus[name]} for _css, name in kinds if gpus[name] or name == "free"]
    return slots[:MOST_SLOTS], comma().join(told)
