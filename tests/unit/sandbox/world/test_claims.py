"""Claims and volumes against the recorded transcript 23."""

from __future__ import annotations

from typing import Any

from tests.unit.sandbox.world.harness import NS, Life, container, golden, living

Object = dict[str, Any]


def claim(
    life: Life, name: str, class_name: str | None, mode: str = "ReadWriteOnce", size: str = "1Gi"
) -> Object:
    spec: Object = {"accessModes": [mode], "resources": {"requests": {"storage": size}}}
    if class_name is not None:
        spec["storageClassName"] = class_name
    return life.add("PersistentVolumeClaim", name, spec)


def phase(life: Life, name: str) -> str:
    return str((life.get("PersistentVolumeClaim", name) or {}).get("status", {}).get("phase", "gone"))


@living()
async def test_binding(life: Life) -> None:
    """The order of writes on claim and volume, the annotations, the volume's reference."""
    recorded = golden("claims")
    made = claim(life, "std", "shared", "ReadWriteMany")
    await life.until("bound claim", lambda: phase(life, "std") == "Bound")
    volume = f"pvc-{made['metadata']['uid']}"
    seen = [
        {
            "kind": event.kind.kind,
            "type": event.type,
            "phase": event.object["status"].get("phase"),
            "bound": bool(event.object["spec"].get("volumeName")),
        }
        for event in life.events
        if event.object["metadata"]["name"] in ("std", volume)
        and event.kind.kind.startswith("PersistentVolume")
    ]
    # The recorded volume was made by hand with its reference; here the provisioner's reference gains no write either.
    assert [step for index, step in enumerate(seen) if index == 0 or step != seen[index - 1]] == [
        step for index, step in enumerate(recorded["std"]) if index == 0 or step != recorded["std"][index - 1]
    ]
    found = life.get("PersistentVolumeClaim", "std") or {}
    assert set(found["metadata"]["annotations"]) == set(recorded["annotations"])
    assert found["status"]["capacity"] == {"storage": "1Gi"}


@living()
async def test_claims_that_wait(life: Life) -> None:
    """Events of no class, an unknown class, a first consumer that is missing, an absent provisioner."""
    claim(life, "empty", "")
    claim(life, "missing", "none")
    claim(life, "later", "standard")
    claim(life, "std", "broken")
    wanted = {(row[1], row[3], row[4]) for row in golden("claims")["events"]}

    def told() -> set[tuple[str, str, str]]:
        found = [
            (e["reason"], e["involvedObject"]["name"], e["message"]) for e in life.store.list("Event", NS)
        ]
        absent = "sandbox.pilothouse.io/absent"
        return {(reason, name, text.replace(absent, "example.com/standard")) for reason, name, text in found}

    await life.until("recorded events", lambda: {entry for entry in wanted if entry[1] != "used"} <= told())
    assert {phase(life, name) for name in ("empty", "missing", "later", "std")} == {"Pending"}


@living()
async def test_the_first_consumer(life: Life) -> None:
    """WaitForFirstConsumer: the scheduler notes the node, the volume is made, then the pod is bound."""
    claim(life, "later", None)
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "later"}}
    life.add("Pod", "p", {"containers": [container()], "volumes": [volume]})
    await life.pod("p")
    annotations = (life.get("PersistentVolumeClaim", "later") or {})["metadata"]["annotations"]
    assert annotations["volume.kubernetes.io/selected-node"].startswith("practice-")
    life.store.delete("PersistentVolumeClaim", NS, "later")
    assert phase(life, "later") == "Bound", "a claim in use stays"
    life.store.delete("Pod", NS, "p")
    await life.until("end of the claim", lambda: phase(life, "later") == "gone")
    await life.until("end of the volume", lambda: not life.store.list("PersistentVolume"))


@living()
async def test_growth_and_wrong_modes(life: Life) -> None:
    claim(life, "c", "shared", "ReadWriteMany")
    claim(life, "w", "standard", "ReadWriteMany")
    volume = {"name": "v", "persistentVolumeClaim": {"claimName": "w"}}
    life.add("Pod", "p", {"containers": [container()], "volumes": [volume]})
    await life.until("bound claim", lambda: phase(life, "c") == "Bound")
    life.change(
        "PersistentVolumeClaim", "c", lambda obj: obj["spec"]["resources"]["requests"].update(storage="3Gi")
    )
    await life.until(
        "growth",
        lambda: (life.get("PersistentVolumeClaim", "c") or {})["status"]["capacity"] == {"storage": "3Gi"},
    )
    [event] = await life.until("refusal", lambda: life.said("w", "ProvisioningFailed"))
    assert "access mode ReadWriteMany is not supported" in event["message"]


@living()
async def test_a_lost_volume(life: Life) -> None:
    """A bound claim whose volume is gone is Lost."""
    made = claim(life, "c", "shared", "ReadWriteMany")
    await life.until("bound claim", lambda: phase(life, "c") == "Bound")
    name = f"pvc-{made['metadata']['uid']}"
    life.store.mutate("PersistentVolume", None, name, lambda obj: obj["metadata"].update(finalizers=[]))
    life.store.delete("PersistentVolume", None, name)
    await life.until("Lost", lambda: phase(life, "c") == "Lost")
