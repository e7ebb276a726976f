"""Connect a cluster from a terminal: manage.py connect_cluster NAME --kubeconfig FILE."""

from __future__ import annotations

import sys
from argparse import ArgumentParser
from pathlib import Path
from typing import Any

from django.conf import settings
from django.core.management.base import BaseCommand, CommandError

from dashboard.management.actor import command_line_actor
from dashboard.management.words import as_command_error, follow, require_success, team_named
from deployments.commands.clusters import connect_cluster, read_credential, service_account_credential
from deployments.domain.errors import PilothouseError

MAX_FILE = 1024 * 1024


class Command(BaseCommand):
    help = "Connect a cluster by a kubeconfig (- reads stdin) or by the pod's own service account."

    def add_arguments(self, parser: ArgumentParser) -> None:
        parser.add_argument("name")
        way = parser.add_mutually_exclusive_group(required=True)
        way.add_argument("--kubeconfig", metavar="FILE")
        way.add_argument("--in-cluster", action="store_true", help="use the pod's own service account")
        parser.add_argument("--context", help="which context, where the file has several")
        parser.add_argument("--team", action="append", default=[], help="a team that may use it; repeatable")
        parser.add_argument("--namespaces", nargs="+", default=["*"], metavar="PATTERN")
        parser.add_argument("--simulated", action="store_true", help="label it as simulated on every page")
        parser.add_argument("--wait", action="store_true", help="wait for the connection check")
        parser.add_argument("--timeout", type=float, default=60, metavar="SECONDS")

    def handle(self, *args: Any, **given: Any) -> None:
        actor = command_line_actor()
        teams = [team_named(actor, name) for name in given["team"] or [None]]
        try:
            credential = (
                service_account_credential()
                if given["in_cluster"]
                else read_credential(
                    read_file(given["kubeconfig"], MAX_FILE),
                    given["context"],
                    allow_loopback=settings.ALLOW_LOOPBACK_CLUSTERS,
                )
            )
            cluster, check = connect_cluster(
                actor,
                name=given["name"],
                credential=credential,
                teams=teams,
                namespaces=given["namespaces"],
                simulated=given["simulated"],
            )
        except PilothouseError as error:
            raise as_command_error(error) from error
        self.stderr.write(f"{cluster.name} is connected; operation {check.pk} checks it.")
        if given["wait"]:
            require_success(follow(actor, check.pk, given["timeout"], self.stderr.write))


def read_file(name: str, limit: int) -> bytes:
    """A file, or stdin for "-"; a byte more than ``limit`` at most, so that the reader can refuse it."""
    if name == "-":
        return sys.stdin.buffer.read(limit + 1)
    try:
        with Path(name).open("rb") as file:
            return file.read(limit + 1)
    except OSError as error:
        raise CommandError(f"{name} cannot be read: {error.strerror}.") from error
