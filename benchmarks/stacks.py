"""The default stack as it is rendered, for benchmarks that need its manifests and no database."""

from __future__ import annotations

from benchmarks.product import Stack
from deployments.domain.sizing import size_stack, sized
from deployments.domain.spec import Secrets, StackSpec
from deployments.gateways.kubernetes import ApplySet
from deployments.manifests.types import RenderInput

INSTALLATION = "00000000-0000-4000-8000-000000000001"


def default_stack(stack: Stack, apply_set: ApplySet, *, create_namespace: bool = False) -> RenderInput:
    spec = StackSpec()
    return RenderInput(
        name=stack.name,
        namespace=stack.namespace,
        create_namespace=create_namespace,
        spec=sized(spec, size_stack(spec, None)),
        secrets=Secrets(),
        deployment_id=stack.uid,
        installation_id=INSTALLATION,
        apply_set_id=apply_set.id,
        digest_key=b"benchmark",
    )
