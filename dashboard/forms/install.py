"""What the install asks: which model, where, and why."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from dashboard.presenters.numbers import data
from deployments.domain.modelname import KNOWN_TAGS
from deployments.models import Cluster, Profile, Team


class QuickForm(forms.Form):
    """A model without a profile: one is made of it, with everything else at its default."""

    tag = forms.ChoiceField(
        label=_("Model"),
        choices=[
            (tag.tag, f"deepseek-r1:{tag.tag} ({data(tag.bytes)})")
            for tag in KNOWN_TAGS.values()
            if tag.in_library
        ],
    )
    gpus = forms.ChoiceField(
        label=_("GPUs"), choices=[("none", _("none")), ("nvidia", "NVIDIA"), ("amd", "AMD")]
    )
    team = forms.ModelChoiceField(label=_("Team"), queryset=Team.objects.none(), empty_label=None)

    def __init__(self, *args: Any, teams: list[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Team.objects.filter(pk__in=[team.pk for team in teams])


class ChooseForm(forms.Form):
    """A revision out of those that the caller may install."""

    revision = forms.ChoiceField(label=_("Profile and revision"))

    def __init__(self, *args: Any, profiles: list[Profile], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["revision"]
        assert isinstance(field, forms.ChoiceField)
        field.choices = [
            (
                profile.name,
                [
                    (str(row.pk), _("%(name)s, revision %(n)s") % {"name": profile.name, "n": row.number})
                    for row in profile.revisions.all()
                ],
            )
            for profile in profiles
        ]


class PlaceForm(forms.Form):
    """Where: the names are judged by the command that asks the preflight."""

    cluster = forms.ModelChoiceField(label=_("Cluster"), queryset=Cluster.objects.none(), empty_label=None)
    namespace = forms.CharField(
        label=_("Namespace"),
        max_length=253,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
    )
    name = forms.CharField(
        label=_("Name"),
        max_length=253,
        widget=forms.TextInput(attrs={"spellcheck": "false", "autocapitalize": "off"}),
        help_text=_("Of the deployment; its objects carry it."),
    )

    def __init__(self, *args: Any, clusters: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["cluster"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = clusters


class ReviewForm(forms.Form):
    """The last step. ``anyway`` is shown where somebody may go on past what the preflight found."""

    anyway = forms.BooleanField(
        label=_("Install anyway"),
        required=False,
        help_text=_("That you chose this is kept in the audit."),
    )

    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=500,
        widget=forms.Textarea(attrs={"rows": 3}),
        help_text=_("Colleagues and auditors read this."),
    )
