"""The first account of an installation that was not begun with ./run."""

from __future__ import annotations

import argparse
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from dashboard.first_start import ADMIN
from deployments.commands.accounts import create_first_admin
from deployments.domain.errors import Conflict


class Command(BaseCommand):
    help = "Make the first account, the site's admin, and print its one-time password."

    def add_arguments(self, parser: argparse.ArgumentParser) -> None:
        parser.add_argument("--username", default=ADMIN)

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            user, password = create_first_admin(options["username"])
        except Conflict as error:
            raise CommandError(f"{error.sentence} {error.remedy}") from error
        self.stdout.write(f"Sign in as {user.get_username()} with the password {password}")
        self.stdout.write("It is shown this once and stored nowhere.")
