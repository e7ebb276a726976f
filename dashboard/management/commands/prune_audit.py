"""Delete audit entries that are older than they are kept for; by default only say which."""

from __future__ import annotations

from typing import Any

from django.core.management import CommandError
from django.core.management.base import BaseCommand, CommandParser

from dashboard.management.actor import command_line_actor
from dashboard.management.words import as_command_error
from deployments.commands import audit_retention
from deployments.domain.audit import KEPT_FOR_EVER, EntryClass
from deployments.domain.errors import PilothouseError
from deployments.ledger import retention
from deployments.ledger.chainwalk import Broken

CLASSES = ", ".join(each.value for each in EntryClass if each not in KEPT_FOR_EVER)


class Command(BaseCommand):
    help = "Say which audit entries are older than they are kept for, and with --apply delete them."

    def add_arguments(self, parser: CommandParser) -> None:
        parser.add_argument(
            "--keep",
            action="append",
            default=[],
            metavar="CLASS=DAYS",
            help=f"instead of the stored policy; classes: {CLASSES}",
        )
        parser.add_argument("--apply", action="store_true", help="delete them")

    def handle(self, *args: Any, **options: Any) -> None:
        actor = command_line_actor()
        try:
            days = dict(self._pair(text) for text in options["keep"])
            kept: dict[EntryClass, int | None] = {**(days or retention.policy())}
            if not kept:
                self.stdout.write("Every entry is kept for ever: there is no policy, and no --keep.")
                return
            for item in audit_retention.preview(actor, kept):
                span = (
                    f", {item.oldest:%Y-%m-%d} to {item.newest:%Y-%m-%d}"
                    if item.oldest and item.newest
                    else ""
                )
                self.stdout.write(
                    f"{item.entry_class}: kept for {item.days} days, {item.count:,} older{span}"
                )
            if not options["apply"]:
                self.stdout.write("Nothing was deleted. Run it with --apply to delete them.")
                return
            count = audit_retention.prune(actor, days=kept if days else None)
        except PilothouseError as error:
            raise as_command_error(error) from error
        except Broken as broken:
            raise CommandError(
                f"The audit is broken at entry {broken.sequence}: {broken.sentence}. What proves that is not deleted."
            ) from broken
        self.stdout.write(f"{count:,} entries deleted; the act and a signed checkpoint are in the audit.")

    def _pair(self, text: str) -> tuple[EntryClass, int | None]:
        name, _equals, days = text.partition("=")
        try:
            return EntryClass(name), int(days)
        except ValueError as error:
            raise CommandError(f"{text}: write CLASS=DAYS with a class of {CLASSES}.") from error
