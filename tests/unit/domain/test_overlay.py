"""What an apply asks for, laid over what is there."""

from __future__ import annotations

from typing import Any

from deployments.domain.overlay import laid_over

OURS = {
    "f:metadata": {"f:labels": {"f:a": {}, "f:b": {}}},
    "f:spec": {
        "f:size": {},
        "f:claims": {},
        "f:containers": {
            'k:{"name":"main"}': {".": {}, "f:name": {}, "f:image": {}, "f:user": {}},
            'k:{"name":"old"}': {".": {}, "f:name": {}},
        },
    },
}


def live() -> dict[str, Any]:
    entries = [
        {"manager": "else", "operation": "Update", "fieldsV1": {"f:spec": {"f:theirs": {}}}},
        {"manager": "us", "operation": "Apply", "fieldsV1": OURS},
    ]
    return {
        "kind": "Thing",
        "metadata": {"name": "one", "labels": {"a": "1", "b": "2", "c": "3"}, "managedFields": entries},
        "spec": {
            "size": 1,
            "theirs": True,
            "claims": [{"name": "models", "mode": "Filesystem"}],
            "containers": [
                {"name": "main", "image": "x:1", "user": 0, "policy": "File"},
                {"name": "old"},
                {"name": "injected"},
            ],
        },
    }


def test_what_the_manifest_leaves_out_goes_where_it_was_ours_and_stays_where_it_was_not() -> None:
    manifest = {
        "metadata": {"name": "one", "labels": {"a": "9"}},
        "kind": "Thing",
        "spec": {"size": 2, "containers": [{"name": "new"}, {"image": "x:2", "name": "main"}]},
    }
    made = laid_over(live(), manifest, "us")
    assert made["metadata"]["labels"] == {"a": "9", "c": "3"}
    assert made["spec"] == {
        "size": 2,
        "theirs": True,
        "containers": [
            {"name": "main", "image": "x:2", "policy": "File"},
            {"name": "injected"},
            {"name": "new"},
        ],
    }
    assert list(made) == ["kind", "metadata", "spec"], "in the order of what is there"


def test_what_the_server_filled_in_is_no_difference() -> None:
    spec = live()["spec"]
    manifest = {
        "kind": "Thing",
        "metadata": {"name": "one", "labels": {"a": "1", "b": "2"}},
        "spec": {
            "claims": [{"name": "models"}],
            "size": 1,
            "containers": [{"name": "main", "image": "x:1", "user": 0}, {"name": "old"}],
        },
    }
    assert laid_over(live(), manifest, "us")["spec"] == spec


def test_what_another_manager_applied_is_never_taken_away() -> None:
    made = laid_over(live(), {"kind": "Thing", "spec": {"size": 1}}, "nobody")
    assert made == live()
