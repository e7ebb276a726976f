"""Pages: would a stack of some size find what it needs on a cluster."""

from __future__ import annotations

from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.urls import path, reverse
from django.views.decorators.http import require_http_methods

from dashboard.access import actor
from dashboard.forms.faults import place
from dashboard.forms.preflight import SizeForm
from dashboard.presenters.findings import preflight_values
from dashboard.regions import page_or_region
from deployments.commands import questions
from deployments.commands.subjects import of_cluster
from deployments.domain.actors import Actor
from deployments.domain.errors import Denied, InvalidInput, NotFound
from deployments.domain.states import OperationKind
from deployments.models import Cluster, Operation
from deployments.selectors import clusters as selector
from deployments.selectors import lookup
from deployments.selectors import profiles as profile_selector


@require_http_methods(["GET", "HEAD", "POST"])
def preflight(request: HttpRequest, pk: int) -> HttpResponse:
    """The question and, once it was asked, its answer as it comes."""
    who = actor(request)
    cluster, may_ask = selector.may_ask(who, pk)
    address = reverse("cluster_preflight", args=[pk])
    profiles = profile_selector.installable_on(who, cluster)
    form = SizeForm(profiles=profiles, initial=request.GET.dict())
    if request.method == "POST":
        if not may_ask:
            raise Denied(
                "Asking a cluster needs the role operator in a team that may use it.",
                remedy="Ask an owner of your team.",
                about=of_cluster(cluster),
            )
        form = SizeForm(request.POST, profiles=profiles)
        if form.is_valid():
            try:
                asked = questions.preflight_cluster(who, cluster_id=pk, **form.asked())
            except InvalidInput as error:
                place(form, error, {"revision": "what", "cluster": "what"})
            else:
                given = {key: form.data.get(key, "") for key in ("what", "gpus", "servers")}
                query = {"preflight": asked.pk, **{key: value for key, value in given.items() if value}}
                return HttpResponseRedirect(reverse("cluster_preflight", args=[pk], query=query))
    operation = _asked(who, request.GET.get("preflight", ""), cluster)
    values = {
        "cluster": cluster,
        "form": form,
        "may_ask": may_ask,
        "source": request.get_full_path(),
        "here": address,
        **preflight_values(operation),
    }
    status = 422 if form.errors else 200
    return page_or_region(
        request, "clusters/preflight.html", "clusters/preflight_live.html", values, status=status
    )


def _asked(who: Actor, text: str, cluster: Cluster) -> Operation | None:
    """The question out of the address, if it is one about this cluster. None once it is forgotten."""
    if not (text.isascii() and text.isdigit() and len(text) < 18):
        return None
    try:
        found = lookup.operation(who, int(text))
    except NotFound:
        return None
    same = found.kind == OperationKind.PREFLIGHT and found.cluster_id == cluster.pk
    return found if same and found.request.get("cluster_only") else None


urlpatterns = [path("<int:pk>/preflight", preflight, name="cluster_preflight")]
