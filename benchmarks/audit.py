"""The audit at size: what the chain costs writers, how long a walk over it takes, how fast its page answers.

    python -m benchmarks.audit [--entries 1000000] [--seconds 15] [--writers 8] [--only write|verify|pages]

On a PostgreSQL of its own, made in a temporary directory (as the user postgres where this runs as root).
Writers insert the same row in a transaction with and without the chain, in turns. The page's filters are
asked for as an auditor does, with the query of the list and its count.
"""

from __future__ import annotations

import argparse
import math
import multiprocessing
import os
import resource
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import timedelta
from pathlib import Path
from typing import Any

from benchmarks.machine import machine

PROGRAMS = (
    *sorted(Path("/usr/lib/postgresql").glob("*/bin"), reverse=True),
    Path("/usr/local/bin"),
    Path("/usr/bin"),
)
BATCH = 5000
TURNS = 3


@contextmanager
def postgres() -> Iterator[str]:
    """A server with its usual durability on a socket; yields its DATABASE_URL."""
    programs = next((each for each in PROGRAMS if (each / "initdb").exists()), None)
    if programs is None:
        sys.exit("there is no PostgreSQL server here")
    as_owner = ["runuser", "-u", "postgres", "--"] if os.geteuid() == 0 else []
    with tempfile.TemporaryDirectory(prefix="bench-pg-", dir="/tmp") as name:
        directory = Path(name)
        if as_owner:
            subprocess.run(["chown", "postgres", name], check=True)
        directory.chmod(0o755)
        data = directory / "data"
        quiet: dict[str, Any] = {"stdout": subprocess.DEVNULL, "cwd": "/tmp"}
        subprocess.run(
            [*as_owner, programs / "initdb", "-D", data, "-U", "pilothouse", "-A", "trust", "-E", "UTF8"],
            check=True,
            **quiet,
        )
        server = subprocess.Popen(
            [*as_owner, programs / "postgres", "-D", data, "-k", name, "-c", "listen_addresses="],
            stderr=subprocess.DEVNULL,
            **quiet,
        )
        try:
            while subprocess.run([programs / "pg_isready", "-h", name], **quiet).returncode:
                time.sleep(0.1)
            subprocess.run(
                [programs / "createdb", "-h", name, "-U", "pilothouse", "pilothouse"], check=True, **quiet
            )
            yield f"postgres://pilothouse@{name.replace('/', '%2F')}/pilothouse"
        finally:
            pid = int((data / "postmaster.pid").read_text().split()[0])
            os.kill(pid, 2)
            server.wait(30)


def set_up(url: str, directory: str) -> None:
    """Django on that database. It reads the environment when it is set up, so what needs it is imported
    later."""
    import django

    os.environ.update(
        DJANGO_SETTINGS_MODULE="dashboard.settings",
        VAR_DIR=directory,
        DATABASE_URL=url,
        REDIS_URL="redis://127.0.0.1:1/0",
        SECRET_KEY="only for a benchmark, and of a sensible length",
        ENCRYPTION_KEYS="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        AUDIT_SIGNING_KEY="MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=",
        LOG_LEVEL="ERROR",
    )
    django.setup()


def write(chained: bool, seconds: float, start: Any, counted: Any) -> None:
    """One writer: entries in transactions of their own, as fast as they go."""
    from django.db import connection, transaction

    from deployments.domain.actors import Actor
    from deployments.domain.subjects import Subject
    from deployments.ledger import audit

    set_chain(chained)
    connection.ensure_connection()
    who, about = Actor(1, "olga", "198.51.100.7"), Subject("deployment", "7", "fra/llm/r1", 1, 1)
    start.wait()
    until, written = time.monotonic() + seconds, 0
    while time.monotonic() < until:
        with transaction.atomic():
            audit.record(
                who, "deployment.install", about, reason="a pilot", after={"profile": "r1", "revision": 7}
            )
        written += 1
    counted.put(written)


def set_chain(on: bool) -> None:
    """Without the chain an entry is the same row with a number from a sequence and random hashes: the same
    columns, indexes and triggers, and no head that writers wait for."""
    if on:
        return
    from deployments.ledger import audit

    covered = ", ".join(audit._COLUMNS)
    values = ", ".join("%s::jsonb" if name in ("before", "after") else "%s" for name in audit._COLUMNS)
    audit._APPEND = (
        f"INSERT INTO deployments_auditentry (sequence, previous, hash, {covered}) "
        "SELECT nextval('bench_free'), repeat('0', 64), encode(sha256(gen_random_uuid()::text::bytea "
        f"|| convert_to(%s, 'UTF8')), 'hex'), {values} RETURNING sequence, previous, hash"
    )


def measure_writing(url: str, directory: str, writers: int, seconds: float) -> None:
    """Turns with and without the chain one after another, so that the machine's moods fall on both."""
    from django.db import connection

    with connection.cursor() as cursor:
        cursor.execute("CREATE SEQUENCE bench_free START 1000000000")
    connection.close()
    rates: dict[bool, list[float]] = {True: [], False: []}
    spawn = multiprocessing.get_context("spawn")
    for _turn in range(TURNS):
        for chained in (False, True):
            start, counted = spawn.Barrier(writers), spawn.Queue()
            processes = [
                spawn.Process(target=_writer, args=(url, directory, chained, seconds, start, counted))
                for _ in range(writers)
            ]
            for process in processes:
                process.start()
            rates[chained].append(sum(counted.get() for _ in processes) / seconds)
            for process in processes:
                process.join()
    free, chain = statistics.median(rates[False]), statistics.median(rates[True])
    print(
        f"{writers} writers: {chain:.0f} entries a second with the chain, {free:.0f} without: {chain / free:.2f}"
    )


def _writer(url: str, directory: str, chained: bool, seconds: float, start: Any, counted: Any) -> None:
    set_up(url, directory)
    write(chained, seconds, start, counted)


def fill(count: int) -> None:
    """A chain of that many entries over two years, written past the ledger but as it would write them."""
    from django.utils import timezone

    from deployments.ledger import audit
    from deployments.ledger.audit_values import GENESIS, chain
    from deployments.models import AuditEntry, AuditHead, Team, User

    User.objects.bulk_create(User(username=f"person-{number}") for number in range(300))
    AuditHead.objects.update(sequence=0, hash=GENESIS)
    team = Team.objects.get().pk
    verbs = [
        "deployment.install",
        "deployment.upgrade",
        "session.begin",
        "model.pull",
        "operation.pull",
        "profile.save",
    ]
    begin, step = timezone.now() - timedelta(days=730), timedelta(days=730) / count
    previous, batch = GENESIS, []
    for number in range(1, count + 1):
        outcome = "denied" if number % 97 == 0 else "failed" if number % 89 == 0 else "done"
        entry = AuditEntry(
            sequence=number,
            at=begin + step * number,
            actor_id=number % 300,
            actor_name=f"person-{number % 300}",
            source="198.51.100.7",
            action=verbs[number % len(verbs)],
            object_type="deployment",
            object_id=str(number % 5000),
            object_name=f"fra-{number % 40}/llm/r1-{number % 5000}",
            team_id=team + number % 50,
            cluster_id=1 + number % 40,
            operation_id=number // 4,
            outcome=outcome,
            reason=f"ticket OPS-{number % 20000}" if number % 3 == 0 else "",
            before={"memory": "160Gi", "revision": number % 20} if number % 2 else None,
            after={"memory": "192Gi", "revision": number % 20 + 1, "profile": "search-standard"},
            previous=previous,
        )
        entry.digest = audit.digest(entry)
        entry.hash = previous = chain(previous, number, entry.digest)
        batch.append(entry)
        if len(batch) == BATCH:
            AuditEntry.objects.bulk_create(batch)
            batch = []
    AuditEntry.objects.bulk_create(batch)
    AuditHead.objects.update(sequence=count, hash=previous)


def measure_verifying(count: int) -> None:
    """In a process of its own, for its memory."""
    from deployments.ledger.verification import verify

    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    began = time.monotonic()
    verdict = verify()
    took = time.monotonic() - began
    if verdict.broken is not None or verdict.entries != count:
        sys.exit(f"the chain does not hold: {verdict}")
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(
        f"verifying {count:,} entries: {took:.1f} s ({count / took:,.0f} a second), {peak:.0f} MB resident at most, "
        f"{before / 1024:.0f} MB of it before"
    )


def _verify(url: str, directory: str, count: int) -> None:
    set_up(url, directory)
    measure_verifying(count)


def measure_pages(count: int, rounds: int = 5) -> None:
    """The list's own reads, filter by filter."""
    from django.db import connection
    from django.utils import timezone

    from deployments.domain.actors import PILOTHOUSE, Actor
    from deployments.domain.states import Role
    from deployments.models import Team
    from deployments.selectors.audit import EntryFilter, entries

    with connection.cursor() as cursor:
        cursor.execute("VACUUM ANALYZE deployments_auditentry")
    team = Team.objects.get().pk
    now = timezone.now()
    member = Actor(1, "vera", roles={team + each: Role.VIEWER for each in range(3)})
    month = {"since": now - timedelta(days=400), "until": now - timedelta(days=370)}
    asked: list[tuple[str, Any, Any, int | None]] = [
        ("no filter", PILOTHOUSE, EntryFilter(), None),
        ("no filter, far back", PILOTHOUSE, EntryFilter(), count // 2),
        ("a member's teams", member, EntryFilter(), None),
        ("time, a month a year ago", PILOTHOUSE, EntryFilter(**month), None),
        ("time and person", PILOTHOUSE, EntryFilter(who="person-7", **month), None),
        ("person", PILOTHOUSE, EntryFilter(who="person-7"), None),
        ("person that is not there", PILOTHOUSE, EntryFilter(who="nobody"), None),
        ("team", PILOTHOUSE, EntryFilter(team=team + 7), None),
        ("action", PILOTHOUSE, EntryFilter(action="model.pull"), None),
        ("object", PILOTHOUSE, EntryFilter(object="deployment:77"), None),
        ("cluster and action", PILOTHOUSE, EntryFilter(cluster=7, action="session.begin"), None),
        ("outcome", PILOTHOUSE, EntryFilter(outcome="denied"), None),
        ("outcome and person", PILOTHOUSE, EntryFilter(outcome="denied", who="person-7"), None),
        ("text, rare", PILOTHOUSE, EntryFilter(text="OPS-19998"), None),
        ("text, common", PILOTHOUSE, EntryFilter(text="r1-1"), None),
        ("text that is not there", PILOTHOUSE, EntryFilter(text="no such thing"), None),
        ("text of a person", PILOTHOUSE, EntryFilter(text="person-77"), None),
        ("text in a month", PILOTHOUSE, EntryFilter(text="OPS-12", **month), None),
    ]
    times: list[float] = []
    for name, who, wanted, before in asked:
        taken = [timed(lambda: entries(who, wanted, before=before)) for _ in range(rounds)]  # noqa: B023
        times += taken
        print(f"  {name:<26} {statistics.median(taken) * 1000:7.1f} ms, at most {max(taken) * 1000:.1f}")
    times.sort()
    print(
        f"filters over {count:,} entries: p95 {times[math.ceil(len(times) * 0.95) - 1] * 1000:.0f} ms of {len(times)} reads"
    )


def timed(act: Callable[[], object]) -> float:
    began = time.monotonic()
    act()
    return time.monotonic() - began


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--entries", type=int, default=1_000_000)
    parser.add_argument("--seconds", type=float, default=15.0)
    parser.add_argument("--writers", type=int, default=8)
    parser.add_argument("--only", choices=["write", "verify", "pages"])
    options = parser.parse_args()
    print(machine())
    with postgres() as url, tempfile.TemporaryDirectory(prefix="bench-") as directory:
        set_up(url, directory)
        from django.core.management import call_command
        from django.db import connection

        call_command("migrate", verbosity=0)
        if options.only != "write":
            fill(options.entries)
            connection.close()
        if options.only in (None, "verify"):
            spawn = multiprocessing.get_context("spawn")
            process = spawn.Process(target=_verify, args=(url, directory, options.entries))
            process.start()
            process.join()
        if options.only in (None, "pages"):
            measure_pages(options.entries)
            connection.close()
        if options.only in (None, "write"):
            measure_writing(url, directory, options.writers, options.seconds)


if __name__ == "__main__":
    main()
