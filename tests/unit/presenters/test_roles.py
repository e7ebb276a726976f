"""The roles' table in the docs is the one that decides."""

from __future__ import annotations

from pathlib import Path

from dashboard.presenters.teams import ACTION_WORDS, SITE_WORDS, role_document
from deployments.policies import NEEDS, SITE

DOCUMENT = Path(__file__).parents[3] / "docs" / "roles.md"


def test_every_action_has_words():
    assert set(NEEDS) <= set(ACTION_WORDS)
    assert set(SITE) <= set(SITE_WORDS)


def test_the_document_holds_the_table_as_it_is():
    """After a change of the table put the output of ``role_document()`` between the marks."""
    text = DOCUMENT.read_text()
    between = text.split("<!-- roles -->")[1].split("<!-- /roles -->")[0]
    assert between.strip() == role_document().strip()
