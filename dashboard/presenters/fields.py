"""What the fields of a stack's description are called, and their values in words."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy

from dashboard.presenters.parts import Fact
from dashboard.presenters.states import Words
from deployments.domain.diffing import ABSENT
from deployments.domain.spec import GpuVendor, StorageMode

VENDORS: Mapping[str, str] = {GpuVendor.NVIDIA: "NVIDIA", GpuVendor.AMD: "AMD"}

PARTS: Mapping[str, Words] = {
    "model": gettext_lazy("Model"),
    "server": gettext_lazy("Servers and GPUs"),
    "storage": gettext_lazy("Storage"),
    "chat": gettext_lazy("Chat"),
    "ingress": gettext_lazy("Ingress"),
    "images": gettext_lazy("Images"),
    "node_selector": gettext_lazy("Nodes"),
}
"""The parts of a description, in the order and under the names of its form."""

# What a field of the spec is called on a page. A path that is not here is shown as it is.
LABELS: Mapping[str, Words] = {
    "model.repository": gettext_lazy("Model"),
    "model.tag": gettext_lazy("Tag"),
    "model.registry": gettext_lazy("Model registry"),
    "model.insecure": gettext_lazy("Plain HTTP to the registry"),
    "server.replicas": gettext_lazy("Servers"),
    "server.image": gettext_lazy("Image of the server"),
    "server.gpu_vendor": gettext_lazy("GPUs"),
    "server.gpu_count": gettext_lazy("GPUs for each server"),
    "server.resources.cpu_request": gettext_lazy("Server processors, request"),
    "server.resources.cpu_limit": gettext_lazy("Server processors, limit"),
    "server.resources.memory_request": gettext_lazy("Server memory, request"),
    "server.resources.memory_limit": gettext_lazy("Server memory, limit"),
    "server.node_selector": gettext_lazy("Node labels of the servers"),
    "server.tolerations": gettext_lazy("Taints that servers tolerate"),
    "server.affinity": gettext_lazy("Affinity of the servers"),
    "server.autoscaling.enabled": gettext_lazy("Servers scaled by load"),
    "server.autoscaling.min_replicas": gettext_lazy("Least servers"),
    "server.autoscaling.max_replicas": gettext_lazy("Most servers"),
    "server.autoscaling.cpu_percent": gettext_lazy("Processor target of the servers, %"),
    "server.autoscaling.memory_percent": gettext_lazy("Memory target of the servers, %"),
    "server.spread_over_nodes": gettext_lazy("Servers spread over nodes"),
    "server.runtime_class": gettext_lazy("Runtime class"),
    "server.run_as_user": gettext_lazy("Run as user id"),
    "server.keep_alive": gettext_lazy("Model kept loaded"),
    "server.context_length": gettext_lazy("Context, tokens"),
    "server.num_parallel": gettext_lazy("Requests at once"),
    "storage.mode": gettext_lazy("Storage"),
    "storage.storage_class": gettext_lazy("Storage class"),
    "storage.size": gettext_lazy("Size of the claim"),
    "storage.claim_name": gettext_lazy("Name of the claim"),
    "storage.claim_read_write_many": gettext_lazy("Claim mounted by several nodes"),
    "chat.enabled": gettext_lazy("Chat"),
    "chat.replicas": gettext_lazy("Chat pods"),
    "chat.port": gettext_lazy("Port of the chat"),
    "chat.image": gettext_lazy("Image of the chat"),
    "chat.has_access_code": gettext_lazy("Access code"),
    "chat.network_policy": gettext_lazy("Chat reaches the model and DNS only"),
    "chat.resources.cpu_request": gettext_lazy("Chat processors, request"),
    "chat.resources.cpu_limit": gettext_lazy("Chat processors, limit"),
    "chat.resources.memory_request": gettext_lazy("Chat memory, request"),
    "chat.resources.memory_limit": gettext_lazy("Chat memory, limit"),
    "chat.node_selector": gettext_lazy("Node labels of the chat"),
    "chat.tolerations": gettext_lazy("Taints that the chat tolerates"),
    "chat.autoscaling.enabled": gettext_lazy("Chat scaled by load"),
    "chat.autoscaling.min_replicas": gettext_lazy("Least chat pods"),
    "chat.autoscaling.max_replicas": gettext_lazy("Most chat pods"),
    "chat.autoscaling.cpu_percent": gettext_lazy("Processor target of the chat, %"),
    "chat.autoscaling.memory_percent": gettext_lazy("Memory target of the chat, %"),
    "ingress.enabled": gettext_lazy("Ingress"),
    "ingress.host": gettext_lazy("Host"),
    "ingress.class_name": gettext_lazy("Ingress class"),
    "ingress.tls_secret": gettext_lazy("TLS Secret"),
    "images.registry": gettext_lazy("Image registry"),
    "images.pull_policy": gettext_lazy("Pull images"),
    "images.registry_username": gettext_lazy("Registry user"),
    "images.pull_secrets": gettext_lazy("Pull secrets"),
    "ingress.annotations": gettext_lazy("Annotations of the Ingress"),
    "node_selector": gettext_lazy("Node labels of all pods"),
}

CHOICES: Mapping[str, Mapping[str, Words]] = {
    "server.gpu_vendor": {GpuVendor.NONE: gettext_lazy("none"), **VENDORS},
    "storage.mode": {
        StorageMode.TEMPLATE: gettext_lazy("a claim for each server"),
        StorageMode.SHARED: gettext_lazy("one claim for all servers"),
        StorageMode.EXISTING: gettext_lazy("a claim that was there before"),
    },
}
# Fields where 0 means that nothing was given.
ZERO_IS_BLANK = (
    "server.gpu_count",
    "server.context_length",
    "server.num_parallel",
    "server.autoscaling.memory_percent",
    "chat.autoscaling.memory_percent",
)


def label(path: str) -> Words:
    """What the field at a dotted path is called; of something inside a field, the field and the way in."""
    if path in LABELS:
        return LABELS[path]
    above = max(
        (known for known in LABELS if path.startswith((f"{known}.", f"{known}["))), key=len, default=""
    )
    return f"{LABELS[above]}: {path[len(above) :].lstrip('.')}" if above else path


def value(path: str, given: Any) -> str:
    """A field's value in words; "" where nothing was given."""
    if given is ABSENT or given is None or given in ("", [], {}):
        return ""
    if isinstance(given, bool):
        return str(_("yes") if given else _("no"))
    if given == 0 and path in ZERO_IS_BLANK:
        return ""
    if path in CHOICES:
        return str(CHOICES[path].get(given, given))
    if isinstance(given, dict):
        return pairs(given)
    if isinstance(given, list):
        return ", ".join(value("", item) for item in given)
    return shown(str(given)) if path.endswith((".size", ".memory_request", ".memory_limit")) else str(given)


def shown(quantity: str) -> str:
    """A quantity of bytes with its unit in full: "8Gi" is 8 GiB. Others stay as they are."""
    number, unit = quantity[:-2], quantity[-2:]
    return f"{number}\u00a0{unit}B" if unit in ("Ki", "Mi", "Gi", "Ti") else quantity


def pairs(given: Mapping[str, Any]) -> str:
    """ "disk=ssd, zone=a" """
    return ", ".join(f"{key}={item}" for key, item in given.items())


def grouped(spec: object) -> list[tuple[Words, list[Fact]]]:
    """A stored description part by part; what was not given is left out."""
    content = spec if isinstance(spec, dict) else {}
    found: list[tuple[Words, list[Fact]]] = []
    for part in [
        *(part for part in PARTS if part in content),
        *(part for part in content if part not in PARTS),
    ]:
        rows = [Fact(label(path), text) for path, text in _leaves(content[part], str(part))]
        if rows:
            found.append((PARTS.get(part, str(part)), rows))
    return found


def _leaves(given: object, path: str) -> Iterator[tuple[str, str]]:
    """Each field that has a value, with its path; labels and taints are one value each."""
    if isinstance(given, dict) and path not in LABELS:
        for key, item in given.items():
            yield from _leaves(item, f"{path}.{key}")
    elif text := value(path, given):
        yield path, text
