"""The description of a stack: what a revision of a profile holds.

A :class:`StackSpec` is a plain, frozen value. It says what somebody wants ("deepseek-r1:7b with one
NVIDIA GPU, claims of class fast, chat behind an Ingress"), never where: cluster, namespace and name
belong to the deployment. Everything here round-trips through JSON (:func:`spec_to_json`,
:func:`spec_from_json`); validation is in ``deployments.domain.validation``, sizes that nobody gave
are filled in by ``deployments.domain.sizing``.

Quantities are strings in the notation of Kubernetes ("2", "500m", "8Gi"). Secrets (access code,
registry password) are not part of it: a revision keeps them encrypted beside the spec, and
``has_access_code``/``registry_username`` only say that they are there.
"""

from __future__ import annotations

from dataclasses import asdict, dataclass, field, fields, is_dataclass, replace
from enum import StrEnum
from functools import cache
from typing import Any, get_args, get_origin, get_type_hints

from deployments.domain.errors import InvalidInput

OLLAMA_VERSION = "0.9.6"
OLLAMA_IMAGE = f"ollama/ollama:{OLLAMA_VERSION}"
OLLAMA_ROCM_IMAGE = f"{OLLAMA_IMAGE}-rocm"
CHAT_IMAGE = "yidadaa/chatgpt-next-web:v2.16.1"
DEFAULT_REGISTRY = "registry.ollama.ai/library"


class GpuVendor(StrEnum):
    NONE = "none"
    NVIDIA = "nvidia"
    AMD = "amd"

    @property
    def resource(self) -> str:
        """The extended resource a pod asks for, or ""."""
        return {"nvidia": "nvidia.com/gpu", "amd": "amd.com/gpu"}.get(self.value, "")


class StorageMode(StrEnum):
    """TEMPLATE: a claim for each replica, made by the StatefulSet. SHARED: one ReadWriteMany claim
    that Pilothouse makes. EXISTING: a claim that is there already, such as an offline cache."""

    TEMPLATE = "template"
    SHARED = "shared"
    EXISTING = "existing"


@dataclass(frozen=True)
class ModelSpec:
    """Which model. ``registry`` is host/namespace as Ollama reads it."""

    repository: str = "deepseek-r1"
    tag: str = "1.5b"
    registry: str = DEFAULT_REGISTRY
    insecure: bool = False  # plain HTTP to the registry, as Ollama's "insecure" means it

    @property
    def reference(self) -> str:
        """The one name that the pull, the chat and the checks all use."""
        name = f"{self.repository}:{self.tag}"
        return name if self.registry == DEFAULT_REGISTRY else f"{self.registry}/{name}"


@dataclass(frozen=True)
class ResourceSpec:
    """Requests and limits of one container; "" means: take it from the sizing."""

    cpu_request: str = ""
    cpu_limit: str = ""
    memory_request: str = ""
    memory_limit: str = ""


@dataclass(frozen=True)
class Toleration:
    """As in Kubernetes; ``operator`` is Equal or Exists, ``effect`` "" tolerates every effect."""

    key: str = ""
    operator: str = "Equal"
    value: str = ""
    effect: str = ""


@dataclass(frozen=True)
class AutoscalingSpec:
    """A HorizontalPodAutoscaler (autoscaling/v2) on CPU and, where above 0, memory; in percent."""

    enabled: bool = False
    min_replicas: int = 1
    max_replicas: int = 3
    cpu_percent: int = 80
    memory_percent: int = 0


@dataclass(frozen=True)
class ServerSpec:
    """The Ollama server. ``gpu_count`` 0 with a vendor means: take it from the sizing.
    ``affinity`` is a Kubernetes affinity object, {} for none. ``run_as_user`` None is the image's
    own user (root), which existing root-owned caches need."""

    replicas: int = 1
    image: str = ""  # "" is the pinned image for the vendor
    gpu_vendor: GpuVendor = GpuVendor.NONE
    gpu_count: int = 0
    resources: ResourceSpec = ResourceSpec()
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    affinity: dict[str, Any] = field(default_factory=dict)
    spread_over_nodes: bool = True  # preferred, so that it can never make a replica unschedulable
    runtime_class: str = ""
    run_as_user: int | None = None
    keep_alive: str = "30m"
    context_length: int = 0  # 0 leaves it to Ollama
    num_parallel: int = 0  # 0 leaves it to Ollama
    autoscaling: AutoscalingSpec = AutoscalingSpec()


@dataclass(frozen=True)
class StorageSpec:
    """Where models live. ``size`` "" is taken from the sizing; ``storage_class`` "" is the default."""

    mode: StorageMode = StorageMode.TEMPLATE
    storage_class: str = ""
    size: str = ""
    claim_name: str = ""  # for EXISTING
    claim_read_write_many: bool = False  # for EXISTING: whether that claim can be shared


@dataclass(frozen=True)
class ChatSpec:
    """The NextChat front."""

    enabled: bool = True
    replicas: int = 1
    image: str = ""
    resources: ResourceSpec = ResourceSpec("1", "1", "1Gi", "1Gi")
    node_selector: dict[str, str] = field(default_factory=dict)
    tolerations: tuple[Toleration, ...] = ()
    port: int = 3000  # of the Service
    has_access_code: bool = False  # for the Ingress way only
    network_policy: bool = True
    autoscaling: AutoscalingSpec = AutoscalingSpec()


@dataclass(frozen=True)
class IngressSpec:
    """An Ingress for the chat. Without a host there is none, and chat goes through the gateway."""

    enabled: bool = False
    class_name: str = ""
    host: str = ""
    tls_secret: str = ""
    annotations: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class ImageSpec:
    """``registry`` replaces the registry host of both images; ``pull_secrets`` are Secrets that are
    in the namespace already; with ``registry_username`` Pilothouse makes one of its own."""

    registry: str = ""
    pull_secrets: tuple[str, ...] = ()
    pull_policy: str = "IfNotPresent"
    registry_username: str = ""


@dataclass(frozen=True)
class StackSpec:
    """One stack: server, storage, chat, ingress, images."""

    model: ModelSpec = ModelSpec()
    server: ServerSpec = field(default_factory=ServerSpec)
    storage: StorageSpec = StorageSpec()
    chat: ChatSpec = field(default_factory=ChatSpec)
    ingress: IngressSpec = field(default_factory=IngressSpec)
    images: ImageSpec = ImageSpec()
    node_selector: dict[str, str] = field(default_factory=dict)  # for every pod of the stack


def without_secrets(spec: StackSpec) -> StackSpec:
    """The same stack as it is for somebody who does not get its access code and registry password."""
    return replace(
        spec,
        chat=replace(spec.chat, has_access_code=False),
        images=replace(spec.images, registry_username=""),
    )


@dataclass(frozen=True)
class Secrets:
    """What a revision keeps encrypted. Never rendered into a stored manifest in clear."""

    access_code: str = ""
    registry_password: str = ""

    def __repr__(self) -> str:
        return "Secrets(…)"


def spec_to_json(spec: StackSpec) -> dict[str, Any]:
    """A JSON-ready dict with every field, in a stable order."""
    return asdict(spec)


def spec_from_json(data: object) -> StackSpec:
    """The reverse. Unknown keys and wrong types raise :class:`InvalidInput` with the dotted field;
    absent keys take their default, so that older revisions stay readable."""
    spec = _build(StackSpec, data, "")
    assert isinstance(spec, StackSpec)
    return spec


def model_from_json(data: object) -> ModelSpec:
    """Only the model of what :func:`spec_to_json` made: a list that shows dozens reads nothing else.
    Raises :class:`InvalidInput`."""
    if not isinstance(data, dict):
        raise InvalidInput("the profile must be an object.")
    model = _build(ModelSpec, data.get("model", {}), "model")
    assert isinstance(model, ModelSpec)
    return model


@cache
def _hints(cls: type) -> dict[str, Any]:
    """Field -> type. Resolved anew for each revision, they took a fifth of a page that lists 25."""
    hints = get_type_hints(cls)
    return {f.name: hints[f.name] for f in fields(cls)}


def _build(cls: type, data: object, path: str) -> Any:
    if not isinstance(data, dict):
        raise InvalidInput(f"{path or 'the profile'} must be an object.", field=path)
    hints = _hints(cls)
    for key in data:
        if key not in hints:
            raise InvalidInput(f"“{key}” is not a field of a profile.", field=_join(path, str(key)))
    return cls(**{name: _value(hints[name], value, _join(path, name)) for name, value in data.items()})


def _value(hint: Any, value: object, path: str) -> Any:
    if type(value) is hint:  # most of them: texts, numbers, yes and no
        return value
    if is_dataclass(hint) and isinstance(hint, type):
        return _build(hint, value, path)
    origin, args = get_origin(hint), get_args(hint)
    if origin is tuple:
        if not isinstance(value, list | tuple):
            raise InvalidInput(f"{path} must be a list.", field=path)
        return tuple(_value(args[0], item, f"{path}.{n}") for n, item in enumerate(value))
    if origin is dict:
        if not isinstance(value, dict) or not all(isinstance(key, str) for key in value):
            raise InvalidInput(f"{path} must be an object.", field=path)
        if args[1] is str and not all(isinstance(item, str) for item in value.values()):
            raise InvalidInput(f"{path} must hold text values.", field=path)
        return dict(value)
    if type(None) in args:
        return None if value is None else _value(args[0], value, path)
    if isinstance(hint, type) and issubclass(hint, StrEnum):
        try:
            return hint(str(value))
        except ValueError:
            allowed = ", ".join(hint)
            raise InvalidInput(f"{path} must be one of: {allowed}.", field=path) from None
    if hint is int and isinstance(value, bool):
        raise InvalidInput(f"{path} must be a number.", field=path)
    if not isinstance(value, hint):
        kinds = {int: "a whole number", str: "text", bool: "true or false"}
        raise InvalidInput(f"{path} must be {kinds.get(hint, hint.__name__)}.", field=path)
    return value


def _join(path: str, name: str) -> str:
    return f"{path}.{name}" if path else name
