"""Model names as Ollama reads them. Ollama types/model/name.go: ParseName, DisplayShortest, isValidPart."""

from __future__ import annotations

import re
from dataclasses import dataclass

HOST = "registry.ollama.ai"
NAMESPACE = "library"
TAG = "latest"
_PARTS = {
    "host": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}", re.ASCII),
    "namespace": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_-]{0,79}", re.ASCII),
    "model": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII),
    "tag": re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}", re.ASCII),
}


@dataclass(frozen=True, slots=True)
class ModelName:
    host: str
    namespace: str
    model: str
    tag: str

    @property
    def full(self) -> str:
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def shortest(self) -> str:
        """Default host and namespace left out, the tag always there."""
        text = f"{self.model}:{self.tag}"
        if self.host != HOST:
            return f"{self.host}/{self.namespace}/{text}"
        return text if self.namespace == NAMESPACE else f"{self.namespace}/{text}"


def parse(text: str) -> ModelName | None:
    """None for an invalid name. A scheme is cut off and has no effect."""
    rest = text.partition("://")[2] if "://" in text else text
    tag = TAG
    if ":" in rest and rest.rfind(":") > rest.rfind("/"):
        rest, _, tag = rest.rpartition(":")
    parts = rest.split("/", 2) if rest.count("/") <= 2 else rest.rsplit("/", 2)
    host, namespace = HOST, NAMESPACE
    if len(parts) == 3:
        host, namespace, model = parts
    elif len(parts) == 2:
        namespace, model = parts
    else:
        model = parts[0]
    values = {"host": host, "namespace": namespace, "model": model, "tag": tag}
    if any(not _PARTS[name].fullmatch(value) for name, value in values.items()):
        return None
    return ModelName(**values)
