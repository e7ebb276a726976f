"""What is asked when a profile is shared, copied or applied to several deployments."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from deployments.domain.states import ShareLevel
from deployments.models import Team

LEVELS = [(ShareLevel.USE, _("Use it")), (ShareLevel.EDIT, _("Use and edit it"))]


class ShareForm(forms.Form):
    """Which team, and how far."""

    team_name = forms.CharField(
        label=_("Team"), max_length=200, help_text=_("Its name as its members write it.")
    )
    level = forms.ChoiceField(label=_("It may"), choices=LEVELS, initial=ShareLevel.USE)

    def clean_level(self) -> ShareLevel:
        return ShareLevel(self.cleaned_data["level"])


class CopyForm(forms.Form):
    """Where the copy belongs and what it is called."""

    team = forms.ModelChoiceField(label=_("Team"), queryset=Team.objects.none(), empty_label=None)
    name = forms.CharField(label=_("Name"), max_length=80)

    def __init__(self, *args: Any, teams: Sequence[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Team.objects.filter(pk__in=[team.pk for team in teams])


class ApplyForm(forms.Form):
    """The deployments that get the revision which the page showed as the newest one."""

    revision = forms.IntegerField(widget=forms.HiddenInput)
    deployments = forms.TypedMultipleChoiceField(label=_("Deployments"), coerce=int)
    reason = forms.CharField(label=_("Reason"), required=False, max_length=500)

    def __init__(self, *args: Any, offered: Sequence[int], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["deployments"]
        assert isinstance(field, forms.TypedMultipleChoiceField)
        field.choices = [(pk, str(pk)) for pk in offered]
