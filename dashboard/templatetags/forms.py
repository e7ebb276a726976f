"""Form fields as the look draws them: label, control, help, and the error at the field.

``{% load forms %}``: ``{% field form.name %}`` for one field, ``{% errors form %}`` for the summary on top.
``{{ form }}`` and ``{{ form.name.as_field_group }}`` give the same markup.
"""

from __future__ import annotations

from typing import Any

from django import forms, template
from django.forms.boundfield import BoundField
from django.template.context import Context
from django.utils.safestring import SafeString

from dashboard.presenters.states import Words
from dashboard.templatetags.pilothouse import part

register = template.Library()

CHOICE_WIDGETS = (forms.RadioSelect, forms.CheckboxSelectMultiple)


def control(field: BoundField, **attrs: str | bool) -> SafeString:
    """The widget with the look's class beside its own, and the given attributes."""
    css = ["input", field.field.widget.attrs.get("class", "")]
    return field.as_widget(attrs={"class": " ".join(filter(None, css)), **attrs})


@register.simple_tag(takes_context=True)
def field(
    context: Context,
    field: BoundField,
    when: str = "",
    wide: bool = False,
    read_into: str = "",
    placeholder: str = "",
    help: Words = "",
) -> SafeString:
    """One field.

    ``when`` shows it only while others have certain values: "gpu=nvidia amd" or "ingress" (is ticked).
    ``wide`` takes the whole row. ``read_into``: a file control fills the text area of that id in the browser.
    ``help`` stands in for the field's own help text. A widget may carry ``notes``, a dict of choice -> note.
    """
    if field.is_hidden:
        return SafeString(field)
    attrs: dict[str, str | bool] = {}
    if read_into:
        attrs["data-read-into"] = read_into
    if placeholder:
        attrs["placeholder"] = placeholder
    widget = field.field.widget
    if widget.attrs.get("placeholder") == field.label:
        attrs["placeholder"] = ""  # it would say again what stands above it
    values: dict[str, Any] = {"field": field, "when": when, "wide": wide, "help": help or field.help_text}
    if (help or field.help_text) and not field.help_text:
        described = [f"{field.auto_id}_helptext", f"{field.auto_id}_error" if field.errors else ""]
        attrs["aria-describedby"] = " ".join(filter(None, described))
    if isinstance(widget, CHOICE_WIDGETS):
        notes = getattr(widget, "notes", {})
        values["choices"] = [
            {
                "control": choice.tag(),
                "id": choice.id_for_label,
                "label": choice.choice_label,
                "note": notes.get(str(choice.data["value"]), ""),
            }
            for choice in field
        ]
        return part(context, "field_choices", **values)
    if isinstance(widget, forms.CheckboxInput):
        return part(context, "field_check", control=field.as_widget(attrs=attrs), **values)
    return part(context, "field", control=control(field, **attrs), **values)


@register.simple_tag(takes_context=True)
def fields(context: Context, *bound: BoundField) -> SafeString:
    """Several fields in the look's grid."""
    return part(context, "fields", fields=bound)


@register.simple_tag(takes_context=True)
def errors(context: Context, *forms_: forms.BaseForm) -> SafeString | str:
    """The summary on top: what no single field is to blame for, and links where several fields are wrong."""
    general = [text for form in forms_ for text in form.non_field_errors()]
    wrong = [bound for form in forms_ for bound in form if bound.errors]
    if not general and len(wrong) < 2:
        return ""
    return part(context, "errors", general=general, wrong=wrong)
