"""The guide's own examples, word for word (guide-*.yaml), and what people make of them."""

from __future__ import annotations

from pathlib import Path

import pytest

from deployments.domain.config_export import export_config
from deployments.domain.config_yaml import Imported, import_config
from deployments.domain.errors import InvalidInput
from deployments.domain.profile_file import ProfileFile, dump_profile, load_profile
from deployments.domain.spec import GpuVendor, ModelSpec, StorageMode
from deployments.domain.validation import validate_spec

GOLDEN = Path(__file__).parents[2] / "golden" / "config"
EXAMPLES = sorted(GOLDEN.glob("guide-*.yaml"))


def example(name: str) -> Imported:
    return import_config((GOLDEN / f"guide-{name}.yaml").read_bytes())


def said(lines: tuple[object, ...]) -> str:
    return "\n".join(f"{line.path}: {line.sentence}" for line in lines)  # type: ignore[attr-defined]


def test_all_five_examples_are_here() -> None:
    assert len(EXAMPLES) == 5


@pytest.mark.parametrize("path", EXAMPLES, ids=lambda path: path.stem)
def test_every_example_imports_as_it_stands_and_survives_the_way_back(path: Path) -> None:
    found = import_config(path.read_bytes())
    assert found.ignored == () and validate_spec(found.spec) == []
    text, lost = export_config(found.spec)
    assert import_config(text).spec == found.spec and lost == []
    profile = ProfileFile("a", "b", found.spec)
    assert load_profile(dump_profile(profile)) == profile


def test_the_missing_blank() -> None:
    found = example("basic")
    assert found.spec.model == ModelSpec()
    assert "“tag:1.5b” has no blank" in said(found.warnings)
    assert "chat goes through Pilothouse's own gateway" in said(found.warnings)
    assert (
        import_config("backend:\n  model:\n    repository: deepseek-r1\n    tag:7b\n").spec.model.tag == "7b"
    )
    assert import_config("backend:\n  model:\n    repository:m\n    tag:7b\n").spec.model == ModelSpec(
        "m", "7b"
    )


def test_gpus_without_the_switch_are_nvidias_and_too_little_is_said() -> None:
    found = example("resources")
    assert (found.spec.server.gpu_vendor, found.spec.server.gpu_count) == (GpuVendor.NVIDIA, 1)
    assert found.spec.server.node_selector == {"accelerator": "nvidia"}
    assert "without enableNvidia; NVIDIA is meant" in said(found.warnings)
    assert said(found.warnings).count("under the minimum") == 4


def test_the_guides_ingress() -> None:
    found = example("ingress").spec
    assert found.ingress.enabled and found.ingress.host == "example.com" and found.ingress.tls_secret == ""
    assert found.chat.port == 3000 and found.ingress.class_name == ""


def test_the_charts_ingress() -> None:
    text = """
global:
  extension:
    ingress: {ingressClassName: nginx, domainSuffix: apps.example.com, httpPort: 80, httpsPort: 443}
"""
    found = import_config(text)
    assert found.spec.ingress.host == "deepseek.apps.example.com" and found.spec.ingress.enabled
    assert found.spec.ingress.class_name == "nginx"
    assert {line.path.rsplit(".")[-1] for line in found.ignored} == {"httpPort", "httpsPort"}


def test_an_ingress_that_is_off_stays_off_without_a_word_of_the_gateway() -> None:
    found = import_config("global: {ingress: {enabled: false, domain: a.example.com}}")
    assert not found.spec.ingress.enabled and "gateway" not in said(found.warnings)


def test_the_offline_cache_is_used_as_it_is() -> None:
    found = example("claim-heredoc")
    assert found.namespace == "extension-deepseek"
    storage = found.spec.storage
    assert storage.mode is StorageMode.EXISTING and storage.claim_name == "deepseek-models"
    assert storage.claim_read_write_many
    plain = (GOLDEN / "guide-claim-heredoc.yaml").read_text().split("\n", 1)[1].replace("EOF\n", "")
    assert import_config(plain).spec == found.spec


@pytest.mark.parametrize(
    "text",
    ["deepseek: {model: 'deepseek-r1:14b'}", "deepseek.model: deepseek-r1:14b", "deepseek: {model: 14b}"],
)
def test_the_model_that_the_prose_speaks_of(text: str) -> None:
    assert import_config(text).spec.model == ModelSpec(tag="14b")


def test_everything_the_values_can_say() -> None:
    found = import_config((GOLDEN / "all-values.yaml").read_bytes())
    spec = found.spec
    assert spec.model == ModelSpec("qwen", "7b", "registry.example.com:5000/team", insecure=True)
    assert spec.server.gpu_vendor is GpuVendor.AMD and spec.server.gpu_count == 2
    assert spec.server.image == "ollama/ollama:0.9.6-rocm" and spec.chat.image == "mirror/chat:1"
    assert spec.server.autoscaling.max_replicas == 4 and spec.server.autoscaling.cpu_percent == 70
    assert spec.storage.mode is StorageMode.SHARED and spec.storage.size == "80Gi"
    assert spec.images.registry == "mirror.example.com" and spec.images.pull_secrets == ("one", "two")
    assert spec.ingress.tls_secret == "cert" and spec.node_selector == {"disk": "ssd", "gpu": "true"}
    assert {line.path for line in found.ignored} == {"global.tag", "backend.server.privileged", "extra"}
    assert validate_spec(spec) == []


def test_3b_is_said_to_be_missing() -> None:
    assert "not in the library" in said(import_config("backend: {model: {tag: 3b}}").warnings)


@pytest.mark.parametrize(
    ("data", "part"),
    [
        ("a: &x [1]\nb: *x", "Anchors"),
        ("a: &a [x]\nb: &b [*a, *a]\nc: [*b, *b]", "Anchors"),
        ("!!python/object/apply:os.system ['true']", "Tags"),
        ("x" * 11_000_000, "at most 256 KiB"),
        (b"x" * 11_000_000, "at most 256 KiB"),
        ("[" * 5000, "nested too deep"),
        ("[" + "1," * 30_000 + "1]", "too many parts"),
        ("---\n" * 60, "too many parts"),
        ("- 1", "object"),
        ("", "nothing"),
        ("a: 1\na: 2", "twice"),
        ("a: 1\n1: 2\n1.0: 3", "cannot be read"),
        ("a: {<<: {b: 1}}", "not read"),
        ("? [a]\n: b", "text"),
        ("a: [", "not valid YAML"),
        ("\x00", "not valid YAML"),
        (b"\xff\xfe\x00", "UTF-8"),
    ],
)
def test_hostile_files_get_a_sentence(data: str | bytes, part: str) -> None:
    with pytest.raises(InvalidInput, match=part):
        import_config(data)


def test_a_profile_file_refuses_what_it_does_not_know() -> None:
    with pytest.raises(InvalidInput, match="not a profile"):
        load_profile("backend: {}")
    with pytest.raises(InvalidInput) as caught:
        load_profile("apiVersion: pilothouse/v1\nkind: Profile\nspec: {server: {replicaz: 2}}")
    assert caught.value.field == "server.replicaz"
