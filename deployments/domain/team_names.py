"""Names of teams: what they may hold, and when two of them look the same.

Who reads "Оps" with a Cyrillic О must not take it for the team that he knows, so names are compared by
a skeleton in which look-alike letters are one letter (Unicode Technical Standard 39, section 4).
"""

from __future__ import annotations

import unicodedata

from confusable_homoglyphs import categories, confusables

from deployments.domain.errors import InvalidInput

LONGEST = 80
_ALLOWED_SIGNS = frozenset(" -_.&+'()/")
# Scripts that one writing system mixes with each other and with Latin letters as a matter of course.
_EAST_ASIAN = frozenset({"HAN", "HIRAGANA", "KATAKANA", "HANGUL", "BOPOMOFO", "LATIN"})


def require_team_name(name: str) -> str:
    """The name in its composed form, blanks made single. Raises :class:`InvalidInput` at ``name``."""
    name = " ".join(unicodedata.normalize("NFKC", name).split())
    if not name or len(name) > LONGEST:
        raise InvalidInput(f"A team's name has 1 to {LONGEST} characters.", field="name")
    wrong = next((sign for sign in name if not _allowed(sign)), None)
    if wrong is not None or not any(sign.isalnum() for sign in name):
        raise InvalidInput(
            "A team's name holds letters, digits, spaces and - _ . & + ' ( ) / only.", field="name"
        )
    scripts = {categories.alias(sign) for sign in name if sign.isalpha()} - {"COMMON", "INHERITED"}
    if len(scripts) > 1 and not scripts <= _EAST_ASIAN:
        raise InvalidInput(
            "A team's name is written in one script; this one mixes letters that can be taken for each other.",
            field="name",
        )
    return name


def _allowed(sign: str) -> bool:
    return sign in _ALLOWED_SIGNS or sign.isalnum() or unicodedata.category(sign) in ("Mn", "Mc")


def skeleton(name: str) -> str:
    """What two names share when a reader cannot tell them apart: case, width, accents of
    compatibility and look-alike letters make no difference."""
    folded = unicodedata.normalize("NFKC", name).casefold()
    alike = "".join(_prototype(sign) for sign in " ".join(folded.split()))
    return unicodedata.normalize("NFKC", alike).casefold()


def _prototype(sign: str) -> str:
    """The plain letter that stands for all that look like ``sign``."""
    if sign.isascii():
        return {"1": "l", "0": "o", "|": "l"}.get(sign, sign)
    alike = confusables.confusables_data.get(sign, ())
    plain = sorted(found["c"] for found in alike if found["c"].isascii())
    return plain[-1].casefold() if plain else sign
