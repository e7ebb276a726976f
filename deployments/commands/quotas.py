"""What a grant allows beside its namespaces: amounts, and hosts that models and images come from."""

from __future__ import annotations

from deployments.domain.errors import InvalidInput
from deployments.domain.quota import Amounts, demand, from_json, require_within
from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import CHAT_IMAGE, StackSpec, spec_from_json
from deployments.gateways.registry.images import registry_host
from deployments.manifests.server import default_image
from deployments.models import ClusterGrant, Deployment
from deployments.selectors.quotas import used

HUB = "docker.io"


def reserve(deployment: Deployment, spec: StackSpec) -> Amounts:
    """Count what the stack takes as ``spec`` asks for it. Call it in the transaction of the change.

    The grant's row is locked first, so that of several requests each sees what the others took. Raises
    :class:`OverQuota`, and :class:`InvalidInput` where the grant names registries and not this one.
    """
    grant = (
        ClusterGrant.objects.select_for_update(of=("self",))
        .select_related("team", "cluster")
        .filter(team_id=deployment.team_id, cluster_id=deployment.cluster_id)
        .first()
    )
    asked = demand(sized(spec, size_stack(spec, None)))
    if grant is not None:
        _require_registries(grant, spec)
        taken = from_json(deployment.demand, missing=0)
        more = Amounts(
            **{name: (value or 0) - (getattr(taken, name) or 0) for name, value in vars(asked).items()}
        )
        quota = from_json(grant.quota, missing=None)
        if grant.quota:
            require_within(quota, used(grant), more, grant.team.name, grant.cluster.name)
    Deployment.objects.filter(pk=deployment.pk).update(demand=asked.to_json())
    deployment.demand = asked.to_json()
    return asked


def of_revision(spec: object) -> Amounts:
    """What the stack of a stored spec takes."""
    given = spec_from_json(spec)
    return demand(sized(given, size_stack(given, None)))


def _require_registries(grant: ClusterGrant, spec: StackSpec) -> None:
    source = spec.model.registry.split("/")[0].lower()
    if grant.model_registries and source not in grant.model_registries:
        raise InvalidInput(
            f"{grant.team} may not pull models from {source} on {grant.cluster}.",
            field="revision",
            remedy=f"It may from: {', '.join(grant.model_registries)}.",
        )
    if not grant.image_registries:
        return
    images = [spec.server.image or default_image(spec.server.gpu_vendor)]
    if spec.chat.enabled:
        images.append(spec.chat.image or CHAT_IMAGE)
    for image in images:
        host = spec.images.registry.split("/")[0].lower() or image_host(image)
        if host not in grant.image_registries:
            raise InvalidInput(
                f"{grant.team} may not run images from {host} on {grant.cluster}.",
                field="revision",
                remedy=f"It may from: {', '.join(grant.image_registries)}.",
            )


def image_host(image: str) -> str:
    """The registry's host of an image's name; docker.io where it names none."""
    host = registry_host(image)
    return HUB if host == "registry-1.docker.io" else host
