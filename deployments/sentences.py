"""What the core says, in the reader's language.

The core writes plain English: its sentences are stored, audited and logged as they are, and are translated
only where somebody reads them. A catalogue (``sentences.mo`` under ``LOCALE_PATHS``) holds the templates that
the core's source writes ("The claim {claim_name} gets no volume."; ``tests/catalogue`` reads them out of it)
and what they are in another language. A text is taken apart by the template that fits it best; what stands in
its holes is put into the translation as it is, or translated too where it is known. What no template fits, as
the cluster's own words, stays as it was. In English nothing is done at all.
"""

from __future__ import annotations

import gettext
import re
from functools import lru_cache
from pathlib import Path

from django.conf import settings
from django.utils.functional import Promise
from django.utils.translation import get_language, to_locale

DOMAIN = "sentences"
# Longer texts are no sentences of ours: logs, bodies of answers.
LONGEST = 2000
# How many sentences one template may hold.
TOGETHER = 4
DEPTH = 6
# Letters of its own from which on a template is beyond doubt: "{count} on {name}" has too few.
STRONG = 10
# With fewer than these, its holes must hold words of ours; as a part of a list it counts only then.
LEAST, DOUBTFUL = 2, 0

# Holes that may hold words of ours. All others hold names, which are nobody's to translate: a person may be
# called "admin" and a container "server".
SPOKEN = {
    "needs_action", "actor_site_role", "all_wanted", "words_approver", "asks_shape", "at",
    "broken_sentence", "chat", "code", "component", "error", "error_sentence", "finding_title",
    "fit_why_not", "given", "grows", "has", "hint", "holder_title", "image", "kinds_hint", "known_note",
    "left", "line", "missing", "missing_fit", "more", "names", "needs", "observed_pulling", "on",
    "open_questions", "operation_state", "operation_title", "ours", "over", "owner", "part", "problem",
    "reason_text", "refused_key", "self_faults", "sentence", "shared", "shown", "signs", "size",
    "stranger", "subject", "subject_type", "the_wanted", "times", "unclear", "versions", "waiting_for",
    "waived", "way", "what", "when", "where", "which", "who", "without", "word", "words", "words_first",
}  # fmt: skip
# Holes that hold a figure, so that few words beside it are enough to know a template.
FIGURE = re.compile(
    r"gib(_\w+)?|workload_(ready|desired|updated|available|replicas)"
    r"|count|total|wanted|passed|pull_completed|self_seconds|minutes|replicas|took|pods|volumes"
)
HOLE = re.compile(r"\{(\w+)\}")
_WORD = re.compile(r"[A-Za-z]{2,}")
_BOUNDARY = re.compile(r"(?<=[.?!”])\s+(?=[A-Z“])")
_HOLE_BOUNDARY = re.compile(r"(?<=[.?!”])\s+(?=[A-Z“{])")
_CHINESE = re.compile(r"[\u3400-\u9fff]")
_LISTS = (("; ", "；"), (", ", "，"), (" and ", "以及"))


def said(text: str | Promise) -> str:
    """The sentence or sentences of the core in the reader's language; unknown ones as they are."""
    language = get_language()
    if not text or not language or language.split("-")[0] == "en":
        return str(text)
    return _said(language, str(text))


@lru_cache(maxsize=8192)
def _said(language: str, text: str) -> str:
    catalogue = catalogue_of(language)
    if catalogue is None or len(text) > LONGEST:
        return text
    return catalogue.text(text)


def _held(name: str, after: str) -> str:
    """What a hole may hold, as an expression."""
    if FIGURE.fullmatch(name):
        return r"\d[\d.,]*" + (r" ?[KMGT]i?B?" if name.startswith("gib") else "")
    # Where a blank alone parts it from the next one, an article does not stand by itself.
    return "(?:the |an? )?.*?" if after == " " else ".*?"


class Template:
    """A sentence with holes and its translation; compiled when it is first tried."""

    def __init__(self, source: str, target: str) -> None:
        self.literals = HOLE.split(source)[::2]
        self.holes = HOLE.split(source)[1::2]
        self.sentences = len(_HOLE_BOUNDARY.split(source))
        self.weight = sum(len(part) for part in self.literals)
        self.spoken = {
            hole
            for at, hole in enumerate(self.holes)
            if re.sub(r"_\d+$", "", hole) in SPOKEN
            and (hole.endswith("title") or not self.literals[at].endswith("“"))
        }
        self._target = HOLE.split(target)
        self._expression: re.Pattern[str] | None = None

    @property
    def index(self) -> str:
        """The longest word that a text must hold to fit; "" where there is none that stands by itself."""
        words = []
        for at, literal in enumerate(self.literals):
            for word in _WORD.finditer(literal):
                # A word that touches a hole may be a part of a longer one in the text.
                begins = word.start() == 0 and at > 0
                ends = word.end() == len(literal) and at < len(self.holes)
                if not begins and not ends:
                    words.append(word.group().lower())
        return max(words, key=len, default="")

    def match(self, text: str) -> dict[str, str] | None:
        if self._expression is None:
            parts = [re.escape(self.literals[0])]
            for name, literal in zip(self.holes, self.literals[1:], strict=True):
                parts += [f"(?P<{name}>{_held(name, literal)})", re.escape(literal)]
            self._expression = re.compile("".join(parts), re.DOTALL)
        found = self._expression.fullmatch(text)
        return found.groupdict() if found else None

    def fill(self, values: dict[str, str]) -> str:
        text = ""
        for at, part in enumerate(self._target):
            text = _beside(text, part if at % 2 == 0 else values.get(part, ""))
        return text


class Catalogue:
    """All templates of a language."""

    def __init__(self, pairs: dict[str, str]) -> None:
        self._exact: dict[str, str] = {}
        self._by_word: dict[str, list[Template]] = {}
        for source, target in pairs.items():
            if HOLE.search(source):
                made = Template(source, target)
                self._by_word.setdefault(made.index, []).append(made)
            else:
                self._exact[source] = target
        for found in self._by_word.values():
            found.sort(key=lambda each: -each.weight)

    def text(self, text: str) -> str:
        """One or more sentences, each by itself where it is known by itself."""
        whole = self._exact.get(text)
        if whole is not None:
            return whole
        pieces = _BOUNDARY.split(text)
        told: list[str] = []
        known = 0
        at = 0
        while at < len(pieces):
            count, words = self._first(pieces[at:])
            told.append(words or pieces[at])
            known += words is not None
            at += count
        if known < len(told):
            # A hole may hold sentences, too.
            whole = self._one(text)
        return whole or (_joined(told) if known else text)

    def _first(self, pieces: list[str]) -> tuple[int, str | None]:
        """How many of the sentences belong together, and what they are; (1, None) for an unknown one."""
        for count in range(min(TOGETHER, len(pieces)), 1, -1):
            words = self._one(" ".join(pieces[:count]), sentences=count)
            if words is not None:
                return count, words
        return 1, self._one(pieces[0])

    def _one(self, text: str, depth: int = 0, sentences: int = 0) -> str | None:
        """One sentence or phrase, or a list of phrases; None where it is not known. ``sentences``: by
        templates of so many only."""
        known = self._weighed(text, depth, sentences)
        return known[0] if known else None

    def _weighed(self, text: str, depth: int, sentences: int = 0) -> tuple[str, int] | None:
        """The words and how much of them is our own: a template of few words must stand back."""
        variants = (text, text[:1].swapcase() + text[1:])
        for variant in variants:
            if variant in self._exact:
                return self._exact[variant], STRONG
        if depth >= DEPTH:
            return None
        whole = None if sentences else self._listed(text, depth, every=True)
        if whole is not None:
            return whole, STRONG
        found = next(filter(None, (self._fitting(variant, sentences) for variant in variants)), None)
        if found is not None and (sentences or found[0].weight >= STRONG):
            return self._filled(*found, depth), STRONG
        listed = None if sentences else self._listed(text, depth, every=False)
        if listed is not None:
            return listed, STRONG
        if found is None:
            return None
        doubtful = not self._all_known(*found, depth)
        if doubtful and found[0].weight < LEAST:
            return None
        return self._filled(*found, depth), DOUBTFUL if doubtful else found[0].weight

    def _all_known(self, template: Template, values: dict[str, str], depth: int) -> bool:
        """Whether words of ours stand in those holes of a template that may hold some."""
        return all(self._one(values[name], depth + 1) for name in template.spoken)

    def _fitting(self, text: str, sentences: int) -> tuple[Template, dict[str, str]] | None:
        """The template with the most words of its own that fits."""
        best: tuple[Template, dict[str, str]] | None = None
        for word in {word.lower() for word in _WORD.findall(text)} | {""}:
            for template in self._by_word.get(word, ()):
                if best is not None and template.weight <= best[0].weight:
                    break
                if sentences and template.sentences != sentences:
                    continue
                values = template.match(text)
                if values is not None:
                    best = template, values
                    break
        return best

    def _listed(self, text: str, depth: int, *, every: bool) -> str | None:
        """A list of phrases of which all are known, or one of them beyond doubt; else None."""
        for between, instead in _LISTS:
            if between not in text:
                continue
            parts = text.split(between)
            told = [self._weighed(part, depth + 1) for part in parts]
            sure = [known is not None and known[1] > DOUBTFUL for known in told]
            if all(sure) if every else any(known and known[1] >= STRONG for known in told):
                return instead.join(
                    known[0] if known else part for known, part in zip(told, parts, strict=True)
                )
        return None

    def _filled(self, template: Template, values: dict[str, str], depth: int) -> str:
        return template.fill(
            {
                name: self._inner(value, depth) if name in template.spoken else value
                for name, value in values.items()
            }
        )

    def _inner(self, value: str, depth: int) -> str:
        """What stands in a hole: a phrase of ours, a list of them, or anything else as it is."""
        bare = value.strip()
        return (self._one(bare, depth + 1) if _WORD.search(bare) else None) or value


def _beside(text: str, more: str) -> str:
    """Two pieces of text. Chinese has no blank between its own letters, and one before others."""
    if not text or not more:
        return text + more
    if _CHINESE.match(text.rstrip(" ")[-1:]) and _CHINESE.match(more.lstrip(" ")):
        return text.rstrip(" ") + more.lstrip(" ")
    before, after = text[-1], more[0]
    apart = (_CHINESE.match(before) and re.match("[A-Za-z0-9]", after)) or (
        _CHINESE.match(after) and re.match("[A-Za-z0-9]", before)
    )
    return f"{text} {more}" if apart else text + more


def _joined(told: list[str]) -> str:
    """Sentences after each other: no blank after a full stop that brings its own."""
    text = ""
    for each in told:
        text += each if not text or text.endswith(("。", "？", "：", "；")) else f" {each}"
    return text


@lru_cache(maxsize=8)
def catalogue_of(language: str) -> Catalogue | None:
    """The templates of a language ("zh-hans"), or None where there is no catalogue of it."""
    for place in settings.LOCALE_PATHS:
        path = Path(place) / to_locale(language) / "LC_MESSAGES" / f"{DOMAIN}.mo"
        if path.is_file():
            with path.open("rb") as opened:
                return Catalogue(pairs(gettext.GNUTranslations(opened)))
    return None


def pairs(read: gettext.GNUTranslations) -> dict[str, str]:
    """The entries of a compiled catalogue without its head; what is the same in both languages is left out."""
    entries: dict[str, str] = read._catalog  # type: ignore[attr-defined]
    return {source: target for source, target in entries.items() if source and target != source}
