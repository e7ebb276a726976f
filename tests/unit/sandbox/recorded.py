"""The recorded exchanges of a real API server, and the little of a server that replaying them needs."""

from __future__ import annotations

import copy
import json
from pathlib import Path
from typing import Any

from sandbox import apply, defaults, status, validation
from sandbox.kinds import Kind, by_kind, by_name

GOLDEN = Path(__file__).parents[2] / "golden" / "kubernetes"
NOW = "2026-01-01T00:00:02Z"


def exchanges(name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = json.loads((GOLDEN / f"{name}.json").read_text())["exchanges"]
    return found


def kind_of(api_version: str, name: str) -> Kind:
    kind = by_kind(api_version, name)
    assert kind is not None
    return kind


def made(kind: Kind, body: dict[str, Any], mode: str = "Ignore") -> dict[str, Any]:
    """An object as a create stores it."""
    obj, _ = validation.decode(kind, copy.deepcopy(body), mode)
    defaults.apply_defaults(kind, obj)
    defaults.prepare_for_create(kind, obj)
    return obj


def plain(entries: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{key: value for key, value in entry.items() if key != "time"} for entry in entries]


class Objects:
    """A shelf of objects that applies and updates through the functions under test."""

    def __init__(self) -> None:
        self.held: dict[tuple[str, str], dict[str, Any]] = {}

    def do(self, step: dict[str, Any], now: str = NOW) -> dict[str, Any]:
        kind = by_name(step["kind"])
        key = (step["kind"], step["name"])
        live = self.held.get(key)
        manager, subresource = step.get("manager", ""), step.get("subresource", "")
        if step["do"] == "apply":
            body = step["body"]
            raw = body if isinstance(body, str) else json.dumps(body, ensure_ascii=False)
            new = apply.server_side_apply(
                kind,
                live,
                apply.parse_body(raw.encode()),
                manager,
                step.get("force", False),
                subresource,
                now,
            )
            defaults.apply_defaults(kind, new)
        elif step["do"] == "get":
            assert live is not None
            return live
        elif live is None:
            new, _ = validation.decode(kind, step["body"], "Strict")
            defaults.apply_defaults(kind, new)
            apply.track_update(kind, None, new, manager, "", now)
        else:
            new = copy.deepcopy(live)
            if "merge" in step:
                _merge(new, step["merge"])
            else:
                new, _ = validation.decode(kind, step["body"], "Strict")
                defaults.apply_defaults(kind, new)
            apply.track_update(kind, live, new, manager, subresource, now)
        new["metadata"].setdefault("name", step["name"])
        causes = validation.validate(kind, new, live)
        if causes:
            raise status.invalid(kind, step["name"], causes)
        if live is None or not apply.unchanged(live, new):
            self.held[key] = new
        return self.held[key]


def _merge(target: dict[str, Any], change: dict[str, Any]) -> None:
    for key, value in change.items():
        if isinstance(value, dict):
            _merge(target[key], value)
        else:
            target[key] = value
