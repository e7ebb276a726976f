"""What a grant allows beside its namespaces: amounts, and hosts that models and images come from."""

from __future__ import annotations

from dataclasses import dataclass

from deployments.commands.plans import STEPS
from deployments.domain.errors import InvalidInput
from deployments.domain.quota import (
    Amounts,
    from_json,
    larger,
    of_spec,
    of_stored,
    require_within,
    shares,
    without,
)
from deployments.domain.spec import CHAT_IMAGE, StackSpec
from deployments.domain.states import CHANGING, OperationKind
from deployments.gateways.registry.images import registry_host
from deployments.manifests.server import default_image
from deployments.models import ClusterGrant, Deployment, Operation
from deployments.selectors.quotas import used

HUB = "docker.io"


@dataclass(frozen=True)
class Foreign:
    """A host that the grant does not name: ``what`` comes from it, and ``allowed`` are those it names."""

    what: str
    host: str
    allowed: list[str]


def reserve(deployment: Deployment, spec: StackSpec) -> Amounts:
    """Count what the stack takes as ``spec`` asks for it. Call it in the transaction of the change.

    The grant's row is locked first, so that of several requests each sees what the others took. Until the
    change is applied the deployment counts with the larger of what it has and what it asks for: else who
    asks for less and cancels would have the difference twice. Raises :class:`OverQuota`, and
    :class:`InvalidInput` where the grant names registries and not this one.
    """
    grant = (
        ClusterGrant.objects.select_for_update(of=("self",))
        .select_related("team", "cluster")
        .filter(team_id=deployment.team_id, cluster_id=deployment.cluster_id)
        .first()
    )
    asked, rows = of_spec(spec), Deployment.objects.filter(pk=deployment.pk)
    # Read after the lock: what was read before may be another change's by now.
    own = from_json(rows.values_list("demand", flat=True).get(), missing=0)
    if grant is not None:
        _require_registries(grant, spec)
        if grant.quota:
            quota = from_json(grant.quota, missing=None)
            others = without(used(grant), own)
            require_within(shares(quota, others, own, asked), grant.team.name, grant.cluster.name)
    deployment.demand = larger(own, asked).to_json()
    rows.update(demand=deployment.demand)
    return asked


def settle(deployment: Deployment, *, partly: object = None) -> None:
    """Count what was applied last, now that a change has ended. ``partly`` is the spec of a release of which
    some objects may be on the cluster. Where nothing was ever applied the count stays as it was asked for."""
    applied = deployment.releases.exclude(applied_at=None).first()
    if applied is None:
        return
    taken = of_stored(applied.spec)
    if partly is not None:
        taken = larger(taken, of_stored(partly))
    Deployment.objects.filter(pk=deployment.pk).update(demand=taken.to_json())


def settle_ended(operation: Operation) -> None:
    """:func:`settle` for a change that came to nothing: failed or cancelled, perhaps half-way."""
    deployment = operation.deployment
    if deployment is None or operation.kind not in CHANGING or operation.kind == OperationKind.UNINSTALL:
        return
    begun = operation.step >= STEPS[OperationKind(operation.kind)].index("apply")
    release = operation.release if begun else None
    settle(deployment, partly=release.spec if release is not None else None)


def foreign_hosts(grant: ClusterGrant, spec: StackSpec) -> list[Foreign]:
    """Where the model and the images would come from that the grant does not allow; none where it names no
    registries."""
    found = []
    source = spec.model.registry.split("/")[0].lower()
    if grant.model_registries and source not in grant.model_registries:
        found.append(Foreign("models", source, grant.model_registries))
    images = [spec.server.image or default_image(spec.server.gpu_vendor)]
    if spec.chat.enabled:
        images.append(spec.chat.image or CHAT_IMAGE)
    own = spec.images.registry.split("/")[0].lower()
    hosts = dict.fromkeys(own or image_host(image) for image in images)
    if grant.image_registries:
        found += [
            Foreign("images", host, grant.image_registries)
            for host in hosts
            if host not in grant.image_registries
        ]
    return found


def _require_registries(grant: ClusterGrant, spec: StackSpec) -> None:
    for one in foreign_hosts(grant, spec):
        models = one.what == "models"
        raise InvalidInput(
            f"{grant.team} may not {'pull models' if models else 'run images'} from {one.host} "
            f"on {grant.cluster}.",
            field="revision",
            remedy=f"It may from: {', '.join(one.allowed)}.",
        )


def image_host(image: str) -> str:
    """The registry's host of an image's name; docker.io where it names none."""
    host = registry_host(image)
    return HUB if host == "registry-1.docker.io" else host
