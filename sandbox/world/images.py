"""Container images as the nodes see them: references, sizes, and why a pull fails.

Texts as containerd and the kubelet word them. Every well-formed image can be pulled, except those listed in `failure`.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

_COMPONENT = r"[a-z0-9]+(?:(?:[._]|__|[-]+)[a-z0-9]+)*"
_DOMAIN = r"(?:[A-Za-z0-9]|[A-Za-z0-9][A-Za-z0-9-]*[A-Za-z0-9])"
_HOST = rf"{_DOMAIN}(?:\.{_DOMAIN})*(?::[0-9]+)?"
_REFERENCE = re.compile(
    rf"(?P<name>(?:{_HOST}/)?{_COMPONENT}(?:/{_COMPONENT})*)"
    r"(?::(?P<tag>[\w][\w.-]{0,127}))?(?:@(?P<digest>[a-z0-9]+:[0-9a-f]{32,}))?",
    re.ASCII,
)
MB = 1_000_000
DEFAULT_BYTES = 60 * MB
# Compressed sizes, roughly as the registries show them.
_SIZES = (
    (re.compile(r"ollama.*rocm"), 3900 * MB),
    (re.compile(r"ollama"), 1650 * MB),
    (re.compile(r"chatgpt-next-web|nextchat"), 185 * MB),
    (re.compile(r"dcgm-exporter"), 420 * MB),
    (re.compile(r"device-metrics-exporter"), 310 * MB),
    (re.compile(r"pause"), 1 * MB),
    (re.compile(r"busybox"), 3 * MB),
)
_ABSENT = re.compile(r"no-such|does-not-exist|nonexistent|notfound|not-found")
_OLLAMA_TAG = re.compile(r"\d+\.\d+\.\d+(-rc\d+)?(-rocm|-vulkan)?|latest|rocm")
_NEXTCHAT_TAG = re.compile(r"v\d+\.\d+(\.\d+)?|latest|main")
UNREACHABLE_HOST = "unreachable.example"
PRIVATE_HOST = "private.example"


@dataclass(frozen=True, slots=True)
class Image:
    """A reference in full: `docker.io/ollama/ollama:0.9.6`. repository is the last part of the path."""

    text: str
    host: str
    path: str
    tag: str
    digest: str

    @property
    def full(self) -> str:
        name = f"{self.host}/{self.path}"
        return f"{name}@{self.digest}" if self.digest else f"{name}:{self.tag}"

    @property
    def repository(self) -> str:
        return self.path.rpartition("/")[2]

    @property
    def bytes(self) -> int:
        text = f"{self.path}:{self.tag}"
        return next((size for pattern, size in _SIZES if pattern.search(text)), DEFAULT_BYTES)


def parse(text: str) -> Image | None:
    """None for what is no image reference."""
    found = _REFERENCE.fullmatch(text)
    if found is None:
        return None
    name, tag, digest = found["name"], found["tag"] or "", found["digest"] or ""
    host, slash, path = name.partition("/")
    # A first part with capitals can only be a host (distribution/reference, splitDockerDomain).
    if not slash or not ("." in host or ":" in host or host == "localhost" or host.lower() != host):
        host, path = "docker.io", name if slash else f"library/{name}"
    return Image(text, host, path, tag or ("" if digest else "latest"), digest)


def failure(image: Image, has_secret: bool) -> str:
    """Why the image cannot be pulled, or an empty text. has_secret: the pod brings credentials."""
    head = f'failed to pull and unpack image "{image.full}": failed to resolve reference "{image.full}"'
    url = f"https://{image.host}/v2/{image.path}/manifests/{image.tag}"
    if image.host.startswith(UNREACHABLE_HOST):
        return f'{head}: failed to do request: Head "{url}": dial tcp: lookup {image.host}: no such host'
    if image.host.startswith(PRIVATE_HOST) and not has_secret:
        return f"{head}: unexpected status from HEAD request to {url}: 401 Unauthorized"
    if _ABSENT.search(image.path):
        return (
            f"{head}: pull access denied, repository does not exist or may require authorization: server message: "
            "insufficient_scope: authorization failed"
        )
    known = (
        _OLLAMA_TAG
        if image.repository == "ollama"
        else _NEXTCHAT_TAG
        if image.repository == "chatgpt-next-web"
        else None
    )
    if _ABSENT.search(image.tag) or (known is not None and image.tag and not known.fullmatch(image.tag)):
        return f"rpc error: code = NotFound desc = {head}: {image.full}: not found"
    return ""


def invalid_message(text: str) -> str:
    why = "repository name must be lowercase" if text.lower() != text else "invalid reference format"
    return f'Failed to apply default image tag "{text}": couldn\'t parse image name "{text}": {why}'
