"""What a program can check of the files that run Pilothouse elsewhere, and of the start script."""

from __future__ import annotations

import ast
import json
import os
import re
import shutil
import subprocess
import sys
from itertools import product
from pathlib import Path
from typing import Any

import pytest
import yaml

from dashboard import fetch_assets
from dashboard.environment import MAX_SOCKET_PATH, Environment, socket_path
from dashboard.hosts import is_chat_host
from deployments.domain.rights import HELPFUL_RIGHTS, NAMESPACE_RIGHTS, RIGHTS, Right

ROOT = Path(__file__).resolve().parents[2]
Grant = tuple[str, str, str]  # group, resource with its subresource, verb


def documents(name: str) -> list[dict[str, Any]]:
    return [each for each in yaml.safe_load_all((ROOT / name).read_text()) if each]


def granted(role: str) -> set[Grant]:
    found = [
        each
        for each in documents("deploy/rbac.yaml")
        if each["kind"] == "ClusterRole" and each["metadata"]["name"] == role
    ]
    assert len(found) == 1
    grants: set[Grant] = set()
    for rule in found[0]["rules"]:
        assert set(rule) == {"apiGroups", "resources", "verbs"}
        grants |= set(product(rule["apiGroups"], rule["resources"], rule["verbs"]))
    return grants


def asked(rights: tuple[Right, ...], *, cluster_wide: bool) -> set[Grant]:
    return {
        (
            right.group,
            f"{right.resource}/{right.subresource}" if right.subresource else right.resource,
            right.verb,
        )
        for right in rights
        if right.cluster_wide is cluster_wide
    }


def test_the_roles_grant_exactly_what_preflight_asks_for() -> None:
    assert granted("pilothouse-install") == asked(RIGHTS, cluster_wide=False)
    assert granted("pilothouse-look") == asked((*RIGHTS, *HELPFUL_RIGHTS), cluster_wide=True)
    assert granted("pilothouse-namespaces") == asked(NAMESPACE_RIGHTS, cluster_wide=True)


def test_every_role_is_bound_to_the_account() -> None:
    everything = documents("deploy/rbac.yaml")
    roles = {each["metadata"]["name"] for each in everything if each["kind"] == "ClusterRole"}
    bindings = [each for each in everything if each["kind"] == "ClusterRoleBinding"]
    assert {each["roleRef"]["name"] for each in bindings} == roles
    assert {
        (subject["kind"], subject["namespace"], subject["name"])
        for each in bindings
        for subject in each["subjects"]
    } == {("ServiceAccount", "pilothouse-access", "pilothouse")}


def pods() -> dict[str, dict[str, Any]]:
    return {
        each["metadata"]["name"]: each["spec"]["template"]["spec"]
        for each in documents("deploy/pilothouse.yaml")
        if each["kind"] in {"Deployment", "Job"}
    }


def test_on_a_cluster_every_process_runs_twice_without_privileges() -> None:
    replicas = {
        each["metadata"]["name"]: each["spec"]["replicas"]
        for each in documents("deploy/pilothouse.yaml")
        if each["kind"] == "Deployment"
    }
    assert set(replicas) == {"web", "worker", "pull-worker", "observer"}
    assert min(replicas.values()) >= 2
    for pod in pods().values():
        assert pod["securityContext"]["runAsNonRoot"] is True
        assert pod["automountServiceAccountToken"] is False
        for container in pod["containers"]:
            assert container["securityContext"]["readOnlyRootFilesystem"] is True
            assert container["securityContext"]["allowPrivilegeEscalation"] is False
            assert container["resources"]["limits"]["memory"]
            mounted = {mount["name"] for mount in container["volumeMounts"]}
            assert mounted <= {volume["name"] for volume in pod["volumes"]}


def test_labels_of_workloads_and_service_agree() -> None:
    everything = documents("deploy/pilothouse.yaml")
    labels = {}
    for each in everything:
        if each["kind"] == "Deployment":
            labels[each["metadata"]["name"]] = each["spec"]["template"]["metadata"]["labels"]
            assert each["spec"]["selector"]["matchLabels"] == labels[each["metadata"]["name"]]
    service = next(each for each in everything if each["kind"] == "Service")
    assert service["spec"]["selector"] == labels["web"]


def queues(command: list[str]) -> set[str]:
    return set(command[command.index("--queues") + 1].split(","))


def test_the_workers_of_every_way_to_run_serve_every_queue() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    cluster = {name: pod["containers"][0].get("command", []) for name, pod in pods().items()}
    for commands in ({name: service.get("command", []) for name, service in compose.items()}, cluster):
        assert queues(commands["worker"]) | queues(commands["pull-worker"]) == {"control", "sample", "pull"}
        assert queues(commands["worker"]).isdisjoint(queues(commands["pull-worker"]))
        assert commands["observer"] == ["python", "manage.py", "observe"]


def test_compose_keeps_the_practice_of_one_image_and_asks_for_secrets() -> None:
    compose = yaml.safe_load((ROOT / "docker-compose.yml").read_text())["services"]
    ours = {name: service for name, service in compose.items() if service.get("build")}
    assert set(ours) == {"migrate", "web", "worker", "pull-worker", "observer"}
    for service in ours.values():
        assert service["cap_drop"] == ["ALL"]
        for secret in ("SECRET_KEY", "ENCRYPTION_KEYS", "AUDIT_SIGNING_KEY", "DATABASE_URL"):
            assert ":?" in service["environment"][secret]
        known = {name.upper() for name in Environment.model_fields}
        assert set(service["environment"]) <= known
    assert compose["k3s"]["profiles"] == ["k3s"]
    assert all(port.startswith("127.0.0.1:") for port in compose["web"]["ports"])


def test_the_image_runs_as_nobody_in_particular_and_copies_only_what_runs() -> None:
    text = (ROOT / "Dockerfile").read_text()
    assert re.search(r"^USER 10001$", text, re.MULTILINE)
    assert "--require-hashes" in text
    copied = re.findall(r"^COPY (?!--from)(\S+)", text, re.MULTILINE)
    allowed = {line[1:] for line in (ROOT / ".dockerignore").read_text().splitlines() if line.startswith("!")}
    assert set(copied) == allowed
    assert all((ROOT / name).exists() for name in copied)


@pytest.mark.parametrize(
    "name", ["requirements.txt", "requirements-dev.txt", "requirements-uv.txt", "requirements-node.txt"]
)
def test_every_requirement_is_one_version_with_digests(name: str) -> None:
    entries = re.split(r"(?<!\\)\n", (ROOT / name).read_text())
    packages = [entry for entry in entries if entry[:1].isalnum()]
    assert packages
    for package in packages:
        assert re.match(r"[A-Za-z0-9._-]+(\[[^]]+])?==", package), package[:80]
        assert "--hash=sha256:" in package, package[:80]


def test_every_npm_package_is_one_version_with_a_digest_and_no_address() -> None:
    locked = json.loads((ROOT / "package-lock.json").read_text())["packages"]
    wanted = json.loads((ROOT / "package.json").read_text())["dependencies"]
    assert locked.pop("")["dependencies"] == wanted
    assert {name.removeprefix("node_modules/") for name in locked} == set(wanted)
    for package in locked.values():
        assert package["integrity"].startswith("sha512-")
        assert "resolved" not in package
        assert "hasInstallScript" not in package


def test_the_image_lays_out_the_same_npm_files_as_a_checkout() -> None:
    text = (ROOT / "Dockerfile").read_text()
    laid = {
        (package, name)
        for package, name in re.findall(r"/app/node_modules/([^/\s]+)/(\S+)", text)
        if f"dashboard/static/vendor/{package}/" in text
    }
    assert laid == {(package, name) for package, names in fetch_assets.FILES.items() for name in names}
    assert "npm ci --ignore-scripts" in text


def checkout(directory: Path) -> Path:
    """The fetching script with its locks as a checkout has them."""
    for name in ("package.json", "package-lock.json", ".npmrc", "requirements-node.txt"):
        shutil.copy(ROOT / name, directory)
    (directory / "dashboard").mkdir()
    return Path(shutil.copy(ROOT / "dashboard/fetch_assets.py", directory / "dashboard"))


def npm(directory: Path, lines: str) -> str:
    """A PATH whose npm is this script; it notes its arguments in ``asked``."""
    tools = directory / "tools"
    tools.mkdir()
    program = tools / "npm"
    program.write_text(f'#!/bin/sh\necho "$@" >> {directory}/asked\n{lines}\n')
    program.chmod(0o755)
    return f"{tools}:/usr/bin:/bin"


LAYS_OUT = "mkdir -p node_modules/uplot/dist && cd node_modules/uplot && touch LICENSE dist/uPlot.iife.min.js dist/uPlot.min.css"


def fetch(script: Path, path: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, str(script)], capture_output=True, text=True, env={**os.environ, "PATH": path}
    )


def test_npm_packages_are_fetched_once_and_again_when_the_lock_changes(tmp_path: Path) -> None:
    script = checkout(tmp_path)
    path = npm(tmp_path, LAYS_OUT)
    for _ in range(2):
        assert fetch(script, path).returncode == 0
    asked = tmp_path / "asked"
    assert len(asked.read_text().splitlines()) == 1
    assert "ci --ignore-scripts" in asked.read_text()
    assert (tmp_path / "dashboard/static/vendor/uplot/uPlot.iife.min.js").exists()
    with (tmp_path / "package-lock.json").open("a") as lock:
        lock.write("\n")
    assert fetch(script, path).returncode == 0
    assert len(asked.read_text().splitlines()) == 2


def test_where_npm_cannot_fetch_the_reason_is_said_and_the_start_goes_on(tmp_path: Path) -> None:
    script = checkout(tmp_path)
    done = fetch(script, npm(tmp_path, "echo 'npm error network is unreachable'; exit 1"))
    assert done.returncode == 1
    assert done.stderr.strip() == (
        "Charts are shown as tables for now: npm ci: npm error network is unreachable"
    )
    assert not (tmp_path / "dashboard/static/vendor").exists()


def test_every_setting_is_documented() -> None:
    text = (ROOT / "docs/operations.md").read_text()
    assert {name.upper() for name in Environment.model_fields} == set(
        re.findall(r"`([A-Z_]+)`", "".join(re.findall(r"^\| (`[A-Z_`, ]+) \|", text, re.MULTILINE)))
    )


def test_the_start_script_refuses_an_unknown_command() -> None:
    done = subprocess.run([sys.executable, str(ROOT / "run"), "tset"], capture_output=True, text=True)
    assert done.returncode == 1
    assert "there is no command tset" in done.stderr
    assert "./run test" in done.stderr


def test_the_start_script_can_be_read_by_an_old_python() -> None:
    """It must live long enough to say which Python it needs: Debian 10 has 3.7."""
    ast.parse((ROOT / "run").read_text(), feature_version=(3, 7))


def test_the_socket_moves_where_its_path_would_be_too_long(tmp_path: Path) -> None:
    assert socket_path(Path("/var/lib/pilothouse")) == Path("/var/lib/pilothouse/valkey.sock")
    deep = tmp_path / ("d" * 100)
    assert len(str(socket_path(deep))) <= MAX_SOCKET_PATH
    assert socket_path(deep) == socket_path(deep) != socket_path(deep / "other")


@pytest.mark.parametrize(
    "host",
    [
        "a1.chat.pilothouse.example.com",
        "A1.Chat.Pilothouse.example.com:8000",
        "a1.chat.pilothouse.example.com.",
    ],
)
def test_a_chat_has_its_own_host(host: str) -> None:
    assert is_chat_host(host, "chat.pilothouse.example.com")


@pytest.mark.parametrize(
    "host",
    [
        "pilothouse.example.com",
        "chat.pilothouse.example.com",
        "evilchat.pilothouse.example.com",
        "",
        "[::1]:8000",
    ],
)
def test_other_hosts_are_pages(host: str) -> None:
    assert not is_chat_host(host, "chat.pilothouse.example.com")
