from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from deployments.domain.spec import (
    AutoscalingSpec,
    ChatSpec,
    ImageSpec,
    IngressSpec,
    ModelSpec,
    ResourceSpec,
    Secrets,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
    Toleration,
)
from deployments.domain.validation import validate_secrets, validate_spec


def server(**values: Any) -> StackSpec:
    return StackSpec(server=ServerSpec(**values))


def node_affinity(expression: dict[str, Any]) -> dict[str, Any]:
    terms = {"nodeSelectorTerms": [{"matchExpressions": [expression]}]}
    return {"nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}}


RWO = StorageSpec(mode=StorageMode.EXISTING, claim_name="c")
HPA = AutoscalingSpec(enabled=True)

WRONG: list[tuple[StackSpec, str]] = [
    (StackSpec(model=ModelSpec(repository="a b")), "model.repository"),
    (StackSpec(model=ModelSpec(tag="")), "model.tag"),
    (StackSpec(model=ModelSpec(tag="20b-cloud")), "model.tag"),
    (StackSpec(model=ModelSpec(registry="registry.example.com")), "model.registry"),
    (StackSpec(model=ModelSpec(registry="http://h/n")), "model.registry"),
    (server(resources=ResourceSpec(memory_limit="8G i")), "server.resources.memory_limit"),
    (server(resources=ResourceSpec(cpu_request="-1")), "server.resources.cpu_request"),
    (server(resources=ResourceSpec(cpu_request="2", cpu_limit="1500m")), "server.resources.cpu_request"),
    (server(resources=ResourceSpec(memory_request="8")), "server.resources.memory_request"),
    (server(resources=ResourceSpec(memory_request="0")), "server.resources.memory_request"),
    (server(replicas=-1), "server.replicas"),
    (server(gpu_count=1), "server.gpu_vendor"),
    (server(image="Foo Bar"), "server.image"),
    (server(keep_alive="soon"), "server.keep_alive"),
    (server(keep_alive=""), "server.keep_alive"),
    (server(run_as_user=-1), "server.run_as_user"),
    (server(context_length=-1), "server.context_length"),
    (server(runtime_class="N V"), "server.runtime_class"),
    (server(node_selector={"a b": "c"}), "server.node_selector"),
    (server(node_selector={"a": "c d"}), "server.node_selector"),
    (server(tolerations=(Toleration(operator="Equal"),)), "server.tolerations.0"),
    (server(tolerations=(Toleration("k", "Exists", "v"),)), "server.tolerations.0"),
    (server(tolerations=(Toleration("k", effect="Never"),)), "server.tolerations.0"),
    (server(affinity={"nodeAfinity": {}}), "server.affinity"),
    (server(affinity=node_affinity({"key": "a", "operator": "In"})), "server.affinity."),
    (server(affinity=node_affinity({"key": "a", "operator": "Like", "values": ["x"]})), "server.affinity."),
    (server(affinity=node_affinity({"operator": "Exists"})), "server.affinity."),
    (server(affinity=node_affinity({"key": "a", "operator": "Gt", "values": ["-1"]})), "server.affinity."),
    (server(affinity=node_affinity({"key": "a b", "operator": "Exists"})), "server.affinity."),
    (
        server(
            affinity={
                "nodeAffinity": {
                    "preferredDuringSchedulingIgnoredDuringExecution": [
                        {
                            "weight": 1,
                            "preference": {
                                "matchExpressions": [{"key": "a", "operator": "In", "values": ["x y"]}]
                            },
                        }
                    ]
                }
            }
        ),
        "server.affinity.",
    ),
    (server(autoscaling=replace(HPA, min_replicas=4)), "server.autoscaling.min_replicas"),
    (server(autoscaling=replace(HPA, cpu_percent=0)), "server.autoscaling.cpu_percent"),
    (StackSpec(storage=RWO, server=ServerSpec(replicas=2)), "server.replicas"),
    (StackSpec(storage=RWO, server=ServerSpec(autoscaling=HPA)), "server.autoscaling.enabled"),
    (StackSpec(storage=StorageSpec(mode=StorageMode.EXISTING)), "storage.claim_name"),
    (StackSpec(storage=StorageSpec(size="0")), "storage.size"),
    (StackSpec(storage=StorageSpec(storage_class="Fast!")), "storage.storage_class"),
    (StackSpec(chat=ChatSpec(port=0)), "chat.port"),
    (StackSpec(chat=ChatSpec(resources=ResourceSpec())), "chat.resources.cpu_request"),
    (StackSpec(ingress=IngressSpec(host="https://a.b")), "ingress.host"),
    (StackSpec(ingress=IngressSpec(tls_secret="A")), "ingress.tls_secret"),
    (StackSpec(ingress=IngressSpec(annotations={"a b": ""})), "ingress.annotations"),
    (StackSpec(images=ImageSpec(registry="https://m")), "images.registry"),
    (StackSpec(images=ImageSpec(pull_policy="Sometimes")), "images.pull_policy"),
    (StackSpec(images=ImageSpec(pull_secrets=("ok", "No"))), "images.pull_secrets.1"),
    (StackSpec(images=ImageSpec(registry_username="a:b")), "images.registry_username"),
    (StackSpec(node_selector={"": "x"}), "node_selector"),
]


@pytest.mark.parametrize(("spec", "field"), WRONG, ids=[f"{n}-{f}" for n, (_, f) in enumerate(WRONG)])
def test_names_the_field_that_is_wrong(spec: StackSpec, field: str) -> None:
    errors = validate_spec(spec)
    assert errors and errors[0].field.startswith(field), [(e.field, e.sentence) for e in errors]


RIGHT: list[StackSpec] = [
    StackSpec(),
    StackSpec(storage=replace(RWO, claim_read_write_many=True), server=ServerSpec(replicas=3)),
    StackSpec(model=ModelSpec("m", "t", "host:5000/ns", insecure=True)),
    *(server(keep_alive=text) for text in ("-1", "0", "3600", "1h30m", "-1m", "1.5h")),
    server(affinity=node_affinity({"key": "a", "operator": "Gt", "values": ["5"]}), replicas=0),
    server(
        tolerations=(Toleration(operator="Exists"), Toleration("nvidia.com/gpu", "Equal", "", "NoSchedule"))
    ),
]


@pytest.mark.parametrize("spec", RIGHT)
def test_takes_what_is_right(spec: StackSpec) -> None:
    assert validate_spec(spec) == []


def test_a_hostile_affinity_costs_nothing() -> None:
    deep: dict[str, Any] = {}
    for _ in range(500):
        deep = {"nodeAffinity": deep}
    assert validate_spec(server(affinity=deep))


def test_secrets() -> None:
    spec = StackSpec(chat=ChatSpec(has_access_code=True), images=ImageSpec(registry_username="u"))
    assert [e.field for e in validate_secrets(spec, Secrets())] == [
        "chat.access_code",
        "images.registry_password",
    ]
    assert validate_secrets(spec, Secrets("code", "pass")) == []
    assert validate_secrets(spec, Secrets("a,b", "pass"))
