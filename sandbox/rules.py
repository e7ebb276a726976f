"""The server's rules for names, labels, ports and the like, and a collector of causes with its exact sentences.

Wording: k8s.io/apimachinery/pkg/util/validation and field (Kubernetes 1.36), as far as the recorded transcripts 06, 07,
14 and 18 show it.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterable
from typing import Any

from sandbox.status import Cause

Object = dict[str, Any]
Check = Callable[[str], list[str]]

_LABEL = "[a-z0-9]([-a-z0-9]*[a-z0-9])?"
_SUBDOMAIN = _LABEL + r"(\." + _LABEL + ")*"
_NAME_PART = "([A-Za-z0-9][-A-Za-z0-9_.]*)?[A-Za-z0-9]"
LABEL_RE, SUBDOMAIN_RE, NAME_PART_RE = re.compile(_LABEL), re.compile(_SUBDOMAIN), re.compile(_NAME_PART)
VALUE_RE = re.compile(f"({_NAME_PART})?")
_DATA_KEY_RE = re.compile("[-._a-zA-Z0-9]+")

LABEL_TEXT = (
    "a lowercase RFC 1123 label must consist of lower case alphanumeric characters or '-', and must start and end with "
    "an alphanumeric character (e.g. 'my-name',  or '123-abc', regex used for validation is "
    f"'{_LABEL}')"
)
SUBDOMAIN_TEXT = (
    "a lowercase RFC 1123 subdomain must consist of lower case alphanumeric characters, '-' or '.', and must start and "
    f"end with an alphanumeric character (e.g. 'example.com', regex used for validation is '{_SUBDOMAIN}')"
)
_WILDCARD_TEXT = (
    "a wildcard DNS-1123 subdomain must start with '*.', followed by a valid DNS subdomain, which must consist of lower "
    "case alphanumeric characters, '-' or '.' and end with an alphanumeric character (e.g. '*.example.com', regex used "
    rf"for validation is '\*\.{_SUBDOMAIN}')"
)
_QUALIFIED_TEXT = (
    "must consist of alphanumeric characters, '-', '_' or '.', and must start and end with an alphanumeric character "
    f"(e.g. 'MyName',  or 'my.name',  or '123-abc', regex used for validation is '{_NAME_PART}')"
)
_VALUE_TEXT = (
    "a valid label must be an empty string or consist of alphanumeric characters, '-', '_' or '.', and must start and "
    "end with an alphanumeric character (e.g. 'MyValue',  or 'my_value',  or '12345', regex used for validation is "
    f"'({_NAME_PART})?')"
)
_DATA_KEY_TEXT = (
    "a valid config key must consist of alphanumeric characters, '-', '_' or '.' (e.g. 'key.name',  or 'KEY_NAME',  or "
    "'key-name', regex used for validation is '[-._a-zA-Z0-9]+')"
)
MEBIBYTE = 1024 * 1024
PORT_TEXT = "must be between 1 and 65535, inclusive"
NOT_NEGATIVE = "must be greater than or equal to 0"
IMMUTABLE = "field is immutable"


def spec_of(obj: Object | None) -> Object:
    """The spec of an object, empty where there is none."""
    return (obj or {}).get("spec") or {}


def shown(value: Any) -> str:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":"))


class Causes(list[Cause]):
    """Causes of a refusal, each method named after the server's kind of field error."""

    def required(self, field: str, detail: str = "") -> None:
        self.append(Cause("FieldValueRequired", "Required value" + (f": {detail}" if detail else ""), field))

    def invalid(self, field: str, value: Any, detail: str) -> None:
        self.append(Cause("FieldValueInvalid", f"Invalid value: {shown(value)}: {detail}", field))

    def forbidden(self, field: str, detail: str) -> None:
        self.append(Cause("FieldValueForbidden", f"Forbidden: {detail}", field))

    def unsupported(self, field: str, value: Any, supported: Iterable[str]) -> None:
        choices = ", ".join(shown(choice) for choice in supported)
        text = f"Unsupported value: {shown(value)}: supported values: {choices}"
        self.append(Cause("FieldValueNotSupported", text, field))

    def duplicate(self, field: str, value: Any) -> None:
        self.append(Cause("FieldValueDuplicate", f"Duplicate value: {shown(value)}", field))

    def absent(self, field: str, value: Any) -> None:
        self.append(Cause("FieldValueNotFound", f"Not found: {shown(value)}", field))

    def too_long(self, field: str, limit: int) -> None:
        self.append(Cause("FieldValueTooLong", f"Too long: may not be more than {limit} bytes", field))

    def check(self, field: str, value: str, check: Check) -> None:
        for detail in check(value):
            self.invalid(field, value, detail)

    def not_negative(self, field: str, value: Any) -> None:
        if isinstance(value, int) and value < 0:
            self.invalid(field, value, NOT_NEGATIVE)

    def one_of(self, field: str, value: Any, supported: tuple[str, ...], needed: bool = False) -> None:
        if value in (None, ""):
            if needed:
                self.required(field)
        elif value not in supported:
            self.unsupported(field, value, supported)

    def immutable(self, field: str, new: Any, old: Any) -> None:
        if new != old:
            self.invalid(field, new, IMMUTABLE)


def _longer(value: str, limit: int) -> list[str]:
    return [f"must be no more than {limit} characters"] if len(value.encode()) > limit else []


def dns_label(value: str) -> list[str]:
    found = _longer(value, 63)
    if not LABEL_RE.fullmatch(value):
        found.append("must not contain dots" if SUBDOMAIN_RE.fullmatch(value) else LABEL_TEXT)
    return found


def dns_subdomain(value: str) -> list[str]:
    return _longer(value, 253) + ([] if SUBDOMAIN_RE.fullmatch(value) else [SUBDOMAIN_TEXT])


def host_name(value: str) -> list[str]:
    if "*" in value:
        wanted = value.startswith("*.") and SUBDOMAIN_RE.fullmatch(value[2:])
        return [] if wanted else [_WILDCARD_TEXT]
    return dns_subdomain(value)


def path_segment(value: str) -> list[str]:
    if value in (".", ".."):
        return [f"may not be '{value}'"]
    return [f"may not contain '{mark}'" for mark in "/%" if mark in value]


def qualified_name(value: str) -> list[str]:
    prefix, slash, name = value.rpartition("/")
    if "/" in prefix:
        return [
            f"a qualified name {_QUALIFIED_TEXT} with an optional DNS subdomain prefix and '/' (e.g. 'example.com/MyName')"
        ]
    found: list[str] = []
    if slash:
        if not prefix:
            found.append("prefix part must be non-empty")
        else:
            found += [f"prefix part {detail}" for detail in dns_subdomain(prefix)]
    if not name:
        found.append("name part must be non-empty")
    found += [f"name part {detail}" for detail in _longer(name, 63)]
    if not NAME_PART_RE.fullmatch(name):
        found.append(f"name part {_QUALIFIED_TEXT}")
    return found


def label_value(value: str) -> list[str]:
    return _longer(value, 63) + ([] if VALUE_RE.fullmatch(value) else [_VALUE_TEXT])


def data_key(value: str) -> list[str]:
    found = _longer(value, 253)
    if not _DATA_KEY_RE.fullmatch(value):
        found.append(_DATA_KEY_TEXT)
    if value == ".":
        found.append("must not be '.'")
    elif value == ".." or value.startswith(".."):
        found.append("must not be '..'" if value == ".." else "must not start with '..'")
    return found


def port_name(value: str) -> list[str]:
    found = ["must be no more than 15 characters"] if len(value) > 15 else []
    if not re.fullmatch("[-a-z0-9]+", value):
        found.append("must contain only alpha-numeric characters (a-z, 0-9), and hyphens (-)")
    if not re.search("[a-z]", value):
        found.append("must contain at least one letter (a-z)")
    if "--" in value:
        found.append("must not contain consecutive hyphens")
    if value[:1] == "-" or value[-1:] == "-":
        found.append("must not begin or end with a hyphen")
    return found


def port(causes: Causes, field: str, value: Any) -> None:
    """A port number or the name of one."""
    if isinstance(value, str):
        causes.check(field, value, port_name)
    elif not 1 <= (value or 0) <= 65535:
        causes.invalid(field, value or 0, PORT_TEXT)


def labels(causes: Causes, field: str, values: Object | None) -> None:
    for key, value in sorted((values or {}).items()):
        causes.check(field, key, qualified_name)
        causes.check(field, value, label_value)


_OPERATORS = ("In", "NotIn", "Exists", "DoesNotExist")


def label_selector(causes: Causes, field: str, selector: Object) -> None:
    labels(causes, f"{field}.matchLabels", selector.get("matchLabels"))
    for index, expression in enumerate(selector.get("matchExpressions") or ()):
        here = f"{field}.matchExpressions[{index}]"
        operator, values = expression.get("operator", ""), expression.get("values") or []
        if operator in ("In", "NotIn"):
            if not values:
                causes.required(f"{here}.values", "must be specified when `operator` is 'In' or 'NotIn'")
        elif operator in ("Exists", "DoesNotExist"):
            if values:
                causes.forbidden(
                    f"{here}.values", "may not be specified when `operator` is 'Exists' or 'DoesNotExist'"
                )
        else:
            causes.invalid(f"{here}.operator", operator, "not a valid selector operator")
        causes.check(f"{here}.key", expression.get("key", ""), qualified_name)
        for number, value in enumerate(values):
            causes.check(f"{here}.values[{number}]", value, label_value)


def selects(selector: Object, labels_: Object) -> bool:
    """Whether a label selector matches; an empty one matches all."""
    if any(labels_.get(key) != value for key, value in (selector.get("matchLabels") or {}).items()):
        return False
    for expression in selector.get("matchExpressions") or ():
        key, operator, values = (
            expression.get("key"),
            expression.get("operator"),
            expression.get("values") or [],
        )
        matched = {
            "In": key in labels_ and labels_[key] in values,
            "NotIn": key not in labels_ or labels_[key] not in values,
            "Exists": key in labels_,
            "DoesNotExist": key not in labels_,
        }.get(operator, False)
        if not matched:
            return False
    return True


# --- metadata -----------------------------------------------------------------------------------------------------

_STANDARD_FINALIZERS = ("kubernetes", "orphan", "foregroundDeletion")
MAX_ANNOTATIONS = 256 * 1024


def metadata(causes: Causes, value: Object, name_check: Check, old: Object | None) -> None:
    name, prefix = value.get("name") or "", value.get("generateName") or ""
    if old is None:
        if prefix:
            causes.check("metadata.generateName", prefix.rstrip("-") or prefix, name_check)
        if not name:
            causes.required("metadata.name", "name or generateName is required")
        else:
            causes.check("metadata.name", name, name_check)
    labels(causes, "metadata.labels", value.get("labels"))
    annotations = value.get("annotations") or {}
    for key in sorted(annotations):
        causes.check("metadata.annotations", key.lower(), qualified_name)
    if sum(len(k.encode()) + len(v.encode()) for k, v in annotations.items()) > MAX_ANNOTATIONS:
        causes.too_long("metadata.annotations", MAX_ANNOTATIONS)
    _owners(causes, value.get("ownerReferences") or [])
    for index, finalizer in enumerate(value.get("finalizers") or ()):
        here = f"metadata.finalizers[{index}]"
        causes.check(here, finalizer, qualified_name)
        if "/" not in finalizer and finalizer not in _STANDARD_FINALIZERS:
            causes.invalid(
                here, finalizer, "name is neither a standard finalizer name nor is it fully qualified"
            )
    if old is not None:
        for key in ("name", "namespace", "uid"):
            if value.get(key) and value.get(key) != old.get(key):
                causes.immutable(f"metadata.{key}", value.get(key), old.get(key))


def _owners(causes: Causes, owners: list[Object]) -> None:
    controllers = [owner for owner in owners if owner.get("controller")]
    for owner in owners:
        if not (owner.get("apiVersion") or "").rpartition("/")[2]:
            causes.invalid(
                "metadata.ownerReferences.apiVersion",
                owner.get("apiVersion", ""),
                "version must not be empty",
            )
        for key in ("kind", "name", "uid"):
            if not owner.get(key):
                causes.invalid(f"metadata.ownerReferences.{key}", "", "must not be empty")
    if len(controllers) > 1:
        first, second = controllers[:2]
        causes.invalid(
            "metadata.ownerReferences",
            owners,
            'Only one reference can have Controller set to true. Found "true" in references for '
            f"{first.get('kind')}/{first.get('name')} and {second.get('kind')}/{second.get('name')}",
        )
