"""Prove the audit: the database's, or an export's."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand, CommandParser

from dashboard.management.actor import command_line_actor
from deployments.commands.audit import verify
from deployments.ledger import checkpoints
from deployments.ledger.chainwalk import Verdict
from deployments.ledger.export_check import check_file

BROKEN = 1


class Command(BaseCommand):
    help = (
        "Walk the audit's chain and say whether it holds. Exit code 0: it holds; 1: it is broken, and the "
        "first entry that does not fit is named; 2: it could not be looked at."
    )

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument("--from", dest="file", metavar="FILE", help="an export (JSON Lines or CSV)")
        parser.add_argument(
            "--key",
            action="append",
            default=[],
            metavar="HEX",
            help="believe checkpoints of this public key only; without it, this installation's",
        )

    def handle(self, *args: Any, **options: Any) -> None:
        if options["file"]:
            keys = frozenset(options["key"]) or checkpoints.known_keys()
            try:
                with Path(options["file"]).open("rb") as file:
                    verdict = check_file(file, keys)
            except OSError as error:
                raise CommandError(f"{options['file']}: {error.strerror}", returncode=2) from error
        else:
            verdict = verify(command_line_actor())
        self._say(verdict)

    def _say(self, verdict: Verdict) -> None:
        for note in verdict.notes:
            self.stdout.write(note)
        if verdict.broken is not None:
            broken = verdict.broken
            raise CommandError(f"Entry {broken.sequence}: {broken.sentence}.", returncode=BROKEN)
        parts = [f"{verdict.entries:,} entries"]
        if verdict.skipped:
            parts.append(f"{verdict.skipped:,} more by their digest")
        if verdict.pruned:
            parts.append(f"{verdict.pruned:,} deleted by retention")
        self.stdout.write(f"The chain holds up to entry {verdict.last:,}: {', '.join(parts)}.")
        self.stdout.write(f"Its last hash is {verdict.hash}.")
        if verdict.signed_to:
            self.stdout.write(
                f"{verdict.checkpoints:,} signed checkpoints fit; the last one covers entry {verdict.signed_to:,}."
            )
        else:
            self.stdout.write("No signed checkpoint covers any of it yet.")
