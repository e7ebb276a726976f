"""What a request asks for: verb, group, resource, name, sub-resource, as the API server reads them from method and path.

Kubernetes documentation: "Authorization Overview", "Determine the request verb"; recorded transcripts 05, 06 and 12.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import parse_qsl, unquote

from sandbox.backend import RequestInfo
from sandbox.listing import truth

_VERBS = {
    "GET": "get",
    "HEAD": "get",
    "POST": "create",
    "PUT": "update",
    "PATCH": "patch",
    "DELETE": "delete",
}
MAX_BODY = 3 * 1024 * 1024


class Query(dict[str, str]):
    """Query parameters, the first value of each; `all` gives every value of one."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.pairs = parse_qsl(text, keep_blank_values=True)
        super().__init__()
        for name, value in self.pairs:
            self.setdefault(name, value)

    def all(self, name: str) -> list[str]:
        return [value for key, value in self.pairs if key == name]


@dataclass(frozen=True, slots=True)
class Target:
    """Where a path leads. rest: the raw text after the sub-resource (for proxies), version: of the group.

    named: the path itself names an object; info.name may also come from a field selector.
    """

    info: RequestInfo
    version: str
    rest: str
    watch_prefix: bool
    is_api: bool
    named: bool = False


def parse(method: str, raw_path: str, query: Mapping[str, str]) -> Target:
    """raw_path is still percent-encoded and has no query."""
    verb = _VERBS.get(method, method.lower())
    raw_parts = raw_path.split("/")[1:]
    parts = [unquote(part) for part in raw_parts]

    def other() -> Target:
        info = RequestInfo(_VERBS.get(method, method.lower()), "", "", "", "", "", unquote(raw_path), "")
        return Target(info, "", "", False, False)

    if parts and parts[0] == "api" and len(parts) >= 3 and parts[2]:
        group, version, index = "", parts[1], 2
    elif parts and parts[0] == "apis" and len(parts) >= 4 and parts[3]:
        group, version, index = parts[1], parts[2], 3
    else:
        return other()
    watching = parts[index] == "watch"
    if watching:
        verb = "watch"
        index += 1
    if len(parts) > index and parts[-1] == "" and not (len(parts) > index + 2 and "proxy" in parts):
        parts, raw_parts = parts[:-1], raw_parts[:-1]
    if len(parts) <= index:
        return other()
    namespace = ""
    if parts[index] == "namespaces" and len(parts) > index + 1:
        namespace = parts[index + 1]
        if len(parts) > index + 2 and parts[index + 2] not in ("status", "finalize"):
            index += 2
    resource = parts[index]
    name = parts[index + 1] if len(parts) > index + 1 else ""
    subresource = parts[index + 2] if len(parts) > index + 2 else ""
    rest = "/".join(raw_parts[index + 3 :])
    if len(parts) > index + 3:
        rest = "/" + rest
    named = bool(name)
    if not name:
        if verb == "get":
            verb = "watch" if truth(query.get("watch")) else "list"
        elif verb == "delete":
            verb = "deletecollection"
        if verb in ("list", "watch", "deletecollection"):
            name = _selected_name(query.get("fieldSelector", ""))
    info = RequestInfo(verb, group, resource, subresource, namespace, name, unquote(raw_path), "")
    return Target(info, version, rest, watching, True, named)


def _selected_name(selector: str) -> str:
    """metadata.name=x makes a list a request for the name x (recorded transcript 05)."""
    for part in selector.split(","):
        field, equals, value = part.partition("=")
        if equals and field == "metadata.name":
            return value.removeprefix("=")
    return ""
