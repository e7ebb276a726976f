"""Import a profile from a terminal: manage.py import_profile FILE."""

from __future__ import annotations

from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.core.management.base import BaseCommand

from dashboard.forms.files import MAX_FILE
from dashboard.forms.files import read_file as understand
from dashboard.management.actor import command_line_actor
from dashboard.management.commands.connect_cluster import read_file
from dashboard.management.words import as_command_error, team_named
from deployments.commands.profiles import create_profile
from deployments.domain.errors import PilothouseError


class Command(BaseCommand):
    help = "Make a profile of a config.yaml of the DeepSeek extension or of an exported profile."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("file", help="- reads stdin")
        parser.add_argument("--team")
        parser.add_argument("--name", help="by default the name in the file, or that of the file")

    def handle(self, *args: Any, **given: Any) -> None:
        actor = command_line_actor()
        team = team_named(actor, given["team"])
        try:
            found = understand(read_file(given["file"], MAX_FILE))
            stem = "imported" if given["file"] == "-" else Path(given["file"]).stem
            for kind, lines in (("warning", found.warnings), ("left out", found.ignored)):
                for line in lines:
                    self.stderr.write(f"{kind}: {line.path + ': ' if line.path else ''}{line.sentence}")
            revision = create_profile(
                actor,
                team_id=team.pk,
                name=given["name"] or found.name or stem,
                spec=found.spec,
                secrets=found.secrets,
                description=found.description,
                note="Imported from a file",
            )
        except PilothouseError as error:
            raise as_command_error(error) from error
        self.stderr.write(f"{len(found.understood)} values were understood.")
        self.stdout.write(f"{revision.profile.name} revision {revision.number}")
