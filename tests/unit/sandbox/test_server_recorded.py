"""The server against recorded exchanges with a real kube-apiserver 1.36 (golden excerpts of the transcripts).

Every exchange is sent in its recorded order; its status must be the recorded one, and where the excerpt holds an answer,
the whole body too, but for uids, times, resourceVersions, addresses and field ownership times.
"""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from tests.sandbox_server import RunningSandbox, running_sandbox

GOLDEN = Path(__file__).parents[2] / "golden" / "kubernetes" / "server"
TOKENS = {"anonymous": "", "nobody (token)": "nob", "dash (token)": "das", "wrong (token)": "wrong"}
UNMADE = ("absent", "no-such-ns", "term-c", "default", "kube-system", "def-b")
MASKS = [
    (re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"), "UID"),
    (re.compile(r"20\d\d-\d\d-\d\dT\d\d:\d\d:\d\dZ"), "TIME"),
    (re.compile(r'"resourceVersion": "\d+"'), "RV"),
    (re.compile(r"ResourceVersion in record \(\d+\)"), "RV"),
    (re.compile(r"ey[A-Za-z0-9_-]{20,}"), "TOKEN"),
    (re.compile(r'-[bcdfghjklmnpqrstvwxz2456789]{5}"'), '-RANDOM"'),
    (re.compile(r"current: \d+"), "current: N"),
    (re.compile(r"10\.0\.0\.\d+"), "ADDRESS"),
]


def masked(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value, ensure_ascii=False)
    for pattern, word in MASKS:
        text = pattern.sub(word, text)
    return text


def without_owners(value: Any) -> Any:
    if isinstance(value, dict):
        return {key: without_owners(inner) for key, inner in value.items() if key != "managedFields"}
    if isinstance(value, list):
        return [without_owners(inner) for inner in value]
    return value


def prepare(cluster: RunningSandbox, golden: dict[str, Any]) -> None:
    paths = [entry["path"] for entry in golden["exchanges"] + golden["setup"]]
    names = {name for path in paths for name in re.findall(r"/namespaces/([a-z0-9-]+)(?:/|\?|$)", path)}
    for name in sorted(names - set(UNMADE)):
        cluster.request("POST", "/api/v1/namespaces", {"metadata": {"name": name}})
    for entry in golden["setup"]:
        code, _, answer = cluster.request("POST", entry["path"], entry["body"])
        assert code == 201, answer


@pytest.mark.parametrize("path", sorted(GOLDEN.glob("*.json")), ids=lambda path: path.stem)
def test_answers_as_recorded(path: Path) -> None:
    golden = json.loads(path.read_text())
    known: dict[str, str] = {}
    differences: list[str] = []
    tokens = {"nob": ("nobody", ()), "das": ("dashboard-sa", ("dashboards",))}
    with running_sandbox(tokens=tokens) as cluster:
        prepare(cluster, golden)
        for entry in golden["exchanges"]:
            sent = json.dumps([entry["path"], entry.get("body")])
            for recorded, ours in known.items():
                sent = sent.replace(recorded, ours)
            url, body = json.loads(sent)
            if isinstance(body, str):
                body = body.encode()
            token = TOKENS[entry["as"]] if entry.get("as") in TOKENS else None
            code, _, answer = cluster.request(entry["method"], url, body, entry.get("headers"), token)
            for member, value in (entry.get("learn") or {}).items():
                if value and isinstance(answer, dict):
                    known[value] = answer["metadata"].get(member, value)
            if code != entry["status"]:
                differences.append(
                    f"{entry['index']} {entry['method']} {url}: {code}, recorded {entry['status']}: {answer}"
                )
            elif "answer" in entry and masked(without_owners(answer)) != masked(entry["answer"]):
                differences.append(
                    f"{entry['index']} {entry['method']} {url}:\n"
                    f"  {masked(without_owners(answer))}\n  recorded\n  {masked(entry['answer'])}"
                )
    assert not differences, "\n".join(differences)
    assert len(golden["exchanges"]) > 10
