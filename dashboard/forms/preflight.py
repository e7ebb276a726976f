"""What a cluster is asked for: a profile, or a model by its size."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from dashboard.presenters.numbers import data
from deployments.domain.modelname import KNOWN_TAGS
from deployments.domain.spec import GpuVendor, ModelSpec, ServerSpec, StackSpec
from deployments.models import Profile

MOST_SERVERS = 64


class SizeForm(forms.Form):
    """``what`` is "revision:ID" or "model:TAG"; GPUs count for a model only, servers for both."""

    what = forms.ChoiceField(label=_("What"))
    gpus = forms.ChoiceField(
        label=_("GPUs"),
        choices=[("none", _("none")), ("nvidia", "NVIDIA"), ("amd", "AMD")],
        required=False,
        help_text=_("For a model; a profile says it itself."),
    )
    servers = forms.IntegerField(
        label=_("Servers"),
        min_value=1,
        max_value=MOST_SERVERS,
        required=False,
        help_text=_("Empty for as many as the profile has, or one."),
    )

    def __init__(self, *args: Any, profiles: list[Profile], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["what"]
        assert isinstance(field, forms.ChoiceField)
        models = [
            (f"model:{tag.tag}", f"deepseek-r1:{tag.tag} ({data(tag.bytes)})")
            for tag in KNOWN_TAGS.values()
            if tag.in_library
        ]
        newest = [(profile, profile.revisions.all()[:1]) for profile in profiles]
        choices = [
            (f"revision:{row.pk}", _("%(name)s, revision %(n)s") % {"name": profile.name, "n": row.number})
            for profile, rows in newest
            for row in rows
        ]
        field.choices = [
            *([(_("Profiles"), choices)] if choices else []),
            (_("Models, everything else by default"), models),
        ]

    def asked(self) -> dict[str, Any]:
        """Arguments for the question."""
        kind, _colon, value = self.cleaned_data["what"].partition(":")
        servers = self.cleaned_data["servers"]
        if kind == "revision":
            return {"revision_id": int(value), "servers": servers}
        vendor = GpuVendor(self.cleaned_data["gpus"] or "none")
        spec = StackSpec(model=ModelSpec(tag=value), server=ServerSpec(gpu_vendor=vendor))
        return {"spec": spec, "servers": servers}
