"""Everyday kubectl against the bare API (recorded transcript 04). Skipped without kubectl 1.28 or later on the PATH."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.sandbox_server import RunningSandbox

MANIFEST = """
apiVersion: apps/v1
kind: Deployment
metadata: {name: web, labels: {app: web}}
spec:
  replicas: 2
  selector: {matchLabels: {app: web}}
  template:
    metadata: {labels: {app: web}}
    spec:
      containers:
      - {name: main, image: "example/app:1", ports: [{containerPort: 80}]}
---
apiVersion: v1
kind: ConfigMap
metadata: {name: c}
data: {a: "b"}
"""
Kubectl = Callable[..., str]


def _version() -> tuple[int, int]:
    if shutil.which("kubectl") is None:
        return 0, 0
    text = subprocess.run(
        ["kubectl", "version", "--client", "-o", "json"], capture_output=True, text=True, check=False
    )
    found = json.loads(text.stdout or "{}").get("clientVersion", {})
    return int(found.get("major") or 0), int("".join(c for c in found.get("minor", "0") if c.isdigit()) or 0)


pytestmark = pytest.mark.skipif(_version() < (1, 28), reason="SKIPPED: no kubectl 1.28 or later on the PATH")


@pytest.fixture
def kubectl(cluster: RunningSandbox, namespace: str, tmp_path: Path) -> Kubectl:
    """Runs kubectl in the test's namespace; fails on another exit code than the expected one."""
    (tmp_path / "m.yaml").write_text(MANIFEST)
    # A home of its own: kubectl caches discovery by address, and addresses come again.
    environment = {
        "KUBECONFIG": str(cluster.kubeconfig_path),
        "HOME": str(tmp_path),
        "PATH": os.environ["PATH"],
    }

    def run(*arguments: str, exit_code: int = 0) -> str:
        done = subprocess.run(
            ["kubectl", "-n", namespace, *arguments],
            capture_output=True,
            text=True,
            timeout=30,
            check=False,
            cwd=tmp_path,
            env=environment,
        )
        assert done.returncode == exit_code, done.stdout + done.stderr
        return done.stdout + done.stderr

    return run


def test_apply_look_change_delete(kubectl: Kubectl) -> None:
    assert "deployment.apps/web serverside-applied" in kubectl("apply", "--server-side", "-f", "m.yaml")
    assert kubectl("diff", "--server-side", "-f", "m.yaml") == ""
    assert "0/2" in kubectl("get", "deploy,cm")
    assert "example/app:1" in kubectl("get", "deploy", "web", "-o", "wide")
    assert "deployment.apps/web scaled" in kubectl("scale", "deploy/web", "--replicas=5")
    assert kubectl("get", "deploy", "web", "-o", "jsonpath={.spec.replicas} {.metadata.generation}") == "5 2"
    conflict = kubectl("apply", "--server-side", "--field-manager=other", "-f", "m.yaml", exit_code=1)
    assert 'conflict with "kubectl" with subresource "scale" using apps/v1: .spec.replicas' in conflict
    dry = kubectl(
        "apply",
        "--server-side",
        "--force-conflicts",
        "--field-manager=other",
        "--dry-run=server",
        "-f",
        "m.yaml",
    )
    assert "(server dry run)" in dry
    assert "labeled" in kubectl("label", "deploy", "web", "x=y")
    assert "Replicas:" in kubectl("describe", "deploy", "web")
    assert "restarted" in kubectl("rollout", "restart", "deploy/web")
    assert "deleted" in kubectl("delete", "-f", "m.yaml")
    assert "No resources found" in kubectl("get", "deploy")


def test_client_side_apply_and_create(kubectl: Kubectl) -> None:
    assert "deployment.apps/web created" in kubectl("apply", "-f", "m.yaml")
    assert "deployment.apps/web unchanged" in kubectl("apply", "-f", "m.yaml")
    assert "configmap/k created" in kubectl("create", "configmap", "k", "--from-literal=a=中文")
    assert kubectl("get", "cm", "k", "-o", "jsonpath={.data.a}") == "中文"
    assert "secret/s created" in kubectl("create", "secret", "generic", "s", "--from-literal=p=q")
    assert kubectl("create", "token", "default").count(".") == 2


def test_rights_resources_and_explanations(kubectl: Kubectl) -> None:
    assert kubectl("auth", "can-i", "list", "pods").strip() == "yes"
    assert "no" in kubectl("auth", "can-i", "list", "pods", "--as=jane", exit_code=1)
    assert "kubernetes-admin" in kubectl("auth", "whoami")
    assert "deployments" in kubectl("api-resources", "--api-group=apps")
    assert "rollingUpdate" in kubectl("explain", "deployment.spec.strategy")
    assert kubectl("get", "--raw", "/readyz") == "ok"


def test_what_is_not_there(kubectl: Kubectl) -> None:
    assert 'pods "none" not found' in kubectl("get", "pod", "none", exit_code=1)
    assert 'doesn\'t have a resource type "nothing"' in kubectl("get", "nothing", exit_code=1)
    assert kubectl("delete", "cm", "none", "--ignore-not-found") == ""


def test_pages_and_watches(kubectl: Kubectl) -> None:
    for number in range(3):
        kubectl("create", "configmap", f"c{number}")
    assert kubectl("get", "cm", "--chunk-size=1", "-o", "name").split() == [
        "configmap/c0",
        "configmap/c1",
        "configmap/c2",
        "configmap/kube-root-ca.crt",
    ]
    waited = kubectl("wait", "--for=jsonpath={.metadata.name}=c0", "cm/c0", "--timeout=5s")
    assert "condition met" in waited
