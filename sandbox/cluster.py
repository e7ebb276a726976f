"""The practice cluster put together: certificates, objects, server, simulated world, and what it keeps on disk."""

from __future__ import annotations

import asyncio
import logging
import os
import secrets
import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import orjson

from sandbox import certificates, kubeconfig
from sandbox.access import MASTERS, Access, User
from sandbox.accounts import AccountTokens
from sandbox.certificates import Certificates, KeyPair
from sandbox.server import Server, World
from sandbox.store import Store
from sandbox.system import System

logger = logging.getLogger(__name__)

Object = dict[str, Any]

HOUSEKEEPING_SECONDS = 60.0


@dataclass(frozen=True, slots=True)
class Options:
    """tokens: token -> user, besides the administrator's. state: a directory that survives restarts, or None.

    world: makes the simulated world for a store, or None for the bare API. host and port: where to listen, 0 for any port.
    """

    host: str = "127.0.0.1"
    port: int = 0
    state: Path | None = None
    seed: int | None = None
    tokens: dict[str, User] = field(default_factory=dict)
    world: Callable[[Store], Any] | None = None
    history_limit: int = 20_000
    history_seconds: float = 300.0


class Cluster:
    """Start it, use `url`, `kubeconfig`, `token`, stop it. All in one event loop."""

    def __init__(self, options: Options) -> None:
        self.options = options
        self._scratch: tempfile.TemporaryDirectory[str] | None = None
        if options.state is None:
            self._scratch = tempfile.TemporaryDirectory(prefix="practice-cluster-")
            self.directory = Path(self._scratch.name)
        else:
            self.directory = options.state
            self.directory.mkdir(parents=True, exist_ok=True, mode=0o700)
        kept = self._read("identity.json")
        self.certificates, self.token = _identity(kept, options.host)
        self.store = Store(
            seed=options.seed, history_limit=options.history_limit, history_seconds=options.history_seconds
        )
        admin = User("kubernetes-admin", (MASTERS,))
        self.access = Access(self.store, {self.token: admin, **options.tokens})
        self.system = System(self.store, self.certificates.authority.certificate)
        self.accounts = AccountTokens(self.store, self.access, self.certificates.authority.certificate)
        self.server = Server(self.store, self.access, self.accounts)
        self.world: Any = None
        self._port = options.port or int((kept or {}).get("port", 0))
        self._housekeeping: asyncio.Task[None] | None = None

    # ---- running

    async def start(self) -> None:
        """Load what was kept, furnish, start the world, listen."""
        objects = self._read("objects.json")
        if objects is not None:
            self.store.load(objects)
            self.accounts.adopt()
        self.system.furnish()
        if self.options.world is not None:
            self.world = self.options.world(self.store)
            self.server.world = self.world
            attach = getattr(self.world, "attach", None)
            if attach is not None:
                # For worlds that end watches themselves, as a fault.
                attach(self.server)
            await self.world.start()
        context = certificates.server_context(self.certificates, self.directory)
        try:
            port = await self.server.start(self.options.host, self._port, context)
        except OSError:
            if self.options.port or not self._port:
                raise
            # Another process has taken the port of last time, which nobody asked for by number.
            port = await self.server.start(self.options.host, 0, context)
        self._port = port
        self._write("identity.json", _kept(self.certificates, self.token, port))
        self._housekeeping = asyncio.create_task(self._keep_house())

    async def _keep_house(self) -> None:
        while True:
            await asyncio.sleep(HOUSEKEEPING_SECONDS)
            self.system.forget_events()

    async def stop(self) -> None:
        """Stop listening and keep the objects if there is a state directory."""
        if self._housekeeping is not None:
            self._housekeeping.cancel()
        await self.server.stop()
        if self.world is not None:
            await self.world.stop()
        if self.options.state is not None:
            self._write("objects.json", self.store.dump())
        if self._scratch is not None:
            self._scratch.cleanup()

    # ---- what clients need

    @property
    def url(self) -> str:
        return f"https://{self.options.host}:{self._port}"

    @property
    def ca_pem(self) -> str:
        return self.certificates.authority.certificate

    def kubeconfig(self, token: str = "", user: str = "kubernetes-admin") -> Object:
        """For the administrator's client certificate, or for a token."""
        client = None if token else self.certificates.admin
        return kubeconfig.build(self.url, self.ca_pem, client=client, token=token, user=user)

    # ---- files

    def _read(self, name: str) -> Object | None:
        path = self.directory / name
        if not path.exists():
            return None
        data: Object = orjson.loads(path.read_bytes())
        return data

    def _write(self, name: str, data: Object) -> None:
        """In one step, readable by the owner alone."""
        path = self.directory / name
        temporary = path.with_suffix(".new")
        handle = os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        with os.fdopen(handle, "wb") as file:
            file.write(orjson.dumps(data))
        temporary.replace(path)


def _identity(kept: Object | None, host: str) -> tuple[Certificates, str]:
    if kept is None:
        return certificates.make((host,)), secrets.token_hex(24)
    pairs = [KeyPair(*kept[name]) for name in ("authority", "server", "admin")]
    return Certificates(*pairs), str(kept["token"])


def _kept(known: Certificates, token: str, port: int) -> Object:
    body: Object = {
        name: [pair.certificate, pair.key]
        for name, pair in (("authority", known.authority), ("server", known.server), ("admin", known.admin))
    }
    return {**body, "token": token, "port": port}


__all__ = ["Cluster", "Options", "World"]
