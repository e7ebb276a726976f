"""The client against a server on loopback that says what Ollama 0.5.7 to 0.9.6 say."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from deployments.domain.errors import ClusterError, ClusterUnreachable, ModelError, ModelNotFound, ServerFault
from deployments.gateways.ollama import HttpTransport, OllamaClient
from tests.unit.gateways.loopback import Exchange, Loopback, loopback

MODEL = "deepseek-r1:1.5b"


@pytest.fixture
def server() -> Iterator[Loopback]:
    with loopback() as state:
        yield state


@pytest.fixture
def client(server: Loopback) -> OllamaClient:
    return OllamaClient(HttpTransport(server.url))


def says(status: int, value: Any) -> Any:
    return lambda exchange: exchange.whole(status, value if isinstance(value, str) else json.dumps(value))


def lines(*values: Any) -> Any:
    def answer(exchange: Exchange) -> None:
        exchange.begin()
        for value in values:
            exchange.part(value if isinstance(value, bytes) else json.dumps(value).encode() + b"\n")
        exchange.finish_parts()

    return answer


def test_tags_are_read_and_compared_as_ollama_does(server: Loopback, client: OllamaClient) -> None:
    entry = {
        "name": "DeepSeek-R1:1.5b",
        "digest": "ab",
        "size": 1117322599,
        "modified_at": "2026-01-02T03:04:05.123456789+01:00",
        "details": {"family": "qwen2", "quantization_level": "Q4_K_M", "parameter_size": "1.8B"},
    }
    server.answers["GET /api/tags"] = says(200, {"models": [entry, "noise"]})
    (model,) = client.tags()
    assert (model.size, model.family, model.quantization) == (1117322599, "qwen2", "Q4_K_M")
    assert model.modified_at is not None
    assert model.modified_at.isoformat() == "2026-01-02T03:04:05.123456+01:00"
    assert client.has("registry.ollama.ai/library/deepseek-r1:1.5B")
    assert not client.has("deepseek-r1")
    assert not client.has("mirror.example/library/deepseek-r1:1.5b")


@pytest.mark.parametrize(
    ("size", "vram", "placement"),
    [
        (100, 100, "on GPU"),
        (100, 0, "on CPU"),
        (100, 60, "split 60:40"),
        (1000, 999, "split 99:1"),
        (0, 0, "on CPU"),
    ],
)
def test_placement_tells_where_a_loaded_model_is(
    server: Loopback, client: OllamaClient, size: int, vram: int, placement: str
) -> None:
    server.answers["GET /api/ps"] = says(200, {"models": [{"name": MODEL, "size": size, "size_vram": vram}]})
    (model,) = client.ps()
    assert model.placement == placement
    assert model.context_length == 0


def test_one_token_is_timed(server: Loopback, client: OllamaClient) -> None:
    server.answers["POST /api/generate"] = says(
        200,
        {
            "response": "Hi",
            "done": True,
            "load_duration": 2_000_000_000,
            "eval_count": 1,
            "eval_duration": 20_000_000,
        },
    )
    timing = client.generate_one_token(MODEL, 5)
    assert timing.load == 2.0
    assert timing.tokens_per_second == pytest.approx(50)
    assert timing.latency > 0
    body = json.loads(server.requests[0][2])
    assert body["options"] == {"num_predict": 1}
    assert body["stream"] is False


def test_an_answer_without_a_token_is_no_proof(server: Loopback, client: OllamaClient) -> None:
    server.answers["POST /api/generate"] = says(200, {"response": "", "done": True, "done_reason": "load"})
    with pytest.raises(ModelError, match="without a token"):
        client.generate_one_token(MODEL, 5)


def test_deleting_what_is_not_there_is_fine(server: Loopback, client: OllamaClient) -> None:
    server.answers["POST /api/generate"] = says(200, {"done": True, "done_reason": "unload"})
    server.answers["DELETE /api/delete"] = says(200, "")
    assert client.delete(MODEL) is True
    server.answers["POST /api/generate"] = says(404, {"error": f"model '{MODEL}' not found"})
    assert client.delete(MODEL) is False


def test_what_the_api_server_says_in_place_of_ollama_is_a_cluster_error(
    server: Loopback, client: OllamaClient
) -> None:
    # Recorded transcript 28 (proxy): only an unready pod behind the service.
    status = {
        "kind": "Status",
        "apiVersion": "v1",
        "metadata": {},
        "status": "Failure",
        "message": 'no endpoints available for service "ollama:http"',
        "reason": "ServiceUnavailable",
        "code": 503,
    }
    server.answers["*"] = says(503, status)
    with pytest.raises(ClusterError) as caught:
        client.tags()
    assert caught.value.retryable
    with pytest.raises(ClusterError):
        list(client.pull(MODEL))


@pytest.mark.parametrize("body", ["<html>sign in</html>", "[]", '{"models"'])
def test_something_that_is_not_ollama_is_said_to_be(
    server: Loopback, client: OllamaClient, body: str
) -> None:
    server.answers["*"] = says(200, body)
    with pytest.raises(ServerFault, match="not Ollama"):
        client.tags()


def test_nothing_there_is_unreachable() -> None:
    client = OllamaClient(HttpTransport("http://127.0.0.1:9"))
    with pytest.raises(ClusterUnreachable):
        client.version()
    with pytest.raises(ClusterUnreachable):
        list(client.pull(MODEL))


def test_a_pull_is_followed_to_its_end(server: Loopback, client: OllamaClient) -> None:
    digest = "sha256:" + "a" * 64
    server.answers["POST /api/pull"] = lines(
        {"status": "pulling manifest"},
        {"status": f"pulling {digest[7:19]}", "digest": digest, "total": 10, "completed": 10},
        b'{"status":"verifying sha',
        b'256 digest"}\n{"status":"writing manifest"}\n',
        {"status": "success"},
    )
    events = [event for event in client.pull(MODEL, True) if not event.idle]
    assert [event.status for event in events] == [
        "pulling manifest",
        "pulling aaaaaaaaaaaa",
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    assert (events[1].digest, events[1].total, events[1].completed) == (digest, 10, 10)
    assert json.loads(server.requests[0][2]) == {"model": MODEL, "stream": True, "insecure": True}


@pytest.mark.parametrize(
    ("parts", "kind", "retryable"),
    [
        ([{"status": "pulling manifest"}], ModelError, True),
        (
            [{"status": "pulling manifest"}, {"error": "pull model manifest: file does not exist"}],
            ModelNotFound,
            False,
        ),
        ([{"error": {"odd": 1}}], ModelError, True),
        ([b"not json\n"], ServerFault, True),
        ([b"[1]\n"], ServerFault, True),
        ([b'{"status":"' + b"x" * (1024 * 1024 + 10)], ServerFault, True),
        ([b'{"status":"' + b"x" * (1024 * 1024 + 10) + b'"}\n'], ServerFault, True),
    ],
)
def test_a_pull_that_goes_wrong_says_so(
    server: Loopback, client: OllamaClient, parts: list[Any], kind: type[Exception], retryable: bool
) -> None:
    server.answers["POST /api/pull"] = lines(*parts)
    with pytest.raises(kind) as caught:
        list(client.pull(MODEL))
    assert caught.value.retryable is retryable  # type: ignore[attr-defined]


def test_a_refusal_before_the_stream_is_read_by_the_same_table(
    server: Loopback, client: OllamaClient
) -> None:
    server.answers["POST /api/pull"] = says(400, {"error": "invalid model name"})
    with pytest.raises(ModelError, match="refuses the name"):
        list(client.pull("a b"))


def test_silence_gives_idle_events_and_closing_ends_the_connection(
    server: Loopback, client: OllamaClient
) -> None:
    released = threading.Event()

    def answer(exchange: Exchange) -> None:
        exchange.begin()
        exchange.part(b'{"status":"verifying sha256 digest"}\n')
        assert exchange.rfile.read(1) == b""  # returns when the client hangs up
        released.set()

    server.answers["POST /api/pull"] = answer
    events = client.pull(MODEL, tick=0.05)
    start = time.monotonic()
    assert not next(event for event in events if not event.idle).idle
    assert next(events).idle
    events.close()  # type: ignore[attr-defined]
    assert released.wait(5), "the connection was left open"
    assert time.monotonic() - start < 5
