"""Install from a terminal: manage.py install_profile PROFILE --cluster C --namespace NS --name NAME."""

from __future__ import annotations

import json
from argparse import ArgumentParser
from typing import Any

from django.core.management.base import BaseCommand, CommandError

from dashboard.management.actor import command_line_actor
from dashboard.management.words import as_command_error, ended, follow, require_success, team_named
from deployments.commands.install import install
from deployments.domain.errors import PilothouseError
from deployments.selectors import lookup, profiles, scope


class Command(BaseCommand):
    help = (
        "Install a profile. Exit code 0: begun, or with --wait installed; 1: refused or failed; "
        "3: not ended within --timeout. Progress goes to stderr."
    )

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("profile")
        parser.add_argument("--cluster", required=True)
        parser.add_argument("--namespace", required=True)
        parser.add_argument("--name", required=True)
        parser.add_argument("--team", help="where two teams have a profile of that name")
        parser.add_argument("--revision", type=int, help="by default the newest")
        parser.add_argument("--reason", default="")
        parser.add_argument("--wait", action="store_true")
        parser.add_argument("--json", action="store_true", help="print the final state as JSON on stdout")
        parser.add_argument("--timeout", type=float, default=3600, metavar="SECONDS")

    def handle(self, *args: Any, **given: Any) -> None:
        actor = command_line_actor()
        found = profiles.profile_named(actor, given["profile"])
        if given["team"]:
            team = team_named(actor, given["team"])
            found = [profile for profile in found if profile.team_id == team.pk]
        if len(found) != 1:
            if found:
                teams = ", ".join(profile.team.name for profile in found)
                raise CommandError(f"Several teams have a profile {given['profile']}: say --team. {teams}")
            raise CommandError(f"There is no profile named {given['profile']}.")
        cluster = scope.clusters(actor).filter(name__iexact=given["cluster"]).first()
        if cluster is None:
            raise CommandError(f"There is no cluster named {given['cluster']}.")
        try:
            begun = install(
                actor,
                revision_id=profiles.revision(actor, found[0].pk, given["revision"]).pk,
                cluster_id=cluster.pk,
                namespace=given["namespace"],
                name=given["name"],
                reason=given["reason"],
            )
        except PilothouseError as error:
            raise as_command_error(error) from error
        self.stderr.write(f"Operation {begun.pk}: {begun.title} on {cluster.name}/{given['namespace']}")
        operation = (
            follow(actor, begun.pk, given["timeout"], self.stderr.write)
            if given["wait"]
            else lookup.operation(actor, begun.pk)
        )
        if given["json"]:
            self.stdout.write(json.dumps(ended(operation), indent=2, ensure_ascii=False))
        if given["wait"]:
            require_success(operation)
