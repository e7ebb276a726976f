"""A stack in words: the sentence about it, its values by group, and what differs between two."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from django.utils.translation import gettext as _
from django.utils.translation import ngettext

from dashboard.presenters.fields import VENDORS, label, pairs, shown, value
from dashboard.presenters.parts import Fact
from dashboard.presenters.states import Words
from dashboard.presenters.words import comma
from deployments.domain.diffing import changes
from deployments.domain.sizing import Sizing
from deployments.domain.spec import GpuVendor, StackSpec, StorageMode


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
    return comma().join((f"{spec.model.reference} {place}", many, chat))


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
    for name, text in (
        (_("Image registry"), spec.images.registry),
        (_("Storage class"), spec.storage.storage_class),
        (_("Node labels"), pairs({**spec.node_selector, **server.node_selector})),
        (_("Run as user id"), "" if server.run_as_user is None else str(server.run_as_user)),
    ):
        if text:
            facts.append(Fact(name, text))
    return facts


def differences(before: dict[str, Any], after: dict[str, Any]) -> list[Difference]:
    """What differs between the JSON of two specs, field by field."""
    return [
        Difference(label(change.path), value(change.path, change.before), value(change.path, change.after))
        for change in changes(before, after)
    ]
