"""Names of models, by Ollama's own rules.

Form: ``[scheme "://"] [host "/"] [namespace "/"] model [":" tag]``. Characters and lengths are those
of Ollama ``types/model/name.go`` (isValidPart), the same in 0.5.7 and later. Ollama does not look at
the scheme; Pilothouse takes none, http and https. The defaults are host ``registry.ollama.ai``,
namespace ``library`` and tag ``latest``.
"""

from __future__ import annotations

import difflib
import re
from dataclasses import dataclass

from deployments.domain.errors import InvalidInput
from deployments.domain.spec import DEFAULT_REGISTRY, ModelSpec

DEFAULT_HOST = "registry.ollama.ai"
DEFAULT_NAMESPACE = "library"
DEFAULT_TAG = "latest"

# One expression for the whole name without its scheme; \A and \Z because "$" lets a newline pass.
PATTERN = re.compile(
    r"\A(?:(?:(?P<host>[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349})/)?"
    r"(?P<namespace>[A-Za-z0-9_][A-Za-z0-9_-]{0,79})/)?"
    r"(?P<model>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79})"
    r"(?::(?P<tag>[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}))?\Z"
)
_NAMESPACE = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_-]{0,79}\Z")
_HOST = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.:-]{0,349}\Z")
_MODEL_OR_TAG = re.compile(r"\A[A-Za-z0-9_][A-Za-z0-9_.-]{0,79}\Z")
# Ollama from 0.14 on sends models with these suffixes to ollama.com, or treats them specially
# (modelref.ParseRef); either way the text of a conversation would leave the cluster.
_CLOUD = re.compile(r"\A(?:.*-)?cloud\Z|\Alocal\Z", re.IGNORECASE)


@dataclass(frozen=True)
class ModelName:
    """A name in its parts, with Ollama's defaults filled in. ``scheme`` is "", "http" or "https"."""

    host: str
    namespace: str
    model: str
    tag: str
    scheme: str = ""

    @property
    def full(self) -> str:
        """Host, namespace, model and tag: the path of its manifest in a store."""
        return f"{self.host}/{self.namespace}/{self.model}:{self.tag}"

    @property
    def shortest(self) -> str:
        """As Ollama shows it (Name.DisplayShortest): default host and namespace left out."""
        text = f"{self.model}:{self.tag}"
        default_host = self.host.lower() == DEFAULT_HOST
        if default_host and self.namespace.lower() == DEFAULT_NAMESPACE:
            return text
        text = f"{self.namespace}/{text}"
        return text if default_host else f"{self.host}/{text}"

    @property
    def insecure(self) -> bool:
        """Whether plain HTTP was asked for. Ollama's API drops the scheme, so a pull says it apart."""
        return self.scheme == "http"

    def same_as(self, other: ModelName) -> bool:
        """Ollama looks names up without regard to case (getExistingName)."""
        return self.full.lower() == other.full.lower()


def parse(text: str, *, field: str = "model") -> ModelName:
    """The parts of a name as Ollama's API reads it, or :class:`InvalidInput` with the reason."""
    scheme, bare = _cut_scheme(text, field)
    match = PATTERN.match(bare)
    if match is None:
        raise InvalidInput(_complaint(bare), field=field, remedy=_REMEDY)
    if scheme and not match["host"]:
        # Ollama cuts model and namespace off first, so that "http:/" would be left as the host
        sentence = f"After “{scheme}://” Ollama wants all of host/namespace/model."
        raise InvalidInput(sentence, field=field, remedy=_REMEDY)
    tag = match["tag"] or DEFAULT_TAG
    if _CLOUD.match(tag):
        raise InvalidInput(
            f"“{tag}” does not name a model that runs in the cluster: "
            "newer versions of Ollama give this suffix a meaning of its own.",
            field=field,
            remedy="Choose a tag that downloads the model itself, such as deepseek-r1:1.5b.",
        )
    return ModelName(
        host=match["host"] or DEFAULT_HOST,
        namespace=match["namespace"] or DEFAULT_NAMESPACE,
        model=match["model"],
        tag=tag,
        scheme=scheme,
    )


def is_valid(text: str) -> bool:
    """Whether Ollama itself would take the name; what Pilothouse refuses beyond it is not asked."""
    scheme, separator, bare = text.partition("://")
    match = PATTERN.match(bare if separator else scheme)
    return match is not None and (not separator or match["host"] is not None)


def is_fully_qualified(text: str) -> bool:
    """Host, namespace, model and tag all given (Ollama's ParseNameBare and IsFullyQualified)."""
    match = PATTERN.match(text)
    return match is not None and all(match.groupdict().values())


def is_valid_namespace(text: str) -> bool:
    """Ollama's IsValidNamespace."""
    return _NAMESPACE.match(text) is not None


def is_valid_host(text: str) -> bool:
    return _HOST.match(text) is not None


def is_valid_model(text: str) -> bool:
    return _MODEL_OR_TAG.match(text) is not None


def is_valid_tag(text: str) -> bool:
    return _MODEL_OR_TAG.match(text) is not None


def has_explicit_tag(text: str) -> bool:
    """Whether the last colon comes after the last slash, so that it cannot be a port."""
    return text.rfind(":") > text.rfind("/")


def same_model(left: str, right: str) -> bool:
    """Whether two references mean one model; False where either is no name at all."""
    try:
        return parse(left).same_as(parse(right))
    except InvalidInput:
        return False


def to_model_spec(text: str, *, field: str = "model") -> ModelSpec:
    """What a person typed as a :class:`ModelSpec`; "http://" becomes ``insecure``."""
    name = parse(text, field=field)
    registry = f"{name.host}/{name.namespace}"
    if registry.lower() == DEFAULT_REGISTRY:
        registry = DEFAULT_REGISTRY
    return ModelSpec(repository=name.model, tag=name.tag, registry=registry, insecure=name.insecure)


@dataclass(frozen=True)
class KnownTag:
    """A tag of deepseek-r1. ``bytes`` is the download at the library's default quantisation, rounded
    as the library shows it; ``note`` is a warning to show, or ""."""

    tag: str
    bytes: int
    note: str = ""

    @property
    def in_library(self) -> bool:
        return self.bytes > 0


_MB, _GB = 10**6, 10**9
DEEPSEEK_R1 = "deepseek-r1"
KNOWN_TAGS: dict[str, KnownTag] = {
    known.tag: known
    for known in (
        KnownTag("1.5b", 1_100 * _MB),
        KnownTag("3b", 0, "in the extension's guide but not in the library: a pull fails"),
        KnownTag("7b", 4_700 * _MB),
        KnownTag("8b", 5_200 * _MB),
        KnownTag("14b", 9 * _GB),
        KnownTag("32b", 20 * _GB),
        KnownTag("70b", 43 * _GB),
        KnownTag("671b", 404 * _GB),
    )
}
TESTED_UP_TO = "14b"


def nearest_known_tag(tag: str) -> str:
    """The tag of deepseek-r1 in the library that a mistyped one most likely means, or "".

    Sizes are compared as numbers first ("3b" lies next to "1.5b"), then spelling.
    """
    available = [known.tag for known in KNOWN_TAGS.values() if known.in_library]
    size = re.match(r"\A([0-9]+(?:\.[0-9]+)?)\s*b?(?:\Z|-)", tag.lower())
    if size:
        wanted = float(size[1])
        return min(available, key=lambda known: abs(float(known.removesuffix("b")) - wanted))
    close = difflib.get_close_matches(tag.lower(), available, n=1, cutoff=0.5)
    return close[0] if close else ""


def not_found_hint(model: ModelSpec) -> str:
    """What to say beside a pull that ended with "file does not exist", or ""."""
    if model.repository.lower() != DEEPSEEK_R1:
        near = difflib.get_close_matches(model.repository.lower(), [DEEPSEEK_R1], n=1, cutoff=0.7)
        return f"Did you mean {DEEPSEEK_R1}?" if near else ""
    nearest = nearest_known_tag(model.tag)
    return f"The nearest tag in the library is {DEEPSEEK_R1}:{nearest}." if nearest else ""


_REMEDY = "A name looks like deepseek-r1:1.5b or registry.example.com/team/model:tag."


def _cut_scheme(text: str, field: str) -> tuple[str, str]:
    scheme, separator, rest = text.partition("://")
    if not separator:
        return "", text
    if scheme.lower() not in ("http", "https"):
        raise InvalidInput(
            f"“{scheme[:20]}” cannot be used before a model's name; only http and https.", field=field
        )
    return scheme.lower(), rest


def _complaint(bare: str) -> str:
    if not bare:
        return "A model's name is missing."
    if bare != bare.strip() or re.search(r"\s", bare):
        return f"“{bare[:80]}” has blanks in it; a model's name has none."
    if "@" in bare:
        return "Ollama does not take a digest in a model's name; name a tag instead."
    path = bare
    if has_explicit_tag(bare):
        path, _, tag = bare.rpartition(":")
        if not is_valid_tag(tag):
            return f"“{tag[:80]}” is not a valid tag." if tag else "There is a colon but no tag after it."
    parts = path.split("/")
    if not parts[-1]:
        return "The model's own name is missing."
    if not is_valid_model(parts[-1]):
        return f"“{parts[-1][:80]}” is not valid as a model's name."
    if len(parts) == 2 and ("." in parts[0] or ":" in parts[0]):
        return (
            f"“{parts[0][:80]}” looks like a host; Ollama wants a namespace after it: host/namespace/model."
        )
    if len(parts) >= 2 and not is_valid_namespace(parts[-2]):
        return f"“{parts[-2][:80]}” is not valid as a namespace (letters, digits, “_” and “-”, no dot)."
    if len(parts) > 3:
        return "A model's name has at most a host, a namespace and the model."
    return f"“{parts[0][:80]}” is not valid as a registry's host."
