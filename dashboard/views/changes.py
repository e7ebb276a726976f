"""Pages: changes of an installed stack that need no other revision. Scale, restart, roll back, a
model deleted."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from django import forms
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.access import actor
from dashboard.forms.changes import ReasonForm, RestartForm, ScaleForm
from dashboard.forms.clusters import RemoveForm
from dashboard.forms.faults import place
from dashboard.presenters import profiles as words
from dashboard.presenters.fields import shown
from deployments.commands.applied import applied
from deployments.commands.delete_model import delete_model as begin_delete
from deployments.commands.pulls import pull_again
from deployments.commands.restart import restart as begin_restart
from deployments.commands.roll_back import roll_back as begin_roll_back
from deployments.commands.scale import scale as begin_scale
from deployments.domain.errors import Conflict, InvalidInput, NotFound
from deployments.domain.spec import StackSpec, spec_from_json
from deployments.models import Operation
from deployments.policies import Action
from deployments.selectors import deployments as selector
from deployments.selectors.models import stored_models, volumes_without


@require_http_methods(["GET", "HEAD", "POST"])
def scale(request: HttpRequest, pk: int) -> HttpResponse:
    """Another number of servers or chat pods. What an autoscaler decides is told, not asked."""
    who = actor(request)
    row, release = applied(who, pk, Action.SCALE)
    spec = spec_from_json(release.spec)
    parts, scaled = _scalable(spec)
    if not parts:
        raise Conflict(
            _("An autoscaler decides how many pods there are."),
            remedy=_("Change its bounds in the profile and apply the revision, or turn it off there."),
        )
    form = ScaleForm(request.POST if request.method == "POST" else None, parts=parts)
    values = {"deployment": row, "spec": spec, "scaled": scaled, "size": shown(spec.storage.size)}
    return _asked(
        request,
        form,
        "deployments/scale.html",
        values,
        lambda given: begin_scale(who, deployment_id=pk, **given),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def restart(request: HttpRequest, pk: int) -> HttpResponse:
    """New pods of the same description."""
    who = actor(request)
    row, release = applied(who, pk, Action.RESTART)
    spec = spec_from_json(release.spec)
    parts = ["server", "chat"] if spec.chat.enabled else ["server"]
    form = RestartForm(request.POST if request.method == "POST" else None, parts=parts)
    values = {"deployment": row, "spec": spec}
    return _asked(
        request,
        form,
        "deployments/restart.html",
        values,
        lambda given: begin_restart(who, deployment_id=pk, **given),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def roll_back(request: HttpRequest, pk: int, release_number: int) -> HttpResponse:
    """What was applied before, with what differs from what is applied now."""
    who = actor(request)
    row, last = applied(who, pk, Action.ROLL_BACK)
    target, _before = selector.release(who, pk, release_number)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    values = {
        "deployment": row,
        "release": target,
        "last": last,
        "differences": words.differences(last.spec, target.spec),
        "goes": sorted(_objects(last.manifests) - _objects(target.manifests)),
        "comes": sorted(_objects(target.manifests) - _objects(last.manifests)),
    }
    return _asked(
        request,
        form,
        "deployments/roll_back.html",
        values,
        lambda given: begin_roll_back(who, deployment_id=pk, release=release_number, **given),
    )


@require_http_methods(["GET", "HEAD", "POST"])
def delete_model(request: HttpRequest, pk: int) -> HttpResponse:
    """Ask before a model is deleted from the volumes; its name is typed. ``model`` is in the address."""
    who = actor(request)
    row, _release = applied(who, pk, Action.DELETE_MODEL)
    name = request.GET.get("model", "")
    stored = next((each for each in stored_models(row) if each.name == name), None)
    if stored is None:
        raise NotFound(_("This model was not seen on the deployment's volumes."))
    form = RemoveForm(request.POST if request.method == "POST" else None)
    values = {"deployment": row, "stored": stored}
    return _asked(
        request,
        form,
        "deployments/delete_model.html",
        values,
        lambda given: begin_delete(
            who, deployment_id=pk, model=name, confirmation=given["confirm"], reason=given["reason"]
        ),
        {"confirmation": "confirm"},
    )


@require_http_methods(["GET", "HEAD", "POST"])
def pull(request: HttpRequest, pk: int) -> HttpResponse:
    """Pull the model where it is missing."""
    who = actor(request)
    row, release = applied(who, pk, Action.PULL)
    form = ReasonForm(request.POST if request.method == "POST" else None)
    values = {
        "deployment": row,
        "model": spec_from_json(release.spec).model.reference,
        "lacking": len(volumes_without(row)),
    }
    return _asked(
        request,
        form,
        "deployments/pull.html",
        values,
        lambda given: pull_again(who, deployment_id=pk, **given)[0],
    )


def _asked(
    request: HttpRequest,
    form: forms.Form,
    template: str,
    values: dict[str, Any],
    begin: Callable[[dict[str, Any]], Operation],
    fields: Mapping[str, str] | None = None,
) -> HttpResponse:
    """The question, or the operation that its answer begins; a refusal stands in the question."""
    status = 200
    if form.is_bound:
        status = 422
        if form.is_valid():
            try:
                operation = begin(form.cleaned_data)
            except InvalidInput as error:
                place(form, error, fields)
            except Conflict as error:
                place(form, error)
                status = 409
            else:
                return HttpResponseRedirect(reverse("operation", args=[operation.pk]))
    return render(request, template, {**values, "form": form}, status=status)


def _scalable(spec: StackSpec) -> tuple[dict[str, int], list[str]]:
    """The parts that a person scales, with their numbers, and sentences about the others."""
    parts, scaled = {}, []
    for name, given, there, words_ in (
        ("server", spec.server, True, _("An autoscaler decides how many servers there are, %(a)s to %(b)s.")),
        (
            "chat",
            spec.chat,
            spec.chat.enabled,
            _("An autoscaler decides how many chat pods there are, %(a)s to %(b)s."),
        ),
    ):
        if there and given.autoscaling.enabled:
            bounds = {"a": given.autoscaling.min_replicas, "b": given.autoscaling.max_replicas}
            scaled.append(words_ % bounds)
        elif there:
            parts[name] = given.replicas
    return parts, scaled


def _objects(manifests: list[dict[str, Any]]) -> set[str]:
    return {f"{item.get('kind')} {(item.get('metadata') or {}).get('name')}" for item in manifests}


urlpatterns = [
    path("<int:pk>/scale", scale, name="deployment_scale"),
    path("<int:pk>/restart", restart, name="deployment_restart"),
    path("<int:pk>/models/pull", pull, name="deployment_pull"),
    path("<int:pk>/models/delete", delete_model, name="deployment_delete_model"),
    path("<int:pk>/releases/<int:release_number>/roll-back", roll_back, name="deployment_roll_back"),
]
