"""The event stream over HTTP, with a real Valkey and a real server on loopback."""

from __future__ import annotations

import asyncio
import json
import queue
import signal
import socket
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import httpx
import pytest
import uvicorn
from django.contrib.sessions.models import Session
from django.core.asgi import get_asgi_application
from django.test import Client

from dashboard import broker, streams
from dashboard.views import live
from deployments.domain.states import Role, SiteRole
from deployments.ledger import announce as announcing
from deployments.models import Membership, Team, User
from tests.factories import make_team

pytestmark = pytest.mark.django_db(transaction=True)
publish = announcing._publish  # the one that tests/conftest.py puts out of action


def wait_for(condition: Callable[[], Any], seconds: float = 60.0) -> Any:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        found = condition()
        if found:
            return found
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s")


@pytest.fixture(scope="module")
def valkey() -> Iterator[subprocess.Popen[bytes]]:
    program = broker.server_program()
    assert program, broker.NONE_FOUND
    with tempfile.TemporaryDirectory(prefix="vk-") as directory:
        path = Path(directory) / "s"
        process = subprocess.Popen(broker.server_command(program, path), stdout=subprocess.DEVNULL)
        try:
            wait_for(lambda: path.exists() and broker.answers(path))
            process.url = f"unix://{path}"  # type: ignore[attr-defined]
            yield process
        finally:
            process.terminate()
            process.wait(10)


@pytest.fixture
def redis_url(valkey: Any, settings: Any, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    settings.REDIS_URL = valkey.url
    monkeypatch.setattr(announcing, "_publish", publish)
    announcing._client.cache_clear()
    yield valkey.url
    announcing._client.cache_clear()


@pytest.fixture
def site(settings: Any) -> Iterator[str]:
    """The address of a server that serves the stream alone, behind the real middleware."""
    settings.ROOT_URLCONF = "dashboard.views.live"
    settings.ALLOWED_HOSTS = ["127.0.0.1"]
    listener = socket.socket()
    listener.bind(("127.0.0.1", 0))
    config = uvicorn.Config(
        get_asgi_application(), lifespan="off", log_level="warning", timeout_graceful_shutdown=1
    )
    server = uvicorn.Server(config)
    thread = threading.Thread(target=lambda: asyncio.run(server.serve([listener])), daemon=True)
    thread.start()
    wait_for(lambda: server.started)
    yield f"http://127.0.0.1:{listener.getsockname()[1]}"
    server.should_exit = True
    thread.join(10)
    listener.close()
    assert not thread.is_alive()


class Reader:
    """Reads a stream in a thread; ``lines`` are those that came, ``ended`` is set at its end."""

    def __init__(self, response: httpx.Response) -> None:
        self.lines: queue.Queue[str] = queue.Queue()
        self.ended = threading.Event()
        self._response = response
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        try:
            for line in self._response.iter_lines():
                self.lines.put(line)
        except httpx.HTTPError:
            pass
        self.ended.set()

    def data(self, seconds: float = 60.0) -> dict[str, Any]:
        deadline = time.monotonic() + seconds
        while time.monotonic() < deadline:
            line = self.lines.get(timeout=seconds)
            if line.startswith("data: ") and line != "data: {}":
                return json.loads(line.removeprefix("data: "))
        raise AssertionError("no line came")


def cookies(user: User) -> dict[str, str]:
    client = Client()
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return {name: morsel.value for name, morsel in client.cookies.items()}


@contextmanager
def listening(site: str, jar: dict[str, str]) -> Iterator[Reader]:
    with (
        httpx.Client(trust_env=False, timeout=30, cookies=jar) as client,
        client.stream("GET", f"{site}/live/stream") as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        reader = Reader(response)
        assert reader.lines.get(timeout=5).startswith("retry:")
        yield reader


@pytest.fixture
def viewer(db: None) -> User:
    user = User.objects.create_user("viewer")
    Membership.objects.create(team=Team.objects.get(slug="default"), user=user, role=Role.VIEWER)
    return user


def test_nobody_gets_401_and_no_redirect(site: str, redis_url: str) -> None:
    answer = httpx.get(f"{site}/live/stream", trust_env=False, follow_redirects=False)
    assert answer.status_code == 401 and "location" not in answer.headers


def test_without_redis_the_page_is_told_to_poll(site: str, viewer: User) -> None:
    answer = httpx.get(f"{site}/live/stream", cookies=cookies(viewer), trust_env=False)
    assert answer.status_code == 503 and answer.headers["retry-after"] == "5"


def test_a_member_hears_of_his_team_and_of_no_other(site: str, redis_url: str, viewer: User) -> None:
    mine = Team.objects.get(slug="default")
    other = make_team("Other")
    with listening(site, cookies(viewer)) as reader:
        announcing.announce("deployment", 1, 5, team=other.pk)
        announcing.announce("operation", 9, 1)
        announcing.announce("deployment", 2, 7, team=mine.pk)
        announcing.announce("cluster", 3, 8)
        assert reader.data() == {"o": "deployment:2", "v": 7}
        assert reader.data() == {"o": "cluster:3", "v": 8}


def test_an_auditor_hears_everything(site: str, redis_url: str) -> None:
    auditor = User.objects.create_user("auditor", site_role=SiteRole.AUDITOR)
    with listening(site, cookies(auditor)) as reader:
        announcing.announce("operation", 9, 1)
        announcing.announce("deployment", 2, 7, team=12345)
        assert reader.data()["o"] == "operation:9"
        assert reader.data()["o"] == "deployment:2"


def test_whoever_loses_role_session_or_account_loses_the_stream_in_five_seconds(
    site: str, redis_url: str
) -> None:
    people = [User.objects.create_user(name) for name in ("role", "session", "account", "demoted", "stays")]
    team = Team.objects.get(slug="default")
    for user in people:
        Membership.objects.create(team=team, user=user, role=Role.OWNER)
    jars = [cookies(user) for user in people]
    readers = [listening(site, jar) for jar in jars]
    opened = [reader.__enter__() for reader in readers]
    try:
        Membership.objects.filter(user=people[0]).delete()
        Session.objects.get(session_key=jars[1]["pilothouse"]).delete()
        User.objects.filter(pk=people[2].pk).update(is_active=False)
        Membership.objects.filter(user=people[3]).update(role=Role.VIEWER)
        began = time.monotonic()
        for reader in opened[:4]:
            assert reader.ended.wait(6)
        assert time.monotonic() - began < 5
        announcing.announce("deployment", 2, 7, team=team.pk)
        assert opened[4].data()["o"] == "deployment:2"
        assert not opened[4].ended.is_set()
    finally:
        for reader in readers:
            reader.__exit__(None, None, None)


def test_a_new_role_is_heard_without_a_new_stream(
    site: str, redis_url: str, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "CHECK_EVERY", 0.1)
    other = make_team("Other")
    with listening(site, cookies(viewer)) as reader:
        Membership.objects.create(team=other, user=viewer, role=Role.VIEWER)
        heard = threading.Event()

        def told() -> bool:
            announcing.announce("deployment", 4, 1, team=other.pk)
            if not reader.lines.empty():
                heard.set()
            return heard.is_set()

        wait_for(told)


def test_a_quiet_stream_says_that_it_lives(
    site: str, redis_url: str, viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(live, "HEARTBEAT", 0.1)
    with listening(site, cookies(viewer)) as reader:
        wait_for(lambda: reader.lines.get(timeout=5) == "event: beat")


def test_when_redis_dies_the_stream_ends(site: str, viewer: User, settings: Any) -> None:
    program = broker.server_program()
    assert program
    with tempfile.TemporaryDirectory(prefix="vk-") as directory:
        path = Path(directory) / "s"
        process = subprocess.Popen(broker.server_command(program, path), stdout=subprocess.DEVNULL)
        wait_for(lambda: path.exists() and broker.answers(path))
        settings.REDIS_URL = f"unix://{path}"
        with listening(site, cookies(viewer)) as reader:
            process.kill()
            process.wait(5)
            assert reader.ended.wait(5)
        answer = httpx.get(f"{site}/live/stream", cookies=cookies(viewer), trust_env=False)
        assert answer.status_code == 503


def test_when_redis_says_nothing_any_more_the_stream_ends(
    site: str, redis_url: str, valkey: subprocess.Popen[bytes], viewer: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(streams, "PING_AFTER", 0.2)
    monkeypatch.setattr(streams, "DEAF_AFTER", 1.0)
    with listening(site, cookies(viewer)) as reader:
        assert not reader.ended.wait(2), "a quiet Redis is no dead one"
        valkey.send_signal(signal.SIGSTOP)
        try:
            assert reader.ended.wait(30)
        finally:
            valkey.send_signal(signal.SIGCONT)


def test_streams_that_end_together_do_not_come_back_together(site: str, redis_url: str, viewer: User) -> None:
    jar, told = cookies(viewer), set()
    for _each in range(8):
        with (
            httpx.Client(trust_env=False, timeout=30, cookies=jar) as client,
            client.stream("GET", f"{site}/live/stream") as response,
        ):
            told.add(next(response.iter_lines()))
    assert len(told) > 1, told


def test_too_many_lines_become_one_refresh() -> None:
    async def fill() -> bytes | None:
        stream = streams.Stream(actor=None, session_key="", session_hash="")  # type: ignore[arg-type]
        for number in range(streams.QUEUE + 1):
            stream.offer(b"data: %d\n\n" % number)
        return await stream.take(1)

    assert asyncio.run(fill()) == streams.REFRESH
