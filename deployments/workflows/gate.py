"""The preflight right before an apply: the last moment at which nothing is written yet."""

from __future__ import annotations

from deployments.domain.errors import PilothouseError
from deployments.domain.findings import blocking
from deployments.domain.states import FindingLevel
from deployments.gateways.kubernetes import ClusterClient
from deployments.ledger import transitions
from deployments.selectors.quotas import standing
from deployments.workflows import preflight
from deployments.workflows.engine import Done, Run
from deployments.workflows.stack import Stack


def gate(run: Run, client: ClusterClient, stack: Stack, *, create_namespace: bool) -> Done:
    """Every check once more. What fails ends the operation with its sentence, unless somebody chose to
    go on without room (``request["anyway"]``). All findings stay on the operation either way."""
    asked = bool(run.operation.request.get("anyway"))
    report = preflight.report(
        client,
        stack,
        create_namespace=create_namespace,
        simulated=run.cluster.simulated,
        pulse=run.hold.check,
        standing=standing(run.deployment.team_id, run.cluster.pk, run.deployment),
    )
    problems = blocking(report.findings, anyway=asked)
    if problems:
        first = problems[0]
        transitions.update_held(run.claim, result={**run.operation.result, **report.to_json()})
        more = len(problems) - 1
        also = f" {more} more problem{'s' if more > 1 else ''} with it." if more else ""
        raise PilothouseError(
            f"{first.title}.{also}",
            tried=f"check {stack.namespace}/{run.deployment.name} before the apply",
            answered=first.evidence,
            remedy=first.remedy,
            retryable=False,
        )
    levels = [finding.level for finding in report.findings]
    passed, waived = levels.count(FindingLevel.PASS), levels.count(FindingLevel.FAIL)
    words = f"{passed} pass, {len(levels) - passed - waived} to know about"
    if waived:
        words += f", {waived} gone on with all the same"
        for finding in report.findings:
            if finding.level is FindingLevel.FAIL:
                run.note(f"{finding.title}; gone on anyway", warning=True)
    return Done(words, result=report.to_json())
