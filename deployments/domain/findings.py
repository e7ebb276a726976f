"""What a check before an apply found: a level, a sentence, its evidence and what to do."""

from __future__ import annotations

from dataclasses import asdict, dataclass, fields
from typing import Any

from deployments.domain.states import FindingLevel

# Checks of what is there now and may be there later: a person may go on, and the pods wait.
WAIVABLE = frozenset({"fit", "chat_fit", "device_plugin", "driver", "quota", "claim_size"})


@dataclass(frozen=True)
class Finding:
    """``check`` is a stable short name; ``field`` the place in the form it belongs to, or "";
    ``source`` says where the evidence comes from ("API server", "registry")."""

    check: str
    level: FindingLevel
    title: str
    evidence: str = ""
    remedy: str = ""
    source: str = "API server"
    field: str = ""

    @property
    def waivable(self) -> bool:
        """Whether somebody may go on although it failed."""
        return self.check in WAIVABLE

    def to_json(self) -> dict[str, Any]:
        return asdict(self)


def from_json(data: dict[str, Any]) -> Finding:
    """The reverse of :meth:`Finding.to_json`."""
    known = {field.name: data[field.name] for field in fields(Finding) if field.name in data}
    return Finding(**{**known, "level": FindingLevel(data["level"])})


def worst_first(findings: list[Finding]) -> list[Finding]:
    order = list(FindingLevel)
    return sorted(findings, key=lambda finding: order.index(finding.level))


def blocking(findings: list[Finding], *, anyway: bool = False) -> list[Finding]:
    """Those that make an apply pointless. With ``anyway`` those that a person went on with are left out."""
    return [
        finding
        for finding in findings
        if finding.level is FindingLevel.FAIL and not (anyway and finding.waivable)
    ]
