"""The answer to a request."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _


class DecisionForm(forms.Form):
    """Yes or no, and why; a no needs its reason."""

    decision = forms.ChoiceField(choices=[("agree", _("Agree")), ("refuse", _("Refuse"))])
    reason = forms.CharField(
        label=_("Reason"),
        required=False,
        max_length=500,
        help_text=_("A refusal needs one; whoever asked reads it."),
    )
