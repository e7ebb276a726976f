"""The table of fields and the OpenAPI documents made from it (recorded transcript 03)."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import pytest

from sandbox import schema
from sandbox.kinds import KINDS, by_name


def test_every_served_kind_and_sub_resource_is_in_the_table() -> None:
    for kind in KINDS:
        assert schema.struct_of(kind).fields["metadata"].type.name == "meta.v1.ObjectMeta"
    for name in (
        "autoscaling.v1.Scale",
        "policy.v1.Eviction",
        "meta.v1.DeleteOptions",
        "meta.v1.Status",
        "authentication.v1.TokenRequest",
    ):
        assert name in schema.structs()


def test_every_type_that_is_spoken_of_exists() -> None:
    for struct in schema.structs().values():
        for field in struct.fields.values():
            inner: schema.Type | None = field.type
            while inner is not None:
                if inner.form == "struct":
                    assert inner.name in schema.structs(), f"{struct.name}.{field.name}"
                if inner.form == "listmap":
                    assert set(inner.keys) <= set(inner.of.struct.fields)
                inner = inner.element


def test_the_table_stays_small() -> None:
    assert Path(schema.__file__).with_name("fields.json").stat().st_size < 200_000


@pytest.mark.parametrize(
    ("owner", "field", "form", "keys", "strategy", "merge_key"),
    [
        ("core.v1.PodSpec", "containers", "listmap", ("name",), ("merge",), "name"),
        ("core.v1.Container", "ports", "listmap", ("containerPort", "protocol"), ("merge",), "containerPort"),
        ("core.v1.Container", "args", "list", (), (), ""),
        ("core.v1.ServiceSpec", "ports", "listmap", ("port", "protocol"), ("merge",), "port"),
        ("core.v1.PodSpec", "volumes", "listmap", ("name",), ("merge", "retainKeys"), "name"),
        ("core.v1.PodSpec", "tolerations", "list", (), (), ""),
        ("meta.v1.ObjectMeta", "finalizers", "set", (), ("merge",), ""),
        ("apps.v1.DeploymentStatus", "conditions", "listmap", ("type",), ("merge",), "type"),
        ("networking.v1.IngressSpec", "rules", "list", (), (), ""),
    ],
)
def test_how_lists_merge(
    owner: str, field: str, form: str, keys: tuple[str, ...], strategy: tuple[str, ...], merge_key: str
) -> None:
    """Transcripts 14 and 15."""
    found = schema.structs()[owner].fields[field]
    assert (found.type.form, found.type.keys, found.strategy, found.merge_key) == (
        form,
        keys,
        strategy,
        merge_key,
    )


def test_what_is_owned_as_a_whole() -> None:
    structs = schema.structs()
    assert structs["meta.v1.LabelSelector"].atomic
    assert structs["core.v1.ServiceSpec"].fields["selector"].type.atomic
    assert structs["core.v1.PodSpec"].fields["nodeSelector"].type.atomic
    assert not structs["meta.v1.ObjectMeta"].fields["labels"].type.atomic


def test_the_index_names_a_document_for_every_group_version() -> None:
    paths = schema.openapi_v3_index()["paths"]
    assert {"api/v1", "apis/apps/v1", "apis/networking.k8s.io/v1", "apis/autoscaling/v2"} <= set(paths)
    for name, entry in paths.items():
        found = re.fullmatch(r"/openapi/v3/(.+)\?hash=([0-9A-F]{128})", entry["serverRelativeURL"])
        assert found is not None
        assert (found[1], found[2]) == (name, schema.openapi_v3_hash(name))
    with pytest.raises(KeyError):
        schema.openapi_v3("apis/apps/v9")


def _references(value: Any) -> set[str]:
    if isinstance(value, dict):
        inner: set[str] = set().union(*(_references(item) for item in value.values())) if value else set()
        return inner | ({value["$ref"]} if isinstance(value.get("$ref"), str) else set())
    if isinstance(value, list):
        return set().union(*(_references(item) for item in value)) if value else set()
    return set()


def test_documents_are_whole_and_carry_what_kubectl_reads() -> None:
    """Transcript 03: the shape of one document; kubectl wants `fieldValidation` among the parameters of a patch."""
    for name in schema.openapi_v3_index()["paths"]:
        document = schema.openapi_v3(name)
        known = {f"#/components/schemas/{key}" for key in document["components"]["schemas"]}
        assert _references(document) <= known
    document = schema.openapi_v3("apis/apps/v1")
    patch = document["paths"]["/apis/apps/v1/namespaces/{namespace}/deployments/{name}"]["patch"]
    assert patch["x-kubernetes-group-version-kind"] == {
        "group": "apps",
        "version": "v1",
        "kind": "Deployment",
    }
    assert [parameter["name"] for parameter in patch["parameters"]] == [
        "dryRun",
        "fieldManager",
        "fieldValidation",
        "force",
    ]
    components = document["components"]["schemas"]
    deployment = components["io.k8s.api.apps.v1.Deployment"]
    assert deployment["x-kubernetes-group-version-kind"] == [
        {"group": "apps", "kind": "Deployment", "version": "v1"}
    ]
    ports = components["io.k8s.api.core.v1.Container"]["properties"]["ports"]
    assert ports == {
        "type": "array",
        "items": {"$ref": "#/components/schemas/io.k8s.api.core.v1.ContainerPort"},
        "x-kubernetes-list-map-keys": ["containerPort", "protocol"],
        "x-kubernetes-list-type": "map",
        "x-kubernetes-patch-merge-key": "containerPort",
        "x-kubernetes-patch-strategy": "merge",
    }


def test_keys_that_may_be_left_out() -> None:
    """Transcript 15: protocol counts as TCP, an absent name as empty."""
    containers = schema.structs()["core.v1.PodSpec"].fields["containers"].type
    ports = containers.of.struct.fields["ports"].type
    assert schema.key_default(ports.of, "protocol") == "TCP"
    assert schema.key_default(ports.of, "containerPort") == 0
    assert schema.key_default(containers.of, "name") == ""
    assert schema.type_of(by_name("Pod")).struct.go_name == "Pod"
