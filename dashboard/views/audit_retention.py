"""Pages: for how long the audit is kept. What would go is shown first, then it is decided."""

from __future__ import annotations

from typing import Any

from django.contrib import messages
from django.http import HttpRequest, HttpResponse, HttpResponseRedirect
from django.shortcuts import render
from django.urls import path, reverse
from django.utils.translation import gettext as _
from django.views.decorators.http import require_http_methods

from dashboard.access import actor
from dashboard.forms.audit import RetentionForm
from dashboard.forms.faults import place
from dashboard.presenters.audit import CLASSES
from deployments.commands import audit_retention as commands
from deployments.domain.audit import KEPT_FOR_EVER, EntryClass
from deployments.domain.errors import Conflict, InvalidInput
from deployments.ledger.retention import policy
from deployments.policies import Action, require


@require_http_methods(["GET", "HEAD", "POST"])
def retention(request: HttpRequest) -> HttpResponse:
    """The days of each class; a POST shows what they would delete, and with ``confirm`` decides."""
    who = actor(request)
    require(who, Action.KEEP_AUDIT, commands.RETENTION)
    kept = policy()
    values: dict[str, Any] = {
        "classes": CLASSES,
        "kept": [(CLASSES[each], days) for each, days in kept.items()],
    }
    if request.method != "POST":
        form = RetentionForm(initial={str(each): days for each, days in kept.items()})
        return render(request, "audit/retention.html", {**values, "form": form})
    form = RetentionForm(request.POST)
    if form.is_valid():
        days = {each: form.cleaned_data[str(each)] for each in EntryClass if each not in KEPT_FOR_EVER}
        try:
            if "confirm" in request.POST:
                if request.POST["confirm"].strip() != "audit":
                    values["wrong"] = _("This is not the word.")
                else:
                    seen = form.cleaned_data["seen"] or 0
                    plan = commands.set_retention(
                        who, days=days, seen=seen, reason=form.cleaned_data["reason"]
                    )
                    count = sum(item.count for item in plan)
                    messages.success(
                        request, _("It is decided. %(n)s entries are being deleted.") % {"n": count}
                    )
                    return HttpResponseRedirect(reverse("audit"))
        except InvalidInput as error:
            place(form, error)
        except Conflict as error:
            values["refused"] = error
        if not form.errors:
            try:
                plan = commands.preview(who, days)
            except InvalidInput as error:
                place(form, error)
            else:
                values |= {
                    "plan": [(CLASSES[item.entry_class], item) for item in plan],
                    "seen": sum(item.count for item in plan),
                    "chosen": [(str(each), days[each] or "") for each in days],
                    "for_ever": [CLASSES[each] for each in EntryClass if not days.get(each)],
                }
    troubled = bool(form.errors or values.get("wrong"))
    status = 409 if values.get("refused") else 422 if troubled else 200
    return render(request, "audit/retention.html", {**values, "form": form}, status=status)


urlpatterns = [path("retention", retention, name="audit_retention")]
