"""Taking a log away as a file. Reading one on the page leaves no entry in the audit; a copy does."""

from __future__ import annotations

from deployments.commands.subjects import of_deployment
from deployments.domain.actors import Actor
from deployments.ledger import audit
from deployments.selectors import lookup

DOWNLOAD = "log.download"


def note_download(actor: Actor, *, deployment_id: int, pod: str, container: str, previous: bool) -> None:
    """Write down that the log is taken. Raises :class:`NotFound` for a stranger to the deployment."""
    deployment = lookup.deployment(actor, deployment_id)
    what = {"pod": pod, "container": container, "run": "previous" if previous else "current"}
    audit.record(actor, DOWNLOAD, of_deployment(deployment), after=what)
