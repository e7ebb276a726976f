"""What Ollama's error strings mean: which kind, whether trying again can help, what to do.

Ollama has no error codes. The strings are those of its server (server/images.go, server/download.go,
server/routes.go, llm/status.go) and of Go's net and os packages. A string that is in no row counts as
retryable: workflows bound how often, so the cost of being wrong is minutes, not a dead install.

Ollama passes on what a registry answered. A registry's body may hold anything, also what it should
not tell, so nothing but the status code is kept of it, and no query of an address.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

from deployments.domain.errors import InvalidInput, ModelError, ModelNotFound
from deployments.domain.modelname import not_found_hint, to_model_spec

MAX_ANSWER = 300  # characters of Ollama's own words that a person gets to see

_STATUS_AND_BODY = re.compile(r"(?:^|(?<=: ))([1-5]\d\d): .*\Z", re.DOTALL)
_QUERY = re.compile(r"(https?://[^\s\"'?]*)\?[^\s\"']*")
_USERINFO = re.compile(r"(https?://)[^\s\"'/@]*@")
_CONTROL = re.compile(r"[\x00-\x1f\x7f]+")


@dataclass(frozen=True)
class Row:
    """One line of the table: a pattern searched in the error, and what it means."""

    pattern: re.Pattern[str]
    retryable: bool
    sentence: str
    remedy: str
    missing: bool = False  # the model does not exist, wherever it was looked for


def _row(pattern: str, sentence: str, remedy: str, *, retryable: bool = False, missing: bool = False) -> Row:
    return Row(re.compile(pattern, re.IGNORECASE | re.DOTALL), retryable, sentence, remedy, missing)


_LOOK_AT_NETWORK = "Check that the cluster's nodes may reach the registry, then try again."
_FREE_SPACE = "Remove models that nobody needs or install with a larger volume, then try again."

# The first row that matches counts, so causes inside "max retries exceeded: …" come before it.
PULL_ROWS: tuple[Row, ...] = (
    _row(
        r"no space left on device|disk quota exceeded",
        "The volume of the models is full.",
        _FREE_SPACE,
    ),
    _row(
        r"file does not exist|(^|: )404$|(^|[^0-9])404: |no such model",
        "The registry has no model of this name.",
        "Check the spelling of the model and its tag.",
        missing=True,
    ),
    _row(
        r"(^|: )412(:|$)|newer version of ollama",
        "This model needs a newer Ollama than the one installed.",
        "Choose a newer Ollama image, or another model.",
    ),
    _row(
        r"realm host .* does not match|unsupported protocol scheme",
        "The registry asks for a sign-in that Ollama cannot give it.",
        "Make the model readable without sign-in, or put it into the cache beforehand.",
    ),
    _row(
        r"unauthorized|access denied|(^|: )40[13](:|$)",
        "The registry refuses to hand out this model.",
        "Make the model readable without sign-in, or put it into the cache beforehand.",
    ),
    _row(
        r"(^|: )429(:|$)|too many requests",
        "The registry asks for patience.",
        "Pilothouse tries again later.",
        retryable=True,
    ),
    _row(
        r"(^|: )(408|5\d\d)(:|$)",
        "The registry has trouble of its own.",
        "Pilothouse tries again; if it lasts, ask who runs the registry.",
        retryable=True,
    ),
    _row(
        r"(^|: )4\d\d(:|$)",
        "The registry refuses the request.",
        "Check the name of the model and its registry.",
    ),
    _row(
        r"id_ed25519",
        "The Ollama pod cannot read its own key.",
        "Its home directory must be writable for its user; restart the pod when it is.",
    ),
    _row(
        r"permission denied|read-only file system|operation not permitted",
        "The Ollama pod may not write to the volume of the models.",
        "Let the user that the pod runs as own the volume, or run it as root.",
    ),
    _row(
        r"server gave HTTP response to HTTPS client",
        "The registry speaks plain HTTP.",
        "Mark the registry as insecure in the profile if you trust the network on the way.",
    ),
    _row(
        r"x509|failed to verify certificate|certificate (is|has)",
        "The Ollama pod does not trust the registry's certificate.",
        "Give the registry a certificate that the Ollama image trusts.",
    ),
    _row(
        r"no Location header",
        "The registry does not say where its blobs are, which Ollama relies on.",
        "Let the registry answer blob requests with a Location header (ollama#7244).",
    ),
    _row(
        r"digest mismatch",
        "A downloaded layer was damaged; Ollama has thrown it away.",
        "Pilothouse downloads it again.",
        retryable=True,
    ),
    _row(
        r"invalid digest format",
        "The registry's manifest is damaged.",
        "Publish the model again in its registry.",
    ),
    _row(
        r"MLX (support|runtime)",
        "This model is of a format that this Ollama cannot run.",
        "Choose the GGUF variant of the model.",
    ),
    _row(
        r"invalid model (name|path)|missing request body|model is required|use either :local or :cloud",
        "Ollama refuses the name of the model.",
        "Write it as model:tag, namespace/model:tag or host/namespace/model:tag.",
    ),
    _row(
        r"dial tcp|no such host|connection (refused|reset)|network is unreachable|no route to host"
        r"|i/o timeout|TLS handshake timeout|unexpected EOF|: EOF\Z|broken pipe|proxyconnect",
        "The Ollama pod cannot reach the registry.",
        _LOOK_AT_NETWORK,
        retryable=True,
    ),
    _row(
        r"context (deadline exceeded|canceled)|request canceled",
        "The registry did not answer in time.",
        _LOOK_AT_NETWORK,
        retryable=True,
    ),
    _row(
        r"max retries exceeded",
        "A part of the model could not be downloaded.",
        _LOOK_AT_NETWORK,
        retryable=True,
    ),
)

RUN_ROWS: tuple[Row, ...] = (
    _row(
        r"more system memory|out of memory|cudaMalloc failed|failed to allocate|not enough memory"
        r"|insufficient memory|unable to allocate",
        "The model does not fit into the memory of its pod.",
        "Give the server more memory or a GPU, or choose a smaller model.",
    ),
    _row(
        r"server busy|maximum pending requests",
        "Ollama has too many requests waiting.",
        "Try again in a moment, or add a replica.",
        retryable=True,
    ),
    _row(
        r"not found|try pulling it first",
        "The model is not on this server.",
        "Pull it first.",
        missing=True,
    ),
    _row(
        r"timed out waiting for .* to start|request canceled|context canceled",
        "The model was not loaded in time.",
        "Try again; if it lasts, look at the log of the pod.",
        retryable=True,
    ),
    _row(
        r"does not support",
        "The model cannot do what was asked of it.",
        "Choose a model that can chat.",
    ),
    _row(
        r"invalid model (name|path)|model is required|missing request body|is invalid",
        "Ollama refuses the name of the model.",
        "Write it as model:tag, namespace/model:tag or host/namespace/model:tag.",
    ),
)


def cut(text: str) -> str:
    """Ollama's words without what a registry put into them, on one line, at most 300 characters."""
    text = _STATUS_AND_BODY.sub(r"\1", text.strip())
    text = _USERINFO.sub(r"\1", _QUERY.sub(r"\1", text))
    text = _CONTROL.sub(" ", text).strip()
    return text if len(text) <= MAX_ANSWER else text[: MAX_ANSWER - 1] + "…"


def pull_error(text: str, model: str) -> ModelError:
    """The error for what ``/api/pull`` answered about ``model``."""
    return _from_rows(PULL_ROWS, text, f"pull {model}", default_retryable=True, hint=_hint(model))


def run_error(text: str, model: str, status: int, *, tried: str) -> ModelError:
    """The error for what show, delete, generate or chat answered with HTTP ``status``."""
    return _from_rows(RUN_ROWS, text, tried, default_retryable=status >= 500)


def _from_rows(
    rows: tuple[Row, ...], text: str, tried: str, *, default_retryable: bool, hint: str = ""
) -> ModelError:
    answered = cut(text)
    for row in rows:
        if row.pattern.search(answered):
            kind = ModelNotFound if row.missing else ModelError
            remedy = f"{row.remedy} {hint}".strip() if row.missing else row.remedy
            return kind(row.sentence, tried=tried, answered=answered, remedy=remedy, retryable=row.retryable)
    return ModelError(
        "Ollama reports an error.",
        tried=tried,
        answered=answered,
        remedy="Look at the log of the Ollama pod.",
        retryable=default_retryable,
    )


def _hint(model: str) -> str:
    """What its author may have meant; the registry itself cannot list its tags (ollama#5021)."""
    try:
        return not_found_hint(to_model_spec(model))
    except InvalidInput:
        return ""
