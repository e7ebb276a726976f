"""Many rows at once, without an instance for each: what a large cluster says is thousands of rows a second.

Statements go through ``executemany``: one text, prepared once, whatever their number. Values are plain
texts, numbers, times, and for JSON what it holds, or its text in bytes.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterable, Iterator, Sequence
from functools import lru_cache
from typing import Any

import orjson
from django.db import connection
from django.db.models import DateTimeField, Field, JSONField, Model

Values = Sequence[Any]
ROWS_AT_ONCE = 250
MAX_PARAMETERS = 900  # of one statement; any SQLite takes 999


def upsert(
    model: type[Model],
    names: Sequence[str],
    rows: Iterable[Values],
    *,
    unique: Sequence[str],
    once: Sequence[str] = (),
) -> None:
    """Insert rows, or update those that stand under the same ``unique`` fields. ``names`` are all fields
    that cannot be null, in the order of each row's values; what is in ``once`` is not updated."""
    fields = [_field(model, name) for name in names]
    columns = ", ".join(_quoted(field) for field in fields)
    marks = ", ".join(_mark(field) for field in fields)
    target = ", ".join(_quoted(_field(model, name)) for name in unique)
    sets = ", ".join(
        f"{_quoted(field)} = EXCLUDED.{_quoted(field)}"
        for name, field in zip(names, fields, strict=True)
        if name not in unique and name not in once
    )
    table = connection.ops.quote_name(model._meta.db_table)
    _many(
        f"INSERT INTO {table} ({columns}) VALUES ({marks}) "  # noqa: S608
        f"ON CONFLICT ({target}) DO UPDATE SET {sets}",
        fields,
        rows,
    )


def update(model: type[Model], names: Sequence[str], where: Sequence[str], rows: Iterable[Values]) -> None:
    """Set ``names`` of the rows that ``where`` finds: each row's values are those of both, in order."""
    fields = [_field(model, name) for name in (*names, *where)]
    sets = ", ".join(f"{_quoted(field)} = {_mark(field)}" for field in fields[: len(names)])
    found = " AND ".join(f"{_quoted(field)} = %s" for field in fields[len(names) :])
    table = connection.ops.quote_name(model._meta.db_table)
    _many(f"UPDATE {table} SET {sets} WHERE {found}", fields, rows)  # noqa: S608


def standing(
    model: type[Model], names: Sequence[str], under: Sequence[str], places: Iterable[Values]
) -> Iterator[tuple[Any, ...]]:
    """``names`` of the rows that have one of these places in their fields ``under``, as the database gives
    them (texts and numbers). Joined, so that each place is one look into the index; conditions tied by OR
    make SQLite walk through all of a cluster."""
    table = connection.ops.quote_name(model._meta.db_table)
    columns = ", ".join(f"here.{_quoted(_field(model, name))}" for name in names)
    keys = ", ".join(_quoted(_field(model, name)) for name in under)
    row = f"({', '.join(['%s'] * len(under))})"
    every = [tuple(place) for place in places]
    most = MAX_PARAMETERS // len(under)
    for start in range(0, len(every), most):
        some = every[start : start + most]
        with connection.cursor() as cursor:
            cursor.execute(
                f"WITH wanted ({keys}) AS (VALUES {', '.join([row] * len(some))}) "  # noqa: S608
                f"SELECT {columns} FROM wanted JOIN {table} here USING ({keys})",
                [value for place in some for value in place],
            )
            yield from cursor.fetchall()


def _many(statement: str, fields: Sequence[Field[Any, Any]], rows: Iterable[Values]) -> None:
    prepare = [_preparing(field) for field in fields]
    ready = ([each(value) for each, value in zip(prepare, row, strict=True)] for row in rows)
    # What a thousand objects hold as texts is megabytes, beside their bytes.
    while some := list(itertools.islice(ready, ROWS_AT_ONCE)):
        with connection.cursor() as cursor:
            cursor.executemany(statement, some)


def _preparing(field: Field[Any, Any]) -> Callable[[Any], Any]:
    """What makes a field's value one for the database; the same time comes thousands of times."""
    if isinstance(field, JSONField):
        return lambda value: value if value is None else _json(value).decode()
    if isinstance(field, DateTimeField):
        return lru_cache(maxsize=16)(lambda value: field.get_db_prep_save(value, connection))
    return lambda value: value


def _json(value: Any) -> bytes:
    return value if isinstance(value, bytes) else orjson.dumps(value)


def _mark(field: Field[Any, Any]) -> str:
    return "%s::jsonb" if isinstance(field, JSONField) and connection.vendor == "postgresql" else "%s"


def _field(model: type[Model], name: str) -> Field[Any, Any]:
    return next(field for field in model._meta.concrete_fields if name in (field.name, field.attname))


def _quoted(field: Field[Any, Any]) -> str:
    return str(connection.ops.quote_name(str(field.column)))
