"""Components as they come out: accessible names, escaping, figures in attributes, address kept."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import pytest
from django import forms
from django.conf import settings
from django.core.paginator import Paginator
from django.template import engines
from django.test import RequestFactory
from django.utils import translation
from django.utils.safestring import mark_safe
from django.utils.translation import gettext_lazy

from dashboard.presenters import parts
from dashboard.presenters.states import Look
from dashboard.presenters.words import words

STATIC = Path(settings.BASE_DIR) / "dashboard" / "static"


@pytest.fixture(autouse=True)
def plain_static(settings: Any) -> None:
    """Names of static files without a manifest, which only collectstatic makes."""
    settings.STORAGES = {
        **settings.STORAGES,
        "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
    }


def render(source: str, query: str = "", **context: Any) -> str:
    template = engines["django"].from_string("{% load pilothouse forms %}" + source)
    return str(template.render({**context, "request": RequestFactory().get(f"/deployments/{query}")}))


def test_a_state_is_icon_and_word() -> None:
    html = render('{% state "degraded" "health" %}')
    assert "#i-degraded" in html and ">" in html and "Degraded" in html


def test_a_bar_has_its_width_as_an_attribute_in_every_language() -> None:
    with translation.override("de"):
        html = render('{% bar 61.5 "Pull" %}')
    assert 'width="61.5%"' in html and 'aria-valuenow="61"' in html and 'aria-label="Pull"' in html


def test_an_unknown_bar_claims_no_figure() -> None:
    html = render('{% bar nothing "Pull" %}', nothing=None)
    assert "aria-valuenow" not in html and "<rect" not in html


def test_parts_of_a_whole_leave_the_rest_empty() -> None:
    html = render('{% parts_bar shares "x" True %}', shares=[("v", 30), ("stalled", 20), ("rest", 50)])
    assert html.count("<rect") == 2 and 'x="30%" width="20%"' in html


def test_what_a_cluster_said_is_escaped() -> None:
    html = render(
        "{% log_lines lines %}", lines=[parts.LogLine(datetime.now(UTC), "pull", "<img onerror=x>")]
    )
    assert "<img" not in html and "&lt;img" in html
    html = render('{% notice "fail" lead %}{{ text }}{% endnotice %}', lead="<b>", text="<script>")
    assert "<script>" not in html and "<b><b>" not in html


def test_sorting_turns_round_and_keeps_the_filters() -> None:
    columns = [parts.Column("Name", "name"), parts.Column("State")]
    html = render('{% table_head columns "name" %}', "?state=failed&sort=name&page=3", columns=columns)
    assert 'aria-sort="ascending"' in html and 'href="?state=failed&amp;sort=-name"' in html
    assert parts.ordering("-name", columns, "x") == "-name"
    assert parts.ordering("password", columns, "x") == "x"


def test_the_pager_keeps_the_filters() -> None:
    html = render("{% pager page %}", "?state=failed", page=Paginator(range(60), 25).page(2))
    assert "26 to 50 of 60" in html and 'href="?state=failed&amp;page=3"' in html
    assert render("{% pager page %}", page=Paginator(range(3), 25).page(1)).strip() == ""


def test_a_filter_that_is_on_leads_to_the_list_without_it() -> None:
    html = render(
        '{% filter_chip "State" "state" choices %}', "?state=failed&q=r1", choices=[("failed", "Failed")]
    )
    assert 'href="?q=r1"' in html and "Failed" in html


def test_a_row_that_was_rendered_before_is_in_each_readers_language_and_never_markup() -> None:
    look = Look(gettext_lazy("Failed"), "failed", "failed")
    item = {
        "look": look,
        "href": "/x/?a=1&b=2",
        "context": "t · c",
        "since": None,
        "action": "",
        "action_href": "",
    }

    def row(name: str) -> str:
        return render("{% load rows %}{% attention_row item %}", item=item | {"name": name, "sentence": name})

    with translation.override("zh-hans"):
        chinese = row("<b>r1</b>")
    with translation.override("en"):
        english = row("<b>r1</b>")
    assert "Failed" in english and "Failed" not in chinese and "失败" in chinese
    for html in (chinese, english):
        assert html.count("&lt;b&gt;r1&lt;/b&gt;") == 2 and 'href="/x/?a=1&amp;b=2"' in html
    trusted = row(mark_safe("<b>r1</b>"))
    assert trusted.count("<b>r1</b>") == 2 and row("<b>r1</b>").count("&lt;b&gt;") == 2


def test_late_figures_say_so() -> None:
    old = datetime(2020, 1, 1, tzinfo=UTC)
    assert 'class="prov stale"' in render('{% prov "DCGM" seen 15 %}', seen=old)
    assert "stale" not in render('{% prov "DCGM" seen %}', seen=old)


class Place(forms.Form):
    name = forms.CharField(help_text="free")
    gpu = forms.ChoiceField(choices=[("none", "None"), ("nvidia", "NVIDIA")], widget=forms.RadioSelect)
    gpus = forms.IntegerField()


def test_an_error_stands_at_its_field_and_is_named_by_it() -> None:
    html = render("{% field form.name %}", form=Place({}))
    assert 'aria-invalid="true"' in html
    described = re.search(r'aria-describedby="([^"]+)"', html)
    assert described
    for name in described[1].split():
        assert f'id="{name}"' in html


def test_several_errors_are_summed_up_with_links() -> None:
    html = render("{% errors form %}", form=Place({}))
    assert 'role="alert"' in html and 'href="#id_name"' in html
    assert render("{% errors form %}", form=Place({"name": "a", "gpu": "none", "gpus": "x"})) == ""


def test_a_form_rendered_by_itself_looks_the_same() -> None:
    html = render("{{ form }}", form=Place())
    assert html.count('class="field"') == 3 and '<legend class="label">' in html


def test_typed_names_are_asked_for() -> None:
    html = render(
        '{% confirm title="Sure?" action="/x" verb="Uninstall" back="/" name="r1" %}ok{% endconfirm %}'
    )
    assert 'data-match="r1"' in html and 'name="confirm"' in html


def test_no_template_holds_a_script_or_a_style_of_its_own() -> None:
    for path in (Path(settings.BASE_DIR) / "templates").rglob("*.html"):
        text = path.read_text()
        assert not re.search(r"<style|\sstyle=|\son[a-z]+=\"|<script(?![^>]* src=)|javascript:", text), path


def test_every_icon_that_a_template_names_exists() -> None:
    known = set(re.findall(r'<symbol id="i-([a-z-]+)"', (STATIC / "icons.svg").read_text()))
    for path in (Path(settings.BASE_DIR) / "templates").rglob("*.html"):
        for name in re.findall(r'\{% icon "([a-z-]+)"', path.read_text()):
            assert name in known, f"{path}: {name}"


def test_scripts_say_only_words_that_are_handed_over() -> None:
    given = {re.sub(r"-(.)", lambda match: match[1].upper(), name) for name in words()}
    for path in (STATIC / "js").glob("*.js"):
        for name in re.findall(r"\bwords\.(?!js|py)([a-zA-Z]+)", path.read_text()):
            assert name in given, f"{path.name}: {name}"
