from __future__ import annotations

from decimal import Decimal

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.domain.errors import InvalidInput
from deployments.domain.quantities import (
    compare,
    format_bytes,
    format_cpu,
    gib,
    parse,
    parse_amount,
)


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("0", "0"),
        ("100m", "0.1"),
        (".5", "0.5"),
        ("5.", "5"),
        ("8Gi", 8 * 2**30),
        ("1.5Gi", 3 * 2**29),
        ("10M", 10**7),
        ("1E", 10**18),
        ("1E3", 1000),
        ("12e6", 12 * 10**6),
        ("1e-3", "0.001"),
        ("-1Ki", -1024),
        ("2n", "2e-9"),
    ],
)
def test_parses_exactly(text: str, value: str | int) -> None:
    assert parse(text) == Decimal(value)


@pytest.mark.parametrize(
    ("text", "part"),
    [
        ("8G i", "has a blank in it; write “8Gi”"),
        (" 8Gi", "blank"),
        ("8GiB", "write “8Gi”"),
        ("8gi", "write “8Gi”"),
        ("10MB", "write “10M”"),
        ("", "missing"),
        ("abc", "not a quantity"),
        ("0x10", "not a quantity"),
        ("1,5Gi", "not a quantity"),
        ("٣Gi", "not a quantity"),
        ("1e400", "out of range"),
        ("16Ei", "more than Kubernetes can count"),
        ("1" * 65, "too long"),
    ],
)
def test_says_what_is_wrong(text: str, part: str) -> None:
    with pytest.raises(InvalidInput, match=part):
        parse(text, field="server.resources.memory_limit")


def test_an_amount_is_not_negative() -> None:
    with pytest.raises(InvalidInput, match="negative"):
        parse_amount("-1Gi")


def test_compares_values_and_not_spellings() -> None:
    assert compare("1000m", "1") == 0
    assert compare("1G", "1Gi") < 0
    assert compare("0.1", "99m") > 0


@given(st.integers(min_value=0, max_value=2**62))
def test_bytes_survive_a_round_trip(value: int) -> None:
    assert parse(format_bytes(value)) == value


@given(st.integers(min_value=0, max_value=10**6))
def test_millicores_survive_a_round_trip(value: int) -> None:
    assert parse(format_cpu(Decimal(value) / 1000)) == Decimal(value) / 1000


def test_reads_well() -> None:
    assert [gib("8Gi"), gib("512Mi"), gib(3 * 2**29), gib(0)] == ["8 GiB", "512 MiB", "1.5 GiB", "0 MiB"]
