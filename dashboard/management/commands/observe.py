"""manage.py observe: the process that watches clusters and keeps the time."""

from __future__ import annotations

import os
import signal
from types import FrameType
from typing import Any

from django.core.checks import Tags
from django.core.management.base import BaseCommand, CommandError
from django.db import DatabaseError, connections

from deployments.observer.service import BrokenOff, Observer


class Command(BaseCommand):
    help = (
        "Watch the connected clusters and keep the time of operations, until SIGTERM or Ctrl-C. "
        "Several may run: they share the clusters among them."
    )
    # What concerns this process. The checks of addresses would load every view, for nothing.
    requires_system_checks = (Tags.compatibility, Tags.database, Tags.files, Tags.security)

    def handle(self, *args: Any, **options: Any) -> None:
        self._check_migrations_apart()
        observer = Observer()

        def stop(number: int, frame: FrameType | None) -> None:
            observer.stop()

        for name in (signal.SIGTERM, signal.SIGINT):
            signal.signal(name, stop)
        try:
            observer.run()
        except BrokenOff as error:
            raise CommandError(str(error)) from error  # whoever supervises it starts it again

    def _check_migrations_apart(self) -> None:
        """Say which migrations are missing. In a child, which takes with it what it read of them: ten
        megabytes that this process would hold for months."""
        connections.close_all()  # which two processes must not share
        child = os.fork()
        if child:
            os.waitpid(child, 0)
            return
        try:
            self.check_migrations()
        except DatabaseError as error:
            self.stderr.write(f"The database cannot be asked which migrations it has: {error}")
        finally:
            self.stdout.flush()
            os._exit(0)
