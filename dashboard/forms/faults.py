"""Domain errors at the fields of a form."""

from __future__ import annotations

from collections.abc import Mapping

from django import forms

from deployments.domain.errors import Conflict, InvalidInput, ManyInvalid, PilothouseError
from deployments.sentences import said


def sentence(error: PilothouseError) -> str:
    """What is wrong and the way out, as one text for a field, in the reader's language."""
    return said(f"{error.sentence} {error.remedy}".strip())


def field_of(form: forms.BaseForm, dotted: str, names: Mapping[str, str] | None = None) -> str | None:
    """The form's field for the dotted place an error names: by ``names``, by the same name with
    underscores, or by the nearest place above it. None where no field is to blame."""
    parts = dotted.split(".") if dotted else []
    while parts:
        place = ".".join(parts)
        for name in ((names or {}).get(place), place.replace(".", "_"), place):
            if name and name in form.fields:
                return name
        parts.pop()
    return None


def place(
    form: forms.BaseForm,
    error: InvalidInput | Conflict,
    names: Mapping[str, str] | None = None,
    *,
    conflict_field: str | None = None,
) -> None:
    """Put an error of a command beside the inputs it speaks of, or on top of the form."""
    if isinstance(error, ManyInvalid):
        for one in error.errors:
            place(form, one, names)
        return
    if isinstance(error, InvalidInput):
        form.add_error(field_of(form, error.field, names), sentence(error))
    else:
        form.add_error(conflict_field, sentence(error))
