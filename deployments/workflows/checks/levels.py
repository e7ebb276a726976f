"""The levels of findings under short names."""

from __future__ import annotations

from deployments.domain.states import FindingLevel

PASS, WARN, FAIL, CANNOT_TELL = (
    FindingLevel.PASS,
    FindingLevel.WARN,
    FindingLevel.FAIL,
    FindingLevel.CANNOT_TELL,
)
