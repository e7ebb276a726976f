"""What a container wrote, as lines: bounded whatever comes, readable, and none twice."""

from __future__ import annotations

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from deployments.domain.loglines import LineSplitter, LogLine, Place, RawLine, parse, readable


def lines_of(*pieces: bytes, longest: int = 10) -> list[RawLine]:
    splitter = LineSplitter(longest)
    found = [line for piece in pieces for line in splitter.feed(piece)]
    rest = splitter.rest()
    return [*found, rest] if rest else found


def test_pieces_become_lines() -> None:
    assert [line.data for line in lines_of(b"on", b"e\n\ntw", b"o\n", b"end")] == [
        b"one",
        b"",
        b"two",
        b"end",
    ]


def test_a_line_of_fifty_megabytes_is_held_at_its_first_bytes() -> None:
    splitter = LineSplitter()
    for _ in range(800):
        assert list(splitter.feed(b"x" * 65536)) == []
        assert len(splitter._held) <= 8192
    (line,) = splitter.feed(b"\n")
    assert (len(line.data), line.cut) == (8192, 800 * 65536 - 8192)
    assert list(splitter.feed(b"short\n")) == [RawLine(b"short")]


# A busy machine is slow at making up input: that says nothing about the lines.
@settings(deadline=None, suppress_health_check=[HealthCheck.too_slow])
@given(st.lists(st.binary(max_size=20), max_size=6), st.integers(1, 12))
def test_nothing_is_lost_uncounted(pieces: list[bytes], longest: int) -> None:
    whole = b"".join(pieces)
    found = lines_of(*pieces, longest=longest)
    expected = whole.split(b"\n")
    if expected[-1] == b"":
        expected.pop()
    assert [line.data for line in found] == [text[:longest] for text in expected]
    assert [line.cut for line in found] == [max(0, len(text) - longest) for text in expected]


@pytest.mark.parametrize(
    ("data", "shown"),
    [
        (b"plain \xe4\xb8\xad\xe6\x96\x87 \xf0\x9f\x9a\x80", "plain 中文 🚀"),
        (b"\xff\xfe bad \xc3(", "�� bad �("),
        (b"a\x00b\x07c\td", "a␀b␇c\td"),
        (b"\x1b[1;31mred\x1b[0m and \x1b]0;title\x07rest\x1b[2K\x1b(B", "red and rest"),
        (b"\x1b]8;;http://x\x1b\\link\x1b]8;;\x1b\\", "link"),
        (b"10%\r50%\r100%\r", "100%"),
        (b"windows line\r", "windows line"),
        (b"\r\r", ""),
        ("user \u202egnp.exe\u2066".encode(), "user �gnp.exe�"),
        (b"<script>alert(1)</script>", "<script>alert(1)</script>"),
    ],
)
def test_whatever_a_container_writes_can_be_read(data: bytes, shown: str) -> None:
    assert readable(data) == shown


def test_a_character_that_the_cut_went_through_is_left_out() -> None:
    assert parse(RawLine("中文".encode()[:4], cut=2)).text == "中"


@pytest.mark.parametrize(
    ("data", "stamp", "text"),
    [
        (b"2026-01-31T12:00:00.123456789Z hello", "2026-01-31T12:00:00.123456789Z", "hello"),
        (b"2026-01-31T12:00:00Z ", "2026-01-31T12:00:00.000000000Z", ""),
        (b"2026-01-31T20:00:00.5+08:00 x", "2026-01-31T12:00:00.500000000Z", "x"),
        (b"2026-13-31T20:00:00.5Z x", "", "2026-13-31T20:00:00.5Z x"),
        (b"no time", "", "no time"),
    ],
)
def test_the_time_stands_apart(data: bytes, stamp: str, text: str) -> None:
    line = parse(RawLine(data))
    assert (line.stamp, line.text) == (stamp, text)


@pytest.mark.parametrize(
    ("text", "mark"),
    [
        ('time=2026-01-31T12:00:00Z level=WARN source=x.go:1 msg="low vram"', "warning"),
        ("level=error msg=broken", "error"),
        ("E0131 12:00:00.000000 1 x.go:1] no", "error"),
        ("panic: runtime error", "error"),
        ("GET /errors/ 200", ""),
        ("warned before", ""),
    ],
)
def test_trouble_is_marked(text: str, mark: str) -> None:
    assert parse(RawLine(text.encode())).mark == mark


def line(second: int, text: str) -> LogLine:
    return LogLine(f"2026-01-31T12:00:0{second}.000000000Z", text)


def test_a_reader_who_comes_back_gets_what_he_lacks() -> None:
    written = [
        line(1, "a"),
        line(2, "b"),
        line(2, "c"),
        line(2, "d"),
        line(3, "e"),
        line(2, "clock set back"),
    ]
    for have in range(len(written) - 1):
        place = Place()
        for each in written[:have]:
            place.pass_to(each)
        again = Place.read(str(place))
        assert again == place
        assert again.since == (f"{place.stamp[:19]}Z" if have else "")
        has = again.known()
        served = [each for each in written if each.stamp >= again.stamp[:19]]
        assert [each.text for each in served if not has(each)] == [each.text for each in written[have:]]


@pytest.mark.parametrize("text", ["", "x", "2026-01-31T12:00:00Z/1", "2026-01-31T12:00:00.000000000Z", "/3"])
def test_a_place_that_is_none_is_the_beginning(text: str) -> None:
    assert Place.read(text) == Place()
