"""Workload controllers against the recorded transcripts 13, 18, 20, 21, 22, 24 and 30."""

from __future__ import annotations

import re
from typing import Any

from sandbox.world.objects import uid_of
from tests.unit.sandbox.world.harness import (
    NS,
    Life,
    claim_template,
    container,
    golden,
    living,
    workload,
)

Object = dict[str, Any]


def plain(value: Any) -> Any:
    """Times, hashes and name suffixes out of a status or message."""
    if isinstance(value, dict):
        return {k: plain(v) for k, v in value.items() if k not in ("lastUpdateTime", "lastTransitionTime")}
    if isinstance(value, list):
        return [plain(entry) for entry in value]
    if isinstance(value, str):
        return re.sub(r"(web|db)-[0-9a-z]{8,10}\b", r"\1-HASH", re.sub(r"-HASH-\w{5}", "-HASH-POD", value))
    return value


def available(life: Life, name: str = "web", replicas: int = 2) -> Any:
    state = (life.get("Deployment", name) or {}).get("status", {})
    done = [state.get(key, 0) for key in ("availableReplicas", "updatedReplicas", "replicas")]
    terminating = state.get("terminatingReplicas", 0)
    return done == [replicas] * 3 and terminating == 0


@living()
async def test_deployment_is_created(life: Life) -> None:
    """Transcript 20, create: conditions in their order, final status, the replica set's metadata, events."""
    recorded = golden("deployment")["created"]
    life.add("Deployment", "web", workload("web", replicas=2))
    await life.until("available deployment", lambda: available(life))
    for type_ in ("Progressing", "Available"):
        assert life.conditions("Deployment", "web", type_) == recorded[type_]
    [replica_set] = life.store.list("ReplicaSet", NS)
    state = (life.get("Deployment", "web") or {})["status"]
    assert plain(state) == plain(recorded["status"])
    await life.until(
        "settled replica set",
        lambda: life.store.list("ReplicaSet", NS)[0]["status"].get("availableReplicas") == 2,
    )
    assert life.store.list("ReplicaSet", NS)[0]["status"] == recorded["replica_set_status"]
    metadata = replica_set["metadata"]
    digest = metadata["labels"]["pod-template-hash"]
    assert metadata["name"] == f"web-{digest}"
    assert metadata["annotations"] == recorded["replica_set"]["annotations"]
    assert replica_set["spec"]["selector"]["matchLabels"] == {"app": "web", "pod-template-hash": digest}
    assert (life.get("Deployment", "web") or {})["metadata"]["generation"] == 1


@living()
async def test_deployment_rolls(life: Life) -> None:
    """Transcript 20, new image: one pod more at a time, the old set goes down as the new one becomes available."""
    recorded = golden("deployment")
    life.add("Deployment", "web", workload("web", replicas=2))
    await life.until("available deployment", lambda: available(life))
    [old] = life.store.list("ReplicaSet", NS)
    del life.events[:]

    def change(obj: Object) -> None:
        obj["spec"]["template"]["spec"]["containers"][0]["image"] = "example/app:2"

    life.change("Deployment", "web", change)
    await life.until(
        "rolled deployment",
        lambda: (
            available(life)
            and len(life.store.list("ReplicaSet", NS)) == 2
            and life.conditions("Deployment", "web", "Progressing")[-1][1] == "NewReplicaSetAvailable"
        ),
    )
    assert life.conditions("Deployment", "web", "Progressing")[1:] == recorded["updated"]["Progressing"]
    steps: list[list[Any]] = [["old", 2]]
    for event in life.events:
        if event.kind.kind == "ReplicaSet" and event.type != "DELETED":
            which = "old" if event.object["metadata"]["name"] == old["metadata"]["name"] else "new"
            step = [which, event.object["spec"]["replicas"]]
            if step not in [s for s in steps if s[0] == which][-1:]:
                steps.append(step)
    first = recorded["updated"]["replicas"][0][0]
    assert steps == [
        ["old" if name == first else "new", count] for name, count in recorded["updated"]["replicas"]
    ]
    told = sorted(plain(event["message"]) for event in life.said("web", "ScalingReplicaSet"))
    wanted = sorted(plain(text) for *_, name, text in recorded["events"] if name == "web")
    assert told == wanted


@living()
async def test_deployment_scales_and_goes(life: Life) -> None:
    """Transcripts 18 and 20: scaling keeps the replica set; a background delete takes sets and pods along."""
    life.add("Deployment", "web", workload("web", replicas=2))
    await life.until("available deployment", lambda: available(life))
    life.change("Deployment", "web", lambda obj: obj["spec"].update(replicas=3))
    await life.until("three pods", lambda: available(life, replicas=3))
    [replica_set] = life.store.list("ReplicaSet", NS)
    assert replica_set["metadata"]["annotations"]["deployment.kubernetes.io/max-replicas"] == "4"
    life.store.delete("Deployment", NS, "web")
    await life.until(
        "nothing", lambda: not life.store.list("Pod", NS) and not life.store.list("ReplicaSet", NS)
    )


@living()
async def test_deployment_foreground_and_orphan(life: Life) -> None:
    """Transcript 18: in the foreground pods go first and the deployment last; orphans lose their owner only."""
    life.add("Deployment", "web", workload("web"))
    life.add("Deployment", "left", workload("left"))
    await life.until("both", lambda: available(life, "web", 1) and available(life, "left", 1))
    del life.events[:]
    life.store.delete("Deployment", NS, "web", propagation="Foreground")
    await life.until("gone", lambda: life.get("Deployment", "web") is None)
    kinds = ("Pod", "ReplicaSet", "Deployment")
    order = [event.kind.kind for event in life.events if event.type == "DELETED" and event.kind.kind in kinds]
    assert order == ["Pod", "ReplicaSet", "Deployment"]
    life.store.delete("Deployment", NS, "left", propagation="Orphan")
    await life.until("gone", lambda: life.get("Deployment", "left") is None)
    [replica_set] = life.store.list("ReplicaSet", NS)
    assert "ownerReferences" not in replica_set["metadata"]
    assert len(life.store.list("Pod", NS)) == 1


@living()
async def test_deployment_that_cannot_progress(life: Life) -> None:
    """Transcript 21: the old pod stays, ProgressDeadlineExceeded; the old image brings the old set back."""
    recorded = golden("deployment")["broken"]
    life.add("Deployment", "web", workload("web", progressDeadlineSeconds=40))
    await life.until("available deployment", lambda: available(life, replicas=1))
    del life.events[:]

    def image(text: str) -> Any:
        return lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image=text)

    life.change("Deployment", "web", image("example/no-such-image:1"))
    reason = "ProgressDeadlineExceeded"
    await life.until(reason, lambda: life.conditions("Deployment", "web", "Progressing")[-1][1] == reason)
    assert life.conditions("Deployment", "web", "Progressing") == recorded["Progressing"]
    assert (life.get("Deployment", "web") or {})["status"]["availableReplicas"] == 1
    life.change("Deployment", "web", image("example/app:1"))
    await life.until("recovery", lambda: available(life, replicas=1))
    revisions = {
        obj["metadata"]["annotations"]["deployment.kubernetes.io/revision"]
        for obj in life.store.list("ReplicaSet", NS)
    }
    assert revisions == {"2", "3"}


@living()
async def test_deployment_recreates(life: Life) -> None:
    """Transcript 21, Recreate: the new replica set is made when the last old pod is gone."""
    life.add("Deployment", "web", workload("web", replicas=2, strategy={"type": "Recreate"}))
    await life.until("available deployment", lambda: available(life))
    del life.events[:]
    life.change(
        "Deployment",
        "web",
        lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image="example/app:2"),
    )
    await life.until("new pods", lambda: available(life) and len(life.store.list("ReplicaSet", NS)) == 2)
    order = [
        (e.type, e.kind.kind)
        for e in life.events
        if e.type != "MODIFIED" and e.kind.kind in ("Pod", "ReplicaSet")
    ]
    assert order == [("DELETED", "Pod")] * 2 + [("ADDED", "ReplicaSet")] + [("ADDED", "Pod")] * 2


@living()
async def test_deployment_under_a_quota(life: Life) -> None:
    """Transcript 21: ReplicaFailure FailedCreate on the set and the deployment."""
    recorded = golden("deployment")["quota"]
    life.add("ResourceQuota", "rq", {"hard": {"pods": "1"}})
    life.add("Deployment", "web", workload("web", replicas=2))
    await life.until("failure", lambda: life.conditions("Deployment", "web", "ReplicaFailure"))
    assert life.conditions("Deployment", "web", "ReplicaFailure") == recorded["ReplicaFailure"]
    text = life.said(life.store.list("ReplicaSet", NS)[0]["metadata"]["name"], "FailedCreate")[0]["message"]
    assert "exceeded quota: rq, requested: pods=1, used: pods=1, limited: pods=1" in text


def pods_and_claims(life: Life) -> list[list[str]]:
    kinds = ("Pod", "PersistentVolumeClaim")
    return [
        [event.type, event.kind.kind, event.object["metadata"]["name"]]
        for event in life.events
        if event.type != "MODIFIED"
        and event.kind.kind in kinds
        and event.object["metadata"]["namespace"] == NS
    ]


def stateful(life: Life) -> Object:
    return dict((life.get("StatefulSet", "db") or {}).get("status", {}))


@living()
async def test_stateful_set_under_a_quota(life: Life) -> None:
    """The words of a success (transcript 22), and what the API server answered (transcript 25)."""
    life.add("ResourceQuota", "rq", {"hard": {"pods": "0"}})
    life.add("StatefulSet", "db", workload("db", serviceName="db"))

    def refused() -> list[str]:
        return [event["message"] for event in life.said("db") if event["reason"] == "FailedCreate"]

    await life.until("a refusal", refused)
    text = refused()[0]
    assert text.startswith('Create Pod db-0 in StatefulSet db failed error: pods "db-0" is forbidden: ')
    assert "exceeded quota: rq, requested: pods=1, used: pods=0, limited: pods=0" in text


@living()
async def test_a_claim_that_was_deleted_is_made_anew_for_a_pod_that_waits(life: Life) -> None:
    """stateful_set_control.go: createMissingPersistentVolumeClaims, for pods that are pending."""
    life.world.faults.set("cordon", {"node": "*"})
    life.add("StatefulSet", "db", workload("db", serviceName="db", volumeClaimTemplates=[claim_template()]))
    await life.until("the claim", lambda: life.get("PersistentVolumeClaim", "data-db-0"))
    before = uid_of(life.get("PersistentVolumeClaim", "data-db-0") or {})
    life.store.delete("PersistentVolumeClaim", NS, "data-db-0")
    life.world.faults.clear("cordon")
    await life.until("a ready pod", lambda: stateful(life).get("readyReplicas") == 1)
    assert uid_of(life.get("PersistentVolumeClaim", "data-db-0") or {}) != before


@living()
async def test_stateful_set(life: Life) -> None:
    """Transcript 22: db-0 before db-1, updates from the top, claims outlive pods and set."""
    recorded = golden("statefulset")
    life.add(
        "StatefulSet",
        "db",
        workload("db", replicas=2, serviceName="db", volumeClaimTemplates=[claim_template()]),
    )
    await life.until("two ready pods", lambda: stateful(life).get("readyReplicas") == 2)
    assert pods_and_claims(life) == recorded["created"]["order"]
    assert plain(stateful(life)) == plain(recorded["created"]["status"])
    metadata = (life.get("Pod", "db-0") or {})["metadata"]
    for name in ("generateName",):
        assert metadata[name] == recorded["pod"][name]
    assert plain(metadata["labels"]) == plain(recorded["pod"]["labels"])
    told = {(event["reason"], event["message"]) for event in life.said("db")}
    assert told == {(row[1], row[4]) for row in recorded["events"] if row[1] == "SuccessfulCreate"}
    del life.events[:]
    life.change(
        "StatefulSet",
        "db",
        lambda obj: obj["spec"]["template"]["spec"]["containers"][0].update(image="example/app:2"),
    )
    await life.until(
        "new revision",
        lambda: (
            (state := stateful(life)).get("currentRevision") == state.get("updateRevision")
            and state.get("observedGeneration") == 2
            and state.get("readyReplicas") == 2
        ),
    )
    assert pods_and_claims(life) == recorded["updated"]["order"]
    life.change("StatefulSet", "db", lambda obj: obj["spec"].update(replicas=1))
    await life.until("one pod", lambda: life.get("Pod", "db-1") is None)
    life.store.delete("StatefulSet", NS, "db")
    await life.until("no pods", lambda: not life.store.list("Pod", NS))
    claims = life.store.list("PersistentVolumeClaim", NS)
    assert [(claim["metadata"]["name"], claim["status"]["phase"]) for claim in claims] == [
        ("data-db-0", "Bound"),
        ("data-db-1", "Bound"),
    ]


@living()
async def test_stateful_set_in_parallel_deletes_claims_when_told(life: Life) -> None:
    """Kubernetes documentation, StatefulSets: Parallel, persistentVolumeClaimRetentionPolicy."""
    policy = {"whenDeleted": "Delete", "whenScaled": "Delete"}
    spec = workload(
        "db",
        replicas=3,
        serviceName="db",
        podManagementPolicy="Parallel",
        persistentVolumeClaimRetentionPolicy=policy,
        volumeClaimTemplates=[claim_template()],
    )
    life.add("StatefulSet", "db", spec)
    await life.until("three pods", lambda: len(life.store.list("Pod", NS)) == 3)
    assert not any(pod["status"].get("phase") == "Running" for pod in life.history("Pod", "db-0")[:1])
    await life.until("three ready pods", lambda: stateful(life).get("readyReplicas") == 3)
    life.change("StatefulSet", "db", lambda obj: obj["spec"].update(replicas=2))
    await life.until("two claims", lambda: len(life.store.list("PersistentVolumeClaim", NS)) == 2)
    life.store.delete("StatefulSet", NS, "db")
    await life.until("no claims", lambda: not life.store.list("PersistentVolumeClaim", NS))


@living()
async def test_namespace_ends(life: Life) -> None:
    """Transcript 13: pods first, then the rest; conditions; a finalizer holds it."""
    recorded = golden("namespace")["conditions"]
    life.store.create("Namespace", {"metadata": {"name": "term-a"}})
    life.store.create(
        "ConfigMap", {"metadata": {"name": "a", "namespace": "term-a", "finalizers": ["example.com/hold"]}}
    )
    life.store.create(
        "Deployment", {"metadata": {"name": "web", "namespace": "term-a"}, "spec": workload("web")}
    )
    await life.until("pod", lambda: life.store.list("Pod", "term-a"))
    del life.events[:]
    life.store.delete("Namespace", None, "term-a")

    def conditions() -> list[list[str]]:
        found = (life.store.get("Namespace", None, "term-a") or {}).get("status", {}).get("conditions", [])
        return [[entry["type"], entry["status"], entry["reason"], entry["message"]] for entry in found]

    await life.until("conditions", conditions)
    assert [row[:1] for row in conditions()] == [row[:1] for row in recorded[0]]
    held = "Some content in the namespace has finalizers remaining: example.com/hold in 1 resource instances"
    await life.until("held namespace", lambda: any(row[3] == held for row in conditions()))
    remaining = ["NamespaceContentRemaining", "True", "SomeResourcesRemain"]
    assert [*remaining, "Some resources are remaining: configmaps. has 1 resource instances"] in conditions()
    order = [event.kind.kind for event in life.events if event.type == "DELETED" and event.kind.namespaced]
    assert order.index("Pod") < order.index("ConfigMap") < order.index("Deployment")
    life.store.mutate("ConfigMap", "term-a", "a", lambda obj: obj["metadata"].update(finalizers=[]))
    await life.until("end", lambda: life.store.get("Namespace", None, "term-a") is None)
    last = [e.object for e in life.events if e.kind.kind == "Namespace" and e.type == "MODIFIED"][-1]
    rows = [[c["type"], c["status"], c["reason"], c["message"]] for c in last["status"]["conditions"]]
    assert rows == recorded[-1]


@living("empty")
async def test_garbage_is_collected(life: Life) -> None:
    """Transcript 24: a wrong uid goes at once, two owners keep one, dependents follow their owner."""
    owner, other = life.add("ConfigMap", "owner"), life.add("ConfigMap", "other")

    def owned_by(*owners: Object, uid: str = "") -> Object:
        return {
            "ownerReferences": [
                {
                    "apiVersion": "v1",
                    "kind": "ConfigMap",
                    "name": o["metadata"]["name"],
                    "uid": uid or o["metadata"]["uid"],
                }
                for o in owners
            ]
        }

    life.add("ConfigMap", "dep", metadata=owned_by(owner))
    life.add("ConfigMap", "wrong-uid", metadata=owned_by(owner, uid="00000000-0000-4000-8000-000000000007"))
    life.add("ConfigMap", "two", metadata=owned_by(owner, other))
    await life.until("collected", lambda: life.get("ConfigMap", "wrong-uid") is None)
    assert life.get("ConfigMap", "dep") is not None
    life.store.delete("ConfigMap", NS, "owner", propagation="Foreground")
    await life.until("owner gone", lambda: life.get("ConfigMap", "owner") is None)
    assert life.get("ConfigMap", "dep") is None
    two = life.get("ConfigMap", "two")
    assert two is not None and [ref["name"] for ref in two["metadata"]["ownerReferences"]] == ["other"]


@living()
async def test_endpoint_slices(life: Life) -> None:
    """Transcript 30: made empty, gains the pod when it is ready, says that it terminates, ends with the service."""
    recorded = golden("edges")
    life.add("Service", "web", {"selector": {"app": "web"}, "ports": [{"port": 80}]})
    await life.until("slice", lambda: life.store.list("EndpointSlice", NS, "kubernetes.io/service-name=web"))
    life.add("Pod", "web", {"containers": [container()]}, metadata={"labels": {"app": "web"}})
    await life.pod("web")

    def slices() -> list[Object]:
        found = [
            e
            for e in life.events
            if e.kind.kind == "EndpointSlice" and e.object["metadata"]["name"].startswith("web-")
        ]
        return [
            {"type": e.type, "endpoints": e.object.get("endpoints"), "ports": e.object.get("ports")}
            for e in found
        ]

    await life.until(
        "ready endpoint", lambda: (slices()[-1]["endpoints"] or [{}])[0].get("conditions", {}).get("ready")
    )
    life.store.delete("Pod", NS, "web")
    await life.until("empty slice", lambda: not slices()[-1]["endpoints"])
    life.store.delete("Service", NS, "web")
    await life.until("end", lambda: slices()[-1]["type"] == "DELETED")
    wanted = [s["endpoints"][0]["conditions"] for s in recorded["slices"] if s["endpoints"]]
    seen = [s["endpoints"][0]["conditions"] for s in slices() if s["endpoints"]]
    assert [state for state in seen if state["serving"]][: len(wanted)] == wanted
    own = [e.object["metadata"] for e in life.events if e.kind.kind == "EndpointSlice"]
    first = next(metadata for metadata in own if metadata["name"].startswith("web-"))
    assert first["labels"] == recorded["metadata"]["labels"] and first["generateName"] == "web-"
    assert slices()[0] == {"type": "ADDED", "endpoints": None, "ports": None}


@living()
async def test_autoscaler_without_metrics(life: Life) -> None:
    """Transcript 30: raised to minReplicas, then ScalingActive False."""
    recorded = golden("edges")
    life.add("Deployment", "web", workload("web"))
    metric = {
        "type": "Resource",
        "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 80}},
    }
    reference = {"apiVersion": "apps/v1", "kind": "Deployment", "name": "web"}
    spec = {"scaleTargetRef": reference, "minReplicas": 2, "maxReplicas": 3, "metrics": [metric]}
    life.add("HorizontalPodAutoscaler", "web", spec)

    def state() -> Object:
        return dict((life.get("HorizontalPodAutoscaler", "web") or {}).get("status", {}))

    def clean(value: Object) -> Object:
        return {k: v for k, v in plain(value).items() if k != "lastScaleTime"}

    await life.until("blind autoscaler", lambda: len(state().get("conditions") or []) == 2)
    seen = [clean(obj["status"]) for obj in life.history("HorizontalPodAutoscaler", "web")]
    assert clean(recorded["raised"]) in seen
    assert clean(state())["conditions"] == clean(recorded["blind"])["conditions"]
    told = {(row[0], row[1], row[4]) for row in recorded["events"]}
    assert {
        (e["type"], e["reason"], e["message"])
        for e in life.said("web")
        if e["involvedObject"]["kind"].startswith("H")
    } == told
    assert (life.get("Deployment", "web") or {})["spec"]["replicas"] == 2


@living()
async def test_daemon_sets_and_budgets(life: Life) -> None:
    """Kubernetes documentation: one pod a matching node; a budget counts healthy pods."""
    await life.until("exporter", lambda: life.store.list("Pod", "gpu-operator"))
    [pod] = life.store.list("Pod", "gpu-operator")
    await life.until(
        "bound exporter",
        lambda: life.store.list("Pod", "gpu-operator")[0]["spec"].get("nodeName") == "practice-gpu-1",
    )
    assert pod["metadata"]["labels"]["app"] == "nvidia-dcgm-exporter"
    life.add("Deployment", "web", workload("web", replicas=2))
    life.add("PodDisruptionBudget", "b", {"minAvailable": 1, "selector": {"matchLabels": {"app": "web"}}})
    await life.until(
        "budget",
        lambda: (life.get("PodDisruptionBudget", "b") or {}).get("status", {}).get("disruptionsAllowed") == 1,
    )


@living("empty")
async def test_ingress_status(life: Life) -> None:
    """No controller, no status; class sandbox gets an address."""
    rule = {
        "host": "a.example",
        "http": {
            "paths": [
                {
                    "path": "/",
                    "pathType": "Prefix",
                    "backend": {"service": {"name": "s", "port": {"number": 80}}},
                }
            ]
        },
    }
    life.add("Ingress", "other", {"ingressClassName": "nginx", "rules": [rule]})
    life.add("Ingress", "own", {"ingressClassName": "sandbox", "rules": [rule]})
    found = await life.until(
        "address", lambda: (life.get("Ingress", "own") or {})["status"]["loadBalancer"].get("ingress")
    )
    assert found == [{"ip": "10.99.255.1"}]
    assert not (life.get("Ingress", "other") or {})["status"]["loadBalancer"].get("ingress")
