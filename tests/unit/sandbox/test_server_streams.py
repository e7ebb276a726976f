"""Streams whose reader leaves, and those that are open when the server stops."""

from __future__ import annotations

import asyncio
import ssl
import time

from sandbox.cluster import Cluster, Options
from tests.sandbox_server import RunningSandbox, running_sandbox

WATCH = "/api/v1/namespaces/default/configmaps?watch=true"
SECONDS = 10.0


def open_watches(cluster: RunningSandbox) -> int:
    return int(cluster.run(lambda _: len(cluster.cluster.server.watches)))


def test_a_watcher_that_leaves_is_forgotten_though_nothing_happens() -> None:
    with running_sandbox() as cluster:
        with cluster.stream(WATCH) as answer:
            assert answer.status == 200
            assert open_watches(cluster) == 1
        deadline = time.monotonic() + SECONDS
        while open_watches(cluster) and time.monotonic() < deadline:
            time.sleep(0.02)
        assert open_watches(cluster) == 0


async def _request_of_a_late_client(cluster: Cluster) -> bytes:
    """What a client gets whose connection is being made while the server stops."""
    host, _, port = cluster.url.removeprefix("https://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    while not any(task.get_coro().__name__ == "_accept_connection2" for task in asyncio.all_tasks()):  # type: ignore[union-attr]
        await asyncio.sleep(0)
    await cluster.stop()
    try:
        await writer.start_tls(ssl.create_default_context(cadata=cluster.ca_pem), server_hostname=host)
        writer.write(
            f"GET {WATCH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {cluster.token}\r\n\r\n".encode()
        )
        return await asyncio.wait_for(reader.read(1), SECONDS)
    except ConnectionError:
        return b""
    finally:
        writer.close()


def test_a_stopped_server_serves_nobody_who_was_just_coming() -> None:
    """The stream would be torn down with the loop, in the middle of a read: an error in the log."""

    async def live() -> bytes:
        cluster = Cluster(Options())
        await cluster.start()
        return await _request_of_a_late_client(cluster)

    assert asyncio.run(live()) == b""


def test_a_stop_waits_until_every_request_has_ended() -> None:
    """Also those that do not end by themselves, and need a moment to clean up."""

    class Stuck:
        async def before(self, info: object) -> None:
            try:
                await asyncio.Event().wait()
            finally:
                await asyncio.sleep(0.2)

    class World:
        faults = Stuck()

        async def start(self) -> None: ...
        async def stop(self) -> None: ...

    async def live() -> int:
        cluster = Cluster(Options(world=lambda store: World()))
        await cluster.start()
        host, _, port = cluster.url.removeprefix("https://").partition(":")
        context = ssl.create_default_context(cadata=cluster.ca_pem)
        _, writer = await asyncio.open_connection(host, int(port), ssl=context)
        writer.write(
            f"GET {WATCH} HTTP/1.1\r\nHost: {host}\r\nAuthorization: Bearer {cluster.token}\r\n\r\n".encode()
        )
        while not cluster.server.under_way:
            await asyncio.sleep(0.01)
        tasks = set(cluster.server.under_way)
        await cluster.server.stop()
        left = [task for task in tasks if not task.done()]
        writer.close()
        await cluster.stop()
        return len(left)

    assert asyncio.run(live()) == 0
