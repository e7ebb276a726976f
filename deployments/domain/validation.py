"""Whether a stack can be installed at all, as far as that can be told without a cluster.

Every finding is an :class:`InvalidInput` whose ``field`` is the dotted path in the spec, so that a
form puts the sentence beside the very input.
"""

from __future__ import annotations

import re
from collections.abc import Callable

from deployments.domain import modelname, names, quantities
from deployments.domain.affinity import check_affinity
from deployments.domain.errors import InvalidInput
from deployments.domain.spec import (
    AutoscalingSpec,
    ResourceSpec,
    Secrets,
    StackSpec,
    StorageMode,
    Toleration,
)

MAX_REPLICAS = 100
MAX_GPUS = 64
_MAX_UID = 2**31 - 1
_MAX_CONTEXT = 2**24
_PULL_POLICIES = ("Always", "IfNotPresent", "Never")
_EFFECTS = ("", "NoSchedule", "PreferNoSchedule", "NoExecute")
# Ollama envconfig KeepAlive: a Go duration or a whole number of seconds, negative for ever
_KEEP_ALIVE = re.compile(r"[+-]?(?:[0-9]+|0|(?:(?:[0-9]+\.?[0-9]*|\.[0-9]+)(?:ns|us|µs|μs|ms|s|m|h))+)")

Errors = list[InvalidInput]


def validate_spec(spec: StackSpec) -> Errors:
    """Everything that is wrong with the spec; an empty list where nothing is."""
    errors: Errors = []
    _model(spec, errors)
    _server(spec, errors)
    _storage(spec, errors)
    _chat(spec, errors)
    _ingress(spec, errors)
    _images(spec, errors)
    _labels(spec.node_selector, "node_selector", errors)
    return errors


def validate_secrets(spec: StackSpec, secrets: Secrets) -> Errors:
    """Whether the secrets that the spec speaks of are there and usable."""
    errors: Errors = []
    code = secrets.access_code
    if spec.chat.has_access_code and not code:
        errors.append(InvalidInput("Give an access code, or turn it off.", field="chat.access_code"))
    if "," in code or code != code.strip() or not code.isprintable() or len(code) > 200:
        sentence = "An access code has at most 200 characters, no blanks around it and no comma."
        errors.append(InvalidInput(sentence, field="chat.access_code"))
    if spec.images.registry_username and not secrets.registry_password:
        errors.append(InvalidInput("Give the registry's password.", field="images.registry_password"))
    return errors


def _model(spec: StackSpec, errors: Errors) -> None:
    model = spec.model
    if "://" in model.registry:
        sentence = "Leave out the scheme; for plain HTTP there is a switch of its own."
        errors.append(InvalidInput(sentence, field="model.registry"))
        return
    checks = (
        (modelname.is_valid_model(model.repository), "model.repository", model.repository, "a model's name"),
        (modelname.is_valid_tag(model.tag), "model.tag", model.tag, "a tag"),
    )
    before = len(errors)
    for good, field, text, what in checks:
        if not good:
            given = f"“{text[:80]}” is not {what}" if text else "This is missing"
            signs = "letters, digits, “_”, “-” and “.”, at most 80, none of the last two at the start"
            errors.append(InvalidInput(f"{given}: Ollama takes {signs}.", field=field))
    if len(errors) > before:
        return
    if not model.registry:
        errors.append(InvalidInput("This is missing.", field="model.registry"))
        return
    if not modelname.PATTERN.match(model.reference):
        sentence = (
            f"“{model.registry[:80]}” is not what Ollama reads as host/namespace: the namespace is needed "
            "and has letters, digits, “_” and “-”, no dot."
        )
        remedy = f"“{model.registry}/library” would do." if "/" not in model.registry else ""
        errors.append(InvalidInput(sentence, field="model.registry", remedy=remedy))
        return
    _try(errors, modelname.parse, model.reference, field="model.tag")


def _server(spec: StackSpec, errors: Errors) -> None:
    server = spec.server
    _between(errors, server.replicas, 0, MAX_REPLICAS, "server.replicas")
    _between(errors, server.gpu_count, 0, MAX_GPUS, "server.gpu_count")
    _between(errors, server.context_length, 0, _MAX_CONTEXT, "server.context_length")
    _between(errors, server.num_parallel, 0, 1024, "server.num_parallel")
    if server.gpu_count and not server.gpu_vendor.resource:
        errors.append(InvalidInput("Choose the GPUs' vendor, or no GPUs.", field="server.gpu_vendor"))
    if server.image:
        _try(errors, names.parse_image, server.image, field="server.image")
    _resources(server.resources, "server.resources", errors)
    _labels(server.node_selector, "server.node_selector", errors)
    _tolerations(server.tolerations, "server.tolerations", errors)
    errors += check_affinity(server.affinity, "server.affinity")
    if server.runtime_class:
        what, field = "A runtime class", "server.runtime_class"
        _try(errors, names.require_subdomain, server.runtime_class, what=what, field=field)
    if server.run_as_user is not None:
        _between(errors, server.run_as_user, 0, _MAX_UID, "server.run_as_user")
    if not _KEEP_ALIVE.fullmatch(server.keep_alive) or len(server.keep_alive) > 32:
        sentence = (
            f"“{server.keep_alive[:40]}” is no time that Ollama reads: 30m, 24h, seconds, or -1 for ever."
        )
        errors.append(InvalidInput(sentence, field="server.keep_alive"))
    _autoscaling(server.autoscaling, "server.autoscaling", errors)


def _storage(spec: StackSpec, errors: Errors) -> None:
    storage = spec.storage
    if storage.size:
        _positive(errors, storage.size, "storage.size")
    if storage.storage_class:
        what, field = "A storage class", "storage.storage_class"
        _try(errors, names.require_subdomain, storage.storage_class, what=what, field=field)
    if storage.mode is not StorageMode.EXISTING:
        return
    field = "storage.claim_name"
    _try(errors, names.require_subdomain, storage.claim_name, what="The claim's name", field=field)
    if storage.claim_read_write_many:
        return
    several = "A ReadWriteOnce claim can be mounted on one node only, so it allows one replica."
    if spec.server.autoscaling.enabled:
        errors.append(InvalidInput(several, field="server.autoscaling.enabled"))
    elif spec.server.replicas > 1:
        errors.append(InvalidInput(several, field="server.replicas"))


def _chat(spec: StackSpec, errors: Errors) -> None:
    chat = spec.chat
    _between(errors, chat.replicas, 0, MAX_REPLICAS, "chat.replicas")
    _between(errors, chat.port, 1, 65535, "chat.port")
    if chat.image:
        _try(errors, names.parse_image, chat.image, field="chat.image")
    _resources(chat.resources, "chat.resources", errors)
    for name in ("cpu_request", "cpu_limit", "memory_request", "memory_limit"):
        if chat.enabled and not getattr(chat.resources, name):
            errors.append(InvalidInput("This is missing.", field=f"chat.resources.{name}"))
    _labels(chat.node_selector, "chat.node_selector", errors)
    _tolerations(chat.tolerations, "chat.tolerations", errors)
    _autoscaling(chat.autoscaling, "chat.autoscaling", errors)


def _ingress(spec: StackSpec, errors: Errors) -> None:
    ingress = spec.ingress
    if ingress.host:
        _try(errors, names.require_host, ingress.host, field="ingress.host")
    for text, what, field in (
        (ingress.class_name, "An ingress class", "ingress.class_name"),
        (ingress.tls_secret, "A Secret's name", "ingress.tls_secret"),
    ):
        if text:
            _try(errors, names.require_subdomain, text, what=what, field=field)
    for key, value in ingress.annotations.items():
        _try(errors, names.require_annotation, key, value, field="ingress.annotations")


def _images(spec: StackSpec, errors: Errors) -> None:
    images = spec.images
    if images.registry:
        _try(errors, names.require_image_registry, images.registry, field="images.registry")
    if images.pull_policy not in _PULL_POLICIES:
        sentence = f"Choose one of {', '.join(_PULL_POLICIES)}."
        errors.append(InvalidInput(sentence, field="images.pull_policy"))
    for place, name in enumerate(images.pull_secrets):
        what, field = "A Secret's name", f"images.pull_secrets.{place}"
        _try(errors, names.require_subdomain, name, what=what, field=field)
    user = images.registry_username
    if ":" in user or not user.isprintable() or user != user.strip() or len(user) > 253:
        sentence = "A user name has no colon, no blanks around it and at most 253 characters."
        errors.append(InvalidInput(sentence, field="images.registry_username"))


def _resources(given: ResourceSpec, path: str, errors: Errors) -> None:
    for kind in ("cpu", "memory"):
        request, limit = getattr(given, f"{kind}_request"), getattr(given, f"{kind}_limit")
        before = len(errors)
        for text, field in ((request, f"{path}.{kind}_request"), (limit, f"{path}.{kind}_limit")):
            if text:
                _positive(errors, text, field, whole=kind == "memory")
        if request and limit and len(errors) == before and quantities.compare(request, limit) > 0:
            sentence = f"The request of {request} is more than the limit of {limit}."
            errors.append(InvalidInput(sentence, field=f"{path}.{kind}_request"))


def _autoscaling(given: AutoscalingSpec, path: str, errors: Errors) -> None:
    if not given.enabled:
        return
    _between(errors, given.min_replicas, 1, MAX_REPLICAS, f"{path}.min_replicas")
    _between(errors, given.max_replicas, 1, MAX_REPLICAS, f"{path}.max_replicas")
    _between(errors, given.cpu_percent, 0, 1000, f"{path}.cpu_percent")
    _between(errors, given.memory_percent, 0, 1000, f"{path}.memory_percent")
    if given.min_replicas > given.max_replicas:
        errors.append(InvalidInput("The minimum is above the maximum.", field=f"{path}.min_replicas"))
    if not given.cpu_percent and not given.memory_percent:
        errors.append(
            InvalidInput("Give a target for processors or for memory.", field=f"{path}.cpu_percent")
        )


def _tolerations(given: tuple[Toleration, ...], path: str, errors: Errors) -> None:
    for place, item in enumerate(given):
        field = f"{path}.{place}"
        if item.key:
            _try(errors, names.require_label_key, item.key, field=field, what="A taint's key")
        elif item.operator != "Exists":
            errors.append(InvalidInput("Without a key the operator has to be Exists.", field=field))
        if item.operator not in ("Equal", "Exists"):
            errors.append(InvalidInput("The operator is Equal or Exists.", field=field))
        if item.operator == "Exists" and item.value:
            errors.append(InvalidInput("Exists takes no value.", field=field))
        if item.effect not in _EFFECTS:
            errors.append(
                InvalidInput(f"The effect is one of {', '.join(_EFFECTS[1:])}, or none.", field=field)
            )
        _try(errors, names.require_label_value, item.value, field=field)


def _labels(given: dict[str, str], path: str, errors: Errors) -> None:
    for key, value in given.items():
        _try(errors, names.require_label_key, key, field=path)
        _try(errors, names.require_label_value, value, field=path)


def _positive(errors: Errors, text: str, field: str, *, whole: bool = True) -> None:
    try:
        value = quantities.parse_amount(text, field=field)
    except InvalidInput as error:
        errors.append(error)
        return
    if value == 0:
        errors.append(InvalidInput("This has to be more than nothing.", field=field))
    elif whole and value < 1024:
        errors.append(InvalidInput(f"“{text}” is {value:f} bytes; was “{text}Gi” meant?", field=field))


def _between(errors: Errors, value: int, low: int, high: int, field: str) -> None:
    if not low <= value <= high:
        errors.append(InvalidInput(f"This has to be from {low} to {high}.", field=field))


def _try(errors: Errors, check: Callable[..., object], *given: str, **words: str) -> None:
    try:
        check(*given, **words)
    except InvalidInput as error:
        errors.append(error)
