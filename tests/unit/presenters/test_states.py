"""Every value of every vocabulary has a word, a colour and an icon that exist."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from django.conf import settings

from dashboard.presenters.states import DEEDS, VOCABULARIES, look
from deployments.domain.states import Health, OperationKind, OperationState

STATIC = Path(settings.BASE_DIR) / "dashboard" / "static"
ICONS = set(re.findall(r'<symbol id="i-([a-z-]+)"', (STATIC / "icons.svg").read_text()))
STYLE = (STATIC / "pilothouse.css").read_text()


@pytest.mark.parametrize("name", VOCABULARIES)
def test_a_vocabulary_is_whole_and_drawn(name: str) -> None:
    kind, looks = VOCABULARIES[name]
    assert set(looks) == set(kind)
    for value in looks.values():
        assert str(value.label)
        assert value.icon in ICONS
        assert f".{value.css}" in STYLE


@pytest.mark.parametrize("name", ["health", "finding"])
def test_two_states_of_a_vocabulary_never_share_an_icon(name: str) -> None:
    icons = [value.icon for value in VOCABULARIES[name][1].values()]
    assert len(icons) == len(set(icons))


def test_every_kind_of_operation_has_its_words() -> None:
    assert set(DEEDS) == set(OperationKind)
    for deed in DEEDS.values():
        assert "%(name)s" in str(deed.doing) and "%(name)s" in str(deed.named)
        assert deed.icon in ICONS


def test_a_member_names_its_own_vocabulary_and_a_string_needs_one() -> None:
    assert look(OperationState.FAILED) is look("failed", "operation")
    assert look(Health.FAILED) is look("failed", "health")
    assert look(Health.FAILED) is not look(OperationState.FAILED)
    with pytest.raises(ValueError, match="name its vocabulary"):
        look("failed")
    with pytest.raises(ValueError):
        look("ill", "health")
