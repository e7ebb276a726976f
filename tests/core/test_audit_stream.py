"""Entries for a SIEM: a line each, once they are committed and only then."""

from __future__ import annotations

import json
import socket
import sys
from io import StringIO

import pytest
from django.conf import settings
from django.db import transaction

from deployments.domain.actors import PILOTHOUSE
from deployments.ledger import audit
from deployments.ledger.audit_stream import line_of
from deployments.models import AuditEntry

pytestmark = pytest.mark.django_db(transaction=True)


@pytest.fixture
def stdout(monkeypatch: pytest.MonkeyPatch) -> StringIO:
    monkeypatch.setattr(settings, "AUDIT_STREAM", "stdout")
    out = StringIO()
    monkeypatch.setattr(sys, "__stdout__", out)
    return out


def test_an_entry_is_a_line_once_it_is_committed(stdout: StringIO) -> None:
    with transaction.atomic():
        audit.record(PILOTHOUSE, "one", reason="two\nlines")
        assert stdout.getvalue() == ""
    with pytest.raises(ZeroDivisionError), transaction.atomic():
        audit.record(PILOTHOUSE, "never happened")
        raise ZeroDivisionError
    (line,) = stdout.getvalue().splitlines()
    told = json.loads(line)["audit"]
    entry = AuditEntry.objects.get()
    assert (told["action"], told["reason"], told["hash"]) == ("one", "two\nlines", entry.hash)
    assert audit.digest_of(told) == entry.digest


def test_syslog_gets_what_fits_into_a_datagram(monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as daemon:
        daemon.bind(("127.0.0.1", 0))
        daemon.settimeout(10)
        monkeypatch.setattr(settings, "AUDIT_STREAM", f"syslog://127.0.0.1:{daemon.getsockname()[1]}")
        audit.record(PILOTHOUSE, "large", after={"x": "y" * 60_000})
        datagram = daemon.recv(65_536)
    assert datagram.startswith(b"<86>pilothouse-audit: {")
    told = json.loads(datagram.partition(b": ")[2])["audit"]
    assert told["cut"] is True and told["after"] is None and told["sequence"] == 1
    assert len(datagram) < 9000


def test_a_daemon_that_is_not_there_stops_nobody(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, tmp_path
) -> None:
    monkeypatch.setattr(settings, "AUDIT_STREAM", f"syslog://{tmp_path}/no-such-socket")
    audit.record(PILOTHOUSE, "one")
    assert AuditEntry.objects.count() == 1
    assert "entry 1 was not sent" in caplog.text


def test_a_line_is_ascii_and_one_line_whatever_is_in_it() -> None:
    entry = audit.record(PILOTHOUSE, "x", reason="é\u2028\n\x00")
    line = line_of(entry)
    assert line.isascii() and "\n" not in line
