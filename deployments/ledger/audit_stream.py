"""Each entry as a line of JSON to standard output or syslog once it is committed, for a SIEM.

``AUDIT_STREAM`` says where to: "" for nowhere, ``stdout``, ``syslog:///dev/log``, or
``syslog://host:port`` (UDP) and ``syslog+tcp://host:port``. The chain in the database is the record; a
line that cannot be sent is logged and lost, and its sequence number shows that it is missing.
"""

from __future__ import annotations

import json
import logging
import logging.handlers
import socket
import sys
from functools import cache
from urllib.parse import urlsplit

from django.conf import settings

from deployments.ledger.audit_values import FIELDS, moment
from deployments.models import AuditEntry

MAX_DATAGRAM = 8 * 1024  # what syslog daemons take by default
SYSLOG_PORT = 514
PATIENCE = 2.0  # seconds for a daemon that does not take what it is sent

log = logging.getLogger(__name__)


def wanted() -> bool:
    return bool(settings.AUDIT_STREAM)


def line_of(entry: AuditEntry, *, most: int = 0) -> str:
    """The entry as one line of ASCII. Longer than ``most`` bytes, it goes without before and after."""
    values = {"sequence": entry.sequence, **{name: getattr(entry, name) for name in FIELDS}}
    values |= {"at": moment(entry.at), "digest": entry.digest, "previous": entry.previous, "hash": entry.hash}
    written = json.dumps({"audit": values}, separators=(",", ":"))
    if most and len(written) > most:
        values |= {"before": None, "after": None, "reason": entry.reason[:300], "cut": True}
        written = json.dumps({"audit": values}, separators=(",", ":"))
    return written


def emit(entry: AuditEntry) -> None:
    """Send an entry. Never raises for what the other side does: the change is made already."""
    try:
        if settings.AUDIT_STREAM == "stdout":
            # Not sys.stdout: a Celery worker puts a logger in its place.
            stream = sys.__stdout__ or sys.stdout
            stream.write(line_of(entry) + "\n")
            stream.flush()
        else:
            handler = _syslog(settings.AUDIT_STREAM)
            record = logging.LogRecord(
                "audit", logging.INFO, "", 0, line_of(entry, most=MAX_DATAGRAM), None, None
            )
            handler.handle(record)
    except OSError:
        log.exception("entry %s was not sent to %s", entry.sequence, settings.AUDIT_STREAM)


class _Syslog(logging.handlers.SysLogHandler):
    """What fails is raised to :func:`emit` and not printed; the next entry connects anew."""

    append_nul = False
    ident = "pilothouse-audit: "

    def handleError(self, record: logging.LogRecord) -> None:
        self.close()
        _syslog.cache_clear()
        failure = sys.exc_info()[1]
        if isinstance(failure, OSError):
            raise failure
        super().handleError(record)


@cache
def _syslog(address: str) -> _Syslog:
    parts = urlsplit(address)
    where = parts.path if not parts.hostname else (parts.hostname, parts.port or SYSLOG_PORT)
    kind = socket.SOCK_STREAM if parts.scheme == "syslog+tcp" else socket.SOCK_DGRAM
    handler = _Syslog(where, facility=logging.handlers.SysLogHandler.LOG_AUTHPRIV, socktype=kind)
    connection: socket.socket | None = getattr(handler, "socket", None)
    if connection is not None:
        connection.settimeout(PATIENCE)
    # Lines over a stream are told apart by their ends.
    handler.setFormatter(logging.Formatter("%(message)s\n" if kind == socket.SOCK_STREAM else "%(message)s"))
    return handler
