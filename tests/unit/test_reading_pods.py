"""What is kept of a pod's setup: enough for its page, bounded, and no value of the environment."""

from __future__ import annotations

import json
from typing import Any

from deployments.observer.reading import DEPLOYMENT_LABEL, POD, read
from deployments.observer.reading_pods import MAX_ENV, setup
from deployments.observer.trimming import MAX_ITEMS

OURS = {DEPLOYMENT_LABEL: "b6a1d3c2-0000-4000-8000-000000000001"}


def pod(labels: dict[str, str] | None = None, **spec: Any) -> dict[str, Any]:
    meta = {"name": "r1-server-0", "namespace": "llm", "uid": "u", "labels": labels or {}}
    return {"metadata": meta, "spec": spec, "status": {"phase": "Running", "qosClass": "Burstable"}}


def test_how_a_pod_is_set_up() -> None:
    found = setup(
        pod(
            serviceAccountName="default",
            restartPolicy="Always",
            nodeSelector={"gpu": "l40s"},
            tolerations=[{"key": "nvidia.com/gpu", "operator": "Exists", "effect": "NoSchedule"}],
            volumes=[
                {"name": "models", "persistentVolumeClaim": {"claimName": "m-0", "readOnly": True}},
                {"name": "code", "secret": {"secretName": "r1-access-code"}},
                {"name": "tmp", "emptyDir": {"sizeLimit": "1Gi"}},
                {"name": "odd", "vendorThing": {"x": 1}},
            ],
            initContainers=[{"name": "fix", "image": "busybox:1.36"}],
            containers=[
                {
                    "name": "ollama",
                    "image": "ollama/ollama:0.9.6",
                    "env": [{"name": "OLLAMA_HOST", "value": "s3cret"}],
                    "envFrom": [{"secretRef": {"name": "pull"}}, {"configMapRef": {"name": "more"}}],
                    "resources": {"requests": {"cpu": "2"}, "limits": {"nvidia.com/gpu": "1"}},
                    "volumeMounts": [{"name": "models", "mountPath": "/root/.ollama", "readOnly": True}],
                }
            ],
        )
    )
    assert found["qosClass"] == "Burstable" and found["nodeSelector"] == {"gpu": "l40s"}
    assert [(volume["kind"], volume["source"]) for volume in found["volumes"]] == [
        ("persistentVolumeClaim", "m-0"),
        ("secret", "r1-access-code"),
        ("emptyDir", ""),
        ("vendorThing", ""),
    ]
    assert found["volumes"][0]["readOnly"] and found["volumes"][2]["size"] == "1Gi"
    assert found["tolerations"][0]["key"] == "nvidia.com/gpu" and found["tolerations"][0]["seconds"] is None
    init, server = found["setups"]
    assert (init["name"], init["init"], server["init"]) == ("fix", True, False)
    assert server["env"] == ["OLLAMA_HOST"] and server["envFrom"] == ["pull", "more"]
    assert server["limits"] == {"nvidia.com/gpu": "1"} and server["mounts"][0]["path"] == "/root/.ollama"
    assert "s3cret" not in json.dumps(found)


def test_whatever_comes_is_bounded() -> None:
    wide = {"name": "x" * 9999, "value": "y" * 99999}
    found = setup(
        pod(
            containers=[{"env": [wide] * 999, "volumeMounts": [wide] * 999}] * 99,
            volumes=[wide] * 999,
            tolerations=[wide, "no", None] * 999,
            nodeSelector={str(n): "v" for n in range(999)},
        )
    )
    assert len(found["setups"]) == len(found["volumes"]) == MAX_ITEMS
    assert len(found["setups"][0]["env"]) == MAX_ENV and len(found["nodeSelector"]) == 16
    for wrong in ({}, {"spec": None}, {"spec": {"containers": "x", "volumes": {}, "nodeSelector": []}}):
        assert setup(wrong)["setups"] == []


def test_only_pods_of_deployments_keep_it() -> None:
    ours, other = read(POD, pod(OURS)), read(POD, pod())
    assert ours is not None and ours.data["qosClass"] == "Burstable"
    assert other is not None and "qosClass" not in other.data
