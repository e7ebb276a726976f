"""GPUs: where their figures come from, each device as last measured, and its figures over time."""

from __future__ import annotations

from django.db import models

from deployments.domain.gpus import Gone, NoData, Resolution, SourceKind
from deployments.models.choices import choices
from deployments.models.clusters import Cluster
from deployments.models.deployments import Deployment


class MetricsSource(models.Model):
    """Something in a cluster that tells how its GPUs do.

    ``detail`` is what discovery found out (an exporter's pods by node, a Prometheus' label layout).
    One of a cluster's sources is ``chosen``; ``error`` and ``remedy`` say why it gives nothing.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="metrics_sources")
    kind = models.CharField(max_length=20, choices=choices(SourceKind))
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    port = models.CharField(max_length=63, blank=True)
    scheme = models.CharField(max_length=5, default="http")
    detail = models.JSONField(default=dict)
    chosen = models.BooleanField(default=False)
    found_at = models.DateTimeField()
    confirmed_at = models.DateTimeField(null=True)
    sampled_at = models.DateTimeField(null=True)
    error = models.CharField(max_length=500, blank=True)
    remedy = models.CharField(max_length=500, blank=True)

    class Meta:
        constraints = [
            models.UniqueConstraint(fields=["cluster", "kind", "namespace", "name"], name="source_once")
        ]

    def __str__(self) -> str:
        return f"{self.kind} {self.namespace}/{self.name}"


class GpuSampling(models.Model):
    """How sampling a cluster's GPUs stands.

    ``due_at`` is when the next round is sent to a worker, ``taken_until`` until when one is at it; each
    taking raises ``epoch``, and a worker whose epoch is no longer the row's writes nothing.
    ``sampled_at`` is the time of the newest figures, ``looked_at`` of the last search for sources.
    ``no_data`` says why there are none (or why they name no pod), with what answered.
    """

    cluster = models.OneToOneField(Cluster, on_delete=models.CASCADE, related_name="gpu_sampling")
    due_at = models.DateTimeField()
    taken_until = models.DateTimeField(null=True)
    epoch = models.PositiveBigIntegerField(default=0)
    sampled_at = models.DateTimeField(null=True)
    tried_at = models.DateTimeField(null=True)
    looked_at = models.DateTimeField(null=True)
    devices = models.PositiveIntegerField(default=0)
    no_data = models.CharField(max_length=20, blank=True, choices=choices(NoData))
    answered = models.CharField(max_length=500, blank=True)

    class Meta:
        indexes = [models.Index(fields=["due_at"], name="gpu_sampling_due")]

    def __str__(self) -> str:
        return f"GPUs of {self.cluster_id}"


class GpuDevice(models.Model):
    """One GPU, or one MIG or partition instance of it, with its newest figures.

    ``key`` is its UUID (with the instance where it is split), else what the source tells devices apart
    by. A figure that the source does not give is None, never 0. Utilisation in percent, memory in
    bytes, temperature in degrees Celsius, power in watts; ``error`` is the newest error that the
    device reports, "" for none. The holder is the pod that uses it, "" when idle or not told;
    ``shared_with`` lists the other pods ("namespace/name") where several share it by time-slicing.
    ``gone`` says why it is no longer among the cluster's devices, "" while it is: what does not answer
    for a while is silent, not gone.
    """

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="gpus")
    key = models.CharField(max_length=120)
    node = models.CharField(max_length=253, blank=True)
    index = models.CharField(max_length=20, blank=True)
    vendor = models.CharField(max_length=10)  # nvidia, amd
    product = models.CharField(max_length=120, blank=True)
    driver = models.CharField(max_length=40, blank=True)
    instance = models.CharField(max_length=40, blank=True)
    memory_total = models.BigIntegerField(null=True)
    memory_used = models.BigIntegerField(null=True)
    utilisation = models.FloatField(null=True)
    temperature = models.FloatField(null=True)
    power = models.FloatField(null=True)
    error = models.CharField(max_length=200, blank=True)
    source = models.CharField(max_length=20, choices=choices(SourceKind))
    pod_namespace = models.CharField(max_length=63, blank=True)
    pod_name = models.CharField(max_length=253, blank=True)
    shared_with = models.JSONField(default=list)
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="gpus")
    sampled_at = models.DateTimeField()
    first_seen_at = models.DateTimeField()
    gone = models.CharField(max_length=10, blank=True, choices=choices(Gone))

    class Meta:
        ordering = ["node", "index", "key"]
        constraints = [models.UniqueConstraint(fields=["cluster", "key"], name="gpu_once")]
        indexes = [models.Index(fields=["deployment"]), models.Index(fields=["cluster", "node"])]

    def __str__(self) -> str:
        return f"{self.node} GPU {self.index}"


class GpuPod(models.Model):
    """A pod that held a GPU once, kept as long as what it held. A pod of the same name that belongs to
    another deployment is another one; one that comes back under its name, on whatever node, is the same."""

    cluster = models.ForeignKey(Cluster, on_delete=models.CASCADE, related_name="gpu_pods")
    namespace = models.CharField(max_length=63)
    name = models.CharField(max_length=253)
    deployment = models.ForeignKey(Deployment, null=True, on_delete=models.SET_NULL, related_name="gpu_pods")

    class Meta:
        indexes = [models.Index(fields=["cluster", "name"])]

    def __str__(self) -> str:
        return f"{self.namespace}/{self.name}"


class GpuHolding(models.Model):
    """A pod held a device: from the round at ``since`` until before the one at ``until``, None for still.
    Several pods hold a device at once where they share it. Written when it changes, not every round; a
    pod's figures are those of its devices' series in these times."""

    pod = models.ForeignKey(GpuPod, on_delete=models.CASCADE, related_name="holdings")
    device = models.ForeignKey(GpuDevice, on_delete=models.CASCADE, related_name="holdings")
    since = models.DateTimeField()
    until = models.DateTimeField(null=True)

    class Meta:
        indexes = [models.Index(fields=["until"])]

    def __str__(self) -> str:
        return f"{self.pod_id} held {self.device_id} from {self.since}"


class GpuSeries(models.Model):
    """Figures of a device over one period, packed: an hour of samples, a day of five-minute
    roll-ups, a month of hourly ones. See ``deployments.domain.gpu_series`` for the encoding."""

    device = models.ForeignKey(GpuDevice, on_delete=models.CASCADE, related_name="series")
    resolution = models.CharField(max_length=10, choices=choices(Resolution))
    start = models.DateTimeField()
    packed = models.BinaryField()

    class Meta:
        constraints = [models.UniqueConstraint(fields=["device", "resolution", "start"], name="series_once")]
        indexes = [models.Index(fields=["resolution", "start"])]

    def __str__(self) -> str:
        return f"{self.device_id} {self.resolution} from {self.start}"


class GpuRollUp(models.Model):
    """How far the roll-ups of a resolution have come: everything before ``until``, None for nothing."""

    resolution = models.CharField(max_length=10, unique=True, choices=choices(Resolution))
    until = models.DateTimeField(null=True)

    def __str__(self) -> str:
        return f"{self.resolution} until {self.until}"
