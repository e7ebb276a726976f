"""Driver and CUDA out of node labels, in every spelling that GPU feature discovery has had."""

from __future__ import annotations

import pytest

from deployments.domain.drivers import Driver, driver_of, numbers

P = "nvidia.com/cuda."


@pytest.mark.parametrize(
    ("labels", "driver"),
    [
        (
            {f"{P}driver-version.full": "550.54.15", f"{P}runtime-version.full": "12.4"},
            Driver("550.54.15", "12.4"),
        ),
        (
            {
                f"{P}driver-version.major": "535",
                f"{P}driver-version.minor": "86",
                f"{P}driver-version.revision": "05",
                f"{P}runtime-version.major": "12",
                f"{P}runtime-version.minor": "2",
            },
            Driver("535.86.05", "12.2"),
        ),
        (
            {
                f"{P}driver.major": "535",
                f"{P}driver.minor": "86",
                f"{P}driver.rev": "",
                f"{P}runtime.major": "12",
                f"{P}runtime.minor": "2",
            },
            Driver("535.86", "12.2"),
        ),
        ({f"{P}driver-version.full": "<b>9", f"{P}runtime-version.full": "9" * 40}, Driver("", "")),
        ({}, Driver("", "")),
    ],
)
def test_labels(labels: dict[str, str], driver: Driver) -> None:
    assert driver_of(labels) == driver


@pytest.mark.parametrize(
    ("driver", "clauses"),
    [
        (Driver("535.86.05", "12.2"), []),
        (Driver("535.104.05", "12.2"), []),
        (Driver("535.86", "12.2"), ["driver 535.86 is older than 535.86.05"]),
        (
            Driver("470.256.02", "11.4"),
            ["driver 470.256.02 is older than 535.86.05", "CUDA 11.4 is older than 12.2"],
        ),
        (Driver("", "12.10"), []),
        (Driver("", ""), []),
    ],
)
def test_what_is_too_old(driver: Driver, clauses: list[str]) -> None:
    assert driver.too_old == clauses


def test_versions_are_compared_as_numbers() -> None:
    assert numbers("535.104") > numbers("535.86")
    assert not Driver("550.1", "").known
