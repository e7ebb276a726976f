"""kubectl beside us: it works against the cluster, and what it owns we do not take."""

from __future__ import annotations

import json
import subprocess
import threading
from typing import Any

import pytest
import yaml

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient
from tests.contract.conftest import Kubectl
from tests.contract.support import config_map, covers, deployment, gone, pod, ref


def ok(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode == 0, done.stderr
    return done.stdout


def test_get_in_every_form(client: ClusterClient, kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcript 04 (get) and 11 (tables)."""
    client.apply(config_map(namespace, "one", a="1", b="2"))
    table = ok(kubectl("get", "configmaps", "-n", namespace)).splitlines()
    assert table[0].split() == ["NAME", "DATA", "AGE"]
    assert any(line.split()[:2] == ["one", "2"] for line in table[1:])
    assert json.loads(ok(kubectl("get", "cm", "one", "-n", namespace, "-o", "json")))["data"] == {
        "a": "1",
        "b": "2",
    }
    assert (
        yaml.safe_load(ok(kubectl("get", "cm", "one", "-n", namespace, "-o", "yaml")))["kind"] == "ConfigMap"
    )
    assert ok(kubectl("get", "cm", "one", "-n", namespace, "-o", "name")) == "configmap/one\n"
    missing = kubectl("get", "cm", "none", "-n", namespace)
    assert missing.returncode == 1
    assert missing.stderr == 'Error from server (NotFound): configmaps "none" not found\n'


@covers("apply")
def test_applying_over_ours_conflicts(client: ClusterClient, kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcripts 04 and 15: kubectl apply --server-side as its own manager conflicts with ours,
    until it is told to force; then we conflict with it by name."""
    client.apply(config_map(namespace, a="1"))
    theirs = yaml.safe_dump(config_map(namespace, a="2"))
    refused = kubectl("apply", "--server-side", "-f", "-", stdin=theirs)
    assert refused.returncode == 1
    assert 'Apply failed with 1 conflict: conflict with "pilothouse": .data.a' in refused.stderr
    ok(kubectl("apply", "--server-side", "--force-conflicts", "-f", "-", stdin=theirs))
    with pytest.raises(errors.FieldConflict) as caught:
        client.apply(config_map(namespace, a="1"))
    assert caught.value.conflicts == [("kubectl", ".data.a")]
    ok(kubectl("apply", "--server-side", "--field-manager=pilothouse", "--force-conflicts", "-f", "-",
               stdin=yaml.safe_dump(config_map(namespace, a="3"))))  # fmt: skip
    assert client.apply(config_map(namespace, a="4"))["data"] == {"a": "4"}


def test_apply_without_server_side(client: ClusterClient, kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcript 04: created, unchanged, configured; the manager is kubectl-client-side-apply."""
    manifest = deployment(namespace, replicas=0)
    assert "deployment.apps/web created" in ok(kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest)))
    assert "deployment.apps/web unchanged" in ok(kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest)))
    manifest["spec"]["template"]["spec"]["terminationGracePeriodSeconds"] = 5
    assert "deployment.apps/web configured" in ok(kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest)))
    managers = {entry["manager"] for entry in client.get(ref(manifest))["metadata"]["managedFields"]}
    assert "kubectl-client-side-apply" in managers


def test_create_describe_events_label_scale_delete(
    client: ClusterClient, kubectl: Kubectl, namespace: str
) -> None:
    """Recorded transcript 04 (create, label, describe, scale, rollout, delete)."""
    assert (
        ok(kubectl("create", "configmap", "made", "-n", namespace, "--from-literal=a=1"))
        == "configmap/made created\n"
    )
    assert ok(kubectl("label", "cm", "made", "-n", namespace, "x=y")) == "configmap/made labeled\n"
    assert "Name:         made" in ok(kubectl("describe", "cm", "made", "-n", namespace))
    web = client.apply(deployment(namespace, replicas=0))
    described = ok(kubectl("describe", "deployment", "web", "-n", namespace))
    assert "Replicas:" in described and "Conditions:" in described
    assert (
        ok(kubectl("scale", "deployment", "web", "-n", namespace, "--replicas=1"))
        == "deployment.apps/web scaled\n"
    )
    assert client.get(ref(web))["spec"]["replicas"] == 1
    client.create(pod(namespace))
    assert "Node:" in ok(kubectl("describe", "pod", "p", "-n", namespace))
    kubectl("events", "-n", namespace)
    # kubectl 1.34 and later say from which namespace.
    assert ok(kubectl("delete", "cm", "made", "-n", namespace)).startswith('configmap "made" deleted')
    assert gone(client, ref(config_map(namespace, "made")))


def test_auth_and_discovery(kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcript 04 (auth can-i, auth whoami, api-resources, version)."""
    assert ok(kubectl("auth", "can-i", "create", "deployments.apps", "-n", namespace)).strip() == "yes"
    assert "Username" in ok(kubectl("auth", "whoami"))
    resources = ok(kubectl("api-resources", "--no-headers"))
    for kind in (
        "ConfigMap",
        "Deployment",
        "StatefulSet",
        "Ingress",
        "NetworkPolicy",
        "HorizontalPodAutoscaler",
    ):
        assert f" {kind}\n" in resources
    assert "Server Version: v1." in ok(kubectl("version"))


def test_strict_validation(kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcript 04 and 08: an unknown field is refused by default."""
    manifest = deployment(namespace)
    manifest["spec"]["replikas"] = 1
    refused = kubectl("apply", "-f", "-", stdin=yaml.safe_dump(manifest))
    assert refused.returncode == 1 and 'unknown field "spec.replikas"' in refused.stderr


def test_watching(client: ClusterClient, kubectl_command: list[str], namespace: str) -> None:
    """Recorded transcript 04 (get -w): what is there, then each change, as it happens."""
    client.apply(config_map(namespace, "one"))
    command = [*kubectl_command, "get", "cm", "-n", namespace, "-w", "-o", "name"]
    process = subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    timer = threading.Timer(30, process.kill)
    timer.start()
    seen: list[str] = []
    try:
        assert process.stdout is not None
        for line in process.stdout:
            seen.append(line.strip())
            if line.strip() == "configmap/one":
                client.apply(config_map(namespace, "two"))
            if line.strip() == "configmap/two":
                break
    finally:
        timer.cancel()
        process.terminate()
        process.communicate(timeout=10)
    assert "configmap/one" in seen and seen[-1] == "configmap/two"


def test_delete_waits(client: ClusterClient, kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcript 04 (delete, wait): kubectl waits until the object is gone."""
    web = client.apply(deployment(namespace))
    ok(kubectl("delete", "deployment", "web", "-n", namespace, "--timeout=60s", seconds=90))
    assert gone(client, ref(web))


def test_diff_against_the_server(client: ClusterClient, kubectl: Kubectl, namespace: str) -> None:
    """Recorded transcript 04 (diff): a server-side dry run, exit 1 where something differs."""
    client.apply(config_map(namespace, a="1"))
    same: Any = yaml.safe_dump(config_map(namespace, a="1"))
    assert (
        kubectl("diff", "--server-side", "--field-manager=pilothouse", "-f", "-", stdin=same).returncode == 0
    )
    other = yaml.safe_dump(config_map(namespace, a="2"))
    done = kubectl("diff", "--server-side", "--field-manager=pilothouse", "-f", "-", stdin=other)
    assert done.returncode == 1 and '+  a: "2"' in done.stdout
    assert client.get(ref(config_map(namespace)))["data"] == {"a": "1"}
