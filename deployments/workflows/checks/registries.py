"""Whether model and images can be fetched, asked from here. What the cluster itself reaches shows only
when it pulls."""

from __future__ import annotations

from collections.abc import Callable, Iterator

from deployments.domain.errors import InvalidInput
from deployments.domain.findings import Finding
from deployments.domain.spec import StorageMode
from deployments.gateways.registry import (
    CannotTell,
    NoSuchModel,
    RegistryManifest,
    model_size,
    probe_image,
    registry_host,
)
from deployments.workflows.checks.levels import CANNOT_TELL, FAIL, PASS, WARN
from deployments.workflows.stack import Stack

SOURCE = "asked from Pilothouse, not from the cluster"
SECONDS = 4.0


def practice() -> Finding:
    """In place of the others on the practice cluster."""
    return Finding(
        "registry",
        CANNOT_TELL,
        "Whether model and images can be fetched is not asked on a practice cluster",
        "it has registries of its own, which only the cluster itself sees",
        "No harm in going on; the pull will tell.",
        source="profile",
    )


def model(stack: Stack) -> tuple[Finding, int]:
    """The finding about the model's registry, and the bytes it promises, 0 where nobody knows."""
    reference = stack.spec.model.reference
    if stack.spec.model.insecure:
        return Finding(
            "model_registry",
            CANNOT_TELL,
            "A registry without https is not asked from here",
            reference,
            "The pull will tell.",
            source="profile",
        ), 0
    try:
        told = model_size(reference, timeout=SECONDS)
    except InvalidInput as error:
        return Finding("model_registry", FAIL, error.sentence, reference, error.remedy, "profile", "model"), 0
    if isinstance(told, RegistryManifest):
        size = f"{told.total / 1e9:.1f} GB in {len(told.layers)} parts"
        return Finding(
            "model_registry", PASS, f"The registry has {reference}", size, source=SOURCE
        ), told.total
    if isinstance(told, NoSuchModel):
        cached = stack.spec.storage.mode is StorageMode.EXISTING
        return Finding(
            "model_registry",
            WARN if cached else FAIL,
            f"The registry has no {reference}",
            told.why,
            "Fine if the claim holds it already." if cached else "Check the model's name and tag.",
            source=SOURCE,
            field="model",
        ), 0
    return Finding(
        "model_registry",
        CANNOT_TELL,
        f"Whether the registry has {reference} cannot be told from here",
        told.why,
        "No harm in going on if the cluster reaches it, or if the claim holds the model.",
        source=SOURCE,
    ), 0


def images(stack: Stack, pulse: Callable[[], None]) -> Iterator[Finding]:
    """One finding for each registry that the images come from."""
    hosts: dict[str, str] = {}
    for manifest in stack.manifests:
        if manifest["kind"] in ("StatefulSet", "Deployment"):
            for container in manifest["spec"]["template"]["spec"]["containers"]:
                hosts.setdefault(registry_host(container["image"]), container["image"])
    for host, image in hosts.items():
        pulse()
        told = probe_image(image, timeout=SECONDS)
        if isinstance(told, CannotTell):
            yield Finding(
                "image_registry",
                CANNOT_TELL,
                f"Whether images come from {host} cannot be told from here",
                told.why,
                "No harm in going on if the nodes reach it or hold the image already.",
                source=SOURCE,
            )
        else:
            yield Finding("image_registry", PASS, f"Image registry {host} answers", image, source=SOURCE)
