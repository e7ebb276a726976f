"""Pages: what a cluster has. Nodes and what is free on them, one node, classes and exporters, events."""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from dashboard.access import actor
from dashboard.presenters import gpus as gpu_words
from dashboard.presenters import inventory as words
from dashboard.presenters import stack
from dashboard.presenters.parts import Link, ordering
from dashboard.regions import page_or_region, watches
from deployments.domain.errors import NotFound
from deployments.models import Cluster
from deployments.selectors import gpus as gpu_selector
from deployments.selectors import lookup
from deployments.selectors.inventory import Inventory, inventory
from deployments.selectors.inventory import nodes as node_rows

PER_PAGE = 25
EVENT_TYPES = (("warning", gettext_lazy("warnings")),)


def tabs_of(cluster: Cluster, current: str, nodes: int | None = None) -> list[Link]:
    """The sections of a cluster."""
    pk = cluster.pk
    return [
        Link(_("Connection"), reverse("cluster", args=[pk]), current == "cluster"),
        Link(_("Nodes"), reverse("cluster_nodes", args=[pk]), current == "nodes", nodes),
        Link(_("GPUs"), f"{reverse('gpus')}?cluster={pk}"),
        Link(_("Classes and exporters"), reverse("cluster_classes", args=[pk]), current == "classes"),
        Link(_("Events"), reverse("cluster_events", args=[pk]), current == "events"),
    ]


def _values(
    request: HttpRequest, pk: int, current: str, *, with_nodes: bool
) -> tuple[dict[str, Any], Inventory]:
    """What every section shows, and the inventory."""
    who = actor(request)
    cluster = lookup.cluster(who, pk)
    found = inventory(who, pk, with_nodes=with_nodes)
    return {
        "cluster": cluster,
        "tabs": tabs_of(cluster, current, len(found.nodes) if with_nodes else None),
        "live": watches(f"cluster:{pk}"),
        "source": request.get_full_path(),
        "every": words.SEEN_EVERY,
    }, found


@require_GET
def nodes(request: HttpRequest, pk: int) -> HttpResponse:
    """The nodes. Filters, order and page are in the address; with X-Fragment all that changes."""
    query = request.GET
    values, found = _values(request, pk, "nodes", with_nodes=True)
    missing = words.unseen(values["cluster"], found.seen, "Node")
    sort = ordering(query.get("sort", ""), words.COLUMNS, "name")
    state, text = query.get("state", ""), query.get("q", "").strip()[:80]
    chosen = words.choose(found.nodes, state, text, sort)
    page = Paginator(chosen, PER_PAGE).get_page(query.get("page"))
    values |= {
        "headline": words.headline(found, missing),
        "totals": words.totals(found),
        "sums_known": found.sums_known,
        "page": page,
        "rows": [words.node(row) for row in page.object_list],
        "columns": words.COLUMNS,
        "sort": sort,
        "text": text,
        "filtered": bool(state or text),
        "states": words.STATES,
        "missing": missing,
        "seen": found.seen.get("Node"),
        "sums": found.seen.get("Pod"),
    }
    return page_or_region(
        request, "clusters/inventory_nodes.html", "clusters/inventory_nodes_live.html", values
    )


@require_GET
def node(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """One node: every resource, conditions, taints, labels."""
    who = actor(request)
    cluster = lookup.cluster(who, pk)
    row = next((row for row in node_rows(who, pk) if row.name == name), None)
    if row is None:
        raise NotFound(_("%(cluster)s has no node of that name now.") % {"cluster": cluster.name})
    values = {
        "cluster": cluster,
        "node": words.node(row),
        "resources": words.resources(row),
        "conditions": words.conditions(row),
        "about": words.about(row),
        "labels": sorted(row.data.get("labels", {}).items()),
        "live": watches(f"cluster:{pk}"),
        "source": request.get_full_path(),
    }
    return page_or_region(
        request, "clusters/inventory_node.html", "clusters/inventory_node_live.html", values
    )


@require_GET
def classes(request: HttpRequest, pk: int) -> HttpResponse:
    """Storage classes, ingress classes and the hosts in use, and what measures GPUs."""
    values, found = _values(request, pk, "classes", with_nodes=False)
    kinds = ("StorageClass", "IngressClass", "Ingress", "Pod")
    values |= {
        "found": found,
        "sources": [
            (row, gpu_words.source_state(row, timezone.now()))
            for row in gpu_selector.sources(actor(request), pk)
        ],
        "missing": {kind: words.unseen(values["cluster"], found.seen, kind) for kind in kinds},
        "seen": {kind: found.seen.get(kind) for kind in kinds},
    }
    return page_or_region(
        request, "clusters/inventory_classes.html", "clusters/inventory_classes_live.html", values
    )


@require_GET
def events(request: HttpRequest, pk: int) -> HttpResponse:
    """What the cluster reported about itself: nodes, classes, volumes."""
    values, found = _values(request, pk, "events", with_nodes=False)
    only = request.GET.get("type", "")
    rows = [stack.event(row) for row in found.events]
    values |= {
        "warnings": sum(1 for row in rows if row["warning"]),
        "events": [row for row in rows if row["warning"] or only != "warning"],
        "all": len(rows),
        "only_warnings": only == "warning",
        "types": EVENT_TYPES,
        "missing": words.unseen(values["cluster"], found.seen, "Event"),
        "seen": found.seen.get("Event"),
    }
    return page_or_region(
        request, "clusters/inventory_events.html", "clusters/inventory_events_live.html", values
    )


urlpatterns = [
    path("<int:pk>/nodes/", nodes, name="cluster_nodes"),
    path("<int:pk>/nodes/<str:name>/", node, name="cluster_node"),
    path("<int:pk>/classes/", classes, name="cluster_classes"),
    path("<int:pk>/events/", events, name="cluster_events"),
]
