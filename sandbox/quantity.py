"""Kubernetes quantities: parsing, and the canonical text that the server stores.

The rules are those of k8s.io/apimachinery/pkg/api/resource (quantity.go): 1024Mi becomes 1Gi, 0.5 becomes 500m,
1000000000 becomes 1G, and what is finer than one billionth is rounded up.
"""

from __future__ import annotations

import re
from decimal import ROUND_UP, Context, Decimal
from functools import lru_cache

WRONG_FORMAT = "quantities must match the regular expression '^([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)$'"
WRONG_NUMBER = "unable to parse numeric part of quantity"
WRONG_SUFFIX = "unable to parse quantity's suffix"

_SHAPE = re.compile(r"([+-]?[0-9.]+)([eEinumkKMGTP]*[-+]?[0-9]*)")
_EXPONENT = re.compile(r"[eE]([+-]?[0-9]+)")
_BINARY = {"Ki": 1, "Mi": 2, "Gi": 3, "Ti": 4, "Pi": 5, "Ei": 6}
_DECIMAL = {"n": -9, "u": -6, "m": -3, "": 0, "k": 3, "M": 6, "G": 9, "T": 12, "P": 15, "E": 18}
_DECIMAL_NAMES = {exponent: name for name, exponent in _DECIMAL.items()}
_CONTEXT = Context(prec=60)
_LARGEST = Decimal(2**63 - 1)


class QuantityError(ValueError):
    """Text that is no quantity; the message is the server's."""


@lru_cache(maxsize=4096)
def _parse(text: str) -> tuple[Decimal, str]:
    found = _SHAPE.fullmatch(text)
    if found is None:
        raise QuantityError(WRONG_FORMAT)
    number, suffix = found.groups()
    if number.count(".") > 1 or not any(c.isdigit() for c in number):
        raise QuantityError(WRONG_NUMBER if number.count(".") <= 1 else WRONG_FORMAT)
    value = Decimal(number)
    if suffix in _BINARY:
        value, form = _CONTEXT.multiply(value, Decimal(1024 ** _BINARY[suffix])), "binary"
    elif suffix in _DECIMAL:
        value, form = _CONTEXT.scaleb(value, _DECIMAL[suffix]), "decimal"
    elif exponent := _EXPONENT.fullmatch(suffix):
        value, form = _CONTEXT.scaleb(value, int(exponent[1])), "exponent"
    else:
        raise QuantityError(WRONG_SUFFIX)
    exponent_of = value.as_tuple().exponent
    if isinstance(exponent_of, int) and exponent_of < -9:
        value = value.quantize(Decimal("1e-9"), rounding=ROUND_UP, context=_CONTEXT)
    if abs(value) > _LARGEST:
        value = _LARGEST.copy_sign(value)
    return value, form


def parse(value: str | float) -> Decimal:
    """The amount in base units (`500m` is 0.5, `1Gi` is 1073741824). Raises QuantityError."""
    return _parse(str(value).strip() if not isinstance(value, str) else value)[0]


def canonical(value: str | float) -> str:
    """The text the server stores for it. Raises QuantityError."""
    return _canonical(value if isinstance(value, str) else format(Decimal(str(value)), "f"))


@lru_cache(maxsize=4096)
def _canonical(text: str) -> str:
    amount, form = _parse(text)
    if amount == 0:
        return "0"
    whole = amount == amount.to_integral_value()
    if form == "binary" and abs(amount) >= 1024 and whole:
        number, power = int(amount), 0
        while number % 1024 == 0 and power < 6:
            number, power = number // 1024, power + 1
        return str(number) + ("", "Ki", "Mi", "Gi", "Ti", "Pi", "Ei")[power]
    sign, digits, exponent = amount.normalize(_CONTEXT).as_tuple()
    if not isinstance(exponent, int):
        raise QuantityError(WRONG_NUMBER)
    number = int("".join(map(str, digits)))
    while exponent % 3:
        number, exponent = number * 10, exponent - 1
    if form != "exponent":
        while exponent > 18:
            number, exponent = number * 1000, exponent - 3
    text = ("-" if sign else "") + str(number)
    if form == "exponent":
        return text + (f"e{exponent}" if exponent else "")
    return text + _DECIMAL_NAMES[exponent]
