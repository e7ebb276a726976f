"""The simulated chat server and the GPU exporters."""

from __future__ import annotations

import re
from typing import Any

from sandbox.backend import BackendRequest, one
from tests.unit.sandbox.world.harness import NS, Life, container, living, ollama_pod, read

Object = dict[str, Any]
MODEL = "deepseek-r1:1.5b"
CHAT = 3000


async def chat(life: Life, name: str = "chat", **env: str) -> None:
    values = {
        "BASE_URL": "http://o:11434",
        "CUSTOM_MODELS": f"-all,+{MODEL}@OpenAI",
        "DEFAULT_MODEL": MODEL,
        **env,
    }
    own = container(
        "chat", "yidadaa/chatgpt-next-web:v2.16.1", ports=[{"name": "http", "containerPort": CHAT}]
    )
    own["env"] = [{"name": key, "value": value} for key, value in values.items()]
    own["readinessProbe"] = {"httpGet": {"path": "/api/config", "port": "http"}}
    life.add("Pod", name, {"containers": [own]}, metadata={"labels": {"app": name}})
    await life.pod(name)


def question(model: str = MODEL) -> Object:
    return {"messages": [{"role": "user", "content": "hello"}], "stream": True, "model": model}


@living()
async def test_chat(life: Life) -> None:
    """NextChat app/config/server.ts and app/api/openai: configuration, page, conversation through the Service."""
    life.add("Service", "o", {"selector": {"app": "o"}, "ports": [{"port": 11434, "targetPort": "http"}]})
    await chat(life)
    status, config = await life.call("chat", CHAT, "POST", "/api/config")
    assert status == 200 and config["defaultModel"] == MODEL and config["needCode"] is False
    assert set(config) == {
        "needCode", "hideUserApiKey", "disableGPT4", "hideBalanceQuery", "disableFastLink", "customModels",
        "defaultModel", "visionModels",
    }  # fmt: skip
    page = (await read(await life.ask("chat", CHAT, "GET", "/"))).decode()
    assert "SIMULATED" in page
    for path in re.findall(r'(?:src|href)="(/_next/static/[^"]+)"', page):
        asset = await life.ask("chat", CHAT, "GET", path)
        assert asset.status == 200 and "immutable" in dict(asset.headers)["Cache-Control"]
    assert (await life.ask("chat", CHAT, "POST", "/", None, Next_Action="x")).status == 200
    path = "/api/openai/v1/chat/completions"
    assert (await life.ask("chat", CHAT, "POST", path, question())).status == 500
    ollama_pod(life, "o")
    await life.pod("o", ready=False)
    await life.lines("o", "/api/pull", {"model": MODEL})
    await life.pod("o")
    answer = await life.ask("chat", CHAT, "POST", path, question())
    assert answer.status == 200 and b"data: [DONE]" in await read(answer)
    assert (await life.call("chat", CHAT, "POST", path, question("gpt-4")))[0] == 403
    assert (await life.ask("chat", CHAT, "POST", "/api/openai/v1/files", {})).status == 403


@living()
async def test_chat_access_code(life: Life) -> None:
    """NextChat app/api/auth.ts: the code, and the hole that any other bearer is."""
    await chat(life, CODE="secret, other")
    assert (await life.call("chat", CHAT, "POST", "/api/config"))[1]["needCode"] is True
    path = "/api/openai/v1/chat/completions"
    for authorization, code in (
        ("", 401),
        ("Bearer nk-wrong", 401),
        ("Bearer nk-secret", 500),
        ("Bearer mine", 500),
    ):
        assert (
            await life.ask("chat", CHAT, "POST", path, question(), Authorization=authorization)
        ).status == code


@living()
async def test_chat_open_proxy(life: Life) -> None:
    """The hole of /api/<anything> is there to be closed by whoever stands in front; nothing is fetched."""
    await chat(life)
    answer = await life.ask(
        "chat", CHAT, "GET", "/api/evil/latest", None, x_base_url="http://169.254.169.254"
    )
    assert answer.status == 200 and b"SSRF" in await read(answer)


def series(text: str, name: str) -> list[tuple[dict[str, str], float]]:
    found = re.findall(rf"^{name}{{(.*)}} (\S+)$", text, re.MULTILINE)
    return [(dict(re.findall(r'(\w+)="([^"]*)"', labels)), float(value)) for labels, value in found]


async def exporter(life: Life, namespace: str, port: int, node: str) -> str:
    def found() -> Object | None:
        pods = [pod for pod in life.store.list("Pod", namespace) if pod["spec"].get("nodeName") == node]
        return pods[0] if pods and pods[0]["status"].get("phase") == "Running" else None

    pod = await life.until("exporter", found)
    backend = life.world.backend(pod, port)
    assert backend is not None
    return (await read(await backend.handle(request("/metrics")))).decode()


def request(path: str) -> BackendRequest:
    return BackendRequest("GET", path, "", (), one(b""))


@living("practice")
async def test_nvidia_exporter(life: Life) -> None:
    """dcgm-exporter's labels and order; memory and use follow the model that is loaded and generates."""
    ollama_pod(life, "o", resources={"limits": {"nvidia.com/gpu": "2"}})
    pod = await life.pod("o", ready=False)
    node = pod["spec"]["nodeName"]
    await life.lines("o", "/api/pull", {"model": MODEL})
    text = await exporter(life, "gpu-operator", 9400, node)
    line = next(line for line in text.splitlines() if line.startswith('DCGM_FI_DEV_GPU_UTIL{gpu="0"'))
    shape = (
        r'DCGM_FI_DEV_GPU_UTIL\{gpu="0",UUID="GPU-[0-9a-f-]{36}",pci_bus_id="00000000:[0-9A-F]{2}:00\.0",device="nvidia0",'
        r'modelName="NVIDIA A100-SXM4-80GB",Hostname="[\w-]+",DCGM_FI_DRIVER_VERSION="550\.90\.07",container="ollama",'
        rf'namespace="{NS}",pod="o"\}} 0'
    )
    assert re.fullmatch(shape, line)
    assert "# TYPE DCGM_FI_DEV_GPU_UTIL gauge" in text and "DCGM_FI_DEV_FB_TOTAL" not in text
    assert len(series(text, "DCGM_FI_DEV_FB_USED")) == 4
    assert series(text, "DCGM_FI_DEV_XID_ERRORS")[0][0]["err_msg"] == "No Error"
    idle = [value for _, value in series(text, "DCGM_FI_DEV_FB_USED")]
    life.world.clock.set_speed(5)
    answer = await life.ask("o", 11434, "POST", "/api/generate", {"model": MODEL, "prompt": "x"})
    stream = aiter(answer.body)  # type: ignore[arg-type]
    await anext(stream)
    busy = await exporter(life, "gpu-operator", 9400, node)
    used = [value for _, value in series(busy, "DCGM_FI_DEV_FB_USED")]
    assert used[0] > idle[0] + 500 and used[1] > idle[1] and used[2:] == idle[2:]
    use = [value for _, value in series(busy, "DCGM_FI_DEV_GPU_UTIL")]
    assert use[0] > 80 and use[2:] == [0, 0]
    assert 0.7 < series(busy, "DCGM_FI_PROF_GR_ENGINE_ACTIVE")[0][1] <= 1
    await stream.aclose()  # type: ignore[attr-defined]
    life.world.clock.set_speed(200)
    life.store.delete("Pod", NS, "o")
    await life.until("end", lambda: life.get("Pod", "o") is None)
    free = await exporter(life, "gpu-operator", 9400, node)
    assert [value for _, value in series(free, "DCGM_FI_DEV_FB_USED")] == idle
    assert "pod" not in series(free, "DCGM_FI_DEV_FB_USED")[0][0]


@living("practice")
async def test_amd_exporter_and_rocm(life: Life) -> None:
    """Empty labels for an idle GPU; only the ROCm image uses an AMD GPU."""
    limits = {"limits": {"amd.com/gpu": "1"}}
    ollama_pod(life, "rocm", image="ollama/ollama:0.9.6-rocm", resources=limits)
    ollama_pod(life, "cuda", resources=limits)
    for name, share in (("rocm", 1.0), ("cuda", 0.0)):
        await life.pod(name, ready=False)
        await life.lines(name, "/api/pull", {"model": MODEL})
        await life.call(name, 11434, "POST", "/api/generate", {"model": MODEL, "keep_alive": -1})
        [running] = (await life.call(name, 11434, "GET", "/api/ps"))[1]["models"]
        assert running["size_vram"] == share * running["size"]
    text = await exporter(life, "kube-amd-gpu", 5000, "practice-amd-1")
    used = {labels["pod"]: value for labels, value in series(text, "gpu_used_vram")}
    assert used["rocm"] > used["cuda"] + 1000
    assert series(text, "gpu_total_vram")[0][1] == 196592
    life.store.delete("Pod", NS, "rocm")
    await life.until("end", lambda: life.get("Pod", "rocm") is None)
    text = await exporter(life, "kube-amd-gpu", 5000, "practice-amd-1")
    assert {labels["pod"] for labels, _ in series(text, "gpu_gfx_activity")} == {"", "cuda"}


@living("practice")
async def test_nodes(life: Life) -> None:
    """Labels as feature discovery writes them, allocatable below capacity, heartbeats."""
    node = life.get("Node", "practice-gpu-1") or {}
    labels = node["metadata"]["labels"]
    assert labels["nvidia.com/cuda.driver-version.full"].startswith("550.")
    assert labels["nvidia.com/cuda.runtime-version.full"] == "12.4" and labels["nvidia.com/gpu.count"] == "4"
    assert node["status"]["allocatable"]["nvidia.com/gpu"] == "4"
    assert (life.get("Node", "practice-amd-1") or {})["status"]["capacity"]["amd.com/gpu"] == "2"
    assert (life.get("Node", "practice-control") or {})["spec"]["taints"][0]["effect"] == "NoSchedule"
    assert life.store.get("Lease", "kube-node-lease", "practice-gpu-1") is not None
    classes = {obj["metadata"]["name"]: obj for obj in life.store.list("StorageClass")}
    assert set(classes) == {"standard", "shared", "broken"}
    annotation = classes["standard"]["metadata"]["annotations"]["storageclass.kubernetes.io/is-default-class"]
    assert annotation == "true"
