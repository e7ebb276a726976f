"""The chat's own host: who gets in, what passes, what it looks like where it cannot load."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from typing import Any
from urllib.parse import urlsplit

import pytest
from django.conf import settings
from django.contrib.sessions.models import Session
from django.test import Client
from django.urls import reverse

from dashboard import chat_tickets
from dashboard.chat import ChatApplication
from dashboard.chat_check import ask_one_token
from dashboard.chat_directory import DatabaseDirectory
from dashboard.chat_tickets import Visitor, cookie_name, enter_url, make_cookie, make_ticket
from deployments.domain.errors import Denied
from deployments.domain.spec import StackSpec, spec_to_json
from deployments.domain.states import Role
from deployments.gateways.chat import ChatTarget, prove_chat
from deployments.gateways.kubernetes import ClusterCredential, import_context, read_kubeconfig
from deployments.ledger import vault
from deployments.models import Cluster, Deployment, Membership, Profile, Revision, Team, User
from tests.sandbox_server import RunningSandbox, running_sandbox
from tests.web.chat_world import MODEL, NAME, NAMESPACE, ChatWorld, furnish, set_ready

pytestmark = pytest.mark.django_db(transaction=True)
PUBLIC_ID = "dtest"
VISITOR = Visitor(PUBLIC_ID, 7, "session", "hash")
JSON = {"content-type": "application/json"}


def host(public_id: str = PUBLIC_ID) -> str:
    return urlsplit(chat_tickets.chat_origin(public_id)).netloc


@pytest.fixture(scope="module")
def world() -> ChatWorld:
    return ChatWorld()


@pytest.fixture(scope="module")
def cluster(world: ChatWorld) -> Iterator[RunningSandbox]:
    with running_sandbox(world=lambda _: world) as running:
        running.run(furnish)
        yield running


@pytest.fixture
def target(cluster: RunningSandbox, world: ChatWorld) -> ChatTarget:
    world.seen.clear()
    world.slow = False
    world.hung_up.clear()
    credential = import_context(read_kubeconfig(cluster.kubeconfig_path.read_text()), allow_loopback=True)
    return ChatTarget(
        public_id=PUBLIC_ID,
        credential=credential,
        namespace=NAMESPACE,
        chat_service=f"{NAME}-chat",
        server_service=f"{NAME}-server",
        models=(MODEL,),
        dashboard_origin=settings.PUBLIC_URL,
        deployment_url=f"{settings.PUBLIC_URL}/deployments/1/",
        allow_loopback=True,
    )


@dataclass
class Directory:
    """Lets one visitor in, until ``allowed`` is taken away."""

    target: ChatTarget | None
    allowed: bool = True

    async def resolve(self, visitor: Visitor) -> ChatTarget | None:
        if not self.allowed:
            raise Denied("Your role is gone.")
        return self.target if visitor.user_id == VISITOR.user_id else None


@dataclass
class Answer:
    status: int
    headers: list[tuple[str, str]]
    body: bytes = b""
    complete: bool = False

    def __getitem__(self, name: str) -> str:
        return dict(self.headers)[name]

    def get(self, name: str) -> str | None:
        return dict(self.headers).get(name)


class Browser:
    """Speaks ASGI to the application, as a server for one browser would."""

    def __init__(self, directory: Any, cookie: str | None = None) -> None:
        self.application = ChatApplication(directory)
        self.cookie = f"{cookie_name()}={make_cookie(VISITOR)}" if cookie is None else cookie

    @asynccontextmanager
    async def open(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> AsyncIterator[tuple[Answer, Callable[[], Awaitable[bytes | None]]]]:
        path, _, query = url.partition("?")
        head = {"host": host(), "cookie": self.cookie, **(headers or {})}
        scope = {
            "type": "http",
            "method": method,
            "scheme": "http",
            "path": path,
            "raw_path": path.encode(),
            "query_string": query.encode(),
            "headers": [(name.encode(), value.encode("latin-1")) for name, value in head.items() if value],
        }
        waiting = [{"type": "http.request", "body": body, "more_body": False}]
        sent: asyncio.Queue[dict[str, Any]] = asyncio.Queue()
        left = asyncio.Event()

        async def receive() -> dict[str, Any]:
            if waiting:
                return waiting.pop()
            await left.wait()
            return {"type": "http.disconnect"}

        task = asyncio.create_task(self.application(scope, receive, sent.put))  # type: ignore[arg-type]
        start = await asyncio.wait_for(sent.get(), 20)
        answer = Answer(start["status"], [(k.decode(), v.decode()) for k, v in start["headers"]])

        async def part() -> bytes | None:
            if answer.complete:
                return None
            message = await asyncio.wait_for(sent.get(), 20)
            answer.complete = not message["more_body"]
            return bytes(message["body"])

        try:
            yield answer, part
        finally:
            left.set()
            await asyncio.wait_for(task, 10)

    async def ask(
        self, method: str, url: str, body: bytes = b"", headers: dict[str, str] | None = None
    ) -> Answer:
        async with self.open(method, url, body, headers) as (answer, part):
            while (piece := await part()) is not None:
                answer.body += piece
        return answer


def ask(directory: Any, method: str, url: str, body: bytes = b"", **more: Any) -> Answer:
    async def run() -> Answer:
        browser = Browser(directory, more.get("cookie"))
        try:
            return await browser.ask(method, url, body, more.get("headers"))
        finally:
            await browser.application._gateway.close()

    return asyncio.run(run())


def message(text: str = "hi", **more: Any) -> bytes:
    return json.dumps(
        {"messages": [{"role": "user", "content": text}], "stream": True, "model": MODEL, **more}
    ).encode()


COMPLETIONS = "/api/openai/v1/chat/completions"


def test_the_page_comes_with_its_own_paths_and_a_strict_policy(target: ChatTarget, world: ChatWorld) -> None:
    answer = ask(
        Directory(target), "GET", "/", headers={"authorization": "Bearer x", "origin": "http://a.example"}
    )
    assert answer.status == 200
    assert b'src="/_next/static/chunks/main.js"' in answer.body
    assert b"/api/v1/namespaces" not in answer.body
    assert int(answer["content-length"]) == len(answer.body)
    assert "default-src 'self'" in answer["content-security-policy"]
    assert f"frame-ancestors {settings.PUBLIC_URL}" in answer["content-security-policy"]
    assert answer["x-content-type-options"] == "nosniff"
    assert answer["cache-control"] == "no-store"
    for name in ("set-cookie", "access-control-allow-origin", "x-powered-by"):
        assert answer.get(name) is None
    ((_, _, path, headers, _),) = world.seen
    assert path == "/"
    assert not {"cookie", "origin", "authorization"} & set(headers)


def test_only_what_is_named_by_its_content_is_kept_by_browsers(target: ChatTarget) -> None:
    assert "immutable" in ask(Directory(target), "GET", "/_next/static/chunks/main.js")["cache-control"]
    assert ask(Directory(target), "GET", "/serviceWorker.js")["cache-control"] == "no-store"
    gone = ask(Directory(target), "GET", "/_next/static/gone.js")
    assert (gone.status, gone["cache-control"]) == (404, "no-store")
    head = ask(Directory(target), "HEAD", "/_next/static/chunks/main.js")
    assert (head.status, head.body) == (200, b"")


def test_redirects_are_put_back_or_not_followed(target: ChatTarget) -> None:
    assert ask(Directory(target), "GET", "/masks.json")["location"] == "/masks2.json"
    away = ask(Directory(target), "GET", "/plugins.json")
    assert away.status == 502
    assert away.get("location") is None


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_settings_are_answered_here(target: ChatTarget, world: ChatWorld, method: str) -> None:
    answer = ask(Directory(target), method, "/api/config")
    value = json.loads(answer.body)
    assert value["customModels"] == f"-all,+{MODEL}@OpenAI"
    assert value["defaultModel"] == MODEL
    assert value["needCode"] is False
    assert set(value) == {
        "needCode",
        "hideUserApiKey",
        "disableGPT4",
        "hideBalanceQuery",
        "disableFastLink",
        "customModels",
        "defaultModel",
        "visionModels",
    }
    assert world.seen == []


def test_fonts_are_an_empty_sheet_and_server_actions_are_refused(
    target: ChatTarget, world: ChatWorld
) -> None:
    fonts = ask(Directory(target), "GET", "/google-fonts/css2?family=Noto+Sans")
    assert (fonts.status, fonts.body, fonts["content-type"]) == (200, b"", "text/css; charset=utf-8")
    action = ask(
        Directory(target), "POST", "/", b"[]", headers={"next-action": "ab", "accept": "text/x-component"}
    )
    assert action.status == 405
    assert world.seen == []


@pytest.mark.parametrize(
    ("path", "status"),
    [
        ("/_next/static/../../../../../secrets", 400),
        ("/_next/static/%2e%2e/%2e%2e/x", 400),
        ("/_next/static/%252e%252e/x", 400),
        ("/_next/static/a%2fb", 400),
        ("/_next/static/a%5cb", 400),
        ("/api/ollama/api/tags", 403),
        ("/api/v1/namespaces/llm/secrets", 403),
        ("/elsewhere", 404),
    ],
)
def test_nothing_else_reaches_the_cluster(
    target: ChatTarget, world: ChatWorld, path: str, status: int
) -> None:
    assert ask(Directory(target), "GET", path).status == status
    assert world.seen == []


def test_a_conversation_goes_straight_to_the_model(target: ChatTarget, world: ChatWorld) -> None:
    body = message(MODEL="secret:7b", Model="secret:7b", options={"num_ctx": 1}, keep_alive=-1)
    answer = ask(Directory(target), "POST", COMPLETIONS, body, headers={**JSON, "origin": f"http://{host()}"})
    assert answer.status == 200
    assert answer["content-type"] == "text/event-stream"
    assert answer["x-accel-buffering"] == "no"
    assert answer.body.count(b"data: ") == 6
    ((port, method, path, headers, sent),) = world.seen
    assert (port, method, path) == (11434, "POST", "/v1/chat/completions")
    assert set(json.loads(sent)) == {"model", "messages", "stream"}, (
        "members that name another model do not pass"
    )
    assert "origin" not in headers


@pytest.mark.parametrize(
    ("body", "headers", "status"),
    [
        (message(model="secret:7b"), JSON, 403),
        (message(model=None), JSON, 403),
        (message(model=["a"]), JSON, 403),
        (b"{", JSON, 400),
        (b"[]", JSON, 400),
        (b'{"model":"deepseek-r1:1.5b"}', JSON, 400),
        (message(), {"content-type": "text/plain"}, 400),
        (message("x" * (4 * 1024 * 1024)), JSON, 400),
        (message(), {**JSON, "origin": "http://evil.example"}, 403),
        (message(), {**JSON, "origin": f"http://{host('dother')}"}, 403),
        (message(), {**JSON, "origin": "null"}, 403),
        (message(), {**JSON, "sec-fetch-site": "same-site"}, 403),
    ],
)
def test_a_message_that_is_not_the_pages_own_is_refused(
    target: ChatTarget, world: ChatWorld, body: bytes, headers: dict[str, str], status: int
) -> None:
    answer = ask(Directory(target), "POST", COMPLETIONS, body, headers=headers)
    assert answer.status == status
    assert json.loads(answer.body)["error"]["message"]
    assert world.seen == []


def test_what_the_model_server_says_is_wrong_reaches_the_conversation(target: ChatTarget) -> None:
    answer = ask(Directory(target), "POST", COMPLETIONS, message("fail"), headers=JSON)
    assert answer.status == 500
    assert "more system memory" in json.loads(answer.body)["error"]["message"]


def test_only_the_deployments_models_are_listed(target: ChatTarget) -> None:
    rows = json.loads(ask(Directory(target), "GET", "/api/openai/v1/models").body)["data"]
    assert [row["id"] for row in rows] == [MODEL]


def test_words_arrive_as_they_are_spoken_and_hanging_up_stops_the_model(
    target: ChatTarget, cluster: RunningSandbox, world: ChatWorld
) -> None:
    world.slow = True

    async def run() -> float:
        browser = Browser(Directory(target))
        start = time.monotonic()
        async with browser.open("POST", COMPLETIONS, message(), JSON) as (_, part):
            assert b"w0" in (await part() or b"")
            assert await part()
        took = time.monotonic() - start
        await browser.application._gateway.close()
        return took

    assert asyncio.run(run()) < 10
    deadline = time.monotonic() + 10
    while not world.hung_up.is_set():
        assert time.monotonic() < deadline, "the model went on speaking to nobody"
        time.sleep(0.02)


def test_an_answer_ends_within_five_seconds_of_a_lost_role(target: ChatTarget, world: ChatWorld) -> None:
    world.slow = True
    directory = Directory(target)

    async def run() -> tuple[float, bytes]:
        browser = Browser(directory)
        last = b""
        async with browser.open("POST", COMPLETIONS, message(), JSON) as (_, part):
            assert await part()
            directory.allowed = False
            start = time.monotonic()
            while (piece := await part()) is not None:
                last = piece
        await browser.application._gateway.close()
        return time.monotonic() - start, last

    took, last = asyncio.run(run())
    assert took < 5
    assert b"Your role is gone." in last
    assert last.endswith(b"data: [DONE]\n\n")


def test_a_ticket_opens_once_for_its_own_chat_and_soon(
    target: ChatTarget, monkeypatch: pytest.MonkeyPatch
) -> None:
    directory = Directory(target)
    entrance = urlsplit(enter_url(VISITOR))
    assert entrance.netloc == host()
    url = f"{entrance.path}?{entrance.query}"
    first = ask(directory, "GET", url, cookie="")
    assert (first.status, first["location"]) == (303, "/")
    cookie = first["set-cookie"]
    for word in ("HttpOnly", "SameSite=Lax", "Path=/"):
        assert word in cookie
    assert "Domain" not in cookie
    pair = cookie.partition(";")[0]
    assert ask(directory, "GET", "/", cookie=pair).status == 200

    again = ask(directory, "GET", url, cookie="")
    assert again.status == 403
    assert b"used already" in again.body
    assert ask(directory, "GET", url, cookie=pair).status == 303, "going back with a cookie is fine"

    other = ask(
        directory,
        "GET",
        f"/_pilothouse/enter?ticket={make_ticket(replace(VISITOR, public_id='dx'))}",
        cookie="",
    )
    assert other.status == 403
    monkeypatch.setattr(chat_tickets, "TICKET_SECONDS", -1)
    late = ask(directory, "GET", f"/_pilothouse/enter?ticket={make_ticket(VISITOR)}", cookie="")
    assert late.status == 403
    assert b"too old" in late.body
    for broken in ("", "x", "x:y:z", make_cookie(VISITOR)):
        assert ask(directory, "GET", f"/_pilothouse/enter?ticket={broken}", cookie="").status == 403


def test_production_cookies_belong_to_the_host_alone(settings: Any) -> None:
    settings.HTTPS = True
    header = chat_tickets.cookie_header(VISITOR)
    assert header.startswith("__Host-pilothouse-chat=")
    assert header.endswith("; Secure")


@pytest.mark.parametrize("cookie", ["", "pilothouse-chat=forged", "pilothouse-chat=a:b:c", "x=\x01"])
def test_without_a_cookie_nothing_opens(target: ChatTarget, world: ChatWorld, cookie: str) -> None:
    for method, url in (
        ("GET", "/"),
        ("GET", "/_next/static/x.js"),
        ("POST", COMPLETIONS),
        ("GET", "/api/config"),
    ):
        assert ask(Directory(target), method, url, message(), cookie=cookie, headers=JSON).status == 403
    assert world.seen == []


def test_a_browser_gets_the_manifest_without_a_cookie(target: ChatTarget, world: ChatWorld) -> None:
    answer = ask(Directory(target), "GET", "/site.webmanifest", cookie="")
    assert answer.status == 200 and json.loads(answer.body)["start_url"] == "/"
    assert ask(Directory(target), "POST", "/site.webmanifest", cookie="").status == 403
    assert world.seen == []


def test_another_chats_cookie_does_not_open_this_one(target: ChatTarget) -> None:
    cookie = f"{cookie_name()}={make_cookie(replace(VISITOR, public_id='dother'))}"
    assert ask(Directory(target), "GET", "/", cookie=cookie).status == 403


def test_a_frame_says_why_it_cannot_load(target: ChatTarget, cluster: RunningSandbox) -> None:
    nobody = ask(Directory(None), "GET", "/")
    assert nobody.status == 404
    gone = ask(Directory(target, allowed=False), "GET", "/")
    assert (gone.status, b"Your role is gone." in gone.body) == (403, True)
    absent = ask(Directory(replace(target, chat_service="")), "GET", "/")
    assert (absent.status, b"No chat is installed" in absent.body) == (404, True)
    missing = ask(Directory(replace(target, chat_service="nobody-chat")), "GET", "/")
    assert (missing.status, b"not on the cluster" in missing.body) == (404, True)
    nowhere = ClusterCredential(server="https://127.0.0.1:9", ca_data=target.credential.ca_data, token="x")
    out_of_reach = ask(Directory(replace(target, credential=nowhere)), "GET", "/")
    assert (out_of_reach.status, b"cannot be reached" in out_of_reach.body) == (502, True)
    refused = ask(
        Directory(
            replace(
                target,
                credential=replace(
                    target.credential, token="wrong", client_certificate=None, client_key=None
                ),
            )
        ),
        "GET",
        "/",
    )
    assert refused.status == 502
    cluster.run(lambda store: set_ready(store, f"{NAME}-chat", False))
    try:
        unready = ask(Directory(target), "GET", "/")
    finally:
        cluster.run(lambda store: set_ready(store, f"{NAME}-chat", True))
    assert unready.status == 503
    assert b"No pod of this chat is ready" in unready.body
    assert b'http-equiv="refresh"' in unready.body
    for answer in (nobody, gone, absent, missing, out_of_reach, refused, unready):
        assert answer["content-type"] == "text/html; charset=utf-8"
        assert answer["content-security-policy"].startswith("default-src 'none'; style-src 'sha256-")
        assert f"frame-ancestors {settings.PUBLIC_URL}" in answer["content-security-policy"]
        assert b'target="_top"' in answer.body
        assert b"<script" not in answer.body


def test_an_unknown_host_is_no_chat(target: ChatTarget) -> None:
    for name in (
        "a.b." + settings.CHAT_DOMAIN,
        settings.CHAT_DOMAIN,
        "-x." + settings.CHAT_DOMAIN,
        "evil.example",
    ):
        assert ask(Directory(target), "GET", "/", headers={"host": name}).status == 404


def test_a_worker_proves_the_chat_by_the_same_rules(target: ChatTarget) -> None:
    proof = prove_chat(target, timeout=20)
    assert proof.model == MODEL
    assert proof.tokens == 5
    assert proof.latency > 0
    assert proof.visible
    assert proof.text.startswith("w0 w1")


@pytest.fixture
def person(target: ChatTarget) -> tuple[Client, User, Deployment]:
    team = Team.objects.get(slug="default")
    user = User.objects.create_user("ada")
    Membership.objects.create(team=team, user=user, role=Role.VIEWER)
    sealed = vault.seal(target.credential.to_json())
    cluster = Cluster.objects.create(name="c", server="https://c", credential=sealed, credential_kind="token")
    profile = Profile.objects.create(team=team, name="p")
    revision = Revision.objects.create(profile=profile, number=1, spec=spec_to_json(StackSpec()))
    row = Deployment.objects.create(
        team=team, cluster=cluster, namespace=NAMESPACE, name=NAME, revision=revision
    )
    client = Client(HTTP_HOST=urlsplit(settings.PUBLIC_URL).netloc)
    client.force_login(user, backend="django.contrib.auth.backends.ModelBackend")
    return client, user, row


def test_a_person_gets_from_the_page_to_a_token(person: tuple[Client, User, Deployment]) -> None:
    client, _, row = person
    answer = client.get(reverse("deployment_chat", args=[row.pk]))
    assert answer.status_code == 302
    application = ChatApplication(DatabaseDirectory())
    proof = asyncio.run(ask_one_token(application, answer["Location"], timeout=20))
    assert (proof.model, proof.tokens) == (MODEL, 5)


@pytest.mark.parametrize("what", ["membership", "session", "password", "inactive", "removed"])
def test_a_cookie_ends_with_what_it_stands_on(person: tuple[Client, User, Deployment], what: str) -> None:
    client, user, row = person
    key = client.session.session_key
    assert key
    visitor = Visitor(row.public_id, user.pk, key, user.get_session_auth_hash())
    headers = {"host": host(row.public_id)}
    cookie = f"{cookie_name()}={make_cookie(visitor)}"
    assert ask(DatabaseDirectory(), "GET", "/", cookie=cookie, headers=headers).status == 200
    if what == "membership":
        Membership.objects.filter(user=user).delete()
    elif what == "session":
        Session.objects.all().delete()
    elif what == "password":
        user.set_password("another-long-one")
        user.save()
    elif what == "inactive":
        user.is_active = False
        user.save()
    else:
        row.removed_at = row.created_at
        row.save()
    assert ask(DatabaseDirectory(), "GET", "/", cookie=cookie, headers=headers).status in (403, 404)
