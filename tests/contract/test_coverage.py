"""Nothing of the gateway goes without a contract."""

from __future__ import annotations

import importlib
import inspect
import pkgutil

import pytest

import tests.contract
from deployments.gateways.kubernetes import ClusterClient


def contract_tests() -> dict[str, object]:
    found: dict[str, object] = {}
    for module in pkgutil.iter_modules(tests.contract.__path__):
        if module.name.startswith("test_"):
            loaded = importlib.import_module(f"tests.contract.{module.name}")
            for name, function in vars(loaded).items():
                if name.startswith("test_") and inspect.isfunction(function):
                    found[f"{module.name}.{name}"] = function
    return found


def claimed() -> set[str]:
    methods: set[str] = set()
    for function in contract_tests().values():
        for mark in getattr(function, "pytestmark", []):
            if mark.name == "covers":
                methods |= set(mark.args)
    return methods


def public_methods() -> set[str]:
    return {
        name
        for name, member in inspect.getmembers(ClusterClient, inspect.isfunction)
        if not name.startswith("_")
    }


def test_every_public_method_is_claimed() -> None:
    """Of the gateway's own interface, not of the API."""
    assert public_methods() - claimed() == set(), "public methods of ClusterClient without a contract test"
    assert claimed() - public_methods() == set(), "claims for methods that do not exist"


@pytest.mark.parametrize("name, function", sorted(contract_tests().items()))
def test_every_test_names_its_source(name: str, function: object) -> None:
    """A contract test says which recorded transcript or which documentation it is written from."""
    text = inspect.getdoc(function) or ""
    assert name.startswith("test_coverage") or any(
        word in text
        for word in ("ecorded transcript", "Kubernetes API", "Kubernetes documentation", "kubectl reference")
    ), f"{name} does not name its source"
