"""How much a stack needs: processors, memory, GPUs and disk.

Tags of deepseek-r1 take a table, the one of the DeepSeek extension's chart, so that a move changes
nothing. Any other model is estimated from the bytes that its registry manifest sums up to; the
arithmetic comes along line by line, so that a page can show it. What somebody gave himself is never
changed, only completed.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from decimal import Decimal
from enum import StrEnum
from math import ceil

from deployments.domain.errors import InvalidInput
from deployments.domain.modelname import DEEPSEEK_R1, KNOWN_TAGS, TESTED_UP_TO
from deployments.domain.quantities import GIB, compare, format_bytes, gib, is_quantity, parse
from deployments.domain.spec import GpuVendor, ResourceSpec, StackSpec, StorageMode


class Origin(StrEnum):
    """Where the figures of the server come from."""

    TABLE = "table"
    ESTIMATED = "estimated"
    GIVEN = "given"
    UNKNOWN = "unknown"


@dataclass(frozen=True)
class TableRow:
    """The extension's default for one tag. ``gpus`` counts where that vendor is chosen."""

    cpu_request: str
    cpu_limit: str
    memory_request: str
    memory_limit: str
    nvidia: int
    amd: int

    @property
    def resources(self) -> ResourceSpec:
        return ResourceSpec(self.cpu_request, self.cpu_limit, self.memory_request, self.memory_limit)

    def gpus(self, vendor: GpuVendor) -> int:
        return {GpuVendor.NVIDIA: self.nvidia, GpuVendor.AMD: self.amd}.get(vendor, 0)


# values of the extension's chart 0.1.0
DEEPSEEK_TABLE: dict[str, TableRow] = {
    "1.5b": TableRow("2", "4", "8Gi", "10Gi", 1, 1),
    "3b": TableRow("3", "5", "12Gi", "15Gi", 1, 1),
    "7b": TableRow("4", "6", "16Gi", "20Gi", 1, 1),
    "8b": TableRow("5", "7", "20Gi", "25Gi", 1, 1),
    "14b": TableRow("8", "10", "32Gi", "40Gi", 1, 1),
    "32b": TableRow("12", "14", "64Gi", "80Gi", 2, 4),
    "70b": TableRow("24", "26", "128Gi", "160Gi", 4, 8),
    "671b": TableRow("64", "68", "512Gi", "720Gi", 8, 16),
}
# "minimum resource requirements per pod" of the extension's guide, for its smallest model
MINIMUM_CPU, MINIMUM_MEMORY = "2", "8Gi"


@dataclass(frozen=True)
class Sizing:
    """What a stack will ask for. ``resources`` and ``claim_size`` hold "" for what cannot be known;
    ``lines`` is the arithmetic as (label, value) to show, ``notes`` are sentences worth reading."""

    resources: ResourceSpec
    gpu_count: int
    claim_size: str
    origin: Origin
    lines: tuple[tuple[str, str], ...]
    notes: tuple[str, ...]

    @property
    def complete(self) -> bool:
        """Whether nothing is left for somebody to give by hand."""
        return "" not in (
            self.resources.cpu_request,
            self.resources.cpu_limit,
            self.resources.memory_request,
            self.resources.memory_limit,
        )


def size_stack(spec: StackSpec, model_bytes: int | None) -> Sizing:
    """Fill in what the spec leaves open. ``model_bytes`` is the download's real size, or None where
    the registry was not asked or did not say."""
    server = spec.server
    row = table_row(spec)
    known_bytes = model_bytes or library_bytes(spec)
    if row is not None:
        origin, base, gpus = Origin.TABLE, row.resources, row.gpus(server.gpu_vendor)
        lines = [("Model", f"{DEEPSEEK_R1}:{spec.model.tag}, from the extension's table")]
    elif known_bytes:
        origin = Origin.ESTIMATED
        base, gpus, lines = _estimate(spec, known_bytes)
    else:
        origin, base, gpus = Origin.UNKNOWN, ResourceSpec(), 1 if server.gpu_vendor.resource else 0
        lines = [("Model", f"{spec.model.reference}, of unknown size")]
    resources = _complete(server.resources, base)
    if "" not in _values(server.resources):
        origin = Origin.GIVEN
    gpu_count = 0 if not server.gpu_vendor.resource else server.gpu_count or gpus
    claim_size, claim_lines = _claim(spec, known_bytes)
    return Sizing(
        resources=resources,
        gpu_count=gpu_count,
        claim_size=claim_size,
        origin=origin,
        lines=(*lines, *_given_lines(spec), *claim_lines),
        notes=tuple(_notes(spec, origin, resources, claim_size, known_bytes)),
    )


def sized(spec: StackSpec, sizing: Sizing) -> StackSpec:
    """The spec with the sizing written into it: what the manifests are rendered from."""
    return replace(
        spec,
        server=replace(spec.server, resources=sizing.resources, gpu_count=sizing.gpu_count),
        storage=replace(spec.storage, size=sizing.claim_size),
    )


def table_row(spec: StackSpec) -> TableRow | None:
    """The table's row for the model; a mirror of deepseek-r1 counts as well."""
    if spec.model.repository.lower() != DEEPSEEK_R1:
        return None
    return DEEPSEEK_TABLE.get(spec.model.tag.lower())


def claim_size_for(model_bytes: int) -> str:
    """A claim for one model: a quarter more, a GiB for the rest, in steps of 5 GiB, 10 at least.

    Ollama writes a download in place (a sparse ``-partial`` file), so it is never there twice; the
    quarter is room for the next version beside the old one's shared layers.
    """
    wanted = Decimal(model_bytes) * Decimal("1.25") + GIB
    return format_bytes(max(10, ceil(wanted / (5 * GIB)) * 5) * GIB)


def under_minimum(resources: ResourceSpec) -> list[str]:
    """Sentences for requests and limits below what the extension's guide calls the minimum."""
    found = []
    for words, text, minimum in (
        ("processors requested", resources.cpu_request, MINIMUM_CPU),
        ("processors at most", resources.cpu_limit, MINIMUM_CPU),
        ("memory requested", resources.memory_request, MINIMUM_MEMORY),
        ("memory at most", resources.memory_limit, MINIMUM_MEMORY),
    ):
        if text and is_quantity(text) and compare(text, minimum) < 0:
            found.append(
                f"{text} ({words}) is under the minimum of {MINIMUM_CPU} processors and "
                f"{gib(MINIMUM_MEMORY)} that the extension's authors state for the smallest model."
            )
    return found


# What an estimate assumes. Ollama's README asks for about twice the file in memory without a GPU.
_RUNTIME = 2 * GIB
_CONTEXT_TOKENS = 4096  # Ollama's default context
_SMALL_GPU, _LARGE_GPU = 16 * GIB, 80 * GIB


def _estimate(spec: StackSpec, model_bytes: int) -> tuple[ResourceSpec, int, list[tuple[str, str]]]:
    weights = Decimal(model_bytes)
    tokens = spec.server.context_length or _CONTEXT_TOKENS
    parallel = spec.server.num_parallel or 1
    factor = Decimal(tokens * parallel) / _CONTEXT_TOKENS
    context = max(GIB / 2, weights * Decimal("0.15")) * factor
    loading = weights / 2
    need = weights + context + loading + _RUNTIME
    memory = max(4, ceil(need / GIB))
    cpu = min(64, max(2, ceil(2 + float(weights / GIB) * 0.55)))
    memory_limit = ceil(memory * 1.25)
    lines = [
        ("Model file", gib(weights)),
        (f"Context of {tokens} tokens × {parallel}", gib(context)),
        ("File cache while it loads (half the file)", gib(loading)),
        ("Ollama itself", gib(_RUNTIME)),
        ("Memory requested (rounded up)", f"{memory} GiB"),
        ("Memory limit (a quarter more)", f"{memory_limit} GiB"),
        ("Processors requested (2 and 0.55 per GiB of the file)", str(cpu)),
    ]
    gpus = 0
    if spec.server.gpu_vendor.resource:
        on_gpu = weights + context + GIB
        card = _SMALL_GPU if on_gpu <= 4 * _SMALL_GPU else _LARGE_GPU
        gpus = ceil(on_gpu / card)
        lines.append(("GPU memory: file, context and 1 GiB", gib(on_gpu)))
        lines.append((f"GPUs, if one has {gib(card)}", str(gpus)))
    resources = ResourceSpec(str(cpu), str(cpu + 2), f"{memory}Gi", f"{memory_limit}Gi")
    return resources, gpus, lines


def _complete(given: ResourceSpec, base: ResourceSpec) -> ResourceSpec:
    cpu = _pair(given.cpu_request, given.cpu_limit, base.cpu_request, base.cpu_limit)
    memory = _pair(given.memory_request, given.memory_limit, base.memory_request, base.memory_limit)
    return ResourceSpec(*cpu, *memory)


def _pair(request: str, limit: str, base_request: str, base_limit: str) -> tuple[str, str]:
    """A request never above its limit: the given half moves the other one where it has to."""
    if request and not limit:
        limit = base_limit if base_limit and compare(base_limit, request) >= 0 else request
    elif limit and not request:
        request = base_request if base_request and compare(base_request, limit) <= 0 else limit
    return request or base_request, limit or base_limit


def _values(resources: ResourceSpec) -> tuple[str, str, str, str]:
    return (
        resources.cpu_request,
        resources.cpu_limit,
        resources.memory_request,
        resources.memory_limit,
    )


def library_bytes(spec: StackSpec) -> int:
    """The download's size where Ollama's library is known to have it, else 0."""
    if spec.model.repository.lower() != DEEPSEEK_R1:
        return 0
    known = KNOWN_TAGS.get(spec.model.tag.lower())
    return known.bytes if known else 0


def _claim(spec: StackSpec, known_bytes: int) -> tuple[str, list[tuple[str, str]]]:
    if spec.storage.mode is StorageMode.EXISTING:
        return "", [("Storage", f"the claim {spec.storage.claim_name} as it is")]
    if spec.storage.size:
        return spec.storage.size, []
    if not known_bytes:
        # deepseek-r1:3b is the one row of the table without a file in the library
        size = claim_size_for(0) if table_row(spec) else ""
        return size, [("Storage", size or "of unknown size")]
    size = claim_size_for(known_bytes)
    return size, [("Storage: a quarter more, in steps of 5 GiB", gib(size))]


def _given_lines(spec: StackSpec) -> list[tuple[str, str]]:
    words = ("Processors requested", "Processor limit", "Memory requested", "Memory limit")
    lines = [
        (f"{word}, as given", text)
        for word, text in zip(words, _values(spec.server.resources), strict=True)
        if text
    ]
    if spec.server.gpu_count and spec.server.gpu_vendor.resource:
        lines.append(("GPUs, as given", str(spec.server.gpu_count)))
    return lines


def _notes(
    spec: StackSpec, origin: Origin, resources: ResourceSpec, claim_size: str, known_bytes: int
) -> list[str]:
    notes = []
    row, known = table_row(spec), KNOWN_TAGS.get(spec.model.tag.lower())
    if row is not None and known is not None and known.note:
        notes.append(f"{DEEPSEEK_R1}:{known.tag} is {known.note}.")
    sizes = list(DEEPSEEK_TABLE)
    if row is not None and sizes.index(spec.model.tag.lower()) > sizes.index(TESTED_UP_TO):
        notes.append(f"The extension's authors tested up to {TESTED_UP_TO} only.")
    if origin is Origin.UNKNOWN:
        notes.append("The size of this model is not known: give processors, memory and storage by hand.")
    if (
        row is not None
        and spec.server.context_length * max(1, spec.server.num_parallel) > 2 * _CONTEXT_TOKENS
    ):
        notes.append("The table reckons with Ollama's usual context; this one needs more memory.")
    notes.extend(under_minimum(spec.server.resources))
    notes.extend(_too_small(known_bytes, resources, claim_size))
    return notes


def _too_small(known_bytes: int, resources: ResourceSpec, claim_size: str) -> list[str]:
    found = []
    for text, what in ((claim_size, "The claim"), (resources.memory_limit, "The memory limit")):
        try:
            if text and known_bytes and parse(text) < known_bytes:
                found.append(
                    f"{what} of {gib(text)} is smaller than the model, which has {gib(known_bytes)}."
                )
        except InvalidInput:
            continue  # validation says so at the field
    return found
