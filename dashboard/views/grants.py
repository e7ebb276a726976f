"""Pages: which teams may use a cluster. Granting it, changing the namespaces, taking it back."""

from __future__ import annotations

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.access import actor
from dashboard.forms.clusters import GrantForm, RemoveForm
from dashboard.forms.faults import place
from dashboard.presenters.quota import quota_rows
from deployments.commands import grants as commands
from deployments.commands.subjects import of_cluster
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.models import Cluster, Team
from deployments.policies import Action, require
from deployments.selectors import clusters as selector
from deployments.selectors import lookup
from deployments.selectors.quotas import used


@require_http_methods(["GET", "HEAD", "POST"])
def new(request: HttpRequest, pk: int) -> HttpResponse:
    """Let another team use a cluster."""
    who = actor(request)
    cluster = _cluster(who, pk)
    teams = selector.teams_without_grant(who, cluster)
    form = GrantForm(
        request.POST if request.method == "POST" else None, teams=teams, initial={"namespaces": ["*"]}
    )
    if (
        request.method == "POST"
        and form.is_valid()
        and _granted(who, cluster, form.cleaned_data["team"], form)
    ):
        said = _("%(team)s may use %(cluster)s.")
        return _done(request, cluster, said % {"team": form.cleaned_data["team"], "cluster": cluster})
    values = {"cluster": cluster, "form": form, "teams": list(teams)}
    return render(request, "clusters/grant_new.html", values, status=_status(form))


@require_http_methods(["GET", "HEAD", "POST"])
def edit(request: HttpRequest, pk: int, team: int) -> HttpResponse:
    """Other namespaces and limits for a team that may use a cluster."""
    who = actor(request)
    cluster = _cluster(who, pk)
    grant = selector.grant(who, cluster, team)
    form = GrantForm(request.POST if request.method == "POST" else None, grant=grant)
    if request.method == "POST" and form.is_valid() and _granted(who, cluster, grant.team, form):
        said = _("What %(team)s may use was changed.")
        return _done(request, cluster, said % {"team": grant.team})
    values = {
        "cluster": cluster,
        "grant": grant,
        "form": form,
        "installed": selector.installed_of(cluster, grant.team),
        "quota": quota_rows(grant, used(grant)),
    }
    return render(request, "clusters/grant.html", values, status=_status(form))


@require_http_methods(["GET", "HEAD", "POST"])
def revoke(request: HttpRequest, pk: int, team: int) -> HttpResponse:
    """Take a cluster away from a team, after asking."""
    who = actor(request)
    cluster = _cluster(who, pk)
    grant = selector.grant(who, cluster, team)
    form = RemoveForm(request.POST if request.method == "POST" else None)
    refused: Conflict | None = None
    if request.method == "POST" and form.is_valid():
        try:
            commands.revoke(who, cluster_id=pk, team_id=team, reason=form.cleaned_data["reason"])
        except Conflict as error:
            refused = error
        else:
            said = _("%(team)s may no longer use %(cluster)s.")
            return _done(request, cluster, said % {"team": grant.team, "cluster": cluster})
    values = {
        "cluster": cluster,
        "grant": grant,
        "form": form,
        "installed": selector.installed_of(cluster, grant.team),
        "refused": refused,
    }
    status = 409 if refused else 422 if request.method == "POST" else 200
    return render(request, "clusters/revoke.html", values, status=status)


def _cluster(who: Actor, pk: int) -> Cluster:
    """The cluster, for whoever may grant it: others are refused before they fill anything in."""
    found = lookup.cluster(who, pk)
    require(who, Action.MANAGE_CLUSTERS, of_cluster(found))
    return found


def _granted(who: Actor, cluster: Cluster, team: Team, form: GrantForm) -> bool:
    """Whether the command took it; else its sentence stands at the field."""
    try:
        commands.grant(
            who,
            cluster_id=cluster.pk,
            team_id=team.pk,
            namespaces=form.cleaned_data["namespaces"],
            limits=form.limits(),
        )
    except (InvalidInput, Conflict) as error:
        place(form, error, conflict_field="namespaces")
        return False
    return True


def _done(request: HttpRequest, cluster: Cluster, words: str) -> HttpResponse:
    messages.success(request, words)
    return HttpResponseRedirect(reverse("cluster", args=[cluster.pk]))


def _status(form: GrantForm) -> int:
    return 422 if form.is_bound else 200


urlpatterns = [
    path("<int:pk>/grants/new", new, name="cluster_grant_new"),
    path("<int:pk>/grants/<int:team>", edit, name="cluster_grant"),
    path("<int:pk>/grants/<int:team>/revoke", revoke, name="cluster_grant_revoke"),
]
