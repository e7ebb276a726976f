"""What is asked before an installed stack is changed without another revision."""

from __future__ import annotations

from typing import Any

from django import forms
from django.utils.translation import gettext_lazy as _

from deployments.domain.validation import MAX_REPLICAS


class ReasonForm(forms.Form):
    """Why; the command judges its length."""

    reason = forms.CharField(label=_("Reason"), required=False, help_text=_("Kept in the audit."))


def _pods(label: Any) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        min_value=0,
        max_value=MAX_REPLICAS,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )


class ScaleForm(ReasonForm):
    """How many pods; only the parts whose number a person decides."""

    server = _pods(_("Model servers"))
    chat = _pods(_("Chat pods"))
    field_order = ["server", "chat", "reason"]

    def __init__(self, *args: Any, parts: dict[str, int], **kwargs: Any) -> None:
        """``parts``: those that can be scaled, "server" and "chat", with their numbers now."""
        super().__init__(*args, **{"initial": parts, **kwargs})
        for name in ("server", "chat"):
            if name not in parts:
                del self.fields[name]


COMPONENTS = (("server", _("Model servers")), ("chat", _("Chat")))


class RestartForm(ReasonForm):
    """Which pods are to be replaced."""

    components = forms.MultipleChoiceField(label=_("What to restart"), widget=forms.CheckboxSelectMultiple)
    field_order = ["components", "reason"]

    def __init__(self, *args: Any, parts: list[str], **kwargs: Any) -> None:
        """``parts``: those that are there, "server" and "chat"."""
        super().__init__(*args, **{"initial": {"components": parts}, **kwargs})
        field = self.fields["components"]
        assert isinstance(field, forms.MultipleChoiceField)
        field.choices = [choice for choice in COMPONENTS if choice[0] in parts]
