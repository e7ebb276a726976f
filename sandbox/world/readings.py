"""What a simulated GPU measures: values follow who holds it, what is loaded and whether a model generates.

The noise depends on seed and clock only.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass

from sandbox.world.gpus import MIB, Device

STEP_SECONDS = 5.0


@dataclass(frozen=True, slots=True)
class Reading:
    """A device now. utilisation in percent, memory in MiB, temperatures in °C, power in W, energy in mJ."""

    device: Device
    utilisation: int
    used: int
    temperature: int
    memory_temperature: int
    power: float
    energy: int

    @property
    def ratio(self) -> float:
        return self.utilisation / 100


def _noise(seed: int, device: Device, elapsed: float, name: str) -> float:
    """Between 0 and 1, the same for the same seed, device and moment."""
    text = f"{seed}/{device.uuid}/{int(elapsed // STEP_SECONDS)}/{name}"
    return hashlib.sha256(text.encode()).digest()[0] / 255


def read(seed: int, elapsed: float, device: Device, pretend_busy: bool = False) -> Reading:
    """elapsed: simulated seconds. pretend_busy: a GPU that a pod holds counts as at work."""
    busy = bool(device.busy) or (pretend_busy and device.pod is not None)
    wobble = _noise(seed, device, elapsed, "util")
    utilisation = int(82 + 16 * wobble) if busy else 0
    model = device.model
    power = model.idle_watts + (model.full_watts - model.idle_watts) * (
        0.55 + 0.25 * wobble if busy else 0.02 * wobble
    )
    if device.loaded and not busy:
        power += 18
    temperature = 31 + int(3 * wobble) + (28 if busy else 4 if device.loaded else 0)
    used = device.used_bytes // MIB + (4 if model.vendor == "nvidia" else 280)
    return Reading(
        device, utilisation, used, temperature, temperature + 3, power, int(elapsed * power * 1000)
    )
