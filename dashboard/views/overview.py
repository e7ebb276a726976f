"""The first page: what needs somebody, what runs, what changed; or the way to the first deployment."""

from __future__ import annotations

from typing import Any

from django.http import HttpRequest, HttpResponse
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET

from dashboard.access import actor, chosen_team
from dashboard.context import tally
from dashboard.presenters.changes import feed_item
from dashboard.presenters.clusters import connection
from dashboard.presenters.progress import running_item, title
from dashboard.presenters.states import HEALTH, OPERATION, Look
from dashboard.regions import page_or_region, watches
from deployments.domain.states import Health, OperationState
from deployments.models import Approval, Cluster, Deployment, Operation
from deployments.policies import Action, may
from deployments.selectors import overview as selector
from deployments.selectors.operations import pulls_of

UNREACHABLE = Look(gettext_lazy("Out of reach"), "unknown", "unknown")


@require_GET
def overview(request: HttpRequest) -> HttpResponse:
    """The page; with X-Fragment its one live region. The region lists every object it shows."""
    who = actor(request)
    team = chosen_team(request)
    team_id = team.pk if team else None
    known = tally(request)
    needs = selector.attention(who, team_id, known)
    running, running_total = selector.running(who, team_id)
    counts = known.healths
    started = selector.start(who, team_id, known)
    values: dict[str, Any] = {
        "live": watches(
            "list:0",
            *(f"deployment:{row.pk}" for row in needs.deployments),
            *(f"operation:{row.pk}" for row in running),
            *(f"operation:{pull.operation_id}" for row in running for pull in pulls_of(row)),
            *(f"cluster:{row.pk}" for row in needs.clusters),
            *(f"operation:{row.operation_id}" for row in needs.requests),
        ),
        "needs": needs,
        "attention": [
            *(_request(row) for row in needs.requests),
            *(_deployment(row) for row in needs.deployments),
            *(_operation(row) for row in needs.operations),
            *(_cluster(row) for row in needs.clusters),
        ],
        "running": [running_item(row, pulls_of(row)) for row in running],
        "running_total": running_total,
        "start": started,
        "counts": [
            {"look": HEALTH[health], "count": n, "href": f"{reverse('deployments')}?health={health}"}
            for health, n in counts.items()
        ],
        "shares": [(HEALTH[health].css, n) for health, n in counts.items()],
        "shares_label": ", ".join(f"{n} {HEALTH[health].label}" for health, n in counts.items() if n),
        "healthy": counts[Health.HEALTHY],
        "feed": [feed_item(entry) for entry in selector.changes(who, team_id)],
        "may_connect": may(who, Action.MANAGE_CLUSTERS),
        "may_install": who.admin or any(may(who, Action.INSTALL, team) for team in who.roles),
    }
    return page_or_region(request, "overview/overview.html", "overview/live.html", values)


def _deployment(row: Deployment) -> dict[str, Any]:
    here = reverse("deployment", args=[row.pk])
    return {
        "look": HEALTH[Health(row.health)],
        "name": row.name,
        "href": here,
        "sentence": row.health_sentence,
        "context": f"{row.team.name} · {row.cluster.name} / {row.namespace}",
        "since": row.health_since,
        "action": _("See what to do"),
        "action_href": here,
    }


def _request(row: Approval) -> dict[str, Any]:
    operation = row.operation
    here = reverse("approval", args=[row.pk])
    place = f"{operation.cluster.name if operation.cluster else ''} / "
    place += operation.deployment.namespace if operation.deployment else ""
    return {
        "look": OPERATION[OperationState.AWAITING_APPROVAL],
        "name": title(operation),
        "href": here,
        "sentence": _("%(name)s asks for your yes.") % {"name": operation.actor_name},
        "context": f"{operation.team.name if operation.team else ''} · {place}",
        "since": row.asked_at,
        "action": _("Look at it"),
        "action_href": here,
    }


def _operation(row: Operation) -> dict[str, Any]:
    assert row.deployment is not None
    here = reverse("operation", args=[row.pk])
    return {
        "look": OPERATION[OperationState.FAILED],
        "name": title(row),
        "href": here,
        "sentence": row.failure,
        "context": f"{row.team.name if row.team else ''} · {row.cluster.name if row.cluster else ''}"
        f" / {row.deployment.namespace}",
        "since": row.finished_at,
        "action": _("See what to do"),
        "action_href": here,
    }


def _cluster(row: Cluster) -> dict[str, Any]:
    href = reverse("cluster", args=[row.pk])
    return {
        "look": UNREACHABLE,
        "name": row.name,
        "href": href,
        "sentence": row.last_error,
        "context": connection(row).remedy,
        "since": row.last_error_at,
        "action": _("See what to do"),
        "action_href": href,
    }


urlpatterns = [path("", overview, name="overview")]
