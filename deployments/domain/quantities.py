"""Kubernetes resource quantities, exactly.

The notation is the one of ``apimachinery/pkg/api/resource/quantity.go``: a signed decimal number and
a binary suffix (Ki to Ei), a decimal one (n u m k M G T P E) or an exponent (e3, E-2). Values are
:class:`~decimal.Decimal`, never floats, so that "0.1" and "100m" are equal and 8 EiB is exact.
"""

from __future__ import annotations

import re
from decimal import ROUND_CEILING, Decimal, localcontext

from deployments.domain.errors import InvalidInput

_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_QUANTITY = re.compile(
    r"(?P<number>[+-]?(?:[0-9]+\.?[0-9]*|\.[0-9]+))"
    r"(?P<suffix>Ki|Mi|Gi|Ti|Pi|Ei|[numkMGTPE]|[eE][+-]?[0-9]+)?"
)
_MAX_LENGTH = 64
_MAX_EXPONENT = 30
# The API server caps quantities at 2^63-1 (quantity.go: maxAllowed).
LARGEST = Decimal(2**63 - 1)
KIB, MIB, GIB = Decimal(2**10), Decimal(2**20), Decimal(2**30)


def parse(text: str, *, field: str = "") -> Decimal:
    """The value of a quantity: bytes for memory and storage, cores for cpu, pieces for GPUs.

    Raises :class:`InvalidInput` with a sentence that says what is wrong with this very text.
    """
    if len(text) > _MAX_LENGTH:
        raise InvalidInput("That is too long for a quantity.", field=field, remedy=_REMEDY)
    match = _QUANTITY.fullmatch(text)
    if match is None:
        raise InvalidInput(_complaint(text), field=field, remedy=_REMEDY)
    number, suffix = match["number"], match["suffix"] or ""
    with localcontext() as context:
        context.prec = 120
        value = Decimal(number)
        if suffix in _BINARY:
            value *= Decimal(1024) ** _BINARY[suffix]
        elif suffix in _DECIMAL:
            value = value.scaleb(_DECIMAL[suffix])
        elif suffix:
            exponent = int(suffix[1:])
            if abs(exponent) > _MAX_EXPONENT:
                raise InvalidInput(f"“{text}” is out of range.", field=field, remedy=_REMEDY)
            value = value.scaleb(exponent)
    if abs(value) > LARGEST:
        raise InvalidInput(f"“{text}” is more than Kubernetes can count.", field=field, remedy=_REMEDY)
    return value


def parse_amount(text: str, *, field: str = "") -> Decimal:
    """Like :func:`parse`, for what cannot be negative."""
    value = parse(text, field=field)
    if value < 0:
        raise InvalidInput(f"“{text}” is negative; an amount cannot be.", field=field)
    return value


def is_quantity(text: str) -> bool:
    """Whether :func:`parse` takes it."""
    try:
        parse(text)
    except InvalidInput:
        return False
    return True


def compare(left: str, right: str) -> int:
    """-1, 0 or 1: how the two values stand to each other, whatever their notation."""
    first, second = parse(left), parse(right)
    return (first > second) - (first < second)


def format_bytes(value: Decimal | int) -> str:
    """The shortest exact notation of whole bytes: the largest binary suffix that divides them."""
    amount = _whole(Decimal(value))
    for suffix, power in sorted(_BINARY.items(), key=lambda item: -item[1]):
        unit = 1024**power
        if amount and amount % unit == 0:
            return f"{amount // unit}{suffix}"
    return str(amount)


def format_cpu(value: Decimal | int) -> str:
    """Cores where whole, else millicores, rounded up as the API server rounds below a milli."""
    cores = Decimal(value)
    if cores == cores.to_integral_value():
        return str(int(cores))
    return f"{_whole(cores * 1000)}m"


def gib(value: Decimal | int | str) -> str:
    """For people: "8 GiB", "1.5 GiB", "512 MiB". A string is parsed first."""
    amount = parse(value) if isinstance(value, str) else Decimal(value)
    unit, name = (GIB, "GiB") if abs(amount) >= GIB else (MIB, "MiB")
    shown = (amount / unit).quantize(Decimal("0.1"))
    return f"{shown.normalize():f} {name}" if shown else f"0 {name}"


_REMEDY = "Write a number with a unit, such as 500m or 2 for processors and 8Gi for memory."


def _whole(value: Decimal) -> int:
    return int(value.to_integral_value(rounding=ROUND_CEILING))


def _complaint(text: str) -> str:
    squeezed = re.sub(r"\s+", "", text)
    if not squeezed:
        return "A quantity is missing."
    if squeezed != text and _QUANTITY.fullmatch(squeezed):
        return f"“{text}” has a blank in it; write “{squeezed}”."
    unit = re.fullmatch(r"([+-]?[0-9.]+)([A-Za-z]+)", squeezed)
    if unit is None:
        return f"“{text}” is not a quantity."
    number, suffix = unit.groups()
    stem = suffix.removesuffix("B").removesuffix("b")
    for wanted in (stem, stem[:1].upper() + stem[1:].lower(), stem.upper(), stem.lower()):
        if wanted and wanted != suffix and _QUANTITY.fullmatch(number + wanted):
            return f"“{text}” ends in “{suffix}”, which is no unit of Kubernetes; write “{number}{wanted}”."
    return f"“{text}” ends in “{suffix}”, which is no unit of Kubernetes."
