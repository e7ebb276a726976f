"""What the server says about itself: version, groups, resources, aggregated discovery.

Recorded transcripts 01 (version, health) and 02 (discovery).
"""

from __future__ import annotations

import hashlib
from functools import cache
from typing import Any

from sandbox import kinds
from sandbox.encoding import encode
from sandbox.kinds import KINDS, Kind

Object = dict[str, Any]

VERSION: Object = {
    "major": "1",
    "minor": "36",
    "emulationMajor": "1",
    "emulationMinor": "36",
    "minCompatibilityMajor": "1",
    "minCompatibilityMinor": "35",
    "gitVersion": "v1.36.2",
    "gitCommit": "simulated",
    "gitTreeState": "clean",
    "buildDate": "2026-01-01T00:00:00Z",
    "goVersion": "none",
    "compiler": "none",
    "platform": "simulated/practice-cluster",
}
CHECKS = {
    "healthz": ("ping", "log", "etcd"),
    "livez": ("ping", "log", "etcd"),
    "readyz": ("ping", "log", "informer-sync", "shutdown"),
}
AGGREGATED = "application/json;g=apidiscovery.k8s.io;v=v2;as=APIGroupDiscoveryList"


def api_versions(address: str) -> Object:
    return {
        "kind": "APIVersions",
        "versions": ["v1"],
        "serverAddressByClientCIDRs": [{"clientCIDR": "0.0.0.0/0", "serverAddress": address}],
    }


def _group_body(group: str) -> Object:
    versions = [
        {"groupVersion": f"{group}/{version}", "version": version} for version in kinds.versions(group)
    ]
    return {"name": group, "versions": versions, "preferredVersion": versions[0]}


@cache
def group_list() -> Object:
    return {
        "kind": "APIGroupList",
        "apiVersion": "v1",
        "groups": [_group_body(group) for group in kinds.groups()],
    }


def group(name: str) -> Object | None:
    if name not in kinds.groups():
        return None
    return {"kind": "APIGroup", "apiVersion": "v1", **_group_body(name)}


def _served(group: str, version: str) -> list[Kind]:
    return sorted(
        (kind for kind in KINDS if kind.group == group and kind.version == version),
        key=lambda kind: kind.plural,
    )


@cache
def resource_list(group: str, version: str) -> Object | None:
    """APIResourceList of one group and version; None if it is not served."""
    found = _served(group, version)
    if not found:
        return None
    resources: list[Object] = []
    for kind in found:
        entry: Object = {
            "name": kind.plural,
            "singularName": kind.singular,
            "namespaced": kind.namespaced,
            "kind": kind.kind,
            "verbs": list(kind.verbs),
        }
        if kind.short_names:
            entry["shortNames"] = list(kind.short_names)
        if kind.categories:
            entry["categories"] = list(kind.categories)
        if kind.storage_hash:
            entry["storageVersionHash"] = kind.storage_hash
        resources.append(entry)
        for sub in sorted(kind.subresources, key=lambda sub: sub.name):
            about: Object = {
                "name": f"{kind.plural}/{sub.name}",
                "singularName": "",
                "namespaced": kind.namespaced,
            }
            if sub.group:
                about |= {"group": sub.group, "version": sub.version}
            resources.append(about | {"kind": sub.kind, "verbs": list(sub.verbs)})
    version_text = f"{group}/{version}" if group else version
    body: Object = {"kind": "APIResourceList"}
    if group:
        body["apiVersion"] = "v1"
    return body | {"groupVersion": version_text, "resources": resources}


def _aggregate(kind: Kind) -> Object:
    def response(name: str, group: str = "", version: str = "") -> Object:
        return {"group": group, "version": version, "kind": name}

    entry: Object = {
        "resource": kind.plural,
        "responseKind": response(kind.kind),
        "scope": "Namespaced" if kind.namespaced else "Cluster",
        "singularResource": kind.singular,
        "verbs": list(kind.verbs),
    }
    if kind.short_names:
        entry["shortNames"] = list(kind.short_names)
    if kind.categories:
        entry["categories"] = list(kind.categories)
    if kind.subresources:
        entry["subresources"] = [
            {
                "subresource": sub.name,
                "responseKind": response(sub.kind, sub.group, sub.version),
                "verbs": list(sub.verbs),
            }
            for sub in sorted(kind.subresources, key=lambda sub: sub.name)
        ]
    return entry


@cache
def aggregated(core: bool) -> tuple[bytes, str]:
    """(body, ETag) of aggregated discovery v2 at /api (core) or /apis."""
    items: list[Object] = []
    for name in [""] if core else kinds.groups():
        versions = [
            {
                "version": version,
                "resources": [_aggregate(kind) for kind in _served(name, version)],
                "freshness": "Current",
            }
            for version in kinds.versions(name)
        ]
        items.append({"metadata": {"name": name} if name else {}, "versions": versions})
    body = encode(
        {
            "kind": "APIGroupDiscoveryList",
            "apiVersion": "apidiscovery.k8s.io/v2",
            "metadata": {},
            "items": items,
        }
    )
    return body + b"\n", '"' + hashlib.sha512(body).hexdigest().upper() + '"'


@cache
def root_paths() -> Object:
    paths = ["/api", "/api/v1", "/apis", "/apis/"]
    for name in sorted(kinds.groups()):
        paths.append(f"/apis/{name}")
        paths += [f"/apis/{name}/{version}" for version in kinds.versions(name)]
    for name, checks in CHECKS.items():
        paths += [f"/{name}", *(f"/{name}/{check}" for check in checks)]
    return {"paths": sorted([*paths, "/openapi/v3", "/openapi/v3/", "/version"])}


def health(path: str, verbose: bool) -> str | None:
    """The text of a health path, None if there is no such check."""
    name, _, check = path.strip("/").partition("/")
    if check:
        return "ok" if check in CHECKS[name] else None
    if not verbose:
        return "ok"
    lines = [f"[+]{entry} ok" for entry in CHECKS[name]]
    return "\n".join([*lines, f"{name} check passed", ""])
