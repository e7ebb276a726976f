"""Sign the audit as it is now."""

from __future__ import annotations

from typing import Any

from django.core.management.base import BaseCommand

from dashboard.management.actor import command_line_actor
from deployments.commands.audit import sign_checkpoint


class Command(BaseCommand):
    help = "Sign a checkpoint of the audit and print it: keep it outside, and nothing before it can be rewritten."

    def handle(self, *args: Any, **options: Any) -> None:
        checkpoint = sign_checkpoint(command_line_actor())
        self.stdout.write(f"statement  {checkpoint.statement}")
        self.stdout.write(f"public key {checkpoint.public_key}")
        self.stdout.write(f"signature  {checkpoint.signature}")
