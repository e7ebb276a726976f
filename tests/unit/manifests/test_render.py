from __future__ import annotations

import os
from dataclasses import replace
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.domain.errors import Conflict, InvalidInput, Unreadable
from deployments.domain.spec import ResourceSpec, Secrets, StackSpec
from deployments.domain.validation import validate_spec
from deployments.manifests import masking
from deployments.manifests.derive import with_replicas, with_restart
from deployments.manifests.labels import APPLY_SET_PART_OF, SECRETS_ANNOTATION
from deployments.manifests.order import apply_order
from deployments.manifests.render import SUPPORTED_VERSIONS, render
from deployments.manifests.types import Manifest
from tests.unit.manifests.stacks import KEY, SPECS, STACKS, render_input

GOLDEN = Path(__file__).parents[2] / "golden" / "manifests"


def one(manifests: list[Manifest], kind: str, name: str = "") -> Manifest:
    found = [m for m in manifests if m["kind"] == kind and name in m["metadata"]["name"]]
    assert len(found) == 1, (kind, name, len(found))
    return found[0]


def pod(manifests: list[Manifest], kind: str = "StatefulSet") -> dict[str, Any]:
    spec: dict[str, Any] = one(manifests, kind)["spec"]["template"]["spec"]
    return spec


def env(manifests: list[Manifest], kind: str) -> dict[str, Any]:
    return {item["name"]: item.get("value", item) for item in pod(manifests, kind)["containers"][0]["env"]}


@pytest.mark.parametrize("name", STACKS)
def test_objects_are_those_of_the_golden_file(name: str) -> None:
    """UPDATE_GOLDEN=1 writes the files anew; read the difference before committing it."""
    stack = STACKS[name]
    masked = [masking.mask_secrets(m, KEY) for m in render(stack)]
    text = yaml.safe_dump_all(masked, sort_keys=False, allow_unicode=True)
    path = GOLDEN / f"{name}.yaml"
    if os.environ.get("UPDATE_GOLDEN"):
        path.write_text(text)
    assert list(yaml.safe_load_all(path.read_text())) == masked
    assert "sesame" not in text and "swordfish" not in text


@pytest.mark.parametrize("version", SUPPORTED_VERSIONS)
@pytest.mark.parametrize("name", STACKS)
def test_objects_are_valid_for_the_oldest_and_the_newest_kubernetes(name: str, version: str) -> None:
    for manifest in render(STACKS[name]):
        kubernetes_validate.validate(manifest, version, strict=True)


@settings(max_examples=25, deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(SPECS, st.booleans())
def test_any_valid_stack_renders_to_sound_objects(spec: StackSpec, create_namespace: bool) -> None:
    assert validate_spec(spec) == []
    stack = render_input(spec, create_namespace=create_namespace)
    manifests = render(stack)
    assert manifests == render(stack) == apply_order(manifests)
    identities = [(m["kind"], m["metadata"]["name"]) for m in manifests]
    assert len(set(identities)) == len(identities)
    for manifest in manifests:
        kubernetes_validate.validate(manifest, SUPPORTED_VERSIONS[-1], strict=True)
        _sound_pod(manifest)
        _apply_set_label_only_on_top(manifest)


def _sound_pod(manifest: Manifest) -> None:
    template = manifest.get("spec", {}).get("template")
    if not template:
        return
    selected = manifest["spec"]["selector"]["matchLabels"]
    assert selected.items() <= template["metadata"]["labels"].items()
    assert template["spec"]["automountServiceAccountToken"] is False
    for container in template["spec"]["containers"]:
        assert {"cpu", "memory"} <= set(container["resources"]["limits"])
        gpus = {k: v for k, v in container["resources"]["limits"].items() if k.endswith("/gpu")}
        assert gpus == {k: v for k, v in container["resources"]["requests"].items() if k.endswith("/gpu")}
        context = container["securityContext"]
        assert not context["privileged"] and not context["allowPrivilegeEscalation"]
        assert context["capabilities"] == {"drop": ["ALL"]}


def _apply_set_label_only_on_top(manifest: Manifest) -> None:
    prunable = manifest["kind"] not in ("Namespace", "PersistentVolumeClaim")
    assert (APPLY_SET_PART_OF in manifest["metadata"]["labels"]) is prunable
    assert APPLY_SET_PART_OF not in masking.canonical(manifest.get("spec", {}))


def test_selectors_do_not_depend_on_the_spec() -> None:
    selectors = {
        masking.canonical(one(render(stack), "StatefulSet")["spec"]["selector"]) for stack in STACKS.values()
    }
    assert len(selectors) == 1


def test_a_server_is_ready_when_it_has_the_model() -> None:
    manifests = render(STACKS["private-registries"])
    container = pod(manifests)["containers"][0]
    reference = "registry.example.com:5000/team/tiny:latest"
    assert container["readinessProbe"]["exec"]["command"] == ["ollama", "show", reference]
    assert env(manifests, "Deployment")["CUSTOM_MODELS"] == f"-all,+{reference}@OpenAI"
    assert env(manifests, "Deployment")["DEFAULT_MODEL"] == reference
    assert container["image"] == "mirror.example.com:5000/hub/ollama/ollama:0.9.6"


def test_shared_volumes_are_never_pruned_by_a_pod_that_starts() -> None:
    assert "OLLAMA_NOPRUNE" not in env(render(STACKS["smallest"]), "StatefulSet")
    for name in ("nvidia-shared", "offline-cache"):
        assert env(render(STACKS[name]), "StatefulSet")["OLLAMA_NOPRUNE"] == "1"


def test_fs_group_only_on_claims_of_our_own_template() -> None:
    assert pod(render(STACKS["amd-non-root"]))["securityContext"]["fsGroup"] == 1000
    cache = STACKS["offline-cache"]
    assert "runAsUser" not in pod(render(cache))["securityContext"]
    given_uid = replace(cache, spec=replace(cache.spec, server=replace(cache.spec.server, run_as_user=1000)))
    context = pod(render(given_uid))["securityContext"]
    assert context["runAsUser"] == 1000 and "fsGroup" not in context


def test_amd_gets_its_own_image() -> None:
    assert pod(render(STACKS["amd-non-root"]))["containers"][0]["image"] == "ollama/ollama:0.9.6-rocm"


def test_an_autoscaler_owns_the_replicas() -> None:
    manifests = render(STACKS["autoscaled"])
    assert "replicas" not in one(manifests, "StatefulSet")["spec"]
    assert "replicas" not in one(manifests, "Deployment")["spec"]
    with pytest.raises(Conflict, match="autoscaler"):
        with_replicas(manifests, "server", 2)


def test_a_claim_template_keeps_what_it_was_created_with() -> None:
    stack = replace(STACKS["smallest"], template_size="5Gi", template_storage_class="old")
    template = one(render(stack), "StatefulSet")["spec"]["volumeClaimTemplates"][0]["spec"]
    assert template["resources"]["requests"]["storage"] == "5Gi" and template["storageClassName"] == "old"


def test_an_access_code_cannot_be_bypassed_and_its_change_restarts_the_chat() -> None:
    stack = STACKS["ingress-and-code"]
    manifests = render(stack)
    assert env(manifests, "Deployment")["HIDE_USER_API_KEY"] == "1"
    assert env(manifests, "Deployment")["CODE"]["valueFrom"]["secretKeyRef"]["name"] == "deepseek-access-code"
    other = render(replace(stack, secrets=Secrets("another", "x")))
    marks = [one(m, "Deployment")["spec"]["template"]["metadata"]["annotations"] for m in (manifests, other)]
    assert marks[0][SECRETS_ANNOTATION] != marks[1][SECRETS_ANNOTATION]


def test_chat_reaches_ollama_and_dns_only() -> None:
    manifests = render(STACKS["smallest"])
    policy = one(manifests, "NetworkPolicy")["spec"]
    server_labels = one(manifests, "StatefulSet")["spec"]["template"]["metadata"]["labels"]
    target, dns = policy["egress"]
    assert target["to"][0]["podSelector"]["matchLabels"].items() <= server_labels.items()
    assert target["ports"] == [{"protocol": "TCP", "port": 11434}]
    assert {port["port"] for port in dns["ports"]} == {53, 5353}


def test_no_ingress_without_a_host() -> None:
    spec = replace(
        STACKS["ingress-and-code"].spec, ingress=replace(STACKS["ingress-and-code"].spec.ingress, host="")
    )
    assert not [m for m in render(replace(STACKS["ingress-and-code"], spec=spec)) if m["kind"] == "Ingress"]


def test_what_only_a_person_can_give_is_asked_for() -> None:
    stack = STACKS["smallest"]
    spec = replace(stack.spec, server=replace(stack.spec.server, resources=ResourceSpec()))
    with pytest.raises(InvalidInput) as caught:
        render(replace(stack, spec=spec))
    assert caught.value.field == "server.resources.cpu_request"


def test_secrets_show_that_they_changed_and_never_what_they_are() -> None:
    stack = STACKS["ingress-and-code"]
    clear = render(stack)
    masked = [masking.mask_secrets(m, KEY) for m in clear]
    changed = [masking.mask_secrets(m, KEY) for m in render(replace(stack, secrets=Secrets("b", "c")))]
    assert one(masked, "Secret") != one(changed, "Secret")
    assert masking.digest(masked) != masking.digest(changed)
    assert [masking.mask_secrets(m, KEY) for m in masked] == masked
    with pytest.raises(ValueError, match="mask"):
        masking.digest(clear)
    secrets = [manifest for manifest in clear if manifest["kind"] == "Secret"]
    assert masking.restore_secrets(masked, secrets) == clear
    with pytest.raises(Unreadable):
        masking.restore_secrets(masked, secrets[1:])


def test_scale_and_restart_change_nothing_else() -> None:
    manifests = render(STACKS["smallest"])
    scaled = with_replicas(manifests, "server", 3)
    assert one(scaled, "StatefulSet")["spec"]["replicas"] == 3
    assert one(manifests, "StatefulSet")["spec"]["replicas"] == 1
    restarted = with_restart(manifests, "2026-01-01T00:00:00Z", components=("chat",))
    assert one(restarted, "StatefulSet") == one(manifests, "StatefulSet")
    assert one(restarted, "Deployment") != one(manifests, "Deployment")
