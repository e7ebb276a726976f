"""Rebuild `fields.json`, the table of field names, types and list keys of the Kubernetes API.

Usage: python -m sandbox.fields_from_schemas SCHEMAS API_SOURCE > sandbox/fields.json

SCHEMAS is the directory of one release in the package `kubernetes-validate` (it holds `_definitions.json`);
API_SOURCE is a checkout of the Go module k8s.io/api of the same release. The schemas know names, types and merge
keys; only the Go structs know which fields are pointers and which are written even when they are empty.
Only bare facts are taken over, no descriptions. The notation is explained in `schema.py`.
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

KINDS = [
    "core.v1.Namespace",
    "core.v1.Node",
    "core.v1.Pod",
    "core.v1.Service",
    "core.v1.Endpoints",
    "core.v1.ConfigMap",
    "core.v1.Secret",
    "core.v1.ServiceAccount",
    "core.v1.PersistentVolumeClaim",
    "core.v1.PersistentVolume",
    "core.v1.Event",
    "core.v1.Binding",
    "core.v1.ResourceQuota",
    "core.v1.LimitRange",
    "discovery.v1.EndpointSlice",
    "events.v1.Event",
    "apps.v1.Deployment",
    "apps.v1.ReplicaSet",
    "apps.v1.StatefulSet",
    "apps.v1.DaemonSet",
    "autoscaling.v1.Scale",
    "autoscaling.v2.HorizontalPodAutoscaler",
    "networking.v1.Ingress",
    "networking.v1.IngressClass",
    "networking.v1.NetworkPolicy",
    "storage.v1.StorageClass",
    "rbac.v1.Role",
    "rbac.v1.ClusterRole",
    "rbac.v1.RoleBinding",
    "rbac.v1.ClusterRoleBinding",
    "coordination.v1.Lease",
    "scheduling.v1.PriorityClass",
    "policy.v1.PodDisruptionBudget",
    "policy.v1.Eviction",
    "node.v1.RuntimeClass",
    "authorization.v1.SelfSubjectAccessReview",
    "authorization.v1.SelfSubjectRulesReview",
    "authentication.v1.SelfSubjectReview",
    "authentication.v1.TokenRequest",
    "meta.v1.DeleteOptions",
    "meta.v1.Status",
]

# meta/v1 lives in another Go module (k8s.io/apimachinery); its few pointers are written down here.
META_POINTERS = {
    "meta.v1.ObjectMeta.deletionGracePeriodSeconds",
    "meta.v1.ObjectMeta.deletionTimestamp",
    "meta.v1.OwnerReference.controller",
    "meta.v1.OwnerReference.blockOwnerDeletion",
    "meta.v1.DeleteOptions.gracePeriodSeconds",
    "meta.v1.DeleteOptions.preconditions",
    "meta.v1.DeleteOptions.orphanDependents",
    "meta.v1.DeleteOptions.propagationPolicy",
    "meta.v1.DeleteOptions.ignoreStoreReadErrorWithClusterBreakingPotential",
    "meta.v1.ListMeta.remainingItemCount",
    "meta.v1.Preconditions.uid",
    "meta.v1.Preconditions.resourceVersion",
    "meta.v1.ManagedFieldsEntry.time",
    "meta.v1.ManagedFieldsEntry.fieldsV1",
    "meta.v1.Status.details",
}
SCALARS = {
    "api.resource.Quantity": "quantity",
    "util.intstr.IntOrString": "intorstring",
    "meta.v1.Time": "time",
    "meta.v1.MicroTime": "microtime",
    "meta.v1.FieldsV1": "any",
    "runtime.RawExtension": "any",
}
# Embedded Go structs whose fields appear in the outer type.
EMBEDDED = {
    "core.v1.EphemeralContainer": "core.v1.EphemeralContainerCommon",
    "core.v1.PersistentVolumeSpec": "core.v1.PersistentVolumeSource",
    "core.v1.Probe": "core.v1.ProbeHandler",
    "core.v1.Volume": "core.v1.VolumeSource",
}
# Go structs that are written even when they hold their zero value, in spite of `omitempty`.
NEVER_EMPTY = ("metav1.Time", "metav1.MicroTime", "resource.Quantity", "intstr.IntOrString")
EMBEDDED_REFERENCE = "core.v1.LocalObjectReference"
GoField = tuple[str, bool]


def short(name: str) -> str:
    """io.k8s.api.core.v1.Pod -> core.v1.Pod; io.k8s.apimachinery.pkg.apis.meta.v1.Time -> meta.v1.Time."""
    for prefix in ("io.k8s.apimachinery.pkg.apis.", "io.k8s.apimachinery.pkg.", "io.k8s.api."):
        if name.startswith(prefix):
            return name[len(prefix) :]
    return name


def go_facts(source: Path) -> tuple[dict[str, dict[str, GoField]], dict[str, str]]:
    """Read every types.go: ({struct: {json name: (Go type, omitempty)}}, {named scalar: its Go type})."""
    structs: dict[str, dict[str, GoField]] = {}
    named: dict[str, str] = {}
    for path in sorted(source.glob("*/v*/types.go")):
        package = f"{path.parent.parent.name}.{path.parent.name}"
        current: dict[str, GoField] | None = None
        for line in path.read_text().splitlines():
            if found := re.match(r"type (\w+) struct \{", line):
                current = structs.setdefault(f"{package}.{found[1]}", {})
            elif found := re.match(r"type (\w+) (string|int32|bool)\b", line):
                named[f"{package}.{found[1]}"] = found[2]
            elif line.startswith("}"):
                current = None
            elif current is not None and (found := re.match(r'\s+(?:\w+\s+)?(\S+)\s+`json:"([^"]*)"', line)):
                name, _, options = found[2].partition(",")
                droppable = "omitempty" in options and found[1] not in NEVER_EMPTY
                current[name] = (found[1], droppable or "omitzero" in options)
    for outer, inner in EMBEDDED.items():
        structs[outer].update(structs[inner])
    return structs, named


def type_of(schema: dict[str, Any], go: str | None, package: str, named: dict[str, str]) -> str:
    if "$ref" in schema:
        name = short(schema["$ref"].rsplit("/", 1)[1])
        return SCALARS.get(name, name)
    kinds = schema["type"] if isinstance(schema["type"], list) else [schema["type"]]
    kind = next(k for k in kinds if k != "null")
    element = re.sub(r"^\*?(\[\]|map\[\w+\])", "", go) if go else None
    if kind == "array":
        keys = schema.get("x-kubernetes-list-map-keys")
        mark = ",".join(keys) if keys else {"set": "set"}.get(schema.get("x-kubernetes-list-type", ""), "")
        return f"[{mark}]{'bytes' if go == '[]byte' else type_of(schema['items'], element, package, named)}"
    if kind == "object":
        mark = "atomic" if schema.get("x-kubernetes-map-type") == "atomic" else ""
        values = schema.get("additionalProperties")
        return f"{{{mark}}}{type_of(values, element, package, named)}" if values else "any"
    if kind == "boolean":
        return "bool"
    if kind == "integer":
        return str(schema.get("format", "int64"))
    if kind == "number":
        return "double"
    if go in ("[]byte", "byte") or schema.get("format") == "byte":
        return "bytes"
    bare = (element or "").lstrip("*")
    qualified = {"v1.": "core.v1.", "metav1.": "meta.v1."}
    for prefix, full in qualified.items():
        if bare.startswith(prefix):
            bare = full + bare[len(prefix) :]
            break
    else:
        bare = f"{package}.{bare}"
    return f"string:{bare.rsplit('.', 1)[1]}" if bare in named else "string"


def field(
    schema: dict[str, Any],
    required: bool,
    go: GoField | None,
    pointer: bool,
    package: str,
    named: dict[str, str],
) -> str:
    text = type_of(schema, go[0] if go else None, package, named)
    flags = ["!"] if required else []
    if pointer or (go and go[0].startswith("*")):
        flags.append("*")
    elif (go and not go[1]) or (not go and required and package == "meta.v1"):
        flags.append("=")
    if schema.get("x-kubernetes-map-type") == "atomic" and "$ref" in schema:
        flags.append("^")
    strategy, key = schema.get("x-kubernetes-patch-strategy"), schema.get("x-kubernetes-patch-merge-key")
    if strategy:
        flags.append(f"~{strategy}" + (f"/{key}" if key else ""))
    return " ".join([text, *flags])


def build(schemas: Path, source: Path) -> dict[str, dict[str, Any]]:
    definitions = {
        short(name): body
        for name, body in json.loads((schemas / "_definitions.json").read_text())["$defs"].items()
    }
    structs, named = go_facts(source)
    for outer, fields in structs.items():
        if (
            outer.endswith(("KeySelector", "EnvSource", "Projection", "ConfigMapVolumeSource"))
            and "name" not in fields
        ):
            fields["name"] = structs[EMBEDDED_REFERENCE]["name"]
    types: dict[str, dict[str, Any]] = {}
    waiting = list(KINDS)
    while waiting:
        name = waiting.pop()
        if name in types or name in SCALARS:
            continue
        body = definitions[name]
        package = name.rsplit(".", 1)[0]
        required = set(body.get("required", ()))
        entry: dict[str, Any] = {}
        if body.get("x-kubernetes-map-type") == "atomic":
            entry["@atomic"] = True
        if gvk := body.get("x-kubernetes-group-version-kind"):
            # DeleteOptions is registered in every group: the core one stands for all of them.
            entry["@gvk"] = [gvk[0]["group"], gvk[0]["version"], gvk[0]["kind"]]
        for key, schema in sorted(body.get("properties", {}).items()):
            go = structs.get(name, {}).get(key)
            entry[key] = field(schema, key in required, go, f"{name}.{key}" in META_POINTERS, package, named)
        types[name] = entry
        waiting += [short(ref) for ref in re.findall(r'"#/\$defs/([^"]+)"', json.dumps(body))]
    return dict(sorted(types.items()))


def main() -> None:
    if len(sys.argv) != 3:
        sys.exit(__doc__)
    schemas = Path(sys.argv[1])
    found = re.search(r"v(\d+\.\d+)", schemas.name)
    types = build(schemas, Path(sys.argv[2]))
    lines = [f"  {json.dumps(name)}: {json.dumps(body)}" for name, body in types.items()]
    sys.stdout.write(
        '{{"release": {},\n "types": {{\n{}\n }}}}\n'.format(
            json.dumps(found[1] if found else ""), ",\n".join(lines)
        )
    )


if __name__ == "__main__":
    main()
