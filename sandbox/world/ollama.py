"""The Ollama server of a simulated container: routes, models, pulls. Ollama docs/api.md, server/routes.go.

The version comes from the image's tag (default 0.9.6) and decides what differs between versions: wrong methods,
thinking, the text of some errors.
"""

from __future__ import annotations

import json
import re
import shlex
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import Any
from urllib.parse import urlsplit

from sandbox.backend import BackendRequest, BackendResponse, closing
from sandbox.world import modelname
from sandbox.world.answers import compact, error_answer, json_answer, stream_answer, text_answer
from sandbox.world.completions import Completions
from sandbox.world.inference import Memory
from sandbox.world.modelname import ModelName
from sandbox.world.modelstore import Stored, Volume
from sandbox.world.process import Process
from sandbox.world.pulls import Puller
from sandbox.world.registry import PullError

Object = dict[str, Any]

PORT = 11434
DEFAULT_VERSION = "0.9.6"
NDJSON = "application/x-ndjson"
_LOCAL_ORIGIN = re.compile(
    r"(https?://(localhost|127\.0\.0\.1|0\.0\.0\.0)(:\d+)?|(app|file|tauri|vscode-webview|vscode-file)://.*)"
)
_SHOW = re.compile(r"ollama\s+show\s+([^\s;&|>]+)")
_GREP = re.compile(r"ollama\s+(?:list|ls)\b[^|]*\|\s*grep\s+(?:-\w+\s+)*([^\s;&|>]+)")


class BadRequest(Exception):
    """400 with Ollama's text."""


def rfc3339(seconds: float) -> str:
    moment = datetime.fromtimestamp(seconds, UTC)
    return f"{moment:%Y-%m-%dT%H:%M:%S}.{int(seconds % 1 * 1e9):09d}Z"


def details(stored: Stored) -> Object:
    manifest = stored.manifest
    return {
        "parent_model": "",
        "format": "gguf",
        "family": manifest.family,
        "families": [manifest.family],
        "parameter_size": manifest.parameters,
        "quantization_level": manifest.quantization,
    }


def version_of(tag: str) -> str:
    found = re.match(r"(\d+\.\d+\.\d+)", tag)
    return found[1] if found else DEFAULT_VERSION


class Ollama:
    """One server process. `volume` is where its models lie."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.world = process.world
        self.version = version_of(process.image.tag)
        self.number = tuple(int(part) for part in self.version.split("."))
        home = process.env.get("HOME", "/root")
        self.models_path = process.env.get("OLLAMA_MODELS", f"{home}/.ollama/models").strip("\"' ")
        self.volume: Volume = self.world.volumes.at(
            process.pod, process.container, self.models_path, process.identity
        )
        if process.env.get("OLLAMA_NOPRUNE", "").strip("\"' ").lower() not in ("1", "true", "t"):
            self.volume.prune()
        rocm = "rocm" in process.image.tag
        sees = any((device.model.vendor == "amd") == rocm for device in process.devices)
        self.memory = Memory(process, sees, counts_cgroup=self.number >= (0, 13, 0))
        self.puller = Puller(process, self.volume, self.models_path)
        self.completions = Completions(self)
        self._routes: dict[str, dict[str, Callable[[BackendRequest], Awaitable[BackendResponse]]]] = {
            "/": {"GET": self._root, "HEAD": self._root},
            "/api/version": {"GET": self._version, "HEAD": self._version},
            "/api/tags": {"GET": self._tags, "HEAD": self._tags},
            "/api/ps": {"GET": self._ps},
            "/api/pull": {"POST": self._pull},
            "/api/show": {"POST": self._show},
            "/api/delete": {"DELETE": self._delete},
            "/api/copy": {"POST": self._copy},
            "/api/generate": {"POST": self.completions.generate},
            "/api/chat": {"POST": self.completions.chat},
            "/api/embed": {"POST": self.completions.embed},
            "/v1/chat/completions": {"POST": self.completions.openai},
            "/v1/models": {"GET": self._openai_models},
            "/api/create": {"POST": self._left_out},
            "/api/push": {"POST": self._left_out},
        }

    # ---- requests

    async def handle(self, request: BackendRequest) -> BackendResponse:
        began = self.world.clock.elapsed()
        answer = await self._answer(request)
        took = self.world.clock.elapsed() - began
        if request.header("User-Agent") != "kube-probe/1.36":
            what = f'{request.method:<8} "{request.path}"'
            head = f"[GIN] {datetime.now(UTC):%Y/%m/%d - %H:%M:%S} | {answer.status} | {took:>12.6f}s"
            self.process.log.write(f"{head} | {self.process.address:>15} | {what}")
        return answer

    async def _answer(self, request: BackendRequest) -> BackendResponse:
        if not self._origin_allowed(request):
            return BackendResponse(403, [], b"")
        handlers = self._routes.get(request.path)
        if handlers is None:
            return text_answer("404 page not found", 404, "text/plain")
        handler = handlers.get(request.method)
        if handler is None:
            if self.number >= (0, 7, 0):
                return text_answer("405 method not allowed", 405, "text/plain")
            return text_answer("404 page not found", 404, "text/plain")
        try:
            return await handler(request)
        except BadRequest as error:
            return error_answer(str(error), 400)

    def _origin_allowed(self, request: BackendRequest) -> bool:
        origin = request.header("Origin")
        if not origin or urlsplit(origin).netloc == request.header("Host"):
            return True
        allowed = [
            part.strip() for part in self.process.env.get("OLLAMA_ORIGINS", "").split(",") if part.strip()
        ]
        return "*" in allowed or origin in allowed or _LOCAL_ORIGIN.fullmatch(origin) is not None

    async def body(self, request: BackendRequest) -> Object:
        """The JSON body. Raises BadRequest with Ollama's words."""
        raw = await request.read()
        if not raw.strip():
            raise BadRequest("missing request body")
        try:
            value = json.loads(raw)
        except ValueError as error:
            raise BadRequest(f"invalid character in request body: {error}") from None
        if not isinstance(value, dict):
            raise BadRequest("json: cannot unmarshal array into Go value of type api.Request")
        return value

    # ---- models

    def find(self, text: str) -> tuple[str, Stored] | None:
        """(shortest name, model) of an installed model. None too for an invalid name."""
        name = modelname.parse(text)
        key = self.volume.find(name.full) if name is not None else None
        if key is None:
            return None
        known = modelname.parse(key)
        shown = known.shortest if known is not None else key
        fault = self.world.faults.find("lost_model", pod=self.process.pod, model=shown)
        return None if fault is not None else (shown, self.volume.models[key])

    def installed(self) -> list[tuple[str, Stored]]:
        """Newest first."""
        names = [
            parsed.shortest for key in self.volume.models if (parsed := modelname.parse(key)) is not None
        ]
        found = [entry for name in names if (entry := self.find(name)) is not None]
        return sorted(found, key=lambda entry: -entry[1].modified)

    async def _root(self, request: BackendRequest) -> BackendResponse:
        return text_answer("Ollama is running")

    async def _version(self, request: BackendRequest) -> BackendResponse:
        return json_answer({"version": self.version})

    async def _tags(self, request: BackendRequest) -> BackendResponse:
        return json_answer(
            {
                "models": [
                    {
                        "name": name,
                        "model": name,
                        "modified_at": rfc3339(stored.modified),
                        "size": stored.manifest.size,
                        "digest": stored.manifest.digest,
                        "details": details(stored),
                    }
                    for name, stored in self.installed()
                ]
            }
        )

    async def _ps(self, request: BackendRequest) -> BackendResponse:
        models = []
        for loaded in sorted(self.memory.loaded.values(), key=lambda entry: -entry.expires):
            entry: Object = {
                "name": loaded.name,
                "model": loaded.name,
                "size": loaded.size,
                "digest": loaded.manifest.digest,
                "details": details(Stored(loaded.manifest, 0)),
                "expires_at": rfc3339(loaded.expires),
                "size_vram": loaded.vram,
            }
            if self.number >= (0, 10, 0):
                entry["context_length"] = loaded.context
            models.append(entry)
        return json_answer({"models": models})

    async def _show(self, request: BackendRequest) -> BackendResponse:
        body = await self.body(request)
        text = body.get("model") or body.get("name") or ""
        if not text:
            raise BadRequest("model is required")
        if modelname.parse(text) is None:
            return (
                error_answer("invalid model path", 500)
                if self.number < (0, 6, 0)
                else error_answer("invalid model name", 400)
            )
        found = self.find(text)
        if found is None:
            return error_answer(f"model '{text}' not found", 404)
        stored = found[1]
        manifest = stored.manifest
        answer: Object = {
            "license": "SIMULATED license text",
            "modelfile": f"# SIMULATED\nFROM {self.models_path}/blobs/{manifest.layers[0].digest.replace(':', '-')}\n",
            "template": "{{ .Prompt }}",
            "details": details(stored),
            "model_info": {
                "general.architecture": manifest.family,
                "general.file_type": 15,
                "general.parameter_count": manifest.architecture_parameters,
                f"{manifest.family}.context_length": manifest.context,
            },
            "modified_at": rfc3339(stored.modified),
        }
        if manifest.thinking:
            answer["parameters"] = "temperature                    0.6\ntop_p                          0.95"
        if self.number >= (0, 6, 4):
            abilities = ["embedding"] if manifest.embedding else ["completion"]
            answer["capabilities"] = [
                *abilities,
                *(["thinking"] if manifest.thinking and self.number >= (0, 9, 0) else []),
            ]
        return json_answer(answer)

    async def _delete(self, request: BackendRequest) -> BackendResponse:
        body = await self.body(request)
        text = body.get("model") or body.get("name") or ""
        name = modelname.parse(text)
        if name is None:
            raise BadRequest(f'name "{text}" is invalid')
        key = self.volume.find(name.full)
        if key is None:
            return error_answer(f"model '{text}' not found", 404)
        self.volume.remove(key)
        return BackendResponse(200, [], b"")

    async def _copy(self, request: BackendRequest) -> BackendResponse:
        body = await self.body(request)
        names: dict[str, ModelName] = {}
        for member in ("source", "destination"):
            name = modelname.parse(str(body.get(member, "")))
            if name is None:
                raise BadRequest(f'{member} "{body.get(member, "")}" is invalid')
            names[member] = name
        found = self.find(names["source"].full)
        if found is None:
            return error_answer(f'model "{body["source"]}" not found', 404)
        self.volume.models[names["destination"].full] = Stored(found[1].manifest, self.world.store.clock())
        return BackendResponse(200, [], b"")

    async def _openai_models(self, request: BackendRequest) -> BackendResponse:
        data = [
            {"id": name, "object": "model", "created": int(stored.modified), "owned_by": "library"}
            for name, stored in self.installed()
        ]
        return json_answer({"object": "list", "data": data or None})

    async def _left_out(self, request: BackendRequest) -> BackendResponse:
        return error_answer(f"the practice cluster does not offer {request.path}", 501)

    # ---- pulling

    async def _pull(self, request: BackendRequest) -> BackendResponse:
        body = await self.body(request)
        name = modelname.parse(str(body.get("model") or body.get("name") or ""))
        if name is None:
            raise BadRequest("invalid model name")
        lines = self.puller.pull(name, bool(body.get("insecure")))
        if body.get("stream", True) is False:
            try:
                async with closing(lines):
                    async for _ in lines:
                        pass
            except PullError as error:
                return error_answer(str(error), 500)
            return json_answer({"status": "success"})
        return stream_answer(self._stream(lines), NDJSON)

    async def _stream(self, lines: AsyncIterator[Object]) -> AsyncIterator[bytes]:
        async with closing(lines):
            try:
                async for line in lines:
                    if self.process.exited.done():
                        raise ConnectionResetError("the server exited")
                    yield compact(line) + b"\n"
            except PullError as error:
                yield compact({"error": str(error)}) + b"\n"

    # ---- commands

    def run(self, command: list[str]) -> tuple[int, str]:
        """(exit code, output) of a command inside the container: ollama list, show, ps, and sh -c around them."""
        if not command:
            return 0, ""
        program = command[0].rpartition("/")[2]
        if program in ("sh", "bash", "ash") and len(command) > 2:
            return self._script(command[2])
        if program != "ollama" or len(command) < 2:
            return 0, ""
        if command[1] == "show":
            text = next((word for word in command[2:] if not word.startswith("-")), "")
            if self.find(text) is None:
                return 1, f"Error: model '{text}' not found"
        if command[1] in ("list", "ls"):
            rows = [
                f"{name}\t{stored.manifest.digest[:12]}\t{stored.manifest.size}"
                for name, stored in self.installed()
            ]
            return 0, "\n".join(["NAME\tID\tSIZE", *rows])
        return 0, ""

    def _script(self, script: str) -> tuple[int, str]:
        def plain(word: str) -> str:
            for name, value in self.process.env.items():
                word = word.replace(f"${{{name}}}", value).replace(f"${name}", value)
            return "".join(shlex.split(word)) if word else ""

        for found in _SHOW.finditer(script):
            code, output = self.run(["ollama", "show", plain(found[1])])
            if code:
                return code, output
        for found in _GREP.finditer(script):
            if not any(plain(found[1]) in name for name, _ in self.installed()):
                return 1, ""
        return 0, ""


def start(process: Process) -> None:
    """Bring up the server of a container."""
    server = Ollama(process)
    host = process.env.get("OLLAMA_HOST", "")
    port = int(found[1]) if (found := re.search(r":(\d+)$", host)) else PORT
    process.ports[port] = server
    process.executor = server.run
    process.log.write(
        f"time={rfc3339(process.world.store.clock())} level=INFO source=routes.go:1235 "
        f'msg="server config" env="map[OLLAMA_MODELS:{server.models_path}]"'
    )
    gpus = ", ".join(device.model.product for device in process.devices) or "no GPU"
    process.log.write(f'level=INFO source=images.go:476 msg="total blobs: {len(server.volume.blobs)}"')
    process.log.write(
        f'level=INFO source=routes.go:1288 msg="Listening on [::]:{port} (version {server.version})"'
    )
    process.log.write(f'level=INFO source=types.go:130 msg="inference compute" SIMULATED="{gpus}"')
