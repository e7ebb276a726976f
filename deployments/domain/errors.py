"""The errors that cross a boundary of Pilothouse.

Every failure that a person may see is a :class:`PilothouseError`. It says what was tried, what
answered and what to do, and whether trying again can help. Anything else that is raised is a fault
of the program: it is logged with its traceback and shown as a general sentence.
"""

from __future__ import annotations

from deployments.domain.subjects import Subject


class PilothouseError(Exception):
    """A failure with words for the person who has to deal with it.

    ``tried``     what Pilothouse attempted, a clause that starts in lower case
                  ("apply Service llm/chat"), or "" where the sentence alone is enough.
    ``answered``  what the other side said, bounded and free of credentials, or "".
    ``remedy``    what the reader can do next, a whole sentence, or "".
    ``retryable`` True where the same attempt may succeed later without anybody changing anything.
    ``retry_after`` seconds that the other side asked us to wait, or None.
    """

    retryable: bool = False

    def __init__(
        self,
        sentence: str,
        *,
        tried: str = "",
        answered: str = "",
        remedy: str = "",
        retryable: bool | None = None,
        retry_after: float | None = None,
    ) -> None:
        super().__init__(sentence)
        self.sentence = sentence
        self.tried = tried
        self.answered = answered
        self.remedy = remedy
        self.retry_after = retry_after
        if retryable is not None:
            self.retryable = retryable


class InvalidInput(PilothouseError):
    """What a person or a file gave cannot be used. ``field`` names the place, dotted, or ""."""

    def __init__(self, sentence: str, *, field: str = "", remedy: str = "") -> None:
        super().__init__(sentence, remedy=remedy)
        self.field = field


class ManyInvalid(InvalidInput):
    """Several places are wrong at once; ``errors`` holds one :class:`InvalidInput` each."""

    def __init__(self, errors: list[InvalidInput]) -> None:
        super().__init__("; ".join(error.sentence for error in errors))
        self.errors = errors


class NotFound(PilothouseError):
    """The object does not exist, or the caller may not know that it does."""


class Denied(PilothouseError):
    """The caller is known and may see the object, but his role does not allow the act.

    ``about`` names the object for the audit, ``action`` the verb; ``recorded`` is True once the refusal is
    on record.
    """

    def __init__(
        self, sentence: str, *, remedy: str = "", about: Subject | None = None, action: str = ""
    ) -> None:
        super().__init__(sentence, remedy=remedy)
        self.about = about or Subject()
        self.action = action
        self.recorded = False


class Conflict(PilothouseError):
    """Somebody else holds what is needed: a name, a running operation, a newer version."""


class ClusterError(PilothouseError):
    """A cluster, or something reached through it, failed to do what was asked.

    ``status`` is the HTTP status where there was one, else None; ``reason`` the ``reason`` of the
    Kubernetes Status object ("NotFound", "Forbidden", "Conflict"), or "".
    """

    def __init__(
        self,
        sentence: str,
        *,
        tried: str = "",
        answered: str = "",
        remedy: str = "",
        retryable: bool | None = None,
        retry_after: float | None = None,
        status: int | None = None,
        reason: str = "",
    ) -> None:
        super().__init__(
            sentence,
            tried=tried,
            answered=answered,
            remedy=remedy,
            retryable=retryable,
            retry_after=retry_after,
        )
        self.status = status
        self.reason = reason


class ClusterUnreachable(ClusterError):
    """No usable answer came: refused, timed out, TLS not trusted, not a Kubernetes API server."""

    retryable = True


class WatchSilent(ClusterUnreachable):
    """A watch on which nothing came for longer than the server's bookmarks are apart."""


class WatchBroken(ClusterUnreachable):
    """A watch that ended as soon as it had begun, in the middle of an event, or before all that is there
    was said."""


def not_listed(kind: str) -> str:
    """What is said where a kind of object may be listed in single namespaces at most."""
    return f"Pilothouse may not list {kind} objects in the whole cluster."


# The remedy that a cluster's page can offer as a button.
REPLACE_CREDENTIAL = "Replace the stored credential with one that the cluster accepts."


class CredentialRefused(ClusterError):
    """The API server answered 401: the stored credential is not valid (any more)."""


class ClusterForbids(ClusterError):
    """The API server answered 403. ``answered`` names verb and resource as the server said them."""


class RightMissing(ClusterForbids):
    """403 for want of a right, not by a quota or a policy. An API server that has just been started answers
    so too, until it has read its roles: only when it says so again it is true."""


class ObjectMissing(ClusterError):
    """404 for an object, a namespace or a resource type; ``reason`` tells an API Status from other."""


class AlreadyExists(ClusterError):
    """409 on create, also while an object of that name is still being deleted."""


class Outdated(ClusterError):
    """409 of an optimistic lock: the object changed since it was read."""

    retryable = True


class Expired(ClusterError):
    """410: a resourceVersion or continue token is too old; list again from the start."""

    retryable = True


class FieldConflict(ClusterError):
    """A server-side apply would take fields from another manager.

    ``conflicts`` is a list of (manager, field path) pairs, as the server listed them.
    """

    def __init__(self, sentence: str, *, conflicts: list[tuple[str, str]], **words: object) -> None:
        super().__init__(sentence, **words)  # type: ignore[arg-type]
        self.conflicts = conflicts


class ManifestRefused(ClusterError):
    """The API server understood the request and refuses the object: 400, 422, or 500 from the
    typed conversion of server-side apply (unknown or duplicate fields).

    ``causes`` is a list of (field path, message) pairs.
    """

    def __init__(
        self, sentence: str, *, causes: list[tuple[str, str]] | None = None, **words: object
    ) -> None:
        super().__init__(sentence, **words)  # type: ignore[arg-type]
        self.causes = causes or []


class TooManyRequests(ClusterError):
    """429: the server asks for patience; ``retry_after`` carries its wish in seconds."""

    retryable = True


class ServerFault(ClusterError):
    """A 5xx answer, or a body that is not what the protocol promises."""

    retryable = True


class ForeignObject(ClusterError):
    """The object is there but belongs to somebody else; Pilothouse leaves it alone."""


class ModelError(PilothouseError):
    """Ollama refused or failed: ``answered`` holds its own words, cut where a body was echoed."""


class ModelNotFound(ModelError):
    """The registry has no such model or tag."""


class PullStalled(ModelError):
    """No byte arrived for the configured time although the stream went on."""

    retryable = True


class Unreadable(PilothouseError):
    """A stored secret cannot be decrypted with the keys at hand."""
