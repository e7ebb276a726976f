"""Changes of pods at a set rate: readiness, restarts, phases, deletion and re-creation. The same row for the same seed.

A pod that is not well is brought back before many others fall ill, so that about one pod in a hundred is
not ready at any moment. Every written state of an object counts as one change.
"""

from __future__ import annotations

import asyncio
import random
from collections import Counter, deque
from typing import Any

from sandbox.scale.fleet import STAYING, Fleet, Planned, Workload
from sandbox.scale.objects import Writer, conditions
from sandbox.store import Store, key_of

Object = dict[str, Any]

TICK = 0.05
KINDS = ("readiness", "restart", "phase", "replace")
WEIGHTS = (60, 20, 5, 15)


class Churn:
    """rate: changes a second, 0 for none; may be set at any time. made: what was written, by kind."""

    def __init__(self, store: Store, fleet: Fleet, writer: Writer) -> None:
        self.store = store
        self.fleet = fleet
        self.writer = writer
        self.rate = fleet.size.changes
        self.made: Counter[str] = Counter()
        self._random = random.Random(f"{fleet.size.seed}/churn")
        self._workloads: dict[str, Workload] = {}
        self._keys: list[str] = []
        self._index: dict[str, int] = {}
        self._unwell: deque[str] = deque()
        self._task: asyncio.Task[None] | None = None
        for planned in fleet.pods:
            if planned.node and planned.workload.namespace not in STAYING:
                self._remember(planned.workload, planned.name)

    def start(self) -> None:
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def stop(self) -> None:
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        last, owed = loop.time(), 0.0
        while True:
            await asyncio.sleep(TICK)
            now = loop.time()
            # After a pause (a long list, a busy machine) the row goes on; it is not caught up in one burst.
            owed = min(owed + (now - last) * self.rate, max(1.0, self.rate))
            last = now
            if self._keys:
                owed -= self.step(int(owed))
            else:
                owed = 0.0

    def step(self, count: int) -> int:
        """Write at least ``count`` changes; returns how many it were."""
        before = self.made.total()
        while self.made.total() - before < count and self._keys:
            self._one()
        return self.made.total() - before

    # ---- which pods there are

    def _remember(self, workload: Workload, name: str) -> None:
        key = key_of(workload.namespace, name)
        self._index[key] = len(self._keys)
        self._keys.append(key)
        self._workloads[key] = workload

    def _forget(self, key: str) -> None:
        """The last key takes the place of the one that goes, so that a choice stays cheap."""
        index = self._index.pop(key)
        last = self._keys.pop()
        if last != key:
            self._keys[index] = last
            self._index[last] = index
        del self._workloads[key]

    def workload_of(self, namespace: str, name: str) -> Workload | None:
        return self._workloads.get(key_of(namespace, name))

    # ---- one change

    def _one(self) -> None:
        ill = max(5, len(self._keys) // 100)
        if len(self._unwell) >= ill:
            self._recover(self._unwell.popleft())
            return
        key = self._keys[self._random.randrange(len(self._keys))]
        (kind,) = self._random.choices(KINDS, WEIGHTS)
        version = self.store.collection("Pod").versions.get(key)
        if version is None:
            # Somebody deleted it through the API.
            self._forget(key)
            return
        pod = version.object
        if kind == "replace":
            self._replace(key, pod)
            return
        if pod["status"]["phase"] != "Running" or not pod["status"]["containerStatuses"][0]["ready"]:
            self._recover(key)
            return
        now = self.store.now()
        state = dict(pod["status"])
        state["conditions"] = conditions(pod["metadata"]["creationTimestamp"], ready=False, changed=now)
        container = dict(state["containerStatuses"][0], ready=False)
        if kind == "restart":
            container["restartCount"] += 1
            container["lastState"] = {"terminated": self._terminated(container, now)}
            container["state"] = {"running": {"startedAt": now}}
        elif kind == "phase":
            state["phase"] = "Pending"
            waiting = {"reason": "ContainerCreating"}
            container |= {"state": {"waiting": waiting}, "started": False}
        state["containerStatuses"] = [container]
        self._write(pod, state, kind)
        self._unwell.append(key)

    def _terminated(self, container: Object, now: str) -> Object:
        killed = self._random.random() < 0.2
        return {
            "exitCode": 137 if killed else 1,
            "reason": "OOMKilled" if killed else "Error",
            "startedAt": container["state"].get("running", {}).get("startedAt", now),
            "finishedAt": now,
            "containerID": container.get("containerID", ""),
        }

    def _recover(self, key: str) -> None:
        version = self.store.collection("Pod").versions.get(key)
        if version is None or key not in self._index:
            return
        pod, now = version.object, self.store.now()
        state = dict(pod["status"], phase="Running")
        state["conditions"] = conditions(pod["metadata"]["creationTimestamp"], ready=True, changed=now)
        container = dict(state["containerStatuses"][0], ready=True, started=True)
        container["state"] = {"running": {"startedAt": now}}
        state["containerStatuses"] = [container]
        self._write(pod, state, "readiness")

    def _write(self, pod: Object, state: Object, kind: str) -> None:
        self.store.place("Pod", {**pod, "metadata": dict(pod["metadata"]), "status": state})
        self.made[kind] += 1

    def _replace(self, key: str, pod: Object) -> None:
        """Delete a pod and make the next one on the same node, as its controller would."""
        workload, old = self._workloads[key], pod["metadata"]
        self.store.delete("Pod", old["namespace"], old["name"], grace=0)
        self._forget(key)
        name = old["name"]
        if workload.kind != "StatefulSet":
            name = name[:-5] + "".join(self._random.choices("bcdfghjklmnpqrstvwxz2456789", k=5))
        planned = Planned(workload, name, pod["spec"]["nodeName"])
        self.store.place("Pod", self.writer.pod(planned, self.store.now()))
        self._remember(workload, name)
        self.made["replace"] += 2
