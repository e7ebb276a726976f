"""A stack in words: the sentence about it, its values by group, and what differs between two."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy, ngettext

from dashboard.presenters.parts import Fact
from dashboard.presenters.states import Words
from deployments.domain.diffing import ABSENT, changes
from deployments.domain.sizing import Sizing
from deployments.domain.spec import GpuVendor, StackSpec, StorageMode

VENDORS = {GpuVendor.NVIDIA: "NVIDIA", GpuVendor.AMD: "AMD"}

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
    "ingress.enabled": gettext_lazy("Ingress"),
    "ingress.host": gettext_lazy("Host"),
    "ingress.class_name": gettext_lazy("Ingress class"),
    "ingress.tls_secret": gettext_lazy("TLS Secret"),
    "images.registry": gettext_lazy("Image registry"),
    "images.pull_policy": gettext_lazy("Pull images"),
    "images.registry_username": gettext_lazy("Registry user"),
}


@dataclass(frozen=True)
class Difference:
    """One field of two revisions; "" where a side has nothing there."""

    label: Words
    before: str
    after: str


def summary(spec: StackSpec) -> str:
    """ "deepseek-r1:7b on 1 NVIDIA GPU, 2 servers, chat by Ingress" """
    server = spec.server
    if server.gpu_vendor is GpuVendor.NONE:
        place = _("without a GPU")
    elif server.gpu_count:
        place = ngettext("on %(n)d %(vendor)s GPU", "on %(n)d %(vendor)s GPUs", server.gpu_count) % {
            "n": server.gpu_count,
            "vendor": VENDORS[server.gpu_vendor],
        }
    else:
        place = _("on %(vendor)s GPUs") % {"vendor": VENDORS[server.gpu_vendor]}
    many = ngettext("%(n)d server", "%(n)d servers", server.replicas) % {"n": server.replicas}
    if not spec.chat.enabled:
        chat = _("no chat")
    elif spec.ingress.enabled and spec.ingress.host:
        chat = _("chat at %(host)s") % {"host": spec.ingress.host}
    else:
        chat = _("chat through Pilothouse")
    return f"{spec.model.reference} {place}, {many}, {chat}"


def shown(quantity: str) -> str:
    """A quantity of bytes with its unit in full: "8Gi" is 8 GiB. Others stay as they are."""
    number, unit = quantity[:-2], quantity[-2:]
    return f"{number}\u00a0{unit}B" if unit in ("Ki", "Mi", "Gi", "Ti") else quantity


def storage_words(spec: StackSpec, sizing: Sizing) -> str:
    """Which storage was chosen, and why it is so."""
    if spec.storage.mode is StorageMode.EXISTING:
        return _("the claim %(name)s as it is") % {"name": spec.storage.claim_name}
    size = shown(sizing.claim_size) or _("of unknown size")
    if spec.storage.mode is StorageMode.SHARED:
        return _("one shared claim, %(size)s: the model is pulled once for all servers") % {"size": size}
    return _("a claim for each server, %(size)s: works with any storage class") % {"size": size}


def overview(spec: StackSpec, sizing: Sizing) -> list[Fact]:
    """The values a reader wants first, sized."""
    need, server = sizing.resources, spec.server
    unknown = _("not known")
    processors = f"{need.cpu_request or unknown} – {need.cpu_limit or unknown}"
    memory = f"{shown(need.memory_request) or unknown} – {shown(need.memory_limit) or unknown}"
    each = _("each server, requested – at most")
    gpus = (
        f"{sizing.gpu_count} {VENDORS[server.gpu_vendor]}"
        if server.gpu_vendor is not GpuVendor.NONE
        else _("none")
    )
    facts = [
        Fact(_("Model"), spec.model.reference),
        Fact(_("Servers"), str(server.replicas)),
        Fact(_("GPUs"), gpus, _("each server") if sizing.gpu_count else ""),
        Fact(_("Processors"), processors, each),
        Fact(_("Memory"), memory, each),
        Fact(_("Storage"), storage_words(spec, sizing)),
    ]
    if server.autoscaling.enabled:
        scaled = server.autoscaling
        facts.append(Fact(_("Scaled by load"), f"{scaled.min_replicas} – {scaled.max_replicas}"))
    facts += [
        Fact(_("Chat"), _("NextChat") if spec.chat.enabled else _("not installed")),
        Fact(
            _("Ingress"),
            spec.ingress.host
            if spec.ingress.enabled and spec.ingress.host
            else _("none: chat goes through Pilothouse"),
        ),
        Fact(_("Access code"), _("set") if spec.chat.has_access_code else _("none")),
        Fact(_("Model kept loaded"), server.keep_alive),
    ]
    for label, value in (
        (_("Image registry"), spec.images.registry),
        (_("Storage class"), spec.storage.storage_class),
        (_("Node labels"), _pairs({**spec.node_selector, **server.node_selector})),
        (_("Run as user id"), "" if server.run_as_user is None else str(server.run_as_user)),
    ):
        if value:
            facts.append(Fact(label, value))
    return facts


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """What differs between the JSON of two specs, field by field."""
    return [
        Difference(LABELS.get(change.path, change.path), _value(change.before), _value(change.after))
        for change in changes(before, after)
    ]


def _value(value: Any) -> str:
    if value is ABSENT or value is None or value in ("", [], {}):
        return ""
    if isinstance(value, bool):
        return str(_("yes") if value else _("no"))
    if isinstance(value, dict):
        return _pairs(value)
    return str(value)


def _pairs(pairs: Mapping[str, Any]) -> str:
    return ", ".join(f"{key}={value}" for key, value in pairs.items())
