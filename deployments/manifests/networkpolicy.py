"""What the chat's pods may reach: this deployment's Ollama and name resolution, nothing else.

NextChat forwards requests to a host that a request header names, without asking for its access code
(NextChat issue 6813); with this policy that leads nowhere.
"""

from __future__ import annotations

from deployments.manifests import server
from deployments.manifests.labels import CHAT, SERVER, metadata, selector
from deployments.manifests.types import Manifest, RenderInput

# 53 everywhere, 5353 where the DNS pods listen there (OpenShift): policies see the pod's own port.
_DNS_PORTS = (53, 5353)


def chat_egress(stack: RenderInput) -> Manifest:
    """DNS is allowed to any address: a node-local cache is not a pod, so no selector finds it."""
    dns = [{"protocol": protocol, "port": port} for port in _DNS_PORTS for protocol in ("UDP", "TCP")]
    return {
        "apiVersion": "networking.k8s.io/v1",
        "kind": "NetworkPolicy",
        "metadata": metadata(stack, stack.names.chat, CHAT),
        "spec": {
            "podSelector": {"matchLabels": selector(stack, CHAT)},
            "policyTypes": ["Egress"],
            "egress": [
                {
                    "to": [{"podSelector": {"matchLabels": selector(stack, SERVER)}}],
                    "ports": [{"protocol": "TCP", "port": server.PORT}],
                },
                {"ports": dns},
            ],
        },
    }
