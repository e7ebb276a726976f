"""The answer of a preflight, as pages show it."""

from __future__ import annotations

from typing import Any

from django.utils.translation import gettext_lazy as _

from dashboard.presenters.fit import fit_table
from dashboard.presenters.parts import Finding
from deployments.domain.findings import blocking
from deployments.domain.findings import from_json as finding_from_json
from deployments.domain.states import FindingLevel, OperationState
from deployments.models import Operation

# What comes of going on past a check that failed. The others miss room, and the pods wait for it.
_ROOM = _("Without room the pods wait, and say for what.")
_COMES_OF = {
    "driver": _("With a driver that is too old the servers may compute on the CPU, or not start."),
    "claim_size": _("In a claim that is too small the download ends before the model is whole."),
}


def preflight_values(operation: Operation | None) -> dict[str, Any]:
    """For the templates: ``operation, running, findings, counts`` (level, number), ``blocked`` (how many stand in
    the way), ``may_go_on`` (a person may, past all of them), ``comes_of`` it and ``fit``."""
    if operation is None:
        return {
            "operation": None,
            "running": False,
            "findings": [],
            "counts": [],
            "blocked": 0,
            "may_go_on": False,
            "comes_of": [],
            "fit": None,
        }
    found = [finding_from_json(item) for item in operation.result.get("findings", [])]
    levels = [finding.level for finding in found]
    problems = blocking(found)
    return {
        "operation": operation,
        "running": not OperationState(operation.state).terminal,
        "findings": [
            Finding(
                finding.level,
                finding.title,
                finding.evidence,
                finding.remedy,
                finding.source,
                operation.finished_at,
            )
            for finding in found
        ],
        "counts": [(level.value, levels.count(level)) for level in FindingLevel if level in levels],
        "blocked": len(problems),
        "may_go_on": bool(problems) and not blocking(found, anyway=True),
        "comes_of": list(dict.fromkeys(_COMES_OF.get(problem.check, _ROOM) for problem in problems)),
        "fit": fit_table(operation.result.get("fit", {})),
    }
