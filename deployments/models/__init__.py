"""Tables and constraints. Nothing here acts: state changes only through ``deployments.ledger``."""

from __future__ import annotations

from deployments.models.approvals import Approval
from deployments.models.audit import (
    AuditCheckpoint,
    AuditEntry,
    AuditGap,
    AuditGate,
    AuditHead,
    AuditRetention,
    AuditTally,
    AuditVerification,
)
from deployments.models.batches import Batch
from deployments.models.clusters import Cluster, ClusterGrant
from deployments.models.deployments import Deployment, OwnedObject, Release
from deployments.models.gpus import (
    GpuDevice,
    GpuHolding,
    GpuPod,
    GpuRollUp,
    GpuSampling,
    GpuSeries,
    MetricsSource,
)
from deployments.models.installation import Installation, Lease
from deployments.models.inventory import ClusterNode
from deployments.models.observations import ObservedObject, WatchState
from deployments.models.operations import (
    ActivePull,
    Operation,
    OperationLog,
    OperationStep,
    OperationTransition,
    PullProgress,
    PullWaiter,
)
from deployments.models.profiles import Profile, ProfileShare, Revision
from deployments.models.teams import Invitation, Membership, Team, User

__all__ = [
    "ActivePull",
    "Approval",
    "AuditCheckpoint",
    "AuditEntry",
    "AuditGap",
    "AuditGate",
    "AuditHead",
    "AuditRetention",
    "AuditTally",
    "AuditVerification",
    "Batch",
    "Cluster",
    "ClusterGrant",
    "ClusterNode",
    "Deployment",
    "GpuDevice",
    "GpuHolding",
    "GpuPod",
    "GpuRollUp",
    "GpuSampling",
    "GpuSeries",
    "Installation",
    "Invitation",
    "Lease",
    "Membership",
    "MetricsSource",
    "ObservedObject",
    "Operation",
    "OperationLog",
    "OperationStep",
    "OperationTransition",
    "OwnedObject",
    "Profile",
    "ProfileShare",
    "PullProgress",
    "PullWaiter",
    "Release",
    "Revision",
    "Team",
    "User",
    "WatchState",
]
