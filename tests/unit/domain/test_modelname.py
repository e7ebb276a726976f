"""The rows are those of Ollama's own tests (types/model/name_test.go), and names that its API takes."""

from __future__ import annotations

import pytest

from deployments.domain import modelname
from deployments.domain.errors import InvalidInput
from deployments.domain.spec import ModelSpec

LONG80, LONG350 = "a" * 80, "a" * 350

QUALIFIED = {
    "_why/_the/_lucky:_stiff": True,
    "h/n/m:t": True,
    "host/namespace/model:tag": True,
    f"{LONG80}/{LONG80}/{LONG80}:{LONG80}": True,
    f"{LONG350}/{LONG80}/{LONG80}:{LONG80}": True,
    f"{LONG350}a/{LONG80}/{LONG80}:{LONG80}": False,
    "h/nn/mm:t": True,
    "host:https/namespace/model:tag": True,
    **dict.fromkeys(
        ["", "host/namespace/model", "namespace/model", "model", "m", "n/m:", "h/n/m", "@t", "m@d", "^"],
        False,
    ),
    **dict.fromkeys(["mm:", "/nn/mm", "//", "//mm", "hh//", "//mm:@", "00@", "@"], False),
    **dict.fromkeys(["-hh/nn/mm:tt", "hh/-nn/mm:tt", "hh/nn/-mm:tt", "hh/nn/mm:-tt"], False),
    "host/name:space/model:tag": False,
}


@pytest.mark.parametrize(("text", "expected"), QUALIFIED.items())
def test_fully_qualified(text: str, expected: bool) -> None:
    assert modelname.is_fully_qualified(text) is expected


ACCEPTED = [
    "deepseek-r1",
    "deepseek-r1:1.5b",
    "deepseek-r1:1.5B",
    "namespace/model",
    "host/namespace/model",
    "host:5000/namespace/model",
    "localhost:5000/library/tiny:latest",
    "http://host:5000/ns/model:tag",
    "https://registry.example.com/ns/model:tag",
    "hf.co/bartowski/Llama-3.2-1B-Instruct-GGUF:Q4_K_M",
    "_m",
    "m.",
    "m..n",
    "h::x/n/m:t",
    f"m:{LONG80}",
]
REFUSED = [
    "",
    "registry.example.com/model",
    "host:5000/model",
    "a/b/c/d:e",
    "http://host/model:tag",
    "my.namespace/model",
    "model:",
    "n/m:",
    ":tag",
    "/m",
    "n/",
    "-m",
    "m:-t",
    ".m",
    "model@sha256:abc",
    "m:a:b",
    "m n",
    "m:1.5b ",
    "m\n",
    "日本",
    "[::1]:5000/n/m:t",
    "../../m:t",
    "user/..:t",
    f"m:{LONG80}a",
    f"{LONG80}a",
    "ftp://h/n/m:t",
]


@pytest.mark.parametrize("text", ACCEPTED)
def test_takes_what_ollama_takes(text: str) -> None:
    assert modelname.is_valid(text)
    modelname.parse(text)


@pytest.mark.parametrize("text", REFUSED)
def test_refuses_what_ollama_refuses(text: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        modelname.parse(text)
    assert caught.value.sentence.endswith((".", "model"))


@pytest.mark.parametrize("text", ["gpt-oss:20b-cloud", "m:cloud", "m:CLOUD", "qwen3:8b-Cloud", "m:local"])
def test_refuses_what_would_leave_the_cluster(text: str) -> None:
    with pytest.raises(InvalidInput, match="meaning of its own"):
        modelname.parse(text)


def test_a_cloud_in_the_name_alone_is_fine() -> None:
    assert modelname.parse("my-cloud-model").tag == "latest"


@pytest.mark.parametrize(
    ("text", "shortest"),
    [
        ("registry.ollama.ai/library/model:latest", "model:latest"),
        ("registry.ollama.ai/namespace/model:tag", "namespace/model:tag"),
        ("host/library/model:tag", "host/library/model:tag"),
        ("model", "model:latest"),
    ],
)
def test_shortest_form(text: str, shortest: str) -> None:
    assert modelname.parse(text).shortest == shortest


def test_parts() -> None:
    assert modelname.is_valid_namespace("himynameisjoe") and not modelname.is_valid_namespace("a.")
    assert not any(map(modelname.is_valid_namespace, ["", "a:b", "a/b"]))
    assert modelname.is_valid_host("a:123") and not modelname.is_valid_host("a:123/aa/bb")
    assert not modelname.is_valid_host("") and not modelname.is_valid_model("-h")
    assert not modelname.has_explicit_tag("registry.example.com:5000/some-model")
    assert modelname.has_explicit_tag("registry.example.com:5000/some-model:9b")


def test_plain_http_becomes_the_insecure_switch() -> None:
    spec = modelname.to_model_spec("http://host:5000/ns/m:t")
    assert spec == ModelSpec(repository="m", tag="t", registry="host:5000/ns", insecure=True)
    assert spec.reference == "host:5000/ns/m:t"
    assert modelname.to_model_spec("deepseek-r1:7b") == ModelSpec(tag="7b")


def test_same_model_ignores_case_and_defaults() -> None:
    assert modelname.same_model("DeepSeek-R1:1.5B", "registry.ollama.ai/library/deepseek-r1:1.5b")
    assert not modelname.same_model("deepseek-r1:7b", "deepseek-r1:8b")


@pytest.mark.parametrize(
    ("tag", "nearest"),
    [("3b", "1.5b"), ("1.5", "1.5b"), ("13b", "14b"), ("600b", "671b"), ("1.5bb", "1.5b"), ("xyz", "")],
)
def test_nearest_known_tag(tag: str, nearest: str) -> None:
    assert modelname.nearest_known_tag(tag) == nearest


def test_the_guides_3b_is_marked() -> None:
    known = modelname.KNOWN_TAGS["3b"]
    assert not known.in_library and "a pull fails" in known.note
    assert "deepseek-r1:1.5b" in modelname.not_found_hint(ModelSpec(tag="3b"))
