"""Secrets that Pilothouse makes: the chat's access code and the registry's credentials."""

from __future__ import annotations

import base64
import json

from deployments.domain.errors import InvalidInput
from deployments.manifests.labels import CREDENTIALS, metadata
from deployments.manifests.types import Manifest, RenderInput

ACCESS_CODE_KEY = "code"
_DOCKER_CONFIG_KEY = ".dockerconfigjson"
# Docker Hub is known to the runtimes under this one name
_DOCKER_HUB = "https://index.docker.io/v1/"


def access_code_secret(stack: RenderInput) -> Manifest:
    if not stack.secrets.access_code:
        raise InvalidInput("The access code is missing.", field="chat.access_code")
    return _secret(stack, stack.names.access_code, "Opaque", ACCESS_CODE_KEY, stack.secrets.access_code)


def registry_secret(stack: RenderInput) -> Manifest:
    """Credentials for the images' registry, in the form that the kubelet reads."""
    user, password = stack.spec.images.registry_username, stack.secrets.registry_password
    if not password:
        raise InvalidInput("The password for the registry is missing.", field="images.registry_password")
    host = stack.spec.images.registry.split("/")[0] or _DOCKER_HUB
    entry = {"username": user, "password": password, "auth": _base64(f"{user}:{password}")}
    config = json.dumps({"auths": {host: entry}}, sort_keys=True)
    kind = "kubernetes.io/dockerconfigjson"
    return _secret(stack, stack.names.registry, kind, _DOCKER_CONFIG_KEY, config)


def _secret(stack: RenderInput, name: str, kind: str, key: str, value: str) -> Manifest:
    # "data", not "stringData": the latter is write-only, and server-side apply then owns a field
    # that no later read shows
    return {
        "apiVersion": "v1",
        "kind": "Secret",
        "metadata": metadata(stack, name, CREDENTIALS),
        "type": kind,
        "data": {key: _base64(value)},
    }


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
