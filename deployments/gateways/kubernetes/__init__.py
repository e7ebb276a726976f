"""The gateway to a cluster's API server: credentials in, plain objects and domain errors out."""

from deployments.gateways.kubernetes.addresses import check_server_address
from deployments.gateways.kubernetes.applyset import ApplySet, parent_object, prune_candidates, read_parent
from deployments.gateways.kubernetes.client import FIELD_MANAGER, ClusterClient, connect
from deployments.gateways.kubernetes.credential import ClusterCredential, in_cluster_credential
from deployments.gateways.kubernetes.kubeconfig import (
    KubeconfigFile,
    KubeContext,
    import_context,
    read_kubeconfig,
)
from deployments.gateways.kubernetes.logs import LogQuery, OpenLog, open_log
from deployments.gateways.kubernetes.objects import (
    Decision,
    Identity,
    ObjectRef,
    Page,
    ResourceKind,
    ServerVersion,
    Verdict,
    WatchEvent,
)
from deployments.gateways.kubernetes.proxy import ProxyAnswer, api_error, async_proxy_client, proxy_path
from deployments.gateways.kubernetes.transport import Timeouts

__all__ = [
    "FIELD_MANAGER",
    "ApplySet",
    "ClusterClient",
    "ClusterCredential",
    "Decision",
    "Identity",
    "KubeContext",
    "KubeconfigFile",
    "LogQuery",
    "ObjectRef",
    "OpenLog",
    "Page",
    "ProxyAnswer",
    "ResourceKind",
    "ServerVersion",
    "Timeouts",
    "Verdict",
    "WatchEvent",
    "api_error",
    "async_proxy_client",
    "check_server_address",
    "connect",
    "import_context",
    "in_cluster_credential",
    "open_log",
    "parent_object",
    "proxy_path",
    "prune_candidates",
    "read_kubeconfig",
    "read_parent",
]
