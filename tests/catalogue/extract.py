"""The core's sentences, read out of its source: templates with named holes.

The core writes plain English and knows no language. What it writes is translated when it is shown
(``deployments/sentences.py``), sentence by sentence, by templates such as "The claim {claim_name} gets no
volume." They are found here by walking the syntax trees: every text that can reach a person counts, but
for what is named below. A text that never reaches one and looks as if it did is translated by itself.
"""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from dataclasses import dataclass, field
from itertools import product
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent.parent

Parts = tuple[str, ...]
"""A template as text and holes in turn: text first, so that each second part is a hole's name."""

MOST_ALTERNATIVES = 48
# Faults of the program: they are logged, and a person reads a general sentence instead.
FAULTS = {
    "AssertionError",
    "AttributeError",
    "ImproperlyConfigured",
    "KeyError",
    "LookupError",
    "NotImplementedError",
    "RuntimeError",
    "TypeError",
    "Unpackable",
    "ValueError",
}
# What takes texts that are looked for, not said.
SEARCHES = {
    "compile", "count", "endswith", "execute", "find", "finditer", "fullmatch", "getattr", "getlist", "index",
    "join", "match", "partition", "pop", "removeprefix", "removesuffix", "replace", "rpartition", "rsplit", "search",
    "setdefault", "setattr", "split", "splitlines", "startswith", "strftime", "strip", "sub", "values_list", "RawSQL",
}  # fmt: skip
# Arguments by name that name things.
NAMES = {"name", "field", "related_name", "db_table", "violation_error_message", "headers", "key"}
# Whole modules whose texts are configuration, SQL, manifests or figures of a program.
ELSEWHERE = (
    "deployments/checks.py",
    "deployments/logs.py",
    "deployments/sentences.py",
    "deployments/migrations/",
    "deployments/models/",
    "deployments/gateways/chat/headers.py",
)
# What the dashboard stores in English, as the core does.
STORED = ("dashboard/first_start.py", "dashboard/oidc/signin.py")
# Where sentences are made outside of the core: the errors that the dashboard raises are shown like the core's.
ERRORS = {
    "ClusterError", "Conflict", "Denied", "InvalidInput", "ModelError", "NotFound", "PilothouseError", "ServerFault",
}  # fmt: skip
# Single words that stand in holes, which no rule tells from names of fields.
WORDS = (
    "admin", "auditor", "maintainer", "none", "operator", "owner", "viewer",
    "cancelled", "failed", "queued", "running", "succeeded",
    "memory", "storage", "deployments", "server", "chat", "somebody", "nobody", "object", "verifying", "writing",
    "cluster", "deployment", "operation", "profile", "team", "user", "audit", "account", "invitation",
    "unknown", "nothing",
    "apply", "approval", "check", "data", "delete", "diff", "identify", "namespace", "preflight", "pull", "reach",
    "ready", "rights", "start", "stop", "{count} {words}", "Model", "Storage", "token",
)  # fmt: skip
_GETTEXT = {"_", "gettext", "gettext_lazy", "ngettext", "pgettext", "pgettext_lazy", "ngettext_lazy"}
_LOGGERS = {"log", "logger", "logging", "warnings"}
_BUILT_IN = {
    "str", "int", "len", "map", "sorted", "list", "set", "round", "max", "min", "float", "abs", "sum", "repr", "next",
    "tuple", "join", "lower", "upper", "format", "strip", "quote", "bounded", "isoformat", "value", "values", "get",
}  # fmt: skip
_CODE_BEGINS = ("SELECT", "UPDATE", "WITH ", "CAST(", "/", "^", "(?")
_CODE_HOLDS = ("://", "|", "\\", "(?", ".*", "[^", "%s", "charset=", "=%")
_PLAIN_WORD = re.compile(r"(?<![\w./:=@%-])[A-Za-z’'-]*[a-z]{2}[a-z’'-]*(?![\w/=@_])")


@dataclass
class Found:
    """A template and the places that write it (path:line)."""

    text: str
    places: list[str] = field(default_factory=list)


def extract(root: Path = ROOT) -> dict[str, Found]:
    """Every template of the core and of the dashboard's own errors, by its text."""
    found: dict[str, Found] = {}
    for package in ("deployments", "dashboard"):
        for path in sorted((root / package).rglob("*.py")):
            place = path.relative_to(root).as_posix()
            if place.startswith(ELSEWHERE) or "/management/" in place:
                continue
            walk = _Walk(only_errors=package == "dashboard" and place not in STORED)
            walk.visit(ast.parse(path.read_text()))
            for line, text in walk.found:
                found.setdefault(text, Found(text)).places.append(f"{place}:{line}")
    return found


class _Walk(ast.NodeVisitor):
    def __init__(self, only_errors: bool) -> None:
        self.found: list[tuple[int, str]] = []
        self._only_errors = only_errors
        self._inside = 0

    # What is not walked into ------------------------------------------------------------------------
    def visit_Expr(self, node: ast.Expr) -> None:
        if not isinstance(node.value, ast.Constant):  # else a docstring
            self.generic_visit(node)

    def visit_Compare(self, node: ast.Compare) -> None:
        pass

    def visit_Subscript(self, node: ast.Subscript) -> None:
        self.visit(node.value)

    def visit_Assert(self, node: ast.Assert) -> None:
        pass

    def visit_FunctionDef(self, node: ast.FunctionDef | ast.AsyncFunctionDef) -> None:
        for each in (*node.args.defaults, *node.args.kw_defaults, *node.body):
            if each is not None:
                self.visit(each)

    visit_AsyncFunctionDef = visit_FunctionDef

    def visit_AnnAssign(self, node: ast.AnnAssign) -> None:
        if node.value is not None:
            self.visit(node.value)

    def visit_Call(self, node: ast.Call) -> None:
        name = _called(node)
        if name in FAULTS or name in _GETTEXT or _root(node.func) in _LOGGERS:
            return
        if isinstance(node.func, ast.Attribute):
            self.visit(node.func.value)
        said = name in ERRORS
        self._inside += said
        if name in SEARCHES:
            for each in node.args:
                if not isinstance(each, ast.Constant | ast.JoinedStr):
                    self.visit(each)
        else:
            for each in node.args:
                self.visit(each)
        for keyword in node.keywords:
            if keyword.arg not in NAMES:
                self.visit(keyword.value)
        self._inside -= said

    def visit_Dict(self, node: ast.Dict) -> None:
        for value in node.values:
            self.visit(value)

    # What is said -----------------------------------------------------------------------------------
    def visit_Constant(self, node: ast.Constant) -> None:
        self._take(node)

    def visit_JoinedStr(self, node: ast.JoinedStr) -> None:
        self._take(node)
        for each in node.values:
            if isinstance(each, ast.FormattedValue):
                self.visit(each.value)

    def visit_BinOp(self, node: ast.BinOp) -> None:
        if isinstance(node.op, ast.Add) and (_is_text(node.left) or _is_text(node.right)):
            self._take(node)
            return
        if isinstance(node.op, ast.Mod):
            return
        self.generic_visit(node)

    def _take(self, node: ast.expr) -> None:
        if self._only_errors and not self._inside:
            return
        if isinstance(node, ast.Constant) and not isinstance(node.value, str):
            return
        for parts in alternatives(node):
            text = template(parts)
            if is_said(text):
                self.found.append((node.lineno, text))


def alternatives(node: ast.expr) -> list[list[str | None]]:
    """The texts that an expression can be: each a list of texts and, at odd places, names of holes."""
    match node:
        case ast.Constant(value=str() as text):
            return [[text]]
        case ast.JoinedStr(values=values):
            return _product([_in_text(each) for each in values])
        case ast.BinOp(op=ast.Add(), left=left, right=right) if _is_text(node):
            return _product([alternatives(left), alternatives(right)])
        case ast.IfExp(body=body, orelse=orelse) if _is_text(body) or _is_text(orelse):
            return [*alternatives(body), *alternatives(orelse)]
        case ast.BoolOp(op=ast.Or(), values=[*first, last]) if _is_text(last):
            return [*(option for each in first for option in alternatives(each)), *alternatives(last)]
    return [["", hole_name(node), ""]]


def _in_text(node: ast.expr) -> list[list[str | None]]:
    if isinstance(node, ast.FormattedValue):
        if node.format_spec is None and node.conversion == -1:
            return alternatives(node.value)
        return [["", hole_name(node.value), ""]]
    return alternatives(node)


def _product(options: list[list[list[str | None]]]) -> list[list[str | None]]:
    made: list[list[str | None]] = []
    for combination in product(*options):
        joined: list[str | None] = [""]
        for parts in combination:
            joined[-1] = f"{joined[-1]}{parts[0]}"
            joined.extend(parts[1:])
        made.append(joined)
        if len(made) == MOST_ALTERNATIVES:
            break
    return made


def _is_text(node: ast.expr) -> bool:
    match node:
        case ast.Constant(value=str()) | ast.JoinedStr():
            return True
        case ast.BinOp(op=ast.Add(), left=left, right=right):
            return _is_text(left) or _is_text(right)
        case ast.IfExp(body=body, orelse=orelse):
            return _is_text(body) or _is_text(orelse)
    return False


def hole_name(node: ast.expr) -> str:
    """A name for what stands in a hole: the last words of the expression that are its own."""
    names = [
        each.id if isinstance(each, ast.Name) else each.attr
        for each in _in_order(node)
        if isinstance(each, ast.Name | ast.Attribute)
    ]
    own = [
        name.lower() for name in names if name not in _BUILT_IN and (not name.isupper() or _looked_up(node))
    ]
    words = own[:2] or [names[-1].lower() if names else "value"]
    return "_".join(word.strip("_") for word in words)


def _looked_up(node: ast.expr) -> bool:
    """Whether it is an entry of a table of words (WORDS[name])."""
    return isinstance(node, ast.Subscript) and isinstance(node.value, ast.Name) and node.value.id.isupper()


def _in_order(node: ast.AST) -> Iterator[ast.AST]:
    for child in ast.iter_child_nodes(node):
        if not isinstance(child, ast.expr_context):
            yield from _in_order(child)
    yield node


def template(parts: list[str | None]) -> str:
    """Parts as one text: holes in braces, each name once; blanks around it belong to what it stands in."""
    seen: dict[str, int] = {}
    text = ""
    for at, part in enumerate(parts):
        if at % 2 == 0:
            text += str(part).replace("{}", "{value}")  # a hole for str.format
            continue
        name = str(part)
        seen[name] = seen.get(name, 0) + 1
        text += "{" + (name if seen[name] == 1 else f"{name}_{seen[name]}") + "}"
    return text.strip()


def is_said(text: str) -> bool:
    """Whether a text may be words for people: it has a plain word outside of its holes, and more than one
    thing in it."""
    outside = re.sub(r"\{\w+\}", " • ", text).replace("/s", "")
    if outside.lstrip().startswith(_CODE_BEGINS) or any(sign in outside for sign in _CODE_HOLDS):
        return False
    return " " in text and bool(_PLAIN_WORD.search(outside.replace("•", " ")))


def _called(node: ast.Call) -> str:
    return node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")


def _root(node: ast.expr) -> str:
    while isinstance(node, ast.Attribute):
        node = node.value
    return node.id if isinstance(node, ast.Name) else ""
