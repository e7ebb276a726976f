"""The model in the extension's configuration, in every way that people write it."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

from deployments.domain import modelname
from deployments.domain.config_notes import Notes
from deployments.domain.errors import InvalidInput
from deployments.domain.spec import ModelSpec

_GLUED = re.compile(r"(registry|repository|tag):(\S+)")


def read_model(value: Any, path: str, model: ModelSpec, notes: Notes) -> ModelSpec:
    """``backend.model``: an object, or the text that YAML makes of “tag:1.5b” without a blank."""
    if value is None:
        return model
    if isinstance(value, str):
        return _from_text(value, path, model, notes)
    if not isinstance(value, dict):
        notes.ignore(path, "A model is an object with registry, repository and tag.")
        return model
    for key, given in value.items():
        place = f"{path}.{key}"
        if key not in ("registry", "repository", "tag", "insecure"):
            notes.ignore(place, "This is not understood.")
        elif key == "insecure":
            model = replace(model, insecure=given is True)
            notes.understand(
                place, "Plain HTTP to the model's registry." if given is True else "HTTPS, as usual."
            )
        elif given in (None, ""):
            notes.understand(place, "Empty, so the default stays.")
        elif not isinstance(given, str | int | float) or isinstance(given, bool):
            notes.ignore(place, "This has to be text.")
        else:
            model = _part(key, str(given).strip(), place, model, notes)
    return model


def read_name(value: Any, path: str, model: ModelSpec, notes: Notes) -> ModelSpec:
    """``deepseek.model``, which the guide's prose speaks of: a whole name, or only a tag."""
    text = str(value).strip() if isinstance(value, str | int | float) and not isinstance(value, bool) else ""
    if not text:
        notes.ignore(path, "This has to be a model's name such as deepseek-r1:7b.")
        return model
    if text.lower() in modelname.KNOWN_TAGS:
        return _part("tag", text, path, model, notes)
    try:
        found = modelname.to_model_spec(text, field=path)
    except InvalidInput as error:
        notes.warn(path, error.sentence)
        return model
    notes.understand(path, f"The model is {found.reference}.")
    return found


def _from_text(text: str, path: str, model: ModelSpec, notes: Notes) -> ModelSpec:
    words = text.split()
    glued = [_GLUED.fullmatch(word) for word in words]
    if words and all(glued):
        for match in glued:
            if match:
                model = _part(match[1], match[2], f"{path}.{match[1]}", model, notes)
        notes.warn(
            path,
            f"“{text}” has no blank after the colon, so YAML reads it as one text. "
            f"It was understood as {', '.join(f'{m[1]}: {m[2]}' for m in glued if m)}.",
        )
        return model
    return read_name(text, path, model, notes)


def _part(key: str, text: str, path: str, model: ModelSpec, notes: Notes) -> ModelSpec:
    if key == "registry":
        scheme, separator, rest = text.rpartition("://")
        insecure = model.insecure or scheme.lower() == "http"
        model = replace(model, registry=rest.strip("/"), insecure=insecure)
        notes.understand(path, f"Models come from {rest.strip('/')}.")
        if separator:
            way = "plain HTTP" if insecure else "HTTPS"
            notes.warn(path, f"The scheme is not part of a model's name; it was read as {way}.")
    elif key == "repository":
        # the chart joins registry, repository and tag: a namespace may stand in the repository
        namespace, _, name = text.rpartition("/")
        model = replace(model, repository=name, registry=namespace or model.registry)
        notes.understand(path, f"The model is {text}.")
    else:
        model = replace(model, tag=text)
        notes.understand(path, f"The tag is {text}.")
    return model
