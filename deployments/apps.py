"""The core as a Django application."""

from __future__ import annotations

from importlib import import_module

from django.apps import AppConfig


class DeploymentsConfig(AppConfig):
    name = "deployments"
    label = "deployments"

    def ready(self) -> None:
        import_module("deployments.checks")  # registers the checks, which need loaded applications
