"""YAML from strangers: small, plain documents only.

Refused with a sentence: more than 256 KiB, aliases and anchors (a few lines of them make gigabytes),
explicit tags, deep nesting, very many nodes, duplicate keys, keys that are not text. What comes back
holds dicts with text keys, lists, text, numbers, booleans and None.
"""

from __future__ import annotations

import datetime
from collections.abc import Hashable
from typing import Any

import yaml

from deployments.domain.errors import InvalidInput

MAX_BYTES = 256 * 1024
MAX_DEPTH = 40
MAX_NODES = 20_000
MAX_DOCUMENTS = 50

_Scanner: Any = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


def load_documents(data: str | bytes, *, field: str = "") -> list[Any]:
    """Every document that is not empty, or :class:`InvalidInput`."""
    text = _text(data, field)
    _scan(text, field)
    try:
        documents = list(yaml.load_all(text, Loader=_PlainLoader))
    except yaml.YAMLError as error:
        raise InvalidInput(_sentence(error), field=field) from error
    except (ValueError, OverflowError) as error:
        raise InvalidInput("This YAML holds a value that cannot be read.", field=field) from error
    return [document for document in documents if document is not None]


def _text(data: str | bytes, field: str) -> str:
    size = len(data) if isinstance(data, bytes) else len(data.encode("utf-8", "surrogatepass"))
    if size > MAX_BYTES:
        raise InvalidInput(
            f"This has {size // 1024} KiB; at most {MAX_BYTES // 1024} KiB are read.", field=field
        )
    if isinstance(data, str):
        return data.removeprefix("\ufeff")
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise InvalidInput("This is not text in UTF-8.", field=field) from error


def _scan(text: str, field: str) -> None:
    """Look at the events only, before anything is built from them."""
    depth = nodes = documents = 0
    try:
        for event in yaml.parse(text, Loader=_Scanner):
            if isinstance(event, yaml.AliasEvent) or getattr(event, "anchor", None):
                raise InvalidInput("Anchors and aliases (“&” and “*”) are not read here.", field=field)
            if isinstance(event, yaml.DocumentStartEvent):
                documents += 1
            elif isinstance(event, yaml.CollectionStartEvent | yaml.ScalarEvent):
                nodes += 1
                if event.tag not in (None, "!"):
                    raise InvalidInput(f"Tags such as “{event.tag[:40]}” are not read here.", field=field)
            if isinstance(event, yaml.CollectionStartEvent):
                depth += 1
            elif isinstance(event, yaml.CollectionEndEvent):
                depth -= 1
            if depth > MAX_DEPTH or nodes > MAX_NODES or documents > MAX_DOCUMENTS:
                raise InvalidInput("This YAML is nested too deep or has too many parts.", field=field)
    except yaml.YAMLError as error:
        raise InvalidInput(_sentence(error), field=field) from error


def _sentence(error: yaml.YAMLError) -> str:
    mark = getattr(error, "problem_mark", None)
    problem = getattr(error, "problem", None) or "it cannot be read"
    where = f" (line {mark.line + 1})" if mark is not None else ""
    return f"This is not valid YAML{where}: {problem}."


class _PlainLoader(yaml.SafeLoader):
    """The safe loader, with dates left as text and doubtful mappings refused."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [key.value if isinstance(key, yaml.ScalarNode) else None for key, _ in node.value]
        for place, key in enumerate(keys):
            mark = node.value[place][0].start_mark
            if key is None:
                raise yaml.constructor.ConstructorError(None, None, "a key has to be text", mark)
            if key == "<<" or key in keys[:place]:
                problem = "“<<” is not read" if key == "<<" else f"“{key}” is there twice"
                raise yaml.constructor.ConstructorError(None, None, problem, mark)
        made = super().construct_mapping(node, deep=True)
        return {str(raw): value for raw, value in zip(keys, made.values(), strict=True)}

    def construct_yaml_timestamp(self, node: yaml.ScalarNode) -> str | datetime.date:  # type: ignore[override]
        return str(node.value)


_PlainLoader.add_constructor("tag:yaml.org,2002:timestamp", _PlainLoader.construct_yaml_timestamp)
