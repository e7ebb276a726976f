"""Names, labels and references as Kubernetes and its registries accept them.

Rules: ``apimachinery/pkg/util/validation`` (labels, subdomains, qualified names), the Service name
rule (RFC 1035 until it is relaxed everywhere) and ``distribution/reference`` (images). Every
``require_*`` function returns its argument or raises :class:`InvalidInput` with a sentence.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.domain.errors import InvalidInput

LABEL_LENGTH = 63
SUBDOMAIN_LENGTH = 253
# The StatefulSet controller puts "<name>-<hash of up to 10>" into a label value of 63 characters,
# so its own name ends at 52; "-server" is the longest suffix that Pilothouse adds to a workload.
_STATEFUL_SET_LENGTH = 52
DEPLOYMENT_NAME_LENGTH = _STATEFUL_SET_LENGTH - len("-server")

_LABEL = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?")
_SUBDOMAIN = re.compile(r"[a-z0-9](?:[-a-z0-9]*[a-z0-9])?(?:\.[a-z0-9](?:[-a-z0-9]*[a-z0-9])?)*")
_QUALIFIED = re.compile(r"[A-Za-z0-9](?:[-A-Za-z0-9_.]*[A-Za-z0-9])?")
_NAMESPACE_PATTERN = re.compile(r"[a-z0-9*?](?:[a-z0-9*?-]{0,61}[a-z0-9*?])?")
MOST_PATTERNS = 100


def require_label(text: str, *, what: str, field: str = "", length: int = LABEL_LENGTH) -> str:
    """An RFC 1123 label: lower-case letters, digits and inner hyphens."""
    _require(text, _LABEL, what, field, length, "lower-case letters, digits and hyphens")
    return text


def require_subdomain(text: str, *, what: str, field: str = "") -> str:
    """An RFC 1123 subdomain: labels joined by dots, 253 characters in all."""
    _require(text, _SUBDOMAIN, what, field, SUBDOMAIN_LENGTH, "lower-case letters, digits, hyphens and dots")
    return text


def require_deployment_name(text: str, *, field: str = "name") -> str:
    """The name of a deployment, from which every object's name is made.

    It starts with a letter, since Service names have to, and leaves room for suffixes.
    """
    require_label(text, what="A name", field=field, length=DEPLOYMENT_NAME_LENGTH)
    if not text[0].isalpha():
        raise InvalidInput(
            f"“{text}” starts with a digit; Kubernetes wants a Service's name to start with a letter.",
            field=field,
        )
    return text


def require_namespace(text: str, *, field: str = "namespace") -> str:
    """A namespace that a stack may live in: never one that Kubernetes keeps for itself."""
    require_label(text, what="A namespace", field=field)
    if text.startswith("kube-"):
        raise InvalidInput(
            f"“{text}” is reserved: Kubernetes keeps names that start with “kube-” for its own parts.",
            field=field,
            remedy="Choose a namespace of your own.",
        )
    return text


def require_namespace_patterns(given: list[str], *, field: str = "namespaces") -> list[str]:
    """Names of namespaces, or patterns of them with "*" and "?"; repeats are dropped."""
    patterns = list(dict.fromkeys(given))
    if not patterns:
        raise InvalidInput("Give at least one namespace.", field=field, remedy="* stands for every one.")
    if len(patterns) > MOST_PATTERNS:
        raise InvalidInput(f"These are more than {MOST_PATTERNS} names and patterns.", field=field)
    for pattern in patterns:
        if not _NAMESPACE_PATTERN.fullmatch(pattern):
            raise InvalidInput(
                f"“{pattern[:LABEL_LENGTH]}” can match no namespace: small letters, digits, dashes, * and ?.",
                field=field,
            )
    return patterns


def require_host(text: str, *, field: str = "") -> str:
    """A host for an Ingress: a DNS name with at least one dot, or such with a leading "*."."""
    plain = text.removeprefix("*.")
    if "://" in text or "/" in text:
        raise InvalidInput(
            "A host is given without a scheme or a path, such as chat.example.com.", field=field
        )
    if re.fullmatch(r"[0-9.]+", plain) or ":" in plain:
        raise InvalidInput(
            f"“{text}” is an address or has a port; an Ingress takes a host name only.", field=field
        )
    require_subdomain(plain, what="A host", field=field)
    for label in plain.split("."):
        if len(label) > LABEL_LENGTH:
            raise InvalidInput(f"“{label}” is longer than {LABEL_LENGTH} characters.", field=field)
    return text


def require_label_key(text: str, *, field: str = "", what: str = "A label's key") -> str:
    """A qualified name: an optional DNS prefix and a slash, then a name of 63 characters."""
    prefix, slash, name = text.rpartition("/")
    if slash:
        require_subdomain(prefix, what=f"The prefix of “{text}”", field=field)
    _require(name, _QUALIFIED, what, field, LABEL_LENGTH, "letters, digits, “-”, “_” and “.”")
    return text


def require_label_value(text: str, *, field: str = "") -> str:
    """Empty, or like the name part of a key."""
    if text:
        _require(
            text, _QUALIFIED, "A label's value", field, LABEL_LENGTH, "letters, digits, “-”, “_” and “.”"
        )
    return text


def require_annotation(key: str, value: str, *, field: str = "") -> None:
    """An annotation's key is a qualified name (in any case); its value is free text."""
    require_label_key(key, field=field, what="An annotation's key")
    if any(character in value for character in "\x00\x7f"):
        raise InvalidInput("An annotation's value holds a control character.", field=field)


@dataclass(frozen=True)
class ObjectNames:
    """What the objects of one deployment are called."""

    deployment: str

    @property
    def server(self) -> str:
        """The StatefulSet, its Service and its autoscaler."""
        return f"{self.deployment}-server"

    @property
    def server_headless(self) -> str:
        return f"{self.deployment}-server-pods"

    @property
    def chat(self) -> str:
        return f"{self.deployment}-chat"

    @property
    def shared_claim(self) -> str:
        return f"{self.deployment}-models"

    @property
    def access_code(self) -> str:
        return f"{self.deployment}-access-code"

    @property
    def registry(self) -> str:
        return f"{self.deployment}-registry"

    @property
    def apply_set(self) -> str:
        return f"{self.deployment}-pilothouse"

    def server_pod(self, ordinal: int) -> str:
        return f"{self.server}-{ordinal}"

    def template_claim(self, ordinal: int) -> str:
        """The claim that the StatefulSet's controller makes for one replica."""
        return f"{CLAIM_TEMPLATE}-{self.server_pod(ordinal)}"


CLAIM_TEMPLATE = "models"


@dataclass(frozen=True)
class ImageReference:
    """An image as a registry understands it. ``registry`` "" is Docker Hub, ``tag`` and ``digest``
    may be "", in which case the runtime takes "latest"."""

    registry: str
    repository: str
    tag: str
    digest: str

    def __str__(self) -> str:
        text = f"{self.registry}/{self.repository}" if self.registry else self.repository
        text += f":{self.tag}" if self.tag else ""
        return text + (f"@{self.digest}" if self.digest else "")

    def with_registry(self, registry: str) -> ImageReference:
        """The same image from another registry host (with an optional path, as mirrors have)."""
        return ImageReference(registry, self.repository, self.tag, self.digest)


_REGISTRY_HOST = re.compile(
    r"(?:[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)(?:\.[a-zA-Z0-9](?:[-a-zA-Z0-9]*[a-zA-Z0-9])?)*(?::[0-9]{1,5})?"
)
_PATH_PART = re.compile(r"[a-z0-9]+(?:(?:\.|_|__|-+)[a-z0-9]+)*")
_TAG = re.compile(r"[A-Za-z0-9_][A-Za-z0-9_.-]{0,127}")
_DIGEST = re.compile(r"sha256:[0-9a-f]{64}|sha512:[0-9a-f]{128}")


def parse_image(text: str, *, field: str = "") -> ImageReference:
    """Take an image reference apart, by the grammar of ``distribution/reference``.

    What the kubelet would answer with InvalidImageName is refused here, with the reason.
    """
    shown = f"“{text[:80]}”"
    if re.search(r"\s", text) or not text:
        raise InvalidInput(f"{shown} is not an image: it is empty or has blanks in it.", field=field)
    if "://" in text:
        raise InvalidInput(f"{shown} is not an image: leave out “{text.split('://')[0]}://”.", field=field)
    rest, at, digest = text.partition("@")
    if at and not _DIGEST.fullmatch(digest):
        raise InvalidInput(f"{shown} does not end in a digest such as sha256:… .", field=field)
    tag = ""
    if ":" in rest.rsplit("/", 1)[-1]:
        rest, _, tag = rest.rpartition(":")
        if not _TAG.fullmatch(tag):
            raise InvalidInput(f"“{tag}” is not a valid tag of an image.", field=field)
    registry, path = _split_registry(rest)
    if registry and not _REGISTRY_HOST.fullmatch(registry):
        raise InvalidInput(f"“{registry}” is not a registry's host.", field=field)
    for part in path.split("/"):
        if not _PATH_PART.fullmatch(part):
            hint = "; write it in lower case" if part.lower() != part else ""
            raise InvalidInput(f"“{part}” in {shown} is not valid in an image's name{hint}.", field=field)
    if len(rest) > 255:
        raise InvalidInput("The image's name is longer than 255 characters.", field=field)
    return ImageReference(registry, path, tag, digest)


def require_image_registry(text: str, *, field: str = "") -> str:
    """A registry host with an optional path, such as ``mirror.example.com:5000/hub``."""
    if "://" in text:
        raise InvalidInput(
            f"A registry is given without a scheme; leave out “{text.split('://')[0]}://”.", field=field
        )
    host, _, path = text.partition("/")
    good = _REGISTRY_HOST.fullmatch(host) and all(_PATH_PART.fullmatch(p) for p in path.split("/") if path)
    if not good:
        raise InvalidInput(f"“{text[:80]}” is not a registry's host.", field=field)
    return text


def _split_registry(rest: str) -> tuple[str, str]:
    # Docker's own rule: the first part is a host only if it looks like one.
    first, slash, path = rest.partition("/")
    if slash and ("." in first or ":" in first or first == "localhost" or first.lower() != first):
        return first, path
    return "", rest


def _require(text: str, pattern: re.Pattern[str], what: str, field: str, length: int, signs: str) -> None:
    if not text:
        raise InvalidInput(f"{what} is missing.", field=field)
    if len(text) > length:
        raise InvalidInput(f"{what} may have {length} characters; this one has {len(text)}.", field=field)
    if pattern.fullmatch(text):
        return
    lowered = text.lower().replace("_", "-").replace(" ", "-")
    remedy = f"“{lowered}” would do." if lowered != text and pattern.fullmatch(lowered) else ""
    raise InvalidInput(
        f"“{text[:80]}” cannot be used: {what[0].lower()}{what[1:]} has {signs}, "
        "and starts and ends with a letter or a digit.",
        field=field,
        remedy=remedy,
    )
