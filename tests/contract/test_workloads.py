"""What controllers and the scheduler make of what is applied, as far as the core relies on it."""

from __future__ import annotations

import pytest

from deployments.domain import errors
from deployments.gateways.kubernetes import ClusterClient, ObjectRef
from tests.contract.support import (
    CLAIMS,
    EVENTS,
    PODS,
    REPLICA_SETS,
    Object,
    covers,
    deployment,
    names,
    pod,
    ref,
    stateful_set,
    wait_for,
)


def condition(obj: Object, kind: str) -> Object:
    return next((one for one in obj.get("status", {}).get("conditions") or [] if one["type"] == kind), {})


@covers("get", "list_pages")
def test_a_deployment_makes_a_replica_set_and_pods(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 20: names, hash labels, owners, conditions; observedGeneration follows."""
    web = client.apply(deployment(namespace, replicas=2))
    found = wait_for(
        "two pods", lambda: len(names(client, PODS, namespace)) == 2 and names(client, PODS, namespace)
    )
    [set_name] = names(client, REPLICA_SETS, namespace)
    replica_set = client.get(ObjectRef("apps/v1", "ReplicaSet", set_name, namespace))
    digest = replica_set["metadata"]["labels"]["pod-template-hash"]
    assert set_name == f"web-{digest}" and all(name.startswith(f"{set_name}-") for name in found)
    assert replica_set["spec"]["selector"]["matchLabels"]["pod-template-hash"] == digest
    [owner] = replica_set["metadata"]["ownerReferences"]
    assert (owner["uid"], owner["controller"]) == (web["metadata"]["uid"], True)

    def observed() -> Object | None:
        live = client.get(ref(web))
        return (
            live
            if live.get("status", {}).get("observedGeneration") == 1 and live["status"].get("replicas") == 2
            else None
        )

    live = wait_for("status of the deployment", observed)
    assert condition(live, "Progressing")["status"] == "True"
    assert condition(live, "Available")["reason"] == "MinimumReplicasUnavailable"
    assert "readyReplicas" not in live["status"] and live["status"]["unavailableReplicas"] == 2


@covers("apply")
def test_a_new_template_makes_a_new_replica_set(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 20 (rolling update, restart): a template annotation is a new ReplicaSet."""
    web = deployment(namespace)
    client.apply(web)
    wait_for("a replica set", lambda: names(client, REPLICA_SETS, namespace))
    web["spec"]["template"]["metadata"]["annotations"] = {
        "kubectl.kubernetes.io/restartedAt": "2026-01-01T00:00:00Z"
    }
    assert client.apply(web)["metadata"]["generation"] == 2
    wait_for("a second replica set", lambda: len(names(client, REPLICA_SETS, namespace)) == 2)


@covers("list_pages", "watch")
def test_a_pod_that_no_node_takes(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 26: Pending, PodScheduled False with reason Unschedulable, an event
    FailedScheduling with eventTime and without firstTimestamp."""
    client.create(pod(namespace))
    target = ObjectRef("v1", "Pod", "p", namespace)

    def unschedulable() -> Object | None:
        live = client.get(target)
        return live if condition(live, "PodScheduled").get("reason") == "Unschedulable" else None

    live = wait_for("verdict of the scheduler", unschedulable)
    assert live["status"]["phase"] == "Pending" and "nodeName" not in live["spec"]
    assert "nodes are available" in condition(live, "PodScheduled")["message"] or (
        "no nodes available" in condition(live, "PodScheduled")["message"]
    )

    def failed() -> Object | None:
        selector = "involvedObject.name=p,reason=FailedScheduling"
        for page in client.list_pages(EVENTS, namespace, field_selector=selector):
            for event in page.items:
                return event  # type: ignore[no-any-return]
        return None

    event = wait_for("event FailedScheduling", failed)
    assert event["type"] == "Warning" and event["involvedObject"]["uid"] == live["metadata"]["uid"]
    assert event["eventTime"] and event.get("firstTimestamp") is None and event["reportingComponent"]


@covers("list_pages")
def test_events_of_a_controller(client: ClusterClient, namespace: str) -> None:
    """Recorded transcripts 20 and 26b: "Scaled up replica set web-… from 0 to 1", with source, count and times."""
    web = client.apply(deployment(namespace))

    def scaled() -> Object | None:
        for page in client.list_pages(EVENTS, namespace, field_selector="reason=ScalingReplicaSet"):
            for event in page.items:
                return event  # type: ignore[no-any-return]
        return None

    event = wait_for("event ScalingReplicaSet", scaled)
    [set_name] = names(client, REPLICA_SETS, namespace)
    assert event["message"] == f"Scaled up replica set {set_name} from 0 to 1" and event["type"] == "Normal"
    assert event["involvedObject"]["uid"] == web["metadata"]["uid"]
    assert event["source"]["component"] == "deployment-controller" and event["count"] == 1
    assert event["firstTimestamp"] and event.get("eventTime") is None


@covers("apply", "delete")
def test_claims_of_a_stateful_set_stay(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 22 and the Kubernetes documentation on StatefulSets: data-db-0 and data-db-1
    from the template, labelled with its selector, kept on scaling down and on deletion (Retain)."""
    db = stateful_set(namespace)
    client.apply(db)
    wait_for("both claims", lambda: names(client, CLAIMS, namespace) == ["data-db-0", "data-db-1"])
    wait_for("both pods", lambda: names(client, PODS, namespace) == ["db-0", "db-1"])
    claim = client.get(ObjectRef("v1", "PersistentVolumeClaim", "data-db-0", namespace))
    assert claim["metadata"]["labels"]["app"] == "db" and not claim["metadata"].get("ownerReferences")
    db["spec"]["replicas"] = 1
    client.apply(db)
    wait_for("one pod", lambda: names(client, PODS, namespace) == ["db-0"], 90)
    client.delete(ref(db))
    wait_for("no pods", lambda: not names(client, PODS, namespace), 90)
    assert names(client, CLAIMS, namespace) == ["data-db-0", "data-db-1"]


@covers("apply")
def test_claim_templates_are_immutable(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 07: updates to statefulset spec for fields other than … are forbidden."""
    db = stateful_set(namespace, replicas=0)
    client.apply(db)
    db["spec"]["volumeClaimTemplates"][0]["spec"]["resources"]["requests"]["storage"] = "2Gi"
    with pytest.raises(errors.ManifestRefused) as caught:
        client.apply(db)
    assert (
        caught.value.status == 422
        and "updates to statefulset spec for fields other than" in caught.value.answered
    )


@covers("create")
def test_a_quota_refuses(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 25: 403 "exceeded quota"."""
    client.apply(
        {
            "apiVersion": "v1",
            "kind": "ResourceQuota",
            "metadata": {"name": "q", "namespace": namespace},
            "spec": {"hard": {"pods": "0"}},
        }
    )
    quota = ObjectRef("v1", "ResourceQuota", "q", namespace)
    wait_for("status of the quota", lambda: client.get(quota).get("status", {}).get("hard"))
    with pytest.raises(errors.ClusterForbids) as caught:
        client.create(pod(namespace))
    assert "exceeded quota: q, requested: pods=1, used: pods=0, limited: pods=0" in caught.value.answered


@pytest.mark.needs_nodes
@covers("get", "pod_logs")
def test_a_deployment_becomes_available(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 20: Available with MinimumReplicasAvailable, Progressing with
    NewReplicaSetAvailable; pods are Running and Ready."""
    web = client.apply(deployment(namespace, nowhere=False))

    def available() -> Object | None:
        live = client.get(ref(web))
        return live if live.get("status", {}).get("availableReplicas") == 1 else None

    live = wait_for("available deployment", available, 180)
    assert condition(live, "Available")["reason"] == "MinimumReplicasAvailable"
    wait_for(
        "end of the rollout",
        lambda: condition(client.get(ref(web)), "Progressing")["reason"] == "NewReplicaSetAvailable",
    )
    [name] = names(client, PODS, namespace)
    running = client.get(ObjectRef("v1", "Pod", name, namespace))
    assert running["status"]["phase"] == "Running" and condition(running, "Ready")["status"] == "True"
    assert running["spec"]["nodeName"] and isinstance(client.pod_logs(namespace, name), bytes)


@pytest.mark.needs_nodes
@covers("stream_logs")
def test_following_a_running_pod(client: ClusterClient, namespace: str) -> None:
    """Recorded transcript 29 (follow) and the Kubernetes API reference (PodLogOptions): the stream stays
    open while the container runs, and may be left."""
    client.apply(deployment(namespace, nowhere=False))

    def running() -> str | None:
        for page in client.list_pages(PODS, namespace, field_selector="status.phase=Running"):
            for item in page.items:
                return str(item["metadata"]["name"])
        return None

    name = wait_for("running pod", running, 180)
    for line in client.stream_logs(namespace, name, max_seconds=1):
        assert isinstance(line, bytes) and b"\n" not in line
