"""manage.py observe: the process that watches clusters and keeps the time."""

from __future__ import annotations

import signal
from types import FrameType
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand

from deployments.observer.service import Observer


class Command(BaseCommand):
    help = (
        "Watch the connected clusters and keep the time of operations, until SIGTERM or Ctrl-C. "
        "Several may run: they share the clusters among them."
    )
    requires_migrations_checks = True
    # What concerns this process. The checks of addresses would load every view, for nothing.
    requires_system_checks = (Tags.compatibility, Tags.database, Tags.files, Tags.security)

    def handle(self, *args: Any, **options: Any) -> None:
        observer = Observer()

        def stop(number: int, frame: FrameType | None) -> None:
            observer.stop()

        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, stop)
        observer.run()
