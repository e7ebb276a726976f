"""Lists: parameters, pages, and which state of the past a list shows.

Recorded transcripts 08 (parameters), 09 (expired), 10 (pages, selectors, resourceVersion rules).
Kubernetes documentation: "API Concepts", sections "Retrieving large results sets in chunks" and "Resource versions".
"""

from __future__ import annotations

import asyncio
import base64
import binascii
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

import orjson

from sandbox import selectors, status
from sandbox.history import Version
from sandbox.kinds import Kind
from sandbox.selectors import FieldSelector, Selector
from sandbox.status import Cause
from sandbox.store import Store

Object = dict[str, Any]

# How long a list waits for a resourceVersion that has not come yet (recorded transcript 08).
PATIENCE = 3.0
_TOKEN_VERSION = "meta.k8s.io/v1"


def truth(text: str | None) -> bool:
    """A boolean parameter: only "", "false" and "0" are false, `maybe` is true (recorded transcript 08)."""
    return text is not None and text.lower() not in ("", "false", "0")


def integer(text: str | None) -> int | None:
    """A number parameter. Raises 400 in Go's words."""
    if text is None or text == "":
        return None
    try:
        return int(text)
    except ValueError:
        raise status.bad_request(f"strconv.ParseInt: parsing {status.quote(text)}: invalid syntax") from None


@dataclass(frozen=True, slots=True)
class Options:
    """What a list or watch asks for."""

    labels: Selector
    fields: FieldSelector
    limit: int
    token: str
    resource_version: str
    match: str
    watch: bool
    timeout: int | None
    bookmarks: bool
    send_initial: bool | None

    def selects(self) -> bool:
        return not (self.labels.empty and self.fields.empty)

    def matches(self, obj: Mapping[str, Any]) -> bool:
        return self.labels.matches(obj["metadata"].get("labels")) and self.fields.matches(obj)

    def number(self) -> int:
        """The resourceVersion as a number; 0 for none. Raises 400."""
        if not self.resource_version:
            return 0
        if not self.resource_version.isdigit():
            raise status.bad_request(f"invalid resource version: {wrong_version(self.resource_version)}")
        return int(self.resource_version)


def wrong_version(text: str) -> str:
    shown = status.quote(text)
    return f"resourceVersion: Invalid value: {shown}: strconv.ParseUint: parsing {shown}: invalid syntax"


def read_options(kind: Kind, query: Mapping[str, str], watch: bool) -> Options:
    """The parameters of a list or watch. Raises 400 for what does not parse, 422 for forbidden combinations."""
    limit = integer(query.get("limit")) or 0
    timeout = integer(query.get("timeoutSeconds"))
    send = query.get("sendInitialEvents")
    options = Options(
        labels=selectors.parse(query.get("labelSelector", "")),
        fields=selectors.parse_fields(query.get("fieldSelector", ""), kind.kind, kind.group),
        limit=max(0, limit),
        token=query.get("continue", ""),
        resource_version=query.get("resourceVersion", ""),
        match=query.get("resourceVersionMatch", ""),
        watch=watch,
        timeout=timeout,
        bookmarks=truth(query.get("allowWatchBookmarks")),
        send_initial=None if send is None else truth(send),
    )
    causes = _problems(options)
    if causes:
        raise status.invalid_as("meta.k8s.io", "ListOptions", "", causes)
    return options


def _problems(options: Options) -> list[Cause]:
    def forbidden(field: str, why: str) -> Cause:
        return Cause("FieldValueForbidden", f"Forbidden: {why}", field)

    causes: list[Cause] = []
    match, version = options.match, options.resource_version
    if options.watch:
        if options.send_initial is not None and match != "NotOlderThan":
            causes.append(
                forbidden(
                    "resourceVersionMatch",
                    "sendInitialEvents requires setting resourceVersionMatch to NotOlderThan",
                )
            )
            if match:
                causes.append(
                    Cause(
                        "FieldValueNotSupported",
                        f'Unsupported value: {status.quote(match)}: supported values: "NotOlderThan"',
                        "resourceVersionMatch",
                    )
                )
        elif match and options.send_initial is None:
            causes.append(
                forbidden(
                    "resourceVersionMatch",
                    "resourceVersionMatch is forbidden for watch unless sendInitialEvents is provided",
                )
            )
        return causes
    if options.send_initial is not None:
        causes.append(forbidden("sendInitialEvents", "sendInitialEvents is forbidden for list"))
    if not match:
        return causes
    if options.token:
        causes.append(
            forbidden("resourceVersionMatch", "resourceVersionMatch is forbidden when continue is provided")
        )
    if not version:
        causes.append(
            forbidden(
                "resourceVersionMatch", "resourceVersionMatch is forbidden unless resourceVersion is provided"
            )
        )
    elif match not in ("Exact", "NotOlderThan"):
        causes.append(
            Cause(
                "FieldValueNotSupported",
                f'Unsupported value: {status.quote(match)}: supported values: "Exact", "NotOlderThan", ""',
                "resourceVersionMatch",
            )
        )
    elif match == "Exact" and version == "0":
        causes.append(
            forbidden(
                "resourceVersionMatch", 'resourceVersionMatch "exact" is forbidden for resourceVersion "0"'
            )
        )
    return causes


def token_for(rv: int, key: str) -> str:
    body = orjson.dumps({"v": _TOKEN_VERSION, "rv": rv, "start": f"{key}\0"})
    return base64.urlsafe_b64encode(body).rstrip(b"=").decode()


def read_token(token: str) -> tuple[int, str]:
    """(resourceVersion or -1, the last key already seen). Raises 400."""
    prefix = "invalid continue token: continue key is not valid: "
    try:
        raw = base64.urlsafe_b64decode(token + "=" * (-len(token) % 4))
    except (binascii.Error, ValueError):
        raise status.bad_request(f"{prefix}illegal base64 data at input byte 0") from None
    try:
        body = orjson.loads(raw)
        version, rv, start = body.get("v"), body.get("rv"), body.get("start")
    except (orjson.JSONDecodeError, AttributeError):
        first = raw[:1].decode("latin-1") if raw[:1].isascii() else f"\\x{raw[0]:02x}"
        raise status.bad_request(
            f"{prefix}invalid character '{first}' looking for beginning of value"
        ) from None
    if version != _TOKEN_VERSION:
        raise status.bad_request(f"{prefix}server does not recognize this encoded version {version}")
    if not isinstance(rv, int) or rv == 0 or not isinstance(start, str) or not start:
        raise status.bad_request(f"{prefix}incorrect encoded start resourceVersion (version meta.k8s.io/v1)")
    return rv, start.rstrip("\0").lstrip("/")


@dataclass(frozen=True, slots=True)
class Page:
    """One page of a list at one resourceVersion."""

    versions: list[Version]
    resource_version: int
    token: str
    remaining: int | None

    def metadata(self) -> Object:
        answer: Object = {"resourceVersion": str(self.resource_version)}
        if self.token:
            answer["continue"] = self.token
        if self.remaining:
            answer["remainingItemCount"] = self.remaining
        return answer


async def until_version(store: Store, wanted: int, patience: float = PATIENCE) -> None:
    """Wait until the store has reached a resourceVersion. Raises 504 when it does not come in time."""
    if store.rv >= wanted:
        return
    reached = asyncio.Event()

    def look(event: object) -> None:
        if store.rv >= wanted:
            reached.set()

    stop = store.subscribe(look)
    try:
        await asyncio.wait_for(reached.wait(), patience)
    except TimeoutError:
        raise status.too_large_resource_version(wanted, store.rv) from None
    finally:
        stop()


async def page(store: Store, kind: Kind, namespace: str | None, options: Options) -> Page:
    """The page that the options ask for. Raises 400, 410 and 504."""
    collection = store.collection(kind)
    number = options.number()
    limit, after = options.limit, ""
    if options.token:
        if number:
            raise status.bad_request("specifying resource version is not allowed when using continue")
        rv, after = read_token(options.token)
        relative = f"{namespace}/{after}" if namespace else after
        if rv < 0:
            rv = store.rv
        elif rv < collection.floor:
            raise status.expired(
                "The provided continue parameter is too old to display a consistent list result. You can start a new "
                "list without the continue parameter, or use the continue token in this response to retrieve the "
                "remainder of the results. Continuing with the provided token results in an inconsistent list - objects "
                "that were created, modified, or deleted between the time the first chunk was returned and now may show "
                "up in the list.",
                token_for(-1, after),
            )
        elif rv > store.rv:
            raise status.too_large_resource_version(rv, store.rv)
    else:
        relative = ""
        await until_version(store, number)
        exact = options.match == "Exact" or (number > 0 and limit > 0 and not options.match)
        if exact and number:
            if number < collection.floor:
                raise status.expired("The resourceVersion for the provided list is too old.")
            rv = number
        else:
            rv = store.rv
        if options.resource_version == "0":
            limit = 0
    entries = list(collection.now(namespace)) if rv >= store.rv else collection.at(rv, namespace)
    if relative:
        entries = [entry for entry in entries if entry[0] > relative]
    if options.selects():
        entries = [entry for entry in entries if options.matches(entry[1].object)]
    token, remaining = "", None
    if limit and len(entries) > limit:
        remaining = None if options.selects() else len(entries) - limit
        last = entries[limit - 1][0]
        token = token_for(rv, "/" + (last[len(namespace) + 1 :] if namespace else last))
        entries = entries[:limit]
    return Page([version for _, version in entries], rv, token, remaining)


def encode_list(kind: Kind, found: Page, item: Callable[[Version], bytes]) -> bytes:
    """The list as JSON, joined from the items' own encoded forms."""
    head = orjson.dumps(
        {"kind": f"{kind.kind}List", "apiVersion": kind.api_version, "metadata": found.metadata()}
    )
    return head[:-1] + b',"items":[' + b",".join(item(version) for version in found.versions) + b"]}"
