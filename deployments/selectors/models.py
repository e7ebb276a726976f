"""Models that lie on a deployment's volumes, as Ollama listed them at the last probe."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any
from urllib.parse import quote

from deployments.domain.errors import InvalidInput
from deployments.domain.modelname import same_model
from deployments.domain.spec import spec_from_json
from deployments.models import Deployment


@dataclass
class StoredModel:
    """``size`` in bytes, one copy; ``volumes`` those that hold one; ``served`` whether this deployment
    answers with it; ``others`` deployments that answer with it from one of these volumes."""

    name: str
    size: int
    volumes: list[str]
    served: bool
    others: list[Deployment] = field(default_factory=list)

    @property
    def quoted(self) -> str:
        """The name as a value in an address."""
        return quote(self.name, safe="")

    @property
    def bytes(self) -> int:
        """On all volumes together."""
        return self.size * len(self.volumes)


def stored_models(deployment: Deployment) -> list[StoredModel]:
    """What is there, the served one first, then the largest. Empty while nobody has asked."""
    reference = served_model(deployment)
    found: dict[str, StoredModel] = {}
    for pod in _probed(deployment):
        for entry in _listed(pod):
            name = entry["name"]
            model = found.setdefault(name, StoredModel(name, _size(entry), [], same_model(name, reference)))
            if pod["volume"] not in model.volumes:
                model.volumes.append(pod["volume"])
    if found:
        _add_others(deployment, list(found.values()))
    return sorted(found.values(), key=lambda model: (not model.served, -model.bytes, model.name))


def served_model(deployment: Deployment) -> str:
    """The reference of the model that the deployment answers with; "" where it cannot be read."""
    release = deployment.releases.exclude(applied_at=None).first()
    try:
        return spec_from_json(release.spec if release else deployment.revision.spec).model.reference
    except InvalidInput:
        return ""


def volumes_without(deployment: Deployment) -> dict[str, str]:
    """Volume -> the pod that mounts it, for those on which the served model was not found."""
    pods = deployment.probes.get("pods") if isinstance(deployment.probes, dict) else None
    found: dict[str, str] = {}
    for name, pod in (pods if isinstance(pods, dict) else {}).items():
        if isinstance(pod, dict) and pod.get("model_present") is False and isinstance(pod.get("volume"), str):
            found.setdefault(pod["volume"], str(name))
    return found


def _add_others(deployment: Deployment, models: list[StoredModel]) -> None:
    neighbours = Deployment.objects.filter(
        cluster_id=deployment.cluster_id, namespace=deployment.namespace, removed_at=None
    ).exclude(pk=deployment.pk)
    for other in neighbours.select_related("team", "revision"):
        volumes = {pod["volume"] for pod in _probed(other)}
        shared = [model for model in models if volumes & set(model.volumes)]
        reference = served_model(other) if shared else ""
        for model in shared:
            if same_model(model.name, reference):
                model.others.append(other)


def _probed(deployment: Deployment) -> list[dict[str, Any]]:
    pods = deployment.probes.get("pods") if isinstance(deployment.probes, dict) else None
    answers = pods.values() if isinstance(pods, dict) else []
    return [pod for pod in answers if isinstance(pod, dict) and isinstance(pod.get("volume"), str)]


def _listed(pod: dict[str, Any]) -> list[dict[str, Any]]:
    listed = pod.get("models")
    return [
        entry
        for entry in (listed if isinstance(listed, list) else [])
        if isinstance(entry, dict) and isinstance(entry.get("name"), str)
    ]


def _size(entry: dict[str, Any]) -> int:
    size = entry.get("size")
    return size if isinstance(size, int) and size > 0 else 0
