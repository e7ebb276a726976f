"""How Ollama reads the name of a model (Ollama types/model/name.go).

``[scheme://][host/][namespace/]model[:tag]`` with the defaults host ``registry.ollama.ai``, namespace
``library`` and tag ``latest``. A host needs both a namespace and a model behind it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.domain.errors import InvalidInput

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

# Ollama types/model/name.go: a scheme is cut off and not looked at any further.
_SCHEME = re.compile(r"\Ahttps?://", re.IGNORECASE)
_NAME = re.compile(
    r"\A(?:(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349})/)?"
    r"(?P<namespace>[A-Za-z0-9_][A-Za-z0-9_-]{0,79})/)?"
    r"(?P<model>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}))?\Z",
    re.ASCII,
)


@dataclass(frozen=True)
class Reference:
    """A complete name: every part is there."""

    host: str
    namespace: str
    model: str
    tag: str

    @property
    def shortest(self) -> str:
        """As ``/api/tags`` lists it: host and namespace only where they are not the defaults, the
        tag always (``deepseek-r1:latest``). A host that is not the default keeps its namespace."""
        name = f"{self.model}:{self.tag}"
        if self.host != DEFAULT_HOST:
            return f"{self.host}/{self.namespace}/{name}"
        return name if self.namespace == DEFAULT_NAMESPACE else f"{self.namespace}/{name}"

    @property
    def key(self) -> str:
        """What two names have in common when Ollama takes them for the same model: it compares
        without regard to case."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}".lower()


def parse_reference(name: str) -> Reference:
    """Read a name with Ollama's defaults; :class:`InvalidInput` where Ollama would refuse it."""
    match = _NAME.match(_SCHEME.sub("", name))
    if match is None:
        raise InvalidInput(
            f"“{name[:100]}” is not a name that Ollama accepts.",
            field="model",
            remedy="Write it as model:tag, namespace/model:tag or host/namespace/model:tag.",
        )
    return Reference(
        host=match["host"] or DEFAULT_HOST,
        namespace=match["namespace"] or DEFAULT_NAMESPACE,
        model=match["model"],
        tag=match["tag"] or DEFAULT_TAG,
    )


def same_model(one: str, other: str) -> bool:
    """Whether Ollama takes the two names for the same model. A name that it refuses is like none."""
    try:
        return parse_reference(one).key == parse_reference(other).key
    except InvalidInput:
        return False
