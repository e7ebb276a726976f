"""A container of a StatefulSet mounts its claim templates without a volume of that name in the pod."""

from __future__ import annotations

from typing import Any

from tests.sandbox_server import running_sandbox


def stateful_set(mount: str) -> dict[str, Any]:
    container = {"name": "main", "image": "i", "volumeMounts": [{"name": mount, "mountPath": "/data"}]}
    claim = {"accessModes": ["ReadWriteOnce"], "resources": {"requests": {"storage": "1Gi"}}}
    return {
        "apiVersion": "apps/v1",
        "kind": "StatefulSet",
        "metadata": {"name": "db"},
        "spec": {
            "serviceName": "db",
            "selector": {"matchLabels": {"app": "db"}},
            "template": {"metadata": {"labels": {"app": "db"}}, "spec": {"containers": [container]}},
            "volumeClaimTemplates": [{"metadata": {"name": "data"}, "spec": claim}],
        },
    }


def test_mounts_of_claim_templates() -> None:
    with running_sandbox() as cluster:
        path = "/apis/apps/v1/namespaces/default/statefulsets"
        status, _, made = cluster.request("POST", path, stateful_set("data"))
        assert status == 201 and "volumes" not in made["spec"]["template"]["spec"]
