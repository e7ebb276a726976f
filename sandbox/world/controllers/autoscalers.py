"""HorizontalPodAutoscalers without a metrics API: they keep replicas within bounds and say that they cannot measure.

Recorded transcript 30.
"""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from sandbox.store import Event
from sandbox.world.controllers.base import Controller, Key
from sandbox.world.objects import deleting, name_of, namespace_of, spec_of, status_of

Object = dict[str, Any]

MANAGER = "kube-controller-manager"
PERIOD_SECONDS = 15.0
_KINDS = ("Deployment", "StatefulSet", "ReplicaSet")
_NO_METRICS = (
    "failed to get {0} utilization: unable to get metrics for resource {0}: unable to fetch metrics from resource "
    "metrics API: the server could not find the requested resource (get pods.metrics.k8s.io)"
)


class Autoscalers(Controller):
    name = "horizontal-pod-autoscaler"
    kinds = ("HorizontalPodAutoscaler",)

    def keys(self, event: Event) -> Iterable[Key]:
        changed = event.old is None or spec_of(event.old) != spec_of(event.object)
        if event.type == "DELETED" or not changed:
            return []
        # The first look comes with the next period, as in the real controller.
        self.enqueue((namespace_of(event.object), name_of(event.object)), PERIOD_SECONDS)
        return []

    def reconcile(self, key: Key) -> None:
        namespace, name = key
        scaler = self.store.get("HorizontalPodAutoscaler", namespace, name)
        if scaler is None or deleting(scaler):
            return
        self.enqueue(key, PERIOD_SECONDS)
        reference = spec_of(scaler)["scaleTargetRef"]
        kind = reference["kind"]
        target = self.store.get(kind, namespace, reference["name"]) if kind in _KINDS else None
        if target is None:
            why = f'{kind.lower()}s.apps "{reference["name"]}" not found'
            text = f"the HPA controller was unable to get the target's current scale: {why}"
            self._write(scaler, {}, [("AbleToScale", False, "FailedGetScale", text)])
            self.event(scaler, "Warning", "FailedGetScale", why)
            return
        current = int(spec_of(target).get("replicas", 1))
        least, most = int(spec_of(scaler).get("minReplicas", 1)), int(spec_of(scaler)["maxReplicas"])
        if current == 0:
            text = "scaling is disabled since the replica count of the target is zero"
            able = (
                "AbleToScale",
                True,
                "SucceededGetScale",
                "the HPA controller was able to get the target's current scale",
            )
            self._write(
                scaler,
                {"current": 0, "desired": 0},
                [able, ("ScalingActive", False, "ScalingDisabled", text)],
            )
            return
        wanted = min(max(current, least), most)
        if wanted != current:
            self._rescale(scaler, target, current, wanted, least)
        else:
            self._cannot(scaler, current)

    def _rescale(self, scaler: Object, target: Object, current: int, wanted: int, least: int) -> None:
        def change(obj: Object) -> None:
            obj["spec"]["replicas"] = wanted

        self.store.mutate(target["kind"], namespace_of(target), name_of(target), change, "scale", MANAGER)
        bound = "below Spec.MinReplicas" if wanted == least and current < least else "above Spec.MaxReplicas"
        reason = f"Current number of replicas {bound}"
        self.event(scaler, "Normal", "SuccessfulRescale", f"New size: {wanted}; reason: {reason}")
        text = f"the HPA controller was able to update the target scale to {wanted}"
        self._write(
            scaler,
            {"current": current, "desired": wanted, "scaled": True},
            [("AbleToScale", True, "SucceededRescale", text)],
        )

    def _cannot(self, scaler: Object, current: int) -> None:
        metrics = spec_of(scaler).get("metrics") or []
        resource = ((metrics[0] if metrics else {}).get("resource") or {}).get("name", "cpu")
        text = _NO_METRICS.format(resource)
        able = (
            "AbleToScale",
            True,
            "SucceededGetScale",
            "the HPA controller was able to get the target's current scale",
        )
        message = f"the HPA was unable to compute the replica count: {text}"
        self._write(
            scaler,
            {"current": current, "desired": current, "metrics": len(metrics)},
            [able, ("ScalingActive", False, "FailedGetResourceMetric", message)],
        )
        self.event(scaler, "Warning", "FailedGetResourceMetric", text)
        first = text.replace(
            "failed to get", f"failed to get {resource} resource metric value: failed to get", 1
        )
        count = len(metrics) or 1
        self.event(
            scaler,
            "Warning",
            "FailedComputeMetricsReplicas",
            f"invalid metrics ({count} invalid out of {count}), first error is: {first}",
        )

    def _write(
        self, scaler: Object, figures: dict[str, Any], wanted: list[tuple[str, bool, str, str]]
    ) -> None:
        old = status_of(scaler)
        known = {found["type"]: found for found in old.get("conditions") or []}
        now = self.store.now()
        for type_, value, reason, message in wanted:
            text = "True" if value else "False"
            before = known.get(type_)
            since = before["lastTransitionTime"] if before is not None and before["status"] == text else now
            known[type_] = {
                "type": type_, "status": text, "lastTransitionTime": since, "reason": reason, "message": message
            }  # fmt: skip
        state: Object = {}
        if figures.get("scaled") or old.get("lastScaleTime"):
            state["lastScaleTime"] = now if figures.get("scaled") else old["lastScaleTime"]
        state["currentReplicas"] = figures.get("current", old.get("currentReplicas", 0))
        state["desiredReplicas"] = figures.get("desired", old.get("desiredReplicas", 0))
        state["currentMetrics"] = [{"type": ""}] * figures["metrics"] if figures.get("metrics") else None
        state["conditions"] = list(known.values())
        if state == old:
            return

        def change(obj: Object) -> None:
            obj["status"] = state

        self.store.mutate(
            "HorizontalPodAutoscaler", namespace_of(scaler), name_of(scaler), change, "status", MANAGER
        )
