"""A chat server in the manner of NextChat: a page of our own, marked SIMULATED, that asks what NextChat's page asks.

Server side as NextChat's app/config/server.ts and app/api: /api/config from the environment, /api/openai to BASE_URL's
Service, the open proxy hole of any other /api path (answered with a text that says SSRF, and nothing is fetched).
"""

from __future__ import annotations

import json
import re
from typing import Any
from urllib.parse import urlsplit

from sandbox.backend import BackendRequest, BackendResponse, one
from sandbox.world.answers import json_answer, text_answer
from sandbox.world.chat_page import PAGE, SCRIPT, STYLE
from sandbox.world.process import Process

Object = dict[str, Any]

PORT = 3000
_OPENAI_PATHS = (
    "v1/chat/completions",
    "v1/audio/speech",
    "v1/images/generations",
    "dashboard/billing/usage",
    "dashboard/billing/subscription",
    "v1/models",
)
_ASSETS = {
    "/_next/static/css/simulated.css": (STYLE, "text/css; charset=UTF-8"),
    "/_next/static/chunks/simulated.js": (SCRIPT, "application/javascript; charset=UTF-8"),
    "/serviceWorkerRegister.js": (
        "/* SIMULATED: no service worker */\n",
        "application/javascript; charset=UTF-8",
    ),
    "/masks.json": ('{"cn":[],"tw":[],"en":[]}', "application/json; charset=UTF-8"),
    "/plugins.json": ("[]", "application/json; charset=UTF-8"),
    "/prompts.json": ('{"cn":[],"tw":[],"en":[]}', "application/json; charset=UTF-8"),
    "/site.webmanifest": ('{"name":"SIMULATED chat"}', "application/manifest+json"),
}


class Chat:
    """One server process; its environment is read once."""

    def __init__(self, process: Process) -> None:
        self.process = process
        self.env = process.env

    async def handle(self, request: BackendRequest) -> BackendResponse:
        path = request.path
        if path == "/":
            return self._root(request)
        if path in _ASSETS:
            text, kind = _ASSETS[path]
            answer = text_answer(text, 200, kind)
            if path.startswith("/_next/static/"):
                answer.headers.append(("Cache-Control", "public, max-age=31536000, immutable"))
            return answer
        if path == "/api/config":
            return json_answer(self.config(), content_type="application/json")
        if path.startswith("/api/openai/"):
            return await self._openai(request, path.removeprefix("/api/openai/"))
        if path.startswith("/api/"):
            target = request.header("x-base-url") or ""
            return text_answer(
                f"SSRF: NextChat would now fetch {target}/{path.split('/', 3)[-1]} for anybody\n"
            )
        if path.startswith("/google-fonts/"):
            return text_answer("Internal Server Error", 500)
        return text_answer("<!DOCTYPE html><title>404</title><h1>404</h1>", 404, "text/html; charset=utf-8")

    def _root(self, request: BackendRequest) -> BackendResponse:
        if request.method == "POST":
            if not request.header("Next-Action"):
                return text_answer("Method Not Allowed", 405)
            # The server action that asks whether MCP is switched on.
            enabled = "true" if self.env.get("ENABLE_MCP") == "true" else "false"
            return text_answer(f'0:["$@1",["simulated",null]]\n1:{enabled}\n', 200, "text/x-component")
        if request.method not in ("GET", "HEAD"):
            return text_answer("Method Not Allowed", 405)
        return text_answer(PAGE, 200, "text/html; charset=utf-8")

    def config(self) -> Object:
        models = self.env.get("CUSTOM_MODELS", "")
        if self.env.get("DISABLE_GPT4"):
            models = ",".join(part for part in (models, "-gpt-4") if part)
        return {
            "needCode": bool(self._codes()),
            "hideUserApiKey": bool(self.env.get("HIDE_USER_API_KEY")),
            "disableGPT4": bool(self.env.get("DISABLE_GPT4")),
            "hideBalanceQuery": not self.env.get("ENABLE_BALANCE_QUERY"),
            "disableFastLink": bool(self.env.get("DISABLE_FAST_LINK")),
            "customModels": models,
            "defaultModel": self.env.get("DEFAULT_MODEL", ""),
            "visionModels": self.env.get("VISION_MODELS", ""),
        }

    def _codes(self) -> list[str]:
        return [code.strip() for code in self.env.get("CODE", "").split(",") if code.strip()]

    def _allowed(self, model: str) -> bool:
        """What CUSTOM_MODELS says about a model; with nothing in it everything is allowed."""
        allowed = True
        for entry in (part.strip() for part in self.env.get("CUSTOM_MODELS", "").split(",")):
            name = entry.lstrip("+-").partition("=")[0]
            name = re.sub(r"@[A-Za-z]+$", "", name)
            if name in ("all", model):
                allowed = not entry.startswith("-")
        return allowed

    async def _openai(self, request: BackendRequest, path: str) -> BackendResponse:
        if request.method == "OPTIONS":
            return json_answer({"body": "OK"}, content_type="application/json")
        if path not in _OPENAI_PATHS:
            text = f"you are not allowed to request {path}"
            return json_answer({"error": True, "msg": text}, 403, "application/json")
        bearer = (request.header("Authorization") or "").removeprefix("Bearer ").strip()
        code = bearer.removeprefix("nk-") if bearer.startswith("nk-") else ""
        own_key = bool(bearer) and not bearer.startswith("nk-")
        if self._codes() and code not in self._codes() and not own_key:
            text = "wrong access code" if code else "empty access code"
            return json_answer({"error": True, "msg": text}, 401, "application/json")
        if own_key and self.env.get("HIDE_USER_API_KEY"):
            text = "you are not allowed to access with your own api key"
            return json_answer({"error": True, "msg": text}, 401, "application/json")
        raw = await request.read()
        if request.method == "POST" and self.env.get("CUSTOM_MODELS"):
            try:
                model = str(json.loads(raw or b"{}").get("model", ""))
            except (ValueError, AttributeError):
                model = ""
            if not self._allowed(model):
                text = f"you are not allowed to use {model} model"
                return json_answer({"error": True, "message": text}, 403, "application/json")
        return await self._forward(request, path, raw)

    async def _forward(self, request: BackendRequest, path: str, raw: bytes) -> BackendResponse:
        base = self.env.get("BASE_URL") or "https://api.openai.com"
        if not base.startswith("http"):
            base = f"https://{base}"
        url = urlsplit(base.removesuffix("/"))
        namespace = self.process.pod["metadata"]["namespace"]
        backend = self.process.world.by_address(
            url.hostname or "", url.port or (443 if url.scheme == "https" else 80), namespace
        )
        if backend is None:
            return text_answer(f"fetch failed: cannot reach {base}\n", 500)
        headers = (
            ("Host", url.netloc),
            ("Content-Type", "application/json"),
            ("Cache-Control", "no-store"),
            (
                "Authorization",
                f"Bearer {self.env['OPENAI_API_KEY']}" if self.env.get("OPENAI_API_KEY") else "",
            ),
        )
        try:
            answer = await backend.handle(
                BackendRequest(request.method, f"{url.path}/{path}", request.query, headers, one(raw))
            )
        except OSError as error:
            return text_answer(f"fetch failed: {error}\n", 500)
        answer.headers = [*answer.headers, ("X-Accel-Buffering", "no")]
        return answer


def start(process: Process) -> None:
    server = Chat(process)
    port = int(process.env.get("PORT", PORT)) if process.env.get("PORT", "3000").isdigit() else PORT
    process.ports[port] = server
    process.log.write("  SIMULATED chat server (no NextChat code)")
    process.log.write(
        f"   - Local:        http://{process.env.get('HOSTNAME', process.pod['metadata']['name'])}:{port}"
    )
    process.log.write(" ✓ Ready in 0.4s")
