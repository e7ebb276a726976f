"""Choices for model fields, made from the vocabularies in ``deployments.domain.states``."""

from __future__ import annotations

from enum import StrEnum


def choices(vocabulary: type[StrEnum]) -> list[tuple[str, str]]:
    """(value, value) pairs: what a person reads is the presenters' business."""
    return [(member.value, member.value) for member in vocabulary]


def one_of(vocabulary: type[StrEnum]) -> list[str]:
    """The values, for check constraints."""
    return [member.value for member in vocabulary]
