"""Representative stacks, each with a golden file of its objects, and a strategy for any valid one."""

from __future__ import annotations

from dataclasses import replace

from hypothesis import strategies as st

from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import (
    AutoscalingSpec,
    ChatSpec,
    GpuVendor,
    ImageSpec,
    IngressSpec,
    ModelSpec,
    ResourceSpec,
    Secrets,
    ServerSpec,
    StackSpec,
    StorageMode,
    StorageSpec,
    Toleration,
)
from deployments.manifests.types import RenderInput

KEY = b"a key for tests only"


def render_input(spec: StackSpec, *, create_namespace: bool = False) -> RenderInput:
    return RenderInput(
        name="deepseek",
        namespace="llm",
        create_namespace=create_namespace,
        spec=sized(spec, size_stack(spec, 5_000_000_000)),
        secrets=Secrets("open sesame", "swordfish"),
        deployment_id="7f6a1c9e-3b52-4d0f-9a6e-2f1f0c6b8d11",
        installation_id="5c1d9b2a-0f6e-4c7b-8a3d-91e2f4b6c7d8",
        apply_set_id="applyset-Yd-9en7ISIy355yDR4ohLUVCiWjj0LzoKlefHnWbJ_U-v1",
        digest_key=KEY,
    )


STACKS: dict[str, RenderInput] = {
    "smallest": render_input(StackSpec()),
    "new-namespace": render_input(StackSpec(), create_namespace=True),
    "nvidia-shared": render_input(
        StackSpec(
            model=ModelSpec(tag="32b"),
            server=ServerSpec(replicas=2, gpu_vendor=GpuVendor.NVIDIA, runtime_class="nvidia"),
            storage=StorageSpec(mode=StorageMode.SHARED, storage_class="nfs"),
            node_selector={"disk": "ssd"},
        )
    ),
    "amd-non-root": render_input(
        StackSpec(
            server=ServerSpec(gpu_vendor=GpuVendor.AMD, run_as_user=1000, context_length=8192, num_parallel=2)
        )
    ),
    "offline-cache": render_input(
        StackSpec(storage=StorageSpec(mode=StorageMode.EXISTING, claim_name="deepseek-models"))
    ),
    "ingress-and-code": render_input(
        StackSpec(
            chat=ChatSpec(has_access_code=True, port=80),
            ingress=IngressSpec(True, "nginx", "chat.example.com", "chat-tls", {"example.com/size": "8m"}),
        )
    ),
    "private-registries": render_input(
        StackSpec(
            model=ModelSpec("tiny", "latest", "registry.example.com:5000/team", insecure=True),
            images=ImageSpec("mirror.example.com:5000/hub", ("present",), "Always", "robot"),
        )
    ),
    "autoscaled": render_input(
        StackSpec(
            server=ServerSpec(
                autoscaling=AutoscalingSpec(True, 1, 4, 70, 80),
                tolerations=(Toleration("dedicated", "Equal", "llm", "NoSchedule"),),
            ),
            chat=ChatSpec(autoscaling=AutoscalingSpec(True, 2, 5)),
        )
    ),
    "server-only": render_input(StackSpec(chat=ChatSpec(enabled=False), server=ServerSpec(replicas=0))),
}

_LABELS = st.dictionaries(
    st.sampled_from(["disk", "nvidia.com/gpu.product", "zone"]),
    st.sampled_from(["", "ssd", "A100-40"]),
    max_size=2,
)
_RESOURCES = st.sampled_from(
    [ResourceSpec(), ResourceSpec("1", "2", "4Gi", "8Gi"), ResourceSpec(memory_limit="32Gi")]
)
_TOLERATIONS = st.lists(
    st.sampled_from([Toleration(operator="Exists"), Toleration("gpu", "Equal", "yes", "NoExecute")]),
    max_size=2,
).map(tuple)
_AUTOSCALING = st.builds(
    AutoscalingSpec,
    enabled=st.booleans(),
    min_replicas=st.integers(1, 2),
    max_replicas=st.integers(2, 9),
    cpu_percent=st.integers(1, 200),
    memory_percent=st.integers(0, 100),
)
_AFFINITIES = st.sampled_from(
    [
        {},
        {
            "nodeAffinity": {
                "requiredDuringSchedulingIgnoredDuringExecution": {
                    "nodeSelectorTerms": [{"matchExpressions": [{"key": "gpu", "operator": "Exists"}]}]
                }
            }
        },
    ]
)
_SERVERS = st.builds(
    ServerSpec,
    replicas=st.integers(0, 5),
    image=st.sampled_from(["", "registry.example.com/ollama@sha256:" + "0" * 64]),
    gpu_vendor=st.sampled_from(GpuVendor),
    gpu_count=st.just(0),
    resources=_RESOURCES,
    node_selector=_LABELS,
    tolerations=_TOLERATIONS,
    affinity=_AFFINITIES,
    spread_over_nodes=st.booleans(),
    runtime_class=st.sampled_from(["", "nvidia"]),
    run_as_user=st.sampled_from([None, 0, 1000]),
    keep_alive=st.sampled_from(["30m", "-1", "0"]),
    context_length=st.sampled_from([0, 8192]),
    num_parallel=st.integers(0, 4),
    autoscaling=_AUTOSCALING,
)
_CHATS = st.builds(
    ChatSpec,
    enabled=st.booleans(),
    replicas=st.integers(0, 3),
    node_selector=_LABELS,
    tolerations=_TOLERATIONS,
    port=st.integers(1, 65535),
    has_access_code=st.booleans(),
    network_policy=st.booleans(),
    autoscaling=_AUTOSCALING,
)
_INGRESSES = st.builds(
    IngressSpec,
    enabled=st.booleans(),
    class_name=st.sampled_from(["", "nginx"]),
    host=st.sampled_from(["", "chat.example.com", "*.example.com"]),
    tls_secret=st.sampled_from(["", "tls"]),
    annotations=st.sampled_from([{}, {"example.com/a": "b"}]),
)
_IMAGES = st.builds(
    ImageSpec,
    registry=st.sampled_from(["", "mirror.example.com"]),
    pull_secrets=st.sampled_from([(), ("one", "two")]),
    pull_policy=st.sampled_from(["Always", "IfNotPresent", "Never"]),
    registry_username=st.sampled_from(["", "robot"]),
)


def _fitting(spec: StackSpec) -> StackSpec:
    """An existing ReadWriteOnce claim allows one replica."""
    storage = spec.storage
    if storage.mode is not StorageMode.EXISTING or storage.claim_read_write_many:
        return spec
    return replace(spec, server=replace(spec.server, replicas=1, autoscaling=AutoscalingSpec()))


SPECS: st.SearchStrategy[StackSpec] = st.builds(
    StackSpec,
    model=st.sampled_from([ModelSpec(), ModelSpec("m", "t", "host:5000/ns"), ModelSpec(tag="671b")]),
    server=_SERVERS,
    storage=st.builds(
        StorageSpec,
        mode=st.sampled_from(StorageMode),
        storage_class=st.sampled_from(["", "fast"]),
        claim_name=st.just("deepseek-models"),
        claim_read_write_many=st.booleans(),
    ),
    chat=_CHATS,
    ingress=_INGRESSES,
    images=_IMAGES,
    node_selector=_LABELS,
).map(_fitting)
