from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.domain.quantities import compare, parse
from deployments.domain.sizing import DEEPSEEK_TABLE, Origin, claim_size_for, size_stack, sized
from deployments.domain.spec import (
    GpuVendor,
    ModelSpec,
    ResourceSpec,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
)


def stack(tag: str = "1.5b", *, repository: str = "deepseek-r1", **server: object) -> StackSpec:
    return StackSpec(model=ModelSpec(repository=repository, tag=tag), server=ServerSpec(**server))  # type: ignore[arg-type]


def test_a_known_tag_takes_the_table() -> None:
    found = size_stack(stack("32b", gpu_vendor=GpuVendor.AMD), None)
    assert found.origin is Origin.TABLE
    assert found.resources == ResourceSpec("12", "14", "64Gi", "80Gi")
    assert found.gpu_count == 4
    assert "tested up to 14b" in " ".join(found.notes)


def test_gpus_only_where_a_vendor_is_chosen() -> None:
    assert size_stack(stack(), None).gpu_count == 0
    assert size_stack(stack("671b", gpu_vendor=GpuVendor.NVIDIA), None).gpu_count == 8
    assert size_stack(stack(gpu_vendor=GpuVendor.NVIDIA, gpu_count=3), None).gpu_count == 3


def test_any_other_model_is_estimated_with_its_arithmetic() -> None:
    found = size_stack(stack("7b-q8", repository="qwen", gpu_vendor=GpuVendor.NVIDIA), 8_100_000_000)
    assert found.origin is Origin.ESTIMATED and found.gpu_count == 1 and found.complete
    assert ("Model file", "7.5 GiB") in found.lines
    assert parse(found.resources.memory_request) > 8_100_000_000
    assert parse(found.claim_size) > 8_100_000_000


def test_a_longer_context_needs_more() -> None:
    short = size_stack(stack("x", repository="m"), 10**10).resources.memory_request
    long = size_stack(stack("x", repository="m", context_length=65536), 10**10).resources.memory_request
    assert compare(short, long) < 0


def test_an_unknown_size_is_said_and_not_guessed() -> None:
    found = size_stack(stack("x", repository="m"), None)
    assert found.origin is Origin.UNKNOWN and not found.complete and found.claim_size == ""
    assert "by hand" in found.notes[0]


def test_what_is_given_stays_and_the_other_half_follows() -> None:
    given = ResourceSpec(cpu_request="9", memory_limit="6Gi")
    found = size_stack(stack(resources=given), None).resources
    assert found == ResourceSpec("9", "9", "6Gi", "6Gi")
    whole = ResourceSpec("1", "1", "1Gi", "1Gi")
    result = size_stack(stack(resources=whole), None)
    assert result.origin is Origin.GIVEN and result.resources == whole
    assert "minimum of 2 processors" in " ".join(result.notes)
    assert "smaller than the model" in " ".join(result.notes)


@pytest.mark.parametrize("tag", DEEPSEEK_TABLE)
def test_every_row_of_the_table_is_consistent(tag: str) -> None:
    spec = stack(tag, gpu_vendor=GpuVendor.NVIDIA)
    found = size_stack(spec, None)
    assert compare(found.resources.cpu_request, found.resources.cpu_limit) < 0
    assert compare(found.resources.memory_request, found.resources.memory_limit) < 0
    assert parse(sized(spec, found).storage.size) > 0


def test_claims_follow_the_model() -> None:
    assert claim_size_for(1_100_000_000) == "10Gi"
    assert claim_size_for(404 * 10**9) == "475Gi"
    existing = replace(stack(), storage=StorageSpec(mode=StorageMode.EXISTING, claim_name="c"))
    assert size_stack(existing, None).claim_size == ""
    given = replace(stack(), storage=StorageSpec(size="7Gi"))
    assert size_stack(given, None).claim_size == "7Gi"
