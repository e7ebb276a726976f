"""NVIDIA driver and CUDA of a node, read from the labels of GPU feature discovery.

Label names: NVIDIA/k8s-device-plugin, docs/gpu-feature-discovery. ``cuda.runtime-version`` is the newest
CUDA that the driver can serve, which is what a container's CUDA has to be compared with. The least
versions are those of the DeepSeek extension's guide.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass

LEAST_DRIVER = "535.86.05"
LEAST_CUDA = "12.2"
ASK_DRIVER = "nvidia-smi --query-gpu=driver_version --format=csv"
ASK_CUDA = "nvcc --version"
_VERSION = re.compile(r"[0-9]{1,6}(\.[0-9]{1,6}){1,3}")
_PREFIX = "nvidia.com/cuda."


@dataclass(frozen=True)
class Driver:
    """Versions as the labels have them, "" for what they do not say."""

    driver: str
    cuda: str

    @property
    def known(self) -> bool:
        return bool(self.driver and self.cuda)

    @property
    def too_old(self) -> list[str]:
        """Clauses for what is known and too old."""
        found = []
        for name, has, least in (("driver", self.driver, LEAST_DRIVER), ("CUDA", self.cuda, LEAST_CUDA)):
            if has and numbers(has) < numbers(least):
                found.append(f"{name} {has} is older than {least}")
        return found


def driver_of(labels: Mapping[str, str]) -> Driver:
    """What the labels say; text that is no version counts as nothing said."""
    driver = (
        labels.get(f"{_PREFIX}driver-version.full")
        or _joined(labels, "driver-version", ("major", "minor", "revision"))
        or _joined(labels, "driver", ("major", "minor", "rev"))
    )
    cuda = (
        labels.get(f"{_PREFIX}runtime-version.full")
        or _joined(labels, "runtime-version", ("major", "minor"))
        or _joined(labels, "runtime", ("major", "minor"))
    )
    return Driver(_version(driver), _version(cuda))


def numbers(version: str) -> tuple[int, ...]:
    """To compare by: "535.104" is newer than "535.86"."""
    return tuple(int(part) for part in version.split("."))


def _joined(labels: Mapping[str, str], name: str, parts: tuple[str, ...]) -> str:
    values = [labels.get(f"{_PREFIX}{name}.{part}", "") for part in parts]
    return ".".join(value for value in values if value)


def _version(text: str) -> str:
    return text if _VERSION.fullmatch(text) else ""
