"""Probes of running containers. Texts: kubelet (pkg/kubelet/prober, pkg/probe).

httpGet asks the simulated container itself; tcpSocket whether it listens; exec asks the program: Ollama understands
`ollama list`, `ollama show MODEL` and `sh -c` around them, any other command succeeds.
"""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from sandbox.backend import BackendRequest, closing, one
from sandbox.proxying import port_number

if TYPE_CHECKING:
    from sandbox.world.containers import ContainerRunner
    from sandbox.world.process import Process

Object = dict[str, Any]
READ_BYTES = 10_240
_HTTP_FAILS = "HTTP probe failed with statuscode: 503"
_EXEC_FAILS = "Error: something went wrong, please see the ollama server logs for details"


@dataclass(frozen=True, slots=True)
class Result:
    ok: bool
    text: str = ""


async def _http(process: Process, action: Object, timeout: float) -> Result:
    number = port_number(process.pod, action["port"]) or 0
    path = action.get("path", "/")
    url = f"{action.get('scheme', 'HTTP').lower()}://{process.address}:{number}{path}"
    backend = process.world.listening(process, number)
    if backend is None:
        return Result(False, f'Get "{url}": dial tcp {process.address}:{number}: connect: connection refused')
    bare, _, query = path.partition("?")
    headers = tuple((entry["name"], entry["value"]) for entry in action.get("httpHeaders") or [])
    request = BackendRequest("GET", bare, query, (("User-Agent", "kube-probe/1.36"), *headers), one(b""))

    async def ask() -> int:
        answer = await backend.handle(request)
        if not isinstance(answer.body, bytes):
            size = 0
            async with closing(answer.body) as body:
                async for part in body:
                    size += len(part)
                    if size > READ_BYTES:
                        break
        return answer.status

    try:
        code = await asyncio.wait_for(ask(), timeout)
    except TimeoutError:
        why = "context deadline exceeded (Client.Timeout exceeded while awaiting headers)"
        return Result(False, f'Get "{url}": {why}')
    except ConnectionError as error:
        return Result(False, f'Get "{url}": {error or "EOF"}')
    if 200 <= code < 400:
        return Result(True)
    return Result(False, f"HTTP probe failed with statuscode: {code}")


async def check(process: Process, probe: Object, kind: str = "readiness") -> Result:
    """One attempt."""
    clock = process.world.clock
    fault = process.world.faults.find("probe_failure", pod=process.pod)
    if fault is not None and fault.text("kind", "readiness") == kind:
        process.world.faults.use(fault)
        return Result(False, fault.text("text", _EXEC_FAILS if probe.get("exec") else _HTTP_FAILS))
    timeout = max(0.25, float(probe.get("timeoutSeconds", 1)) / clock.speed)
    if probe.get("httpGet"):
        return await _http(process, probe["httpGet"], timeout)
    if probe.get("tcpSocket"):
        number = port_number(process.pod, probe["tcpSocket"]["port"]) or 0
        if process.world.listening(process, number) is not None:
            return Result(True)
        return Result(False, f"dial tcp {process.address}:{number}: connect: connection refused")
    if probe.get("exec"):
        code, output = process.run(list(probe["exec"].get("command") or []))
        return Result(code == 0, output)
    return Result(True)


async def _watch(runner: ContainerRunner, process: Process, probe: Object, kind: str) -> None:
    """Ask again and again; report each change of mind to the runner. kind: startup, readiness, liveness."""
    clock = process.world.clock
    period = float(probe.get("periodSeconds", 10))
    needed = {True: int(probe.get("successThreshold", 1)), False: int(probe.get("failureThreshold", 3))}
    await clock.sleep(float(probe.get("initialDelaySeconds", 0)) + min(period, 0.2))
    last, count = None, 0
    while not process.exited.done():
        result = await check(process, probe, kind)
        if process.exited.done():
            return
        if not result.ok:
            runner.unhealthy(kind, result.text)
        count = count + 1 if result.ok is last else 1
        last = result.ok
        if count >= needed[result.ok] and runner.probed(kind, result.ok) and kind == "startup":
            return
        await clock.sleep(period)


async def run(runner: ContainerRunner, process: Process) -> None:
    """All probes of one life of a container; the startup probe goes first."""
    container = process.container
    if container.get("startupProbe"):
        await _watch(runner, process, container["startupProbe"], "startup")
        if process.exited.done() or not runner.started:
            return
    kinds = [kind for kind in ("readiness", "liveness") if container.get(f"{kind}Probe")]
    await asyncio.gather(*(_watch(runner, process, container[f"{kind}Probe"], kind) for kind in kinds))
