"""The checks before an apply, all of them, against the API server as it answers now."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

from deployments.domain.errors import ClusterError
from deployments.domain.findings import Finding, worst_first
from deployments.domain.sizing import library_bytes
from deployments.domain.spec import StorageMode
from deployments.gateways.kubernetes import ClusterClient
from deployments.selectors.quotas import Standing
from deployments.workflows.checks.gpus import gpus
from deployments.workflows.checks.granted import granted
from deployments.workflows.checks.ingress import ingress
from deployments.workflows.checks.levels import FAIL, WARN
from deployments.workflows.checks.limits import limits
from deployments.workflows.checks.names import names, namespace, present
from deployments.workflows.checks.registries import images, model, practice
from deployments.workflows.checks.rights import rights, version
from deployments.workflows.checks.room import room
from deployments.workflows.checks.room_words import table
from deployments.workflows.checks.storage import kept_storage, storage
from deployments.workflows.stack import Stack


@dataclass(frozen=True)
class Report:
    """``findings`` worst first; ``fit`` the table by node (:func:`room_words.table`), {} where no node
    was seen."""

    findings: list[Finding]
    fit: dict[str, Any] = field(default_factory=dict)

    def to_json(self) -> dict[str, Any]:
        """As operations keep it."""
        return {"findings": [finding.to_json() for finding in self.findings], "fit": self.fit}


Pulse = Callable[[], None]


def report(
    client: ClusterClient,
    stack: Stack,
    *,
    create_namespace: bool,
    simulated: bool,
    pulse: Pulse,
    standing: Standing | None,
) -> Report:
    """Every check; ``standing`` is that of the team for which it is.

    Raises a :class:`ClusterError` only where the cluster does not answer at all; a right that is missing for
    a check makes it "cannot tell". ``pulse`` is called every now and then and may raise to stop."""
    found: list[Finding] = [*version(client), *granted(standing, stack.spec)]
    live = namespace(client, stack, create_namespace, found)
    found += rights(client, stack, make_namespace=create_namespace and live is None, pulse=pulse)
    if live is not None:
        there = present(client, stack)
        found += names(stack, there)
        found += kept_storage(stack, there)
        found += limits(client, stack, live)
    fit = _cluster_wide(
        client, stack, found, simulated=simulated, namespace_exists=live is not None, pulse=pulse
    )
    found += ingress(client, stack)
    found += [
        Finding("sizing", WARN, note, source="profile", remedy="Change it in the profile if it is not meant.")
        for note in stack.sizing.notes
        if not note.startswith("The claim of")  # the claim's check says it with its remedy
    ]
    return Report(worst_first(found), fit)


def cluster_report(
    client: ClusterClient, stack: Stack, *, simulated: bool, pulse: Pulse, standing: Standing | None
) -> Report:
    """What concerns the cluster and the team's part of it: would a stack of this size find what it needs.
    Its name and namespace mean nothing. Raises as :func:`report` does."""
    found: list[Finding] = [*version(client), *granted(standing, stack.spec)]
    found += rights(client, stack, make_namespace=True, pulse=pulse)
    existing = stack.spec.storage.mode is StorageMode.EXISTING
    fit = _cluster_wide(
        client,
        stack,
        found,
        simulated=simulated,
        namespace_exists=False,
        with_storage=not existing,
        pulse=pulse,
    )
    if stack.spec.ingress.enabled and stack.spec.ingress.host:
        found += ingress(client, stack)
    return Report(worst_first(found), fit)


def _cluster_wide(
    client: ClusterClient,
    stack: Stack,
    found: list[Finding],
    *,
    simulated: bool,
    namespace_exists: bool,
    pulse: Pulse,
    with_storage: bool = True,
) -> dict[str, Any]:
    """Registries, storage, room and GPUs, added to what was found; returns the table by node."""
    promised = 0
    if simulated:
        found.append(practice())
    else:
        said, promised = model(stack)
        found += [said, *images(stack, pulse)]
    pulse()
    if with_storage:
        found += storage(client, stack, namespace_exists, promised or library_bytes(stack.spec))
    placed = room(client, stack, pulse)
    of_gpus = list(gpus(placed))
    # Where no node offers the GPUs at all, that is the one sentence to read.
    nobody = any(finding.check == "device_plugin" and finding.level is FAIL for finding in of_gpus)
    found += [finding for finding in placed.findings if not (nobody and finding.check == "fit")]
    found += of_gpus
    if placed.server is None or placed.shape is None:
        return {}
    return table(placed.nodes, placed.server, placed.chat, placed.shape, placed.gpu)


def answered_nothing(error: ClusterError) -> Report:
    """What there is to say when the cluster cannot be asked."""
    return Report([Finding("reach", FAIL, error.sentence, error.answered, error.remedy)])
