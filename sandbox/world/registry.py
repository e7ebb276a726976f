"""The models that the practice cluster's servers can pull: realistic sizes, invented content.

Sizes of the deepseek-r1 tags: ollama.com library pages and Ollama docs/api.md (4683075271 bytes for the 7b file).
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

from sandbox.world.modelname import HOST, NAMESPACE, ModelName

Object = dict[str, Any]

_MEDIA = "application/vnd.ollama.image."
CONFIG_MEDIA = "application/vnd.docker.container.image.v1+json"
PRIVATE_HOST = "registry.lab.example"
UNREACHABLE = "unreachable.example"


class PullError(Exception):
    """Why a manifest cannot be had; the text is Ollama's."""


@dataclass(frozen=True, slots=True)
class Layer:
    media_type: str
    digest: str
    size: int

    def dump(self) -> list[Any]:
        return [self.media_type, self.digest, self.size]


@dataclass(frozen=True, slots=True)
class Manifest:
    """layers in the manifest's order; config is downloaded last. digest: hex, without a prefix."""

    name: str
    layers: tuple[Layer, ...]
    config: Layer
    family: str
    parameters: str
    quantization: str
    thinking: bool
    embedding: bool
    context: int
    architecture_parameters: int

    def all_layers(self) -> tuple[Layer, ...]:
        return (*self.layers, self.config)

    @property
    def size(self) -> int:
        return sum(layer.size for layer in self.all_layers())

    @property
    def digest(self) -> str:
        text = "/".join(layer.digest for layer in self.all_layers())
        return hashlib.sha256(text.encode()).hexdigest()

    def dump(self) -> Object:
        fields = ("name", "family", "parameters", "quantization", "thinking", "embedding", "context")
        return {
            **{field: getattr(self, field) for field in fields},
            "count": self.architecture_parameters,
            "layers": [layer.dump() for layer in self.layers],
            "config": self.config.dump(),
        }

    @classmethod
    def load(cls, data: Object) -> Manifest:
        return cls(
            data["name"],
            tuple(Layer(*entry) for entry in data["layers"]),
            Layer(*data["config"]),
            data["family"],
            data["parameters"],
            data["quantization"],
            data["thinking"],
            data["embedding"],
            data["context"],
            data["count"],
        )


@dataclass(frozen=True, slots=True)
class _Entry:
    """size: bytes of the weights; billions: parameters."""

    size: int
    billions: float
    label: str
    family: str
    thinking: bool = False
    embedding: bool = False
    context: int = 131072
    quantization: str = "Q4_K_M"


_CATALOGUE: dict[str, dict[str, _Entry]] = {
    "deepseek-r1": {
        "1.5b": _Entry(1_117_320_512, 1.777, "1.8B", "qwen2", thinking=True),
        "7b": _Entry(4_683_073_184, 7.616, "7.6B", "qwen2", thinking=True),
        "8b": _Entry(5_225_374_496, 8.19, "8.2B", "qwen3", thinking=True),
        "14b": _Entry(8_988_110_688, 14.77, "14.8B", "qwen2", thinking=True),
        "32b": _Entry(19_851_335_840, 32.76, "32.8B", "qwen2", thinking=True),
        "70b": _Entry(42_520_395_584, 70.55, "70.6B", "llama", thinking=True),
        "671b": _Entry(404_430_186_496, 671.03, "671.0B", "deepseek2", thinking=True, context=163840),
    },
    "qwen3": {
        "0.6b": _Entry(522_640_096, 0.752, "751.63M", "qwen3", thinking=True, context=40960),
        "1.7b": _Entry(1_359_279_776, 2.03, "2.0B", "qwen3", thinking=True, context=40960),
        "4b": _Entry(2_497_280_480, 4.02, "4.0B", "qwen3", thinking=True, context=262144),
        "8b": _Entry(5_225_374_496, 8.19, "8.2B", "qwen3", thinking=True, context=40960),
        "14b": _Entry(9_276_183_424, 14.77, "14.8B", "qwen3", thinking=True, context=40960),
        "32b": _Entry(20_201_240_544, 32.76, "32.8B", "qwen3", thinking=True, context=40960),
    },
    "llama3.2": {
        "1b": _Entry(1_321_082_688, 1.236, "1.2B", "llama", quantization="Q8_0"),
        "3b": _Entry(2_019_377_376, 3.213, "3.2B", "llama"),
    },
    "gemma3": {
        "1b": _Entry(815_310_432, 0.9999, "999.89M", "gemma3", context=32768),
        "4b": _Entry(3_338_801_728, 4.3, "4.3B", "gemma3"),
        "12b": _Entry(8_149_181_088, 12.19, "12.2B", "gemma3"),
    },
    "nomic-embed-text": {
        "v1.5": _Entry(
            274_290_656, 0.137, "137M", "nomic-bert", embedding=True, context=2048, quantization="F16"
        ),
    },
    "tinyllama": {"1.1b": _Entry(637_699_456, 1.1, "1B", "llama", context=2048, quantization="Q4_0")},
    "smollm2": {"135m": _Entry(270_884_640, 0.1345, "134.52M", "llama", context=8192, quantization="F16")},
}
_LATEST = {
    "deepseek-r1": "8b",
    "qwen3": "8b",
    "llama3.2": "3b",
    "gemma3": "4b",
    "nomic-embed-text": "v1.5",
    "tinyllama": "1.1b",
    "smollm2": "135m",
}


def _digest(text: str) -> str:
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()


def _entry(name: ModelName) -> tuple[str, _Entry] | None:
    """(identity of the weights, entry). Tags are found by exact text, `latest` by what it stands for."""
    if name.host == HOST and name.namespace != NAMESPACE:
        return None
    model, tag = name.model.lower(), name.tag.lower()
    if name.host != HOST and model not in _CATALOGUE:
        return f"{name.full}", _Entry(1_000_000_000, 1.5, "1.5B", "llama")
    tags = _CATALOGUE.get(model)
    if tags is None:
        return None
    tag = _LATEST[model] if tag == "latest" else tag.removesuffix("-q4_k_m")
    found = tags.get(tag)
    return (f"{model}:{tag}", found) if found is not None else None


def lookup(name: ModelName, insecure: bool = False) -> Manifest:
    """The manifest that the name's registry serves. Raises PullError with Ollama's text.

    insecure: ask over plain HTTP, which the private registry speaks on port 5000 only.
    """
    url = f"{'http' if insecure else 'https'}://{name.host}/v2/{name.namespace}/{name.model}/manifests/{name.tag}"
    if name.host.partition(":")[0] == UNREACHABLE or name.host not in (
        HOST,
        PRIVATE_HOST,
        f"{PRIVATE_HOST}:5000",
    ):
        host = name.host.partition(":")[0]
        raise PullError(
            f'pull model manifest: Get "{url}": dial tcp: lookup {host} on 10.0.0.10:53: no such host'
        )
    plain = name.host.endswith(":5000")
    if plain and not insecure:
        raise PullError(f'pull model manifest: Get "{url}": http: server gave HTTP response to HTTPS client')
    if insecure and not plain and name.host != HOST:
        raise PullError(
            f'pull model manifest: Get "{url}": dial tcp {name.host}:80: connect: connection refused'
        )
    found = _entry(name)
    if found is None:
        raise PullError("pull model manifest: file does not exist")
    identity, entry = found
    layers = [Layer(f"{_MEDIA}model", _digest(f"weights/{identity}"), entry.size)]
    if not entry.embedding:
        layers.append(Layer(f"{_MEDIA}template", _digest(f"template/{entry.family}/{entry.thinking}"), 387))
    layers.append(Layer(f"{_MEDIA}license", _digest("license"), 1065))
    if entry.thinking:
        layers.append(Layer(f"{_MEDIA}params", _digest("params/thinking"), 148))
    config = Layer(CONFIG_MEDIA, _digest(f"config/{identity}"), 487)
    return Manifest(
        name.full,
        tuple(layers),
        config,
        entry.family,
        entry.label,
        entry.quantization,
        entry.thinking,
        entry.embedding,
        entry.context,
        int(entry.billions * 1e9),
    )
