"""Logs over HTTP: a real server of ours, a practice API server, containers that write anything."""

from __future__ import annotations

import json
import queue
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from dataclasses import replace
from typing import Any
from urllib.parse import urlencode

import httpx
import pytest
from django.db import connections
from django.db.backends.base.base import BaseDatabaseWrapper
from django.db.backends.signals import connection_created

from dashboard.log_streams import MOST_BYTES, MOST_LINES, MOST_PER_PERSON, LogStream
from deployments.domain.loglines import LONGEST, LogLine
from deployments.domain.states import Role, SiteRole
from deployments.gateways.kubernetes import ClusterCredential, import_context, read_kubeconfig
from deployments.ledger import vault
from deployments.models import AuditEntry, Cluster, Deployment, Membership, Team, User
from sandbox import status
from sandbox.world.logs import LogBuffer
from tests.factories import make_team
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.web import rows
from tests.web.log_world import POD, LogWorld, furnish
from tests.web.serving import cookies, serving, wait_for

pytestmark = pytest.mark.django_db(transaction=True)
OF = f"{POD}/ollama"


@pytest.fixture(scope="module")
def world() -> LogWorld:
    return LogWorld()


@pytest.fixture(scope="module")
def cluster(world: LogWorld) -> Iterator[RunningSandbox]:
    tokens = {"powerless": ("nobody", ())}
    with running_sandbox(world=lambda _store: world, tokens=tokens) as running:
        running.run(furnish)
        yield running


@pytest.fixture(scope="module")
def site() -> Iterator[str]:
    with serving() as address:
        yield address


@pytest.fixture
def credential(cluster: RunningSandbox) -> ClusterCredential:
    return import_context(read_kubeconfig(cluster.kubeconfig_path.read_bytes()), allow_loopback=True)


@pytest.fixture
def deployment(credential: ClusterCredential) -> Deployment:
    row = rows.deployment(rows.revision(Team.objects.get(slug="default")), rows.cluster())
    connect(row.cluster, credential)
    statuses = [{"name": name, "state": {"running": {}}} for name in ("ollama", "side", "slow")]
    rows.seen(row, "Pod", POD, {"phase": "Running", "containerStatuses": statuses})
    return row


@pytest.fixture
def viewer() -> User:
    return rows.person("viewer", Team.objects.get(slug="default"), Role.VIEWER)


@pytest.fixture
def log(world: LogWorld, cluster: RunningSandbox) -> Iterator[LogBuffer]:
    """The current run of the container, empty; it ends with the test, and with it who follows."""
    world.asked.clear()
    world.previous.clear()
    world.refusals.clear()
    run = LogBuffer()
    world.runs = {"ollama": run}
    yield run
    cluster.run(lambda _store: run.close())


def connect(cluster: Cluster, credential: ClusterCredential) -> None:
    Cluster.objects.filter(pk=cluster.pk).update(credential=vault.seal(credential.to_json()))


def write(cluster: RunningSandbox, log: LogBuffer, *lines: str | bytes) -> None:
    for line in lines:
        text = line if isinstance(line, str) else line.decode("utf-8", "surrogateescape")
        cluster.run(lambda _store, text=text: log.write(text))


class Reader:
    """Reads a stream in a thread: ``take`` gives the next event, ``ended`` is set at its end."""

    def __init__(self, response: httpx.Response) -> None:
        self.events: queue.Queue[tuple[str, dict[str, Any], str]] = queue.Queue()
        self.ended = threading.Event()
        self.place = ""
        self._response = response
        threading.Thread(target=self._read, daemon=True).start()

    def _read(self) -> None:
        event = place = ""
        try:
            for line in self._response.iter_lines():
                name, _, value = line.partition(": ")
                if name == "event":
                    event, place = value, ""
                elif name == "id":
                    place = value
                elif name == "data":
                    self.events.put((event, json.loads(value), place))
        except httpx.HTTPError:
            pass
        self.ended.set()

    def take(self, wanted: str, seconds: float = 60.0) -> dict[str, Any]:
        while True:
            event, data, place = self.events.get(timeout=seconds)
            self.place = place or self.place
            if event == wanted:
                return data

    def texts(self, count: int) -> list[str]:
        """The next ``count`` lines."""
        found: list[str] = []
        while len(found) < count:
            found += [line[1] for line in self.take("lines")["lines"]]
        return found


@contextmanager
def following(site: str, user: User, deployment: Deployment, **query: str) -> Iterator[Reader]:
    address = f"{site}/deployments/{deployment.pk}/logs/stream?{urlencode({'of': OF, **query})}"
    with (
        httpx.Client(trust_env=False, timeout=30, cookies=cookies(user)) as client,
        client.stream("GET", address) as response,
    ):
        assert response.status_code == 200, response.read()
        assert response.headers["content-type"].startswith("text/event-stream")
        try:
            yield Reader(response)
        finally:
            # Closing a socket does not wake who reads from it, and then the other side hears nothing.
            end = response.extensions["network_stream"].get_extra_info("socket")
            with suppress(OSError):
                socket.socket.shutdown(end, socket.SHUT_RDWR)


def get(site: str, user: User | None, path: str, **query: str) -> httpx.Response:
    jar = cookies(user) if user else {}
    return httpx.get(f"{site}{path}", params=query, cookies=jar, trust_env=False, timeout=30)


# Following ----------------------------------------------------------------------------------------
def test_lines_come_as_they_are_written_and_none_comes_twice(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    write(cluster, log, "one", "two", "three")
    with following(site, viewer, deployment, tail="100") as reader:
        reader.take("open")
        assert reader.texts(3) == ["one", "two", "three"]
        write(cluster, log, "four")
        assert reader.texts(1) == ["four"]
    write(cluster, log, "five")
    with following(site, viewer, deployment, after=reader.place) as again:
        assert again.texts(1) == ["five"]
        cluster.run(lambda _store: log.close())
        assert again.take("end") == {"again": True}
        assert again.ended.wait(5)
    assert not AuditEntry.objects.filter(action__startswith="log").exists()


def test_a_reader_who_leaves_is_gone_from_the_cluster_too(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    write(cluster, log, "one")
    with following(site, viewer, deployment) as reader:
        reader.take("lines")
        assert log._followers
    wait_for(lambda: write(cluster, log, "still") or not log._followers)


def test_a_stream_holds_no_connection_to_the_database(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    opened: list[BaseDatabaseWrapper] = []

    def note(connection: BaseDatabaseWrapper, **_: Any) -> None:
        opened.append(connection)

    connection_created.connect(note)
    try:
        write(cluster, log, "one")
        with following(site, viewer, deployment) as reader:
            reader.take("lines")
            theirs = [each for each in opened if each is not connections["default"]]
            assert theirs
            wait_for(lambda: all(each.connection is None for each in theirs))
            assert not reader.ended.is_set()
    finally:
        connection_created.disconnect(note)


def test_any_bytes_can_be_shown(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    shown = {
        b"\xff\xfe\x00 \x1b[31mred\x1b[0m": "��␀ red",
        b"1%\r99%": "99%",
        b"<img src=x onerror=alert(1)>": "<img src=x onerror=alert(1)>",
    }
    write(cluster, log, *shown)
    with following(site, viewer, deployment) as reader:
        assert reader.texts(len(shown)) == list(shown.values())


def test_a_line_of_fifty_megabytes_is_cut_and_said_to_be(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    write(cluster, log, "x" * 50_000_000, "after")
    with following(site, viewer, deployment) as reader:
        found: list[Any] = []
        while len(found) < 2:
            found += reader.take("lines", 30)["lines"]
    stamp, text, cut, _mark = found[0]
    assert stamp and len(text) < LONGEST and set(text) == {"x"}
    assert len(text) + cut == 50_000_000 and found[1][1] == "after"


def test_what_waits_for_a_slow_reader_is_bounded_and_counted() -> None:
    stream = LogStream(actor=None, session_key="", session_hash="")  # type: ignore[arg-type]
    for number in range(MOST_LINES + 10):
        stream.put(LogLine("", str(number)))
    lines, missed = stream.take_lines()
    assert (len(lines), lines[-1].text, missed) == (MOST_LINES, str(MOST_LINES + 9), 10)
    for _ in range(2000):
        stream.put(LogLine("", "x" * LONGEST))
        assert stream.bytes <= MOST_BYTES
    lines, missed = stream.take_lines()
    assert len(lines) + missed == 2000 and stream.bytes == 0


# Why there is none --------------------------------------------------------------------------------
KUBELET = (
    'Get "https://10.9.8.7:10250/containerLogs/llm/r1-server-0/ollama": dial tcp 10.9.8.7:10250: i/o timeout'
)


REFUSALS: list[tuple[dict[str, str], Exception | None, str, str, bool]] = [
    ({"of": f"{POD}/side"}, None, "The container has not started", "events", True),
    ({"run": "previous"}, None, "There is no previous run", "current run", False),
    ({"of": f"{POD}/nope"}, None, "no container of that name", "Choose", False),
    ({}, status.internal(KUBELET), "The pod's node does not answer", "Look at the node", True),
    (
        {},
        status.bad_request("unable to retrieve container logs for containerd://0123"),
        "does not keep the log of that run",
        "Read the current run",
        False,
    ),
]


def test_a_log_that_cannot_be_read_says_why_and_what_to_do(
    site: str, world: LogWorld, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    for query, refusal, sentence, remedy, retryable in REFUSALS:
        world.refusals = {"ollama": refusal} if refusal else {}
        with following(site, viewer, deployment, **query) as reader:
            said = reader.take("problem")
            assert reader.ended.wait(5)
        assert sentence in said["sentence"] and remedy in said["remedy"], said
        assert said["retryable"] is retryable and "10.9.8.7" not in json.dumps(said), said
        page = get(site, viewer, f"/deployments/{deployment.pk}/logs/text", **{"of": OF, **query})
        assert page.status_code in (404, 500, 502) and sentence.replace("'", "&#x27;") in page.text


def test_a_node_that_lost_the_log_is_no_line_of_it(
    site: str, world: LogWorld, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    class Lost:
        async def read(self, **_options: Any) -> Any:
            yield b"unable to retrieve container logs for containerd://0123"

    world.runs["ollama"] = Lost()  # type: ignore[assignment]
    with following(site, viewer, deployment) as reader:
        assert "does not keep" in reader.take("problem")["sentence"]


def test_why_there_is_no_log_is_said_in_the_readers_language(
    site: str, world: LogWorld, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    User.objects.update(language="zh-hans")
    with following(site, viewer, deployment, of="r1-server-0/nothing") as reader:
        said = reader.take("problem")
    assert said["sentence"] == "该 Pod 没有此名称的容器。" and said["remedy"] == "请选择它的某个容器。"


def test_a_pod_that_is_gone_a_cluster_that_forbids_and_one_that_is_down(
    site: str,
    cluster: RunningSandbox,
    log: LogBuffer,
    deployment: Deployment,
    credential: ClusterCredential,
    viewer: User,
) -> None:
    rows.seen(deployment, "Pod", "r1-server-9", {"phase": "Running"})
    with following(site, viewer, deployment, of="r1-server-9/ollama") as reader:
        said = reader.take("problem")
        assert said["sentence"] == "The pod is gone, and its log with it." and said["remedy"]
    connect(
        deployment.cluster, replace(credential, token="powerless", client_certificate=None, client_key=None)
    )
    with following(site, viewer, deployment) as reader:
        said = reader.take("problem")
        assert "does not allow" in said["sentence"] and "Grant" in said["remedy"]
        assert 'cannot get resource "pods/log"' in said["answered"]
    connect(deployment.cluster, replace(credential, server="https://127.0.0.1:1"))
    with following(site, viewer, deployment) as reader:
        said = reader.take("problem")
        assert "Nothing listens" in said["sentence"] and said["retryable"] and said["remedy"]


# Who may ------------------------------------------------------------------------------------------
def test_strangers_find_nothing_and_viewers_read(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    write(cluster, log, "a line")
    cluster.run(lambda _store: log.close())
    stranger = rows.person("stranger", make_team("Other"))
    auditor = rows.person("auditor", site=SiteRole.AUDITOR)
    for way in ("", "stream", "text", "download"):
        path = f"/deployments/{deployment.pk}/logs/{way}"
        assert get(site, stranger, path, of=OF).status_code == 404
        assert get(site, None, path, of=OF).status_code == (401 if way == "stream" else 302)
        for user in (viewer, auditor):
            answer = get(site, user, path, of=OF)
            assert answer.status_code == 200
            assert way == "" or "a line" in answer.text
        for other in ("not-ours/ollama", "r1-server-8/x", "../secrets/x", "%00/x"):
            assert get(site, viewer, path, of=other).status_code == (200 if way == "" else 404), other


def test_whoever_loses_the_role_loses_the_log_in_five_seconds(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    write(cluster, log, "one")
    with following(site, viewer, deployment) as reader:
        reader.take("lines")
        Membership.objects.filter(user=viewer).delete()
        began = time.monotonic()
        assert reader.ended.wait(6) and time.monotonic() - began < 5
    wait_for(lambda: write(cluster, log, "still") or not log._followers)


def test_one_person_follows_a_few_logs_at_once(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    write(cluster, log, "one")
    opened = [following(site, viewer, deployment) for _ in range(MOST_PER_PERSON)]
    for each in opened:
        each.__enter__().take("lines")
    try:
        path = f"/deployments/{deployment.pk}/logs/"
        refused = get(site, viewer, f"{path}stream", of=OF)
        assert refused.status_code == 429 and "too many logs" in refused.text
        assert get(site, viewer, f"{path}text", of=OF).status_code == 429
    finally:
        for each in opened:
            each.__exit__(None, None, None)
    wait_for(lambda: get(site, viewer, f"{path}text", of=OF).status_code == 200)


# Without scripts ----------------------------------------------------------------------------------
def test_the_page_is_drawn_without_the_cluster_and_works_without_scripts(
    client: Any, world: LogWorld, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    client.force_login(viewer)
    path = f"/deployments/{deployment.pk}/logs/"
    page = client.get(path, {"of": OF, "run": "previous", "tail": "100"}).content.decode()
    assert f"{path}text?of={OF}&amp;run=previous&amp;tail=100" in page
    assert f"{path}download?of={OF}&amp;run=previous" in page
    for query in ({}, {"of": "gone/x"}, {"of": "<b>/x"}, {"tail": "9999999", "run": "?"}):
        page = client.get(path, query).content.decode()
        assert "<b>/x" not in page and ("Gone" in page) == bool(query.get("of"))
    fragment = client.get(path, {"of": OF}, headers={"X-Fragment": "1"}).content.decode().strip()
    assert fragment.startswith('<div class="log-bar sm" id="log-state"') and "<html" not in fragment
    assert world.asked == []


def test_a_tail_as_plain_text(
    site: str, cluster: RunningSandbox, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    path = f"/deployments/{deployment.pk}/logs/text"
    assert get(site, viewer, path, of=OF).text == "[The container has written nothing]\n"
    write(cluster, log, *(f"line {number}" for number in range(150)), b"\x1b[1mbold\x1b[0m <b>")
    answer = get(site, viewer, path, of=OF, tail="100")
    lines = answer.text.splitlines()
    assert answer.headers["content-type"] == "text/plain; charset=utf-8"
    assert len(lines) == 100 and lines[0].endswith("Z line 51") and lines[-1].endswith("Z bold <b>")


def test_a_log_as_a_file_is_what_was_written(
    site: str, cluster: RunningSandbox, world: LogWorld, log: LogBuffer, deployment: Deployment, viewer: User
) -> None:
    world.previous["ollama"] = LogBuffer()
    write(cluster, world.previous["ollama"], b"\xff\x00 raw", "y" * 300_000)
    answer = get(site, viewer, f"/deployments/{deployment.pk}/logs/download", of=OF, run="previous")
    assert answer.headers["content-disposition"] == f'attachment; filename="{POD}-ollama-previous.log"'
    first, second, rest = answer.content.split(b"\n")
    assert first.endswith(b"Z \xff\x00 raw") and second.endswith(b"y" * 300_000) and rest == b""
    entry = AuditEntry.objects.get(action="log.download")
    assert (entry.actor_id, entry.team_id, entry.object_id) == (
        viewer.pk,
        deployment.team_id,
        str(deployment.pk),
    )
    assert entry.after == {"pod": POD, "container": "ollama", "run": "previous"}
