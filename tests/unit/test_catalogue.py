"""The program that reads sentences out of the source, and the check that holds the catalogue to them."""

from __future__ import annotations

from functools import cache
from pathlib import Path
from textwrap import dedent

import pytest

from tests.catalogue import check, po
from tests.catalogue.extract import Found, extract


def texts(tmp_path: Path, source: str, place: str = "deployments/sample.py") -> set[str]:
    path = tmp_path / place
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(dedent(source))
    return set(extract(tmp_path))


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ('raise Conflict("It is gone.", remedy=f"Ask {user.name}.")', {"It is gone.", "Ask {user_name}."}),
        ("x = f\"{n} pod{'s' if n > 1 else ''} to end\"", {"{n} pod to end", "{n} pods to end"}),
        ("x = f\"on {pod.node or 'no node'} there\"", {"on {pod_node} there", "on no node there", "no node"}),
        ('x = "It is " + name + " here."', {"It is {name} here."}),
        ('x = f"{a.b} and {c.b} and {a.b}"', {"{a_b} and {c_b} and {a_b_2}"}),
        ('x = "{} is missing here".format(what)', {"{value} is missing here"}),
        ('x = f"line {mark.line + 1} is bad"', {"line {mark_line} is bad"}),
        ('"""A docstring of words."""\ndef f():\n    "Another one of them."', set()),
        ('log.warning("this is only logged"); raise ValueError("a fault of ours")', set()),
        ('x = re.compile("this is looked for") or text.startswith("so is this")', set()),
        ('x = "SELECT a FROM b where c"', set()),
        ('x = _("this is translated by gettext")', set()),
        ('x = "word"', set()),
    ],
)
def test_what_counts_as_said(tmp_path: Path, source: str, found: set[str]):
    assert texts(tmp_path, source) == found


def test_of_the_dashboard_only_errors_count(tmp_path: Path):
    source = 'raise Denied("You may not do it.")\nx = "a plain text of a page"'
    assert texts(tmp_path, source, "dashboard/views/sample.py") == {"You may not do it."}


def entries(tmp_path: Path, text: str) -> dict[tuple[str, str], po.Entry]:
    path = tmp_path / "sample.po"
    path.write_text('msgid ""\nmsgstr ""\n"Language: zh_Hans\\n"\n' + dedent(text))
    return po.read(path)


def test_a_file_of_messages_is_read(tmp_path: Path):
    found = entries(
        tmp_path,
        """
        msgid "one"
        msgstr "一"

        #, python-format
        msgctxt "health"
        msgid ""
        "%(n)s of "
        "them"
        msgid_plural "%(n)s of all"
        msgstr[0] "%(n)s 个"

        #, fuzzy
        msgid "guess"
        msgstr "猜"

        msgid "empty"
        msgstr ""
        """,
    )
    assert found["", "one"].complete
    assert found["health", "%(n)s of them"].plural == "%(n)s of all"
    assert found["health", "%(n)s of them"].translated == ["%(n)s 个"]
    assert not found["", "guess"].complete
    assert not found["", "empty"].complete


@pytest.mark.parametrize(
    ("source", "translated", "fine"),
    [
        ("%(a)s of %(b)s", "%(b)s 中的 %(a)s", True),
        ("%(a)s of %(b)s", "%(b)s 中的", False),
        ("{name} is here", "{nam} 在", False),
        ("<b>now</b>", "<b>现在", False),
        ("61 %% of %(a)s", "%(a)s 的 61 %%", True),
    ],
)
def test_placeholders_have_to_match(source: str, translated: str, fine: bool):
    assert (po.wrong_placeholders(po.Entry("", source, "", [translated])) == "") is fine


# The check itself ---------------------------------------------------------------------------------
@cache
def of_the_source() -> dict[str, Found]:
    return extract()


@pytest.fixture
def copy(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The catalogue, to be spoiled; the strings of pages are taken to be those that it holds."""
    place = tmp_path / check.PLACE
    place.mkdir(parents=True)
    for path in (check.ROOT / check.PLACE).iterdir():
        (place / path.name).write_bytes(path.read_bytes())
    monkeypatch.setattr(check, "ROOT", tmp_path)
    monkeypatch.setattr(check, "extract", of_the_source)
    monkeypatch.setattr("shutil.which", lambda name: None)
    return place


def spoil(path: Path, old: str, new: str) -> None:
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new, 1))


def test_the_catalogue_is_complete(copy: Path):
    assert check.complete() == ""


def test_a_sentence_without_a_translation_is_told(copy: Path):
    spoil(copy / "sentences.po", 'msgstr "GPU 导出器没有应答。"', 'msgstr ""')
    assert "not translated: 'The GPU exporters do not answer.'" in check.complete()


def test_a_string_of_a_page_without_a_translation_is_told(copy: Path):
    spoil(copy / "django.po", 'msgstr "重新检查"', 'msgstr ""')
    assert "django.po: not translated: 'Check again'" in check.complete()


def test_a_compiled_file_of_other_contents_is_told(copy: Path):
    spoil(copy / "django.po", 'msgstr "重新检查"', 'msgstr "再次检查"')
    assert "django.mo is not what django.po compiles to" in check.complete()


def test_a_lost_placeholder_is_told(copy: Path):
    spoil(copy / "sentences.po", 'msgstr "PVC {claim_name} 得不到卷。"', 'msgstr "PVC 得不到卷。"')
    assert "'The claim {claim_name} gets no volume.': ['{claim_name}'] became []" in check.complete()


def test_a_hole_that_no_sentence_has_is_told(copy: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(check, "SPOKEN", {*check.SPOKEN, "nothing_of_the_kind"})
    assert "no sentence has the hole nothing_of_the_kind" in check.complete()
