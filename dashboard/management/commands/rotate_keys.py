"""Encrypt every stored secret anew with the newest key."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand

from deployments.commands.clusters import rotate_keys
from deployments.domain.actors import PILOTHOUSE
from deployments.domain.errors import Unreadable


class Command(BaseCommand):
    help = "Encrypt every stored secret anew with the first of ENCRYPTION_KEYS, in one transaction."

    def handle(self, *args: Any, **options: Any) -> None:
        try:
            count = rotate_keys(PILOTHOUSE)
        except Unreadable as error:
            raise CommandError(f"{error.sentence} Nothing was changed. {error.remedy}".strip()) from error
        self.stdout.write(f"{count} secret{'' if count == 1 else 's'} encrypted with the newest key.")
