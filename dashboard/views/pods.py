"""Pages: the pods of a deployment and one of them in full, and what the cluster reported.

Everything is drawn from what the observer has stored.
"""

from __future__ import annotations

from typing import Any

from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, QueryDict
from django.shortcuts import render
from django.urls import path, reverse
from django.utils import timezone
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from dashboard.access import actor
from dashboard.presenters import pods as presenter
from dashboard.presenters import stack
from dashboard.presenters.parts import Evidence, ordering
from deployments.domain.errors import NotFound
from deployments.domain.health.assess import Assessment
from deployments.domain.health.pods import assess_pod, stored_event, stored_pod, wants_taints
from deployments.domain.states import Health
from deployments.models import Deployment, ObservedObject
from deployments.selectors import deployments as deployment_selector
from deployments.selectors import lookup
from deployments.selectors import pods as selector
from deployments.selectors.node_states import NodeState, is_ready, node_states, node_taints

PODS_PER_PAGE = 50
EVENTS_PER_PAGE = 25
STALE_SECONDS = 180
KEPT = ("sort", "page", "type", "range", "figure")  # parameters of a section that its live region keeps


def kept(request: HttpRequest) -> str:
    """What a live region adds to its address so that it comes back as it is: "&sort=-age"."""
    query = QueryDict(mutable=True)
    for name in KEPT:
        if request.GET.get(name):
            query[name] = request.GET[name]
    return f"&{query.urlencode()}" if query else ""


def pods_section(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """The values of deployments/pods.html."""
    watch = deployment_selector.last_confirmed(deployment, "Pod")
    sort = ordering(request.GET.get("sort", ""), presenter.COLUMNS, "state")
    rows = presenter.rows(selector.pods(deployment), sort)
    page = Paginator(rows, PODS_PER_PAGE).get_page(request.GET.get("page"))
    return {
        "pods": list(page.object_list),
        "pods_page": page,
        "columns": presenter.COLUMNS,
        "sort": sort,
        "seen": watch.confirmed_at if watch else deployment.observed_at,
    }


def events_section(request: HttpRequest, deployment: Deployment) -> dict[str, Any]:
    """The values of deployments/events.html."""
    warnings = request.GET.get("type") == "warning"
    found = selector.events(deployment, warnings=warnings)
    page = Paginator(found, EVENTS_PER_PAGE).get_page(request.GET.get("page"))
    watch = deployment_selector.last_confirmed(deployment, "Event")
    return {
        "events": _events(deployment, list(page.object_list)),
        "events_page": page,
        "only_warnings": warnings,
        "types": [("warning", _("Warnings"))],
        "seen": watch.confirmed_at if watch else deployment.observed_at,
    }


def _events(deployment: Deployment, found: list[ObservedObject]) -> list[dict[str, Any]]:
    """Events with a link to each pod that is there."""
    named = {row.data.get("involved", {}).get("name", "") for row in found}
    there = set(
        deployment.observed.filter(kind="Pod", name__in=named).values_list("name", flat=True) if named else ()
    )
    shown = []
    for row in found:
        event = stack.event(row)
        if event["kind"] == "Pod" and event["name"] in there:
            event["href"] = reverse("deployment_pod", args=[deployment.pk, event["name"]])
        shown.append(event)
    return shown


@require_GET
def pod(request: HttpRequest, pk: int, name: str) -> HttpResponse:
    """One pod. With X-Fragment the live region alone, also when the pod has gone meanwhile."""
    deployment = lookup.deployment(actor(request), pk)
    fragment = bool(request.headers.get("X-Fragment"))
    found = selector.pod(deployment, name)
    if found is None and not fragment:
        raise NotFound(
            _("%(deployment)s has no pod %(name)s (any more).")
            % {"deployment": deployment.name, "name": name[:253]},
            remedy=_("Pods come and go. Look at the pods that are there now."),
        )
    values: dict[str, Any] = {
        "deployment": deployment,
        "name": name,
        "here": reverse("deployment_pod", args=[pk, name]),
        "live": f"deployment:{pk}",
        "there": found is not None,
        "logs": reverse("deployment_logs", args=[pk]),
    }
    if found is not None:
        values |= _about(deployment, found)
    return render(request, "deployments/pod_live.html" if fragment else "deployments/pod.html", values)


def _about(deployment: Deployment, found: ObservedObject) -> dict[str, Any]:
    watch = deployment_selector.last_confirmed(deployment, "Pod")
    seen = watch.confirmed_at if watch else deployment.observed_at
    events = selector.events(deployment, about=found)
    said = _judged(deployment, found, events)
    late = seen is None or (timezone.now() - seen).total_seconds() > STALE_SECONDS
    source = _("pods by watch")
    claims = selector.claims_of(deployment, found.data.get("claims", []))
    return {
        "pod": stack.pod(found),
        "health": Health.UNKNOWN if late else said.health,
        "sentence": _("The cluster has not reported for a while. What stands here is what was last seen.")
        if late
        else said.sentence,
        "remedy": _("Check the connection to the cluster.") if late else said.remedy,
        "evidence": [Evidence(text, "box", source, seen) for text in said.evidence],
        "uid": found.uid,
        "facts": presenter.facts(found),
        "placing": presenter.placing(found),
        "containers": presenter.containers(found),
        "conditions": presenter.conditions(found),
        "volumes": presenter.volumes(found, claims),
        "events": _events(deployment, events[:EVENTS_PER_PAGE]),
        "seen": seen,
    }


def _judged(deployment: Deployment, found: ObservedObject, events: list[ObservedObject]) -> Assessment:
    probes = deployment.probes if isinstance(deployment.probes, dict) else {}
    asked = probes.get("pods")
    probe = asked.get(found.name) if isinstance(asked, dict) else None
    present = probe.get("model_present") if isinstance(probe, dict) else None
    where = found.data.get("node", "")
    node = NodeState()
    if where and not is_ready(found.data):
        node = node_states(deployment.cluster_id, [where])[where]
    return assess_pod(
        stored_pod(
            found.name,
            found.data,
            present,
            node_ready=node.ready,
            node_gone=node.gone,
            taints=node_taints(deployment.cluster_id) if wants_taints(found.data) else (),
        ),
        timezone.now(),
        [event for row in events if (event := stored_event(row.data))],
        installing=deployment.health == Health.PROGRESSING,
    )


urlpatterns = [path("<int:pk>/pods/<str:name>/", pod, name="deployment_pod")]
