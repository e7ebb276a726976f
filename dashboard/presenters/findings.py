"""The answer of a preflight, as pages show it."""

from __future__ import annotations

from typing import Any

from dashboard.presenters.fit import fit_table
from dashboard.presenters.parts import Finding
from deployments.domain.findings import blocking
from deployments.domain.findings import from_json as finding_from_json
from deployments.domain.states import FindingLevel, OperationState
from deployments.models import Operation


def preflight_values(operation: Operation | None) -> dict[str, Any]:
    """For the templates: ``operation, running, findings, counts`` (level, number), ``blocked`` (how many stand in
    the way), ``may_go_on`` (what is missing is room alone, which may come) and ``fit``."""
    if operation is None:
        return {
            "operation": None,
            "running": False,
            "findings": [],
            "counts": [],
            "blocked": 0,
            "may_go_on": False,
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
        "fit": fit_table(operation.result.get("fit", {})),
    }
