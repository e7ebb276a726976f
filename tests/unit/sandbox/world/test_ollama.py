"""The simulated Ollama: lines, texts and fields of its API. Ollama docs/api.md, server/routes.go, server/images.go."""

from __future__ import annotations

import asyncio
import re
from typing import Any

import pytest

from sandbox.world import inference, modelname
from sandbox.world.pulls import part_size
from tests.unit.sandbox.world.harness import NS, Life, life, living, ollama_pod, read

Object = dict[str, Any]
PORT = 11434
MODEL = "deepseek-r1:1.5b"


async def server(life_: Life, name: str = "o", **more: Any) -> Object:
    ollama_pod(life_, name, **more)
    return await life_.pod(name, ready=False)


async def pull(life_: Life, model: str = MODEL, name: str = "o", **more: Any) -> list[Object]:
    return await life_.lines(name, "/api/pull", {"model": model, **more})


@living()
async def test_a_pull(life: Life) -> None:
    """Status strings in order, 12 digits of the digest, growing bytes; ready when the model is there."""
    pod = await server(life)
    assert not any(c["type"] == "Ready" and c["status"] == "True" for c in pod["status"]["conditions"])
    lines = await pull(life)
    assert lines[0] == {"status": "pulling manifest"}
    assert [line["status"] for line in lines[-3:]] == [
        "verifying sha256 digest",
        "writing manifest",
        "success",
    ]
    layers = [line for line in lines if "digest" in line]
    assert all(line["status"] == f"pulling {line['digest'][7:19]}" for line in layers)
    assert {line["total"] for line in layers} >= {1117320512}
    done = [line.get("completed", 0) for line in layers if line["total"] == 1117320512]
    assert done == sorted(done) and done[-1] == 1117320512
    await life.pod("o")
    again = await pull(life)
    assert [line["status"] for line in again if "digest" in line] == sorted(
        {line["status"] for line in again if "digest" in line}, key=[line["status"] for line in again].index
    )
    assert all(line["completed"] == line["total"] for line in again if "digest" in line)


@pytest.mark.parametrize(
    ("model", "insecure", "text"),
    [
        ("deepseek-r1:3b", False, "pull model manifest: file does not exist"),
        ("nobody/nothing", False, "pull model manifest: file does not exist"),
        (
            "unreachable.example/a/b",
            False,
            r"pull model manifest: Get .*: dial tcp: lookup unreachable\.example on .*no such host",
        ),
        ("registry.lab.example:5000/ns/m:1", False, ".*server gave HTTP response to HTTPS client"),
        ("registry.lab.example/ns/m:1", True, ".*connection refused"),
    ],
)
def test_pulls_that_fail(model: str, insecure: bool, text: str) -> None:
    """Status 200 and the error in the last line; without a stream 500."""

    @living()
    async def body(life: Life) -> None:
        await server(life)
        lines = await pull(life, model, insecure=insecure)
        assert lines[0] == {"status": "pulling manifest"} and set(lines[-1]) == {"error"}
        assert re.fullmatch(text, lines[-1]["error"])
        answer = await life.call(
            "o", PORT, "POST", "/api/pull", {"model": model, "insecure": insecure, "stream": False}
        )
        assert answer == (500, lines[-1])

    body()


@living()
async def test_private_registries(life: Life) -> None:
    await server(life)
    assert (await pull(life, "registry.lab.example/ns/m:1"))[-1] == {"status": "success"}
    assert (await pull(life, "registry.lab.example:5000/ns/m:1", insecure=True))[-1] == {"status": "success"}
    _, tags = await life.call("o", PORT, "GET", "/api/tags")
    assert {entry["name"] for entry in tags["models"]} == {
        "registry.lab.example/ns/m:1",
        "registry.lab.example:5000/ns/m:1",
    }


@living(speed=20.0)
async def test_concurrent_pulls_share_and_resume(life: Life) -> None:
    """Two callers see one download; one who leaves does not stop it, both leaving keeps what has come."""
    await server(life)
    first = await life.ask("o", PORT, "POST", "/api/pull", {"model": MODEL})
    second = await life.ask("o", PORT, "POST", "/api/pull", {"model": MODEL})
    streams = [aiter(first.body), aiter(second.body)]  # type: ignore[arg-type]
    for stream in streams:
        for _ in range(4):
            await anext(stream)
    [process] = [
        runner.process for runner in life.world.kubelet.worker(life.get("Pod", "o") or {}).runners.values()
    ]  # type: ignore[union-attr]
    assert process is not None
    [volume] = life.world.volumes_of(process)
    assert len(volume.partials) == 1
    await streams[0].aclose()  # type: ignore[attr-defined]
    [before] = volume.partials.values()
    await life.until("more bytes", lambda: next(iter(volume.partials.values()), 0) > before)
    await streams[1].aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    [kept] = volume.partials.values()
    assert kept >= before
    life.world.clock.set_speed(200)
    lines = await pull(life)
    sizes = [line["completed"] for line in lines if line.get("total") == 1117320512 and "completed" in line]
    assert sizes[0] >= kept and lines[-1] == {"status": "success"}


@living()
async def test_a_full_disk(life: Life) -> None:
    """The claim's size is the limit; the text is Go's."""
    await server(life, claim="small", size="500Mi")
    lines = await pull(life)
    assert re.fullmatch(
        r"write /models/blobs/sha256-[0-9a-f]{64}-partial: no space left on device", lines[-1]["error"]
    )
    assert (await life.call("o", PORT, "GET", "/api/tags"))[1] == {"models": []}


@living()
async def test_shared_and_lost_volumes(life: Life) -> None:
    """A model belongs to its volume: seen by every pod that mounts it, gone with the claim."""
    noprune = {
        "env": [{"name": "OLLAMA_MODELS", "value": "/models"}, {"name": "OLLAMA_NOPRUNE", "value": "1"}]
    }
    await server(life, "a", claim="shared", **noprune)
    await server(life, "b", claim="shared", **noprune)
    await server(life, "own")
    assert (await pull(life, name="a"))[-1] == {"status": "success"}
    for name, there in (("a", 1), ("b", 1), ("own", 0)):
        assert len((await life.call(name, PORT, "GET", "/api/tags"))[1]["models"]) == there
    for name in ("a", "b"):
        life.store.delete("Pod", NS, name)
    await life.until("no pods", lambda: life.get("Pod", "a") is None and life.get("Pod", "b") is None)
    await server(life, "again", claim="shared")
    assert len((await life.call("again", PORT, "GET", "/api/tags"))[1]["models"]) == 1
    life.store.delete("Pod", NS, "again")
    life.store.delete("PersistentVolumeClaim", NS, "shared")
    await life.until("no claim", lambda: life.get("PersistentVolumeClaim", "shared") is None)
    await server(life, "new", claim="shared")
    assert (await life.call("new", PORT, "GET", "/api/tags"))[1] == {"models": []}


def test_models_outlive_the_cluster(tmp_path: Any) -> None:
    """With a data directory claims keep their models over a restart, pods their addresses."""

    async def body() -> None:
        async with life(data_dir=tmp_path) as first:
            await server(first, claim="kept")
            await pull(first)
            address = (await first.pod("o"))["status"]["podIP"]
        kept = first.store.dump()
        async with life(data_dir=tmp_path, kept=kept) as second:
            await second.until("pod", lambda: second.world.backend(second.get("Pod", "o") or {}, PORT))
            assert (await second.pod("o"))["status"]["podIP"] == address
            assert len((await second.call("o", PORT, "GET", "/api/tags"))[1]["models"]) == 1

    asyncio.run(body())


@living("practice")
async def test_tags_ps_show_delete_copy(life: Life) -> None:
    await server(life, resources={"limits": {"nvidia.com/gpu": "1"}})
    await pull(life)
    _, tags = await life.call("o", PORT, "GET", "/api/tags")
    [entry] = tags["models"]
    assert set(entry) == {"name", "model", "modified_at", "size", "digest", "details"}
    assert entry["name"] == entry["model"] == MODEL and re.fullmatch("[0-9a-f]{64}", entry["digest"])
    assert (await life.call("o", PORT, "GET", "/api/ps"))[1] == {"models": []}
    loaded = await life.call("o", PORT, "POST", "/api/generate", {"model": MODEL, "keep_alive": -1})
    assert loaded[1]["done_reason"] == "load" and "eval_count" not in loaded[1]
    [running] = (await life.call("o", PORT, "GET", "/api/ps"))[1]["models"]
    assert running["size"] == running["size_vram"] > 0 and running["expires_at"] > "2100"
    _, shown = await life.call("o", PORT, "POST", "/api/show", {"model": MODEL})
    assert shown["model_info"]["general.architecture"] == "qwen2" and shown["capabilities"] == [
        "completion",
        "thinking",
    ]
    unloaded = await life.call("o", PORT, "POST", "/api/generate", {"model": MODEL, "keep_alive": 0})
    assert unloaded[1]["done_reason"] == "unload"
    assert (await life.call("o", PORT, "GET", "/api/ps"))[1] == {"models": []}
    assert (
        await life.ask("o", PORT, "POST", "/api/copy", {"source": MODEL, "destination": "mine"})
    ).status == 200
    gone = await life.ask("o", PORT, "DELETE", "/api/delete", {"model": MODEL})
    assert (gone.status, gone.body) == (200, b"")
    _, tags = await life.call("o", PORT, "GET", "/api/tags")
    assert [entry["name"] for entry in tags["models"]] == ["mine:latest"]


@living()
async def test_refusals(life: Life) -> None:
    """Texts and statuses of Ollama 0.9.6."""
    await server(life)
    cases: list[tuple[str, str, Any, int, Any]] = [
        ("GET", "/", None, 200, "Ollama is running"),
        ("GET", "/api/version", None, 200, {"version": "0.9.6"}),
        ("GET", "/api/pull", None, 405, "405 method not allowed"),
        ("GET", "/nothing", None, 404, "404 page not found"),
        ("POST", "/api/pull", None, 400, {"error": "missing request body"}),
        ("POST", "/api/pull", {"model": "a b"}, 400, {"error": "invalid model name"}),
        ("POST", "/api/show", {"model": "x"}, 404, {"error": "model 'x' not found"}),
        ("POST", "/api/show", {}, 400, {"error": "model is required"}),
        ("DELETE", "/api/delete", {"model": "x"}, 404, {"error": "model 'x' not found"}),
        (
            "POST",
            "/api/chat",
            {"model": "x", "messages": [{"role": "user", "content": "a"}]},
            404,
            {"error": "model 'x' not found"},
        ),
        ("POST", "/api/generate", {"model": "x", "prompt": "a"}, 404, {"error": "model 'x' not found"}),
        ("POST", "/api/copy", {"source": "x", "destination": "y"}, 404, {"error": 'model "x" not found'}),
        (
            "POST",
            "/api/create",
            {"model": "x"},
            501,
            {"error": "the practice cluster does not offer /api/create"},
        ),
    ]
    for method, path, body, code, answer in cases:
        assert await life.call("o", PORT, method, path, body) == (code, answer), path
    foreign = await life.ask("o", PORT, "GET", "/api/tags", Origin="https://evil.example", Host="o:11434")
    assert (foreign.status, foreign.body) == (403, b"")
    same = await life.ask("o", PORT, "GET", "/api/tags", Origin="http://o:11434", Host="o:11434")
    assert same.status == 200
    status, answer = await life.call(
        "o",
        PORT,
        "POST",
        "/v1/chat/completions",
        {"model": "x", "messages": [{"role": "user", "content": "a"}]},
    )
    assert status == 404 and answer["error"]["type"] == "not_found_error"


@living()
async def test_an_older_version(life: Life) -> None:
    """The tag decides: 0.5.7 answers 404 to a wrong method and words unknown models differently."""
    await server(life, image="mirror.example/ollama/ollama:0.5.7")
    assert (await life.call("o", PORT, "GET", "/api/version"))[1] == {"version": "0.5.7"}
    assert (await life.ask("o", PORT, "GET", "/api/pull")).status == 404
    chat = {"model": "x", "messages": [{"role": "user", "content": "a"}]}
    assert (await life.call("o", PORT, "POST", "/api/chat", chat))[1] == {
        "error": 'model "x" not found, try pulling it first'
    }


@living()
async def test_generation(life: Life) -> None:
    """Streams and single answers, timing in nanoseconds, thinking as 0.9.6 has it, num_predict."""
    await server(life)
    await pull(life)
    messages = [{"role": "user", "content": "Who are you?"}]
    lines = await life.lines("o", "/api/chat", {"model": MODEL, "messages": messages})
    assert lines[0]["message"]["content"] == "<think>" and not lines[0]["done"]
    text = "".join(line["message"]["content"] for line in lines)
    assert "</think>" in text and "simulated" in text.lower() and "thinking" not in lines[0]["message"]
    last = lines[-1]
    assert last["done"] and last["done_reason"] == "stop" and last["eval_count"] == len(lines) - 1
    assert all(isinstance(last[name], int) for name in ("total_duration", "load_duration", "eval_duration"))
    body = {"model": MODEL, "messages": messages, "stream": False, "think": True}
    _, apart = await life.call("o", PORT, "POST", "/api/chat", body)
    assert apart["message"]["thinking"] and "<think>" not in apart["message"]["content"]
    _, silent = await life.call("o", PORT, "POST", "/api/chat", {**body, "think": False})
    assert "thinking" not in silent["message"] and "<think>" not in silent["message"]["content"]
    _, one = await life.call(
        "o",
        PORT,
        "POST",
        "/api/generate",
        {"model": MODEL, "prompt": "x", "stream": False, "options": {"num_predict": 1}},
    )
    assert (one["eval_count"], one["done_reason"]) == (1, "length")
    answer = await life.ask(
        "o", PORT, "POST", "/v1/chat/completions", {"model": MODEL, "messages": messages, "stream": True}
    )
    assert dict(answer.headers)["Content-Type"] == "text/event-stream"
    events = (await read(answer)).decode().split("\n\n")
    assert events[0].startswith('data: {"id":"chatcmpl-') and events[-2:] == ["data: [DONE]", ""]
    assert '"content":"<think>"' in events[0] and '"finish_reason":"stop"' in events[-3]


@living()
async def test_memory(life: Life) -> None:
    """More than the container's limit on CPU: killed for memory (0.9.6 does not know the limit), refused by 0.13."""
    limits = {"limits": {"memory": "1Gi"}}
    await server(life, "old", resources=limits)
    await server(life, "new", resources=limits, image="ollama/ollama:0.13.0")
    for name in ("old", "new"):
        await pull(life, name=name)
    status, answer = await life.call("new", PORT, "POST", "/api/generate", {"model": MODEL})
    assert status == 500 and re.fullmatch(
        r"model requires more system memory \(1\.6 GiB\) than is available \(1\.0 GiB\)", answer["error"]
    )
    with pytest.raises(ConnectionError):
        await life.call("old", PORT, "POST", "/api/generate", {"model": MODEL})
    shown = await life.until(
        "restart",
        lambda: next(
            (c for c in (life.get("Pod", "old") or {})["status"]["containerStatuses"] if c["restartCount"]),
            None,
        ),
    )
    assert (
        shown["lastState"]["terminated"] | {"exitCode": 137, "reason": "OOMKilled"}
        == shown["lastState"]["terminated"]
    )


@living()
async def test_commands_in_probes(life: Life) -> None:
    """exec: ollama show and list, and sh -c around them, tell whether the model is there."""
    await server(life, env=[{"name": "OLLAMA_MODELS", "value": "/models"}, {"name": "MODEL", "value": MODEL}])
    [runner] = life.world.kubelet.worker(life.get("Pod", "o") or {}).runners.values()  # type: ignore[union-attr]
    process = runner.process
    assert process is not None
    commands = [
        ["ollama", "show", MODEL],
        ["/bin/sh", "-c", f"ollama list | grep -q '{MODEL}'"],
        ["sh", "-c", 'ollama show "$MODEL" > /dev/null'],
    ]
    assert [process.run(command)[0] for command in commands] == [1, 1, 1]
    assert process.run(["ollama", "list"])[0] == process.run(["anything"])[0] == 0
    await pull(life)
    assert [process.run(command)[0] for command in commands] == [0, 0, 0]


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("deepseek-r1", "deepseek-r1:latest"),
        ("ns/m:t", "ns/m:t"),
        ("http://host:5000/ns/m:t", "host:5000/ns/m:t"),
        ("registry.ollama.ai/library/m:t", "m:t"),
        ("registry.example.com/model", None),
        ("m:", None),
        ("/m", None),
        ("m@sha256:abc", None),
        ("a/b/c/d:e", None),
        ("../../m:t", None),
        ("m\n", None),
        ("", None),
    ],
)
def test_model_names(text: str, shortest: str | None) -> None:
    """Ollama types/model/name_test.go."""
    found = modelname.parse(text)
    assert (found.shortest if found else None) == shortest


@pytest.mark.parametrize(
    ("value", "seconds"),
    [(None, 300), (10, 10), (0, 0), (-1, -1), ("10m", 600), ("1h30m", 5400), ("-1m", -60)],
)
def test_keep_alive(value: Any, seconds: float) -> None:
    assert inference.keep_alive_seconds(value) == seconds


@pytest.mark.parametrize("value", ["3600", "x", "", True, []])
def test_keep_alive_refused(value: Any) -> None:
    """Go's time.ParseDuration wants a unit."""
    with pytest.raises(ValueError):
        inference.keep_alive_seconds(value)


def test_parts() -> None:
    """Ollama server/download.go: a sixteenth, from 100 MB to 1 GB."""
    assert [part_size(size) for size in (50, 1_600_000_000, 1_000_000_000_000)] == [
        50,
        100_000_000,
        1_000_000_000,
    ]
