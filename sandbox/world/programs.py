"""Which program an image runs. Unknown images run for ever and answer 200 on the ports they declare."""

from __future__ import annotations

import re
from collections.abc import Callable

from sandbox.backend import BackendRequest, BackendResponse
from sandbox.world import chat, exporters, ollama, prometheus
from sandbox.world.process import Process

START_SECONDS = 0.4
_EXIT = re.compile(r"(?:^|[;&\s])exit\s+(\d{1,3})\s*$")


class Generic:
    """What an image answers that the practice cluster knows nothing about."""

    def __init__(self, image: str) -> None:
        self.image = image

    async def handle(self, request: BackendRequest) -> BackendResponse:
        text = f"SIMULATED {self.image}: {request.method} {request.path}\n".encode()
        return BackendResponse(200, [("Content-Type", "text/plain; charset=utf-8")], text)


def generic(process: Process) -> None:
    process.log.write(f"SIMULATED container of image {process.image.text} started")
    for port in process.container.get("ports") or []:
        process.ports[int(port["containerPort"])] = Generic(process.image.text)


_PROGRAMS: tuple[tuple[re.Pattern[str], Callable[[Process], None]], ...] = (
    (re.compile(r"(^|/)ollama$"), ollama.start),
    (re.compile(r"(^|/)(chatgpt-next-web|nextchat)$"), chat.start),
    (re.compile(r"(^|/)dcgm-exporter$"), exporters.start_nvidia),
    (re.compile(r"(^|/)device-metrics-exporter$"), exporters.start_amd),
    (re.compile(r"(^|/)prometheus$"), prometheus.start),
)


def _exit_code(process: Process) -> int | None:
    """The code of a command that ends at once: true, false, sh -c '... exit N'."""
    command = [*(process.container.get("command") or []), *(process.container.get("args") or [])]
    if not command:
        return None
    name = command[0].rpartition("/")[2]
    if name in ("true", "false"):
        return 0 if name == "true" else 1
    if (
        name in ("sh", "bash", "ash")
        and len(command) > 2
        and command[1].startswith("-")
        and command[1].endswith("c")
    ):
        script = command[2].strip()
        found = _EXIT.search(script)
        if found is not None:
            return int(found[1])
        if process.image.repository == "busybox" and not re.search(r"sleep|while|tail|httpd|nc ", script):
            return 0
    return None


def launch(process: Process, one_shot: bool) -> None:
    """Start the program of the process's image. one_shot: an init container, which ends by itself."""
    code = _exit_code(process)
    if code is not None or one_shot:

        async def work() -> None:
            await process.world.clock.sleep(0.5)
            process.end(code or 0)

        command = [*(process.container.get("command") or []), *(process.container.get("args") or [])]
        process.log.write(f"SIMULATED: {' '.join(command) or process.image.text}")
        process.spawn(work())
        return
    own_command = process.container.get("command")
    for pattern, start in _PROGRAMS:
        if pattern.search(process.image.path) and (not own_command or start is ollama.start):
            start(process)
            return
    generic(process)
