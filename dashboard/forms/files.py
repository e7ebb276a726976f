"""A file that somebody brings, read into a profile: the extension's, a claim's manifest, or our own."""

from __future__ import annotations

from dataclasses import dataclass

from django.utils.translation import gettext as _

from dashboard.forms.faults import sentence
from deployments.domain.config_notes import Line
from deployments.domain.config_yaml import import_config
from deployments.domain.errors import InvalidInput
from deployments.domain.profile_file import is_profile, load_profile
from deployments.domain.safe_yaml import load_documents
from deployments.domain.spec import Secrets, StackSpec
from deployments.domain.validation import validate_spec

MAX_FILE = 256 * 1024


@dataclass(frozen=True)
class ReadFile:
    """What a file turned out to be."""

    name: str
    description: str
    spec: StackSpec
    secrets: Secrets
    understood: tuple[Line, ...] = ()
    warnings: tuple[Line, ...] = ()
    ignored: tuple[Line, ...] = ()
    namespace: str | None = None


def read_file(text: str | bytes) -> ReadFile:
    """A profile's own file, or the extension's config.yaml or claim. Raises :class:`InvalidInput`."""
    if _is_own(text):
        own = load_profile(text)
        warnings = [Line(error.field, sentence(error)) for error in validate_spec(own.spec)]
        if own.spec.chat.has_access_code:
            warnings.append(Line("chat.access_code", _("The access code is not in the file: give it anew.")))
        return ReadFile(own.name, own.description, own.spec, Secrets(), (), tuple(warnings))
    found = import_config(text)
    return ReadFile(
        "", "", found.spec, found.secrets, found.understood, found.warnings, found.ignored, found.namespace
    )


def _is_own(text: str | bytes) -> bool:
    try:
        documents = load_documents(text)
    except InvalidInput:
        return False  # import_config mends what people write by hand, or says what is wrong
    return len(documents) == 1 and is_profile(documents[0])
