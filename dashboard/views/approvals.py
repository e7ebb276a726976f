"""Pages: requests that wait for somebody's yes. The queue, one request with what would be applied."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.core.paginator import Paginator
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET, require_http_methods

from dashboard.access import actor
from dashboard.forms.approvals import DecisionForm
from dashboard.forms.faults import place
from dashboard.presenters.parts import Fact
from dashboard.presenters.quota import demand_words
from deployments.commands import approvals as commands
from deployments.commands.subjects import of_operation
from deployments.domain.errors import Conflict, InvalidInput
from deployments.domain.states import Approver
from deployments.models import Approval
from deployments.policies import Action, require
from deployments.selectors import approvals as selector

PER_PAGE = 25


@require_GET
def approvals(request: HttpRequest) -> HttpResponse:
    """What waits, oldest first; ?show=all also what was decided. With X-Fragment the table alone."""
    who = actor(request)
    everything = request.GET.get("show") == "all"
    page = Paginator(selector.approval_list(who, open_only=not everything), PER_PAGE).get_page(
        request.GET.get("page")
    )
    values = {
        "page": page,
        "rows": [{"approval": row, "may_decide": selector.may_decide(who, row)} for row in page.object_list],
        "everything": everything,
        "live": " ".join(["list:0", *(f"operation:{row.operation_id}" for row in page.object_list)]),
    }
    fragment = bool(request.headers.get("X-Fragment"))
    return render(request, "approvals/list_live.html" if fragment else "approvals/list.html", values)


@require_http_methods(["GET", "HEAD", "POST"])
def approval(request: HttpRequest, pk: int) -> HttpResponse:
    """One request: who wants what and why, the very objects, and the answer."""
    who = actor(request)
    found = selector.approval(who, pk)
    if request.method != "POST":
        return _page(request, found, DecisionForm())
    require(who, Action.APPROVE, of_operation(found.operation))
    form = DecisionForm(request.POST)
    if form.is_valid():
        agreed = form.cleaned_data["decision"] == "agree"
        try:
            commands.decide(who, approval_id=pk, approve=agreed, reason=form.cleaned_data["reason"])
        except InvalidInput as error:
            place(form, error)
        except Conflict as error:
            return _page(request, selector.approval(who, pk), form, status=409, refused=error)
        else:
            messages.success(request, _("It goes on now.") if agreed else _("It was refused."))
            return HttpResponseRedirect(reverse("approvals"))
    return _page(request, found, form, status=422)


def _page(
    request: HttpRequest, found: Approval, form: DecisionForm, *, status: int = 200, **more: Any
) -> HttpResponse:
    who, operation = actor(request), found.operation
    deployment = operation.deployment
    facts = [
        Fact(_("Asked by"), operation.actor_name),
        Fact(_("Team"), operation.team.name if operation.team else ""),
        Fact(_("Takes"), demand_words(deployment.demand) if deployment else ""),
        Fact(
            _("Has to agree"),
            _("A site admin")
            if found.approver == Approver.ADMIN
            else _("An owner of the team, or a site admin"),
        ),
    ]
    values = {
        "approval": found,
        "operation": operation,
        "facts": facts,
        "form": form,
        "may_decide": selector.may_decide(who, found),
        "own": operation.actor_id == who.user_id,
        **more,
    }
    return render(request, "approvals/approval.html", values, status=status)


urlpatterns = [
    path("", approvals, name="approvals"),
    path("<int:pk>/", approval, name="approval"),
]
