"""The scheduler's words against the recorded transcripts 26a and 26b."""

from __future__ import annotations

from typing import Any

import pytest

from sandbox.world import predicates
from sandbox.world.predicates import VolumeNeeds
from tests.unit.sandbox.world.harness import NS, Life, container, golden, living

Object = dict[str, Any]

RECORDED = {entry["name"]: entry for entry in golden("scheduler")["pods"]}
# What has to stand there before; the others need nothing but the nodes.
PLAIN = [
    "gpu-too-many", "cpu", "mem", "cpu-mem-gpu", "disk", "sel", "aff", "amd", "sel-gpu", "unbound", "nopvc", "topo",
    "local", "local-gpu", "aff2", "gates", "other", "spread",
]  # fmt: skip
HOST = "kubernetes.io/hostname"


def recorded_nodes(life: Life) -> None:
    """The four nodes of the recording."""
    for index in range(4):
        capacity = {"cpu": "64", "memory": "512Gi", "ephemeral-storage": "100Gi", "pods": "110"}
        if index:
            capacity["nvidia.com/gpu"] = "4"
        name = f"node-{index}"
        ready = {"type": "Ready", "status": "True"}
        life.store.create(
            "Node",
            {
                "metadata": {"name": name, "labels": {HOST: name}},
                "status": {"capacity": capacity, "allocatable": capacity, "conditions": [ready]},
            },
        )


def recorded_storage(life: Life) -> None:
    expression = {"key": "topology.kubernetes.io/zone", "values": ["elsewhere"]}
    life.add(
        "StorageClass",
        "topo",
        provisioner="held.example/none",
        volumeBindingMode="WaitForFirstConsumer",
        allowedTopologies=[{"matchLabelExpressions": [expression]}],
    )
    affinity = {"key": HOST, "operator": "In", "values": ["node-0"]}
    life.add(
        "PersistentVolume",
        "local",
        {
            "capacity": {"storage": "1Gi"},
            "accessModes": ["ReadWriteOnce"],
            "storageClassName": "local",
            "local": {"path": "/x"},
            "nodeAffinity": {"required": {"nodeSelectorTerms": [{"matchExpressions": [affinity]}]}},
        },
    )
    for name, class_name in (("unbound", "none"), ("topo", "topo"), ("local", "local"), ("rwop", "shared")):
        mode = "ReadWriteOncePod" if name == "rwop" else "ReadWriteOnce"
        spec = {
            "accessModes": [mode],
            "storageClassName": class_name,
            "resources": {"requests": {"storage": "1Gi"}},
        }
        life.add("PersistentVolumeClaim", name, spec)


def pod(life: Life, name: str, spec: Object, labels: Object | None = None) -> None:
    spec = dict(spec)
    own = container(resources=spec.pop("resources", None) or {})
    ports = spec.pop("ports", None)
    if ports:
        own["ports"] = ports
    life.add("Pod", name, {"containers": [own], **spec}, metadata={"labels": labels or {}})


def verdict(life: Life, name: str) -> Object | None:
    found = (life.get("Pod", name) or {}).get("status", {}).get("conditions") or []
    return next((entry for entry in found if entry["type"] == "PodScheduled"), None)


async def expect(life: Life, name: str) -> None:
    wanted = RECORDED[name]["message"]
    await life.until(
        f"the recorded words for {name}", lambda: (verdict(life, name) or {}).get("message") == wanted, 3
    )


@living("empty")
async def test_pods_that_fit_nowhere(life: Life) -> None:
    """Transcript 26b: one pod after another against four free nodes."""
    recorded_nodes(life)
    recorded_storage(life)
    local = "local"
    await life.until(
        "bound local claim",
        lambda: (life.get("PersistentVolumeClaim", local) or {})["status"]["phase"] == "Bound",
    )
    for name in PLAIN:
        pod(life, name, RECORDED[name]["spec"])
    for name in PLAIN:
        if name == "other":
            continue
        await expect(life, name)
        found = verdict(life, name) or {}
        assert found["reason"] == RECORDED[name]["reason"], name
    assert verdict(life, "other") is None
    assert not life.said("other") and not life.said("gates")
    [event] = life.said("gpu-too-many", "FailedScheduling")
    assert (
        event["eventTime"]
        and event["firstTimestamp"] is None
        and event["source"] == {}
        and "count" not in event
    )
    assert event["action"] == "Scheduling" and event["reportingComponent"] == "default-scheduler"


@living("empty")
async def test_pods_that_stand_in_the_way(life: Life) -> None:
    """Transcript 26b: anti-affinity both ways, held GPUs, host ports, an exclusive claim."""
    recorded_nodes(life)
    recorded_storage(life)
    spec = RECORDED["anti9"]["spec"]
    for index in range(4):
        pod(life, f"anti{index}", spec, {"anti": "y"})
    await life.until(
        "four nodes taken",
        lambda: len({p["spec"].get("nodeName") for p in life.store.list("Pod", NS)} - {None}) == 4,
    )
    pod(life, "anti9", spec, {"anti": "y"})
    await expect(life, "anti9")
    pod(life, "anti-in", RECORDED["anti-in"]["spec"], {"anti": "y"})
    await expect(life, "anti-in")
    for index in range(3):
        pod(life, f"gpu{index}", {"resources": {"limits": {"nvidia.com/gpu": "4"}}})
    await life.until(
        "GPUs held", lambda: all((life.get("Pod", f"gpu{i}") or {})["spec"].get("nodeName") for i in range(3))
    )
    pod(life, "gpu-busy", RECORDED["gpu-busy"]["spec"])
    await expect(life, "gpu-busy")
    port = [{"containerPort": 80, "hostPort": 8080}]
    for name in ("port1", "port2"):
        pod(life, name, {**RECORDED["port1"]["spec"], "ports": port})
        if name == "port1":
            await life.until(
                "first port", lambda: (life.get("Pod", "port1") or {})["spec"].get("nodeName") == "node-0"
            )
    await expect(life, "port2")
    await life.until(
        "bound claim", lambda: (life.get("PersistentVolumeClaim", "rwop") or {})["status"]["phase"] == "Bound"
    )
    for name in ("rw1", "rw2"):
        pod(life, name, RECORDED[name]["spec"])
        if name == "rw1":
            await life.until("first holder", lambda: (life.get("Pod", "rw1") or {})["spec"].get("nodeName"))
    await expect(life, "rw2")


@living("empty")
async def test_taints_and_cordons(life: Life) -> None:
    """Transcript 26b: a cordoned node gets its taint; taints are counted without their names."""
    recorded_nodes(life)
    pod(life, "full", {"nodeSelector": {HOST: "node-1"}, "resources": {"limits": {"nvidia.com/gpu": "4"}}})
    await life.until("full node", lambda: (life.get("Pod", "full") or {})["spec"].get("nodeName"))
    life.change("Node", "node-0", lambda node: node["spec"].update(unschedulable=True))
    for name, key in (("node-2", "nvidia.com/gpu"), ("node-3", "other")):
        taint = {"key": key, "effect": "NoSchedule"}
        life.change("Node", name, lambda node, taint=taint: node["spec"].update(taints=[taint]))
    taints = await life.until("taint", lambda: (life.get("Node", "node-0") or {})["spec"].get("taints"))
    assert [(taint["key"], taint["effect"]) for taint in taints] == [
        ("node.kubernetes.io/unschedulable", "NoSchedule")
    ]
    for name in ("taints", "taint-sel"):
        pod(life, name, RECORDED[name]["spec"])
        await expect(life, name)
    life.change("Node", "node-0", lambda node: node["spec"].update(unschedulable=False))
    await life.until("no taint", lambda: not (life.get("Node", "node-0") or {})["spec"].get("taints"))


@living("empty")
async def test_room_is_found_again(life: Life) -> None:
    """Transcript 26b: the same pod after room was made; 26a: without any node."""
    pod(life, "p", {"resources": {"requests": {"cpu": "40"}}})
    words = "no nodes available to schedule pods"
    await life.until(words, lambda: (verdict(life, "p") or {}).get("message") == words)
    recorded_nodes(life)
    await life.until("a node", lambda: (life.get("Pod", "p") or {})["spec"].get("nodeName"))
    assert (verdict(life, "p") or {})["status"] == "True"
    scheduled = life.said("p", "Scheduled")[0]
    assert (
        scheduled["message"].startswith(f"Successfully assigned {NS}/p to node-")
        and scheduled["action"] == "Binding"
    )


@living("practice")
async def test_pods_keep_off_gpus_they_do_not_need(life: Life) -> None:
    """Nothing forces it; it leaves the practice cluster's GPUs to those who ask for them."""
    pod(life, "plain", {})
    pod(life, "gpu", {"resources": {"limits": {"nvidia.com/gpu": "4"}}})
    pod(life, "amd", {"resources": {"limits": {"amd.com/gpu": "2"}}})
    await life.until(
        "nodes",
        lambda: all(
            (life.get("Pod", name) or {})["spec"].get("nodeName") for name in ("plain", "gpu", "amd")
        ),
    )
    nodes = {
        name: (life.get("Pod", name) or {})["spec"]["nodeName"].rpartition("-")[0]
        for name in ("plain", "gpu", "amd")
    }
    assert nodes == {"plain": "practice-cpu", "gpu": "practice-gpu", "amd": "practice-amd"}


@pytest.mark.parametrize(
    ("toleration", "matches"),
    [
        ({"operator": "Exists"}, True),
        ({"key": "k", "operator": "Exists"}, True),
        ({"key": "k", "operator": "Equal", "value": "v", "effect": "NoSchedule"}, True),
        ({"key": "k", "value": "other"}, False),
        ({"key": "k", "operator": "Exists", "effect": "NoExecute"}, False),
    ],
)
def test_tolerations(toleration: Object, matches: bool) -> None:
    """Kubernetes API reference: Toleration."""
    assert predicates.tolerates(toleration, {"key": "k", "value": "v", "effect": "NoSchedule"}) is matches


def _node(name: str, **labels: str) -> Object:
    given = {"cpu": "8", "memory": "8Gi", "pods": "110"}
    return {"metadata": {"name": name, "labels": {HOST: name, **labels}}, "status": {"allocatable": given}}


def _pod(node: str = "", labels: Object | None = None, **spec: Any) -> Object:
    own = {"containers": [container()], **({"nodeName": node} if node else {}), **spec}
    return {"metadata": {"namespace": NS, "name": "p", "labels": labels or {}}, "spec": own}


def _said(pod: Object, nodes: list[Object], pods: list[Object]) -> dict[str, str]:
    """By node what is said of it, "" where it takes the pod. Words: a kube-scheduler 1.36.3, asked about such pods."""
    states = predicates.states(nodes, pods)
    found = {
        state.node["metadata"]["name"]: predicates.check(pod, state, states, VolumeNeeds())
        for state in states
    }
    return {name: ", ".join(verdict.reasons) if verdict else "" for name, verdict in found.items()}


def test_one_pod_has_to_meet_all_terms_of_an_affinity() -> None:
    nodes = [_node("a", zone="x"), _node("b", zone="x")]
    terms = [
        {
            "topologyKey": "zone",
            "labelSelector": {"matchExpressions": [{"key": "app", "operator": "Exists"}]},
        },
        {"topologyKey": HOST, "labelSelector": {"matchLabels": {"tier": "db"}}},
    ]
    wants = _pod(affinity={"podAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": terms}})
    apart = [_pod("a", {"app": "web"}), _pod("b", {"tier": "db"})]
    assert set(_said(wants, nodes, apart).values()) == {predicates.POD_AFFINITY}
    assert _said(wants, nodes, [*apart, _pod("b", {"app": "x", "tier": "db"})])["b"] == ""


def test_nodes_that_an_affinity_does_not_name_are_not_looked_at() -> None:
    named = [{"matchFields": [{"key": "metadata.name", "operator": "In", "values": ["a"]}]}]
    affinity = {
        "nodeAffinity": {"requiredDuringSchedulingIgnoredDuringExecution": {"nodeSelectorTerms": named}}
    }
    assert _said(_pod(affinity=affinity), [_node("a"), _node("b")], []) == {
        "a": "",
        "b": "node(s) didn't satisfy plugin(s) [NodeAffinity]",
    }


@pytest.mark.parametrize(
    ("rule", "labels", "expected"),
    [
        ({}, {"app": "x", "rev": "1"}, predicates.SPREAD),
        ({"matchLabelKeys": ["rev"]}, {"app": "x", "rev": "2"}, ""),
        ({"labelSelector": {}}, {"app": "x"}, ""),
        ({"labelSelector": {}, "minDomains": 3, "maxSkew": 0}, {"app": "x"}, predicates.SPREAD),
    ],
)
def test_what_a_spread_rule_counts(rule: Object, labels: Object, expected: str) -> None:
    """podtopologyspread/common.go and filtering.go: pods with the rule's labels, none for a rule without any."""
    own = {"maxSkew": 1, "topologyKey": HOST, "whenUnsatisfiable": "DoNotSchedule"}
    rules = [{**own, "labelSelector": {"matchLabels": {"app": "x"}}, **rule}]
    there = [_pod("a", {"app": "x", "rev": "1"})]
    said = _said(_pod(labels=labels, topologySpreadConstraints=rules), [_node("a"), _node("b")], there)
    assert said["a"] == expected


def test_addresses_of_a_port_of_the_node_are_told_apart() -> None:
    def port(address: str) -> list[Object]:
        return [container(ports=[{"containerPort": 80, "hostPort": 80, "hostIP": address}])]

    there = [_pod("a", containers=port("10.0.0.1"))]
    said = {
        ip: _said(_pod(containers=port(ip)), [_node("a")], there)["a"] for ip in ("10.0.0.1", "10.0.0.2", "")
    }
    assert said == {"10.0.0.1": predicates.PORTS, "10.0.0.2": "", "": predicates.PORTS}


@living("empty")
async def test_a_class_that_makes_no_volumes_needs_one_that_is_there(life: Life) -> None:
    recorded_nodes(life)
    by_hand = {"provisioner": "kubernetes.io/no-provisioner", "volumeBindingMode": "WaitForFirstConsumer"}
    life.add("StorageClass", "by-hand", **by_hand)
    spec = {"accessModes": ["ReadWriteOnce"], "storageClassName": "by-hand"}
    life.add("PersistentVolumeClaim", "c", {**spec, "resources": {"requests": {"storage": "1Gi"}}})
    pod(life, "p", {"volumes": [{"name": "v", "persistentVolumeClaim": {"claimName": "c"}}]})
    said = await life.until("a verdict", lambda: (verdict(life, "p") or {}).get("message"))
    assert said.startswith(f"0/4 nodes are available: 4 {predicates.NO_VOLUME}.")
