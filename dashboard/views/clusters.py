"""Pages: clusters. The list, connecting one, one cluster with its live check, its credential, its removal."""

from __future__ import annotations

from typing import Any

from django.conf import settings
from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.utils.translation import gettext_lazy
from django.views.decorators.http import require_GET, require_http_methods, require_POST

from dashboard.access import actor
from dashboard.forms.clusters import IN_CLUSTER, KUBECONFIG, ConnectForm, CredentialForm, RemoveForm
from dashboard.forms.faults import place
from dashboard.presenters.clusters import connection
from dashboard.presenters.parts import Column, Fact, Step
from dashboard.regions import page_or_region, watches
from dashboard.too_large import STATUS, when_too_large, with_reason
from dashboard.views.inventory import tabs_of
from deployments.commands import clusters as commands
from deployments.commands.cluster_reasons import require_reasons
from deployments.commands.holding import held, hold
from deployments.commands.subjects import of_cluster
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.states import OperationState
from deployments.domain.subjects import Subject
from deployments.models import Operation
from deployments.policies import Action, may, require
from deployments.selectors import clusters as selector
from deployments.sentences import said

COLUMNS = (
    Column(gettext_lazy("Cluster")),
    Column(gettext_lazy("Connection")),
    Column(gettext_lazy("Version")),
    Column(gettext_lazy("Last seen"), numeric=True),
    Column(gettext_lazy("Deployments"), numeric=True),
)
# The places that the importer of kubeconfigs names, on the form.
FIELDS = {"credential": "way", "server": "kubeconfig"}
STEPS = {
    "reach": gettext_lazy("Reach the API server"),
    "identify": gettext_lazy("See which cluster it is"),
    "rights": gettext_lazy("Ask what Pilothouse may do there"),
}


@require_GET
def clusters(request: HttpRequest) -> HttpResponse:
    """The list; with X-Fragment the table alone."""
    who = actor(request)
    checking = selector.checking(who)
    rows: list[dict[str, Any]] = [
        {"cluster": cluster, "connection": connection(cluster, checking=cluster.pk in checking)}
        for cluster in selector.cluster_list(who)
    ]
    values = {
        "rows": rows,
        "columns": COLUMNS,
        "troubled": sum(row["connection"].health == "failed" for row in rows),
        "may_connect": may(who, Action.MANAGE_CLUSTERS),
        "live": watches("list:0", *(f"cluster:{row['cluster'].pk}" for row in rows)),
    }
    return page_or_region(request, "clusters/list.html", "clusters/list_live.html", values)


@require_GET
def cluster(request: HttpRequest, pk: int) -> HttpResponse:
    """One cluster; all of what changes is one live region."""
    return page_or_region(request, "clusters/cluster.html", "clusters/live.html", _page(request, pk))


def _page(request: HttpRequest, pk: int) -> dict[str, Any]:
    found = selector.cluster_page(actor(request), pk)
    row, check = found.cluster, found.check
    running = check is not None and not OperationState(check.state).terminal
    words = connection(row, checking=running)
    facts = [
        Fact(_("Version"), row.kubernetes_version or _("not known yet")),
        Fact(_("Credential"), said(row.credential_kind)),
        Fact(_("Server"), row.server),
        Fact(_("Identity"), row.uid or _("not known yet"), _("uid of namespace kube-system")),
    ]
    asked = found.rights.result if found.rights is not None else {}
    return {
        "page": found,
        "cluster": row,
        "connection": words,
        "facts": facts,
        "check": check,
        "running": running,
        "tabs": tabs_of(row, "cluster"),
        "steps": _steps(check) if check is not None else [],
        "asked": asked,
        "live": watches(
            "list:0",
            f"cluster:{row.pk}",
            *([f"operation:{check.pk}"] if check is not None else []),
            *(f"deployment:{each.pk}" for each in found.deployments),
        ),
    }


def _steps(check: Operation) -> list[Step]:
    return [
        Step(
            STEPS.get(step.name, step.name),
            step.state,
            step.detail,
            (step.finished_at - step.started_at).total_seconds()
            if step.finished_at and step.started_at
            else None,
        )
        for step in check.steps.all()
    ]


def _connect_too_large(request: HttpRequest) -> HttpResponse:
    who = actor(request)
    require(who, Action.MANAGE_CLUSTERS, Subject("cluster"))
    teams = selector.teams_to_grant(who)
    form = with_reason(ConnectForm({"way": KUBECONFIG, "namespaces": "*"}, teams=teams), "kubeconfig")
    return render(request, "clusters/connect.html", {"form": form}, status=STATUS)


@when_too_large(_connect_too_large)
@require_http_methods(["GET", "HEAD", "POST"])
def connect(request: HttpRequest) -> HttpResponse:
    """A new cluster. Whoever is no site admin is refused before he fills anything in."""
    who = actor(request)
    require(who, Action.MANAGE_CLUSTERS, Subject("cluster"))
    teams = selector.teams_to_grant(who)
    if request.method != "POST":
        chosen = [team.pk for team in teams][:1] if len(teams) == 1 else []
        form = ConnectForm(teams=teams, initial={"teams": chosen})
        return render(request, "clusters/connect.html", {"form": form})
    form = ConnectForm(request.POST, request.FILES, teams=teams)
    valid = form.is_valid()
    credential = _credential(who, form)
    if valid and credential is not None and form.is_valid():
        given = form.cleaned_data
        try:
            made, _check = commands.connect_cluster(
                who,
                name=given["name"],
                credential=credential,
                teams=list(given["teams"]),
                namespaces=given["namespaces"],
                reason_required=given["reason_required"],
            )
        except InvalidInput as error:
            place(form, error, FIELDS)
        except Conflict as error:
            place(form, error, FIELDS, conflict_field="name")
        else:
            messages.success(request, _("%(name)s is connected.") % {"name": made.name})
            return HttpResponseRedirect(reverse("cluster", args=[made.pk]))
    form.forget_text()
    return render(request, "clusters/connect.html", {"form": form}, status=422)


def _credential_too_large(request: HttpRequest, pk: int) -> HttpResponse:
    who = actor(request)
    found = selector.cluster_page(who, pk)
    require(who, Action.MANAGE_CLUSTERS, of_cluster(found.cluster))
    form = with_reason(CredentialForm({"way": KUBECONFIG}), "kubeconfig")
    return render(
        request, "clusters/credential.html", {"cluster": found.cluster, "form": form}, status=STATUS
    )


@when_too_large(_credential_too_large)
@require_http_methods(["GET", "HEAD", "POST"])
def credential(request: HttpRequest, pk: int) -> HttpResponse:
    """Another credential for the same cluster."""
    who = actor(request)
    found = selector.cluster_page(who, pk)
    require(who, Action.MANAGE_CLUSTERS, of_cluster(found.cluster))
    values: dict[str, Any] = {"cluster": found.cluster}
    if request.method != "POST":
        values["form"] = CredentialForm()
        return render(request, "clusters/credential.html", values)
    form = CredentialForm(request.POST, request.FILES)
    form.is_valid()
    given = _credential(who, form)
    if given is not None and form.is_valid():
        commands.replace_credential(who, cluster_id=pk, credential=given)
        messages.success(request, _("The credential was replaced."))
        return HttpResponseRedirect(reverse("cluster", args=[pk]))
    form.forget_text()
    return render(request, "clusters/credential.html", {**values, "form": form}, status=422)


def _credential(who: Actor, form: CredentialForm) -> commands.Credential | None:
    """The credential that the form gives, or None with an error at the field.

    What was pasted is sealed into ``held``, and the contexts are offered where there are several.
    """
    try:
        if form.cleaned_data.get("way") == IN_CLUSTER:
            return commands.service_account_credential()
        text = form.text()
        if not text and form.cleaned_data.get("held"):
            text = held(who, form.cleaned_data["held"], field="kubeconfig")
        if not text:
            form.add_error("kubeconfig", _("Paste a kubeconfig, or choose a file."))
            return None
        found, _current = commands.contexts(text)
        form.offer(found)
        form.show(held=hold(who, text))
        return commands.read_credential(
            text,
            form.cleaned_data.get("context") or form.data.get("context") or None,
            allow_loopback=settings.ALLOW_LOOPBACK_CLUSTERS,
        )
    except InvalidInput as error:
        place(form, error, FIELDS)
    return None


@require_POST
def check(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask the cluster again; the page shows the answer as it comes."""
    commands.check_connection(actor(request), cluster_id=pk)
    return HttpResponseRedirect(reverse("cluster", args=[pk]))


@require_POST
def reasons(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask for the reason of every change on the cluster, or no more."""
    required = bool(request.POST.get("required"))
    require_reasons(actor(request), cluster_id=pk, required=required)
    asks, asks_not = (
        _("Whoever changes something here now says why."),
        _("Reasons need not be given any more."),
    )
    messages.success(request, asks if required else asks_not)
    return HttpResponseRedirect(reverse("cluster", args=[pk]))


@require_http_methods(["GET", "HEAD", "POST"])
def remove(request: HttpRequest, pk: int) -> HttpResponse:
    """Forget a cluster after its name was typed."""
    who = actor(request)
    found = selector.cluster_page(who, pk)
    require(who, Action.MANAGE_CLUSTERS, of_cluster(found.cluster))
    form = RemoveForm(request.POST if request.method == "POST" else None)
    wrong, refused = "", None
    if request.method == "POST" and form.is_valid():
        if form.cleaned_data["confirm"] != found.cluster.name:
            wrong = _("This is not the name of the cluster.")
        else:
            try:
                commands.remove_cluster(who, cluster_id=pk, reason=form.cleaned_data["reason"])
            except Conflict as error:
                refused = error
            else:
                messages.success(request, _("%(name)s was removed.") % {"name": found.cluster.name})
                return HttpResponseRedirect(reverse("clusters"))
    values = {"cluster": found.cluster, "page": found, "form": form, "wrong": wrong, "refused": refused}
    status = 409 if refused else 422 if request.method == "POST" else 200
    return render(request, "clusters/remove.html", values, status=status)


urlpatterns = [
    path("", clusters, name="clusters"),
    path("connect", connect, name="cluster_connect"),
    path("<int:pk>/", cluster, name="cluster"),
    path("<int:pk>/check", check, name="cluster_check"),
    path("<int:pk>/credential", credential, name="cluster_credential"),
    path("<int:pk>/reasons", reasons, name="cluster_reasons"),
    path("<int:pk>/remove", remove, name="cluster_remove"),
]
