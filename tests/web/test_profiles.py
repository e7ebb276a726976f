"""Pages of profiles: what is written is read back, errors stand at their fields, secrets are not shown."""

from __future__ import annotations

import re
from dataclasses import replace
from typing import Any

import pytest
import yaml
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from dashboard.forms.profiles import initial_of
from deployments.commands.profiles import read_secrets, save_revision
from deployments.domain.spec import (
    ChatSpec,
    ImageSpec,
    ModelSpec,
    ServerSpec,
    StackSpec,
    Toleration,
    spec_from_json,
)
from deployments.domain.states import Role
from deployments.models import AuditEntry, Profile, Revision
from tests import factories as make

pytestmark = pytest.mark.django_db


@pytest.fixture
def writer(client: Client):
    user = make.make_member(make.default_team(), Role.MAINTAINER)
    client.force_login(user)
    return user


def typed(spec: StackSpec | None = None, **given: Any) -> dict[str, Any]:
    """What a browser sends for a spec: boxes that are not ticked are absent."""
    data = {name: value for name, value in initial_of(spec or StackSpec()).items() if value is not False}
    return {**data, "name": "small", "team": make.default_team().pk, **given}


def test_the_empty_list_offers_both_ways(client: Client, writer):
    page = client.get(reverse("profiles")).content.decode()
    assert reverse("profile_new") in page
    assert reverse("profile_import") in page


def test_every_value_of_the_form_comes_back(client: Client, writer):
    spec = StackSpec(
        model=ModelSpec(tag="7b", insecure=True),
        server=ServerSpec(
            node_selector={"disk": "ssd"},
            tolerations=(Toleration("gpu", "Equal", "yes", "NoSchedule"), Toleration("", "Exists", "", "")),
            affinity={"nodeAffinity": {}},
            run_as_user=1000,
            context_length=8192,
        ),
        chat=ChatSpec(port=8080, network_policy=False),
        images=ImageSpec(pull_secrets=("one", "two")),
    )
    answer = client.post(reverse("profile_new"), typed(spec))
    assert answer.status_code == 302, answer.context["form"].errors
    assert spec_from_json(Revision.objects.get().spec) == spec


@pytest.mark.parametrize(
    "field, value, words",
    [
        ("storage_size", "8G i", "8G i"),
        ("model_tag", "-x", "tag"),
        ("model_registry", "http://registry", "scheme"),
        ("server_replicas", "1000", "100"),
        ("server_replicas", "many", "whole number"),
        ("server_tolerations", "gpu:Never", "Never"),
        ("server_affinity", "[1", "YAML"),
        ("server_node_selector", "no pair", "key=value"),
        ("ingress_host", "not a host", "host"),
        ("name", "", "required"),
        ("images_registry_username", "robot", "password"),
    ],
)
def test_a_wrong_value_is_said_at_its_field_and_nothing_is_lost(
    client: Client, writer, field: str, value: str, words: str
):
    answer = client.post(reverse("profile_new"), typed(server_keep_alive="77m", **{field: value}))
    assert answer.status_code == 422
    blamed = {"images_registry_username": "images_registry_password"}.get(field, field)
    assert words in str(answer.context["form"].errors[blamed])
    assert 'value="77m"' in answer.content.decode()
    assert not Profile.objects.exists()


def test_the_sizing_is_shown_without_saving(client: Client, writer):
    answer = client.post(reverse("profile_new"), typed(model_tag="14b", preview="1"))
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "32\u00a0GiB" in page
    assert "from the extension&#x27;s table" in page
    assert not Profile.objects.exists()


def test_another_model_is_estimated_from_its_download(client: Client, writer):
    client.post(reverse("profile_new"), typed(model_repository="qwen3", model_tag="8b", download_gb="5.2"))
    spec = spec_from_json(Revision.objects.get().spec)
    assert spec.server.resources.memory_request.endswith("Gi")
    assert spec.storage.size


def test_secrets_are_kept_replaced_and_removed_and_never_shown(client: Client, writer):
    client.post(reverse("profile_new"), typed(chat_access_code="first-code"))
    profile = Profile.objects.get()
    where = reverse("profile_edit", args=[profile.pk])

    def save(**given: Any) -> Revision:
        number = profile.revisions.first().number
        answer = client.post(where, typed(based_on=number, **given))
        assert answer.status_code == 302, answer.context["form"].errors
        return profile.revisions.first()

    assert "first-code" not in client.get(where).content.decode()
    assert read_secrets(save(server_replicas=2, access_code_fate="keep")).access_code == "first-code"
    assert read_secrets(save(access_code_fate="replace", chat_access_code="second")).access_code == "second"
    assert read_secrets(save(access_code_fate="remove")).access_code == ""
    refused = client.post(where, typed(based_on=4, server_replicas="x", chat_access_code="third-code"))
    assert refused.status_code == 422
    assert "third-code" not in refused.content.decode()


def test_who_saved_meanwhile_is_not_overwritten(client: Client, writer):
    first = make.make_revision(writer, name="small")
    save_revision(
        make.as_actor(writer),
        profile_id=first.profile_id,
        based_on=1,
        spec=StackSpec(model=ModelSpec(tag="7b")),
    )
    where = reverse("profile_edit", args=[first.profile_id])
    answer = client.post(where, typed(based_on=1, server_keep_alive="55m"))
    page = answer.content.decode()
    assert answer.status_code == 409
    assert "Revision 2 was saved while you edited revision 1" in page
    assert 'value="55m"' in page
    assert first.profile.revisions.count() == 2


def test_two_revisions_are_compared_field_by_field(client: Client, writer):
    first = make.make_revision(writer, name="small", access_code="secret-code")
    save_revision(
        make.as_actor(writer), profile_id=first.profile_id, based_on=1, spec=StackSpec(ModelSpec(tag="14b"))
    )
    page = client.get(reverse("profile", args=[first.profile_id]), {"a": 1, "b": 2}).content.decode()
    assert "<del>1.5b</del>" in page
    assert "<ins>14b</ins>" in page
    assert "secret-code" not in page


def test_an_export_imports_again_and_holds_no_secret(client: Client, writer):
    revision = make.make_revision(writer, name="small", access_code="secret-code")
    text = client.get(reverse("profile_export", args=[revision.profile_id])).content.decode()
    assert "secret-code" not in text
    read = client.post(reverse("profile_import"), {"text": text})
    held = read.context["form"]["held"].value()
    data = {"held": held, "name": "again", "team": revision.profile.team_id}
    assert client.post(reverse("profile_import"), data).status_code == 302
    assert Profile.objects.filter(name="again").exists()
    config = client.get(reverse("profile_export", args=[revision.profile_id]), {"form": "config"})
    assert yaml.safe_load(config.content)["backend"]["model"]["repository"] == "deepseek-r1"


def test_an_import_shows_what_was_understood_before_it_is_saved(client: Client, writer):
    text = "backend:\n  model:\n    repository: deepseek-r1\n    tag:7b\n  colour: blue\n"
    answer = client.post(reverse("profile_import"), {"text": text})
    page = answer.content.decode()
    assert answer.status_code == 200
    assert "blank was missing" in page
    assert "backend.colour" in page
    assert not Profile.objects.exists()


@pytest.mark.parametrize("text", ["", "a: [", "- 1\n", "x" * 300_000, "a: &a [1]\nb: [*a, *a]\n" * 3])
def test_a_file_that_cannot_be_read_is_said_at_the_field(client: Client, writer, text: str):
    answer = client.post(reverse("profile_import"), {"text": text})
    assert answer.status_code == 422
    assert answer.context["form"].errors["text"]


def test_roles(client: Client, writer):
    revision = make.make_revision(writer, name="small")
    client.force_login(make.make_member(make.default_team(), Role.VIEWER))
    assert client.get(reverse("profile", args=[revision.profile_id])).status_code == 200
    assert client.get(reverse("profile_edit", args=[revision.profile_id])).status_code == 403
    assert client.get(reverse("profile_rename", args=[revision.profile_id])).status_code == 403
    assert client.get(reverse("profile_new")).status_code == 403
    client.force_login(make.make_user())
    assert client.get(reverse("profile", args=[revision.profile_id])).status_code == 404


def test_a_profile_is_renamed_without_a_new_revision(client: Client, writer):
    profile = make.make_revision(writer, name="small").profile
    where = reverse("profile_rename", args=[profile.pk])
    assert 'value="small"' in client.get(where).content.decode()
    answer = client.post(where, {"name": " Tiny ", "description": "for trying out"}, follow=True)
    assert "Tiny" in answer.content.decode() and "for trying out" in answer.content.decode()
    profile.refresh_from_db()
    assert (profile.name, profile.description, profile.revisions.count()) == ("Tiny", "for trying out", 1)
    entry = AuditEntry.objects.latest("sequence")
    assert entry.action == "profile.rename"
    assert (entry.before["name"], entry.after["name"]) == ("small", "Tiny")
    assert client.post(where, {"name": "Tiny", "description": "for trying out"}).status_code == 302
    assert AuditEntry.objects.latest("sequence") == entry, "nothing was changed, so nothing is on record"


def test_a_name_that_somebody_else_changed_meanwhile_is_not_overwritten(client: Client, writer):
    profile = make.make_revision(writer, name="small").profile
    where = reverse("profile_rename", args=[profile.pk])
    shown = re.findall(r'name="(seen_\w+)"(?: value="([^"]*)")?', client.get(where).content.decode())
    seen = dict(shown)
    assert seen == {"seen_name": "small", "seen_description": ""}
    assert client.post(where, {**seen, "name": "tiny", "description": "one tab"}).status_code == 302
    answer = client.post(where, {**seen, "name": "mini", "description": "another tab"})
    assert answer.status_code == 422
    html = answer.content.decode()
    assert "it is named tiny now" in html
    assert 'value="mini"' in html, "what was typed is still there"
    profile.refresh_from_db()
    assert (profile.name, profile.description) == ("tiny", "one tab")


def test_a_kept_password_is_asked_for_anew_where_the_registry_is_another(client: Client, writer):
    spec = replace(StackSpec(), images=ImageSpec(registry="a.example.com", registry_username="robot"))
    revision = make.make_revision(writer, name="small", spec=spec, registry_password="not shown")
    where = reverse("profile_edit", args=[revision.profile_id])
    form = client.get(where).context["form"]
    data = {name: value for name, value in form.initial.items() if value not in (None, False)}
    data |= {"based_on": 1, "registry_password_fate": "keep", "images_registry": "b.example.com"}
    answer = client.post(where, data)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == ["images_registry_password"]
    assert "is for a.example.com" in answer.content.decode()
    data |= {"registry_password_fate": "replace", "images_registry_password": "another"}
    assert client.post(where, data).status_code == 302
    assert (
        client.post(
            where,
            {
                **data,
                "based_on": 2,
                "registry_password_fate": "keep",
                "images_registry_password": "",
                "note": "same host",
            },
        ).status_code
        == 302
    )


@pytest.mark.parametrize(
    "given, field",
    [
        ({"name": "LARGE"}, "name"),
        ({"name": ""}, "name"),
        ({"name": "a\x07b"}, "name"),
        ({"name": "x", "description": "y" * 501}, "description"),
    ],
)
def test_a_name_that_cannot_be_is_said_at_the_field(client: Client, writer, given, field):
    make.make_revision(writer, name="large")
    profile = make.make_revision(writer, name="small").profile
    answer = client.post(reverse("profile_rename", args=[profile.pk]), given)
    assert answer.status_code == 422
    assert list(answer.context["form"].errors) == [field]
    profile.refresh_from_db()
    assert profile.name == "small"


def test_archiving_takes_it_out_of_the_list(client: Client, writer):
    revision = make.make_revision(writer, name="small")
    assert client.post(reverse("profile_archive", args=[revision.profile_id])).status_code == 302
    assert "No profile yet" in client.get(reverse("profiles")).content.decode()


def test_the_list_costs_the_same_for_one_and_for_many(client: Client, writer, django_assert_num_queries):
    make.make_revision(writer)
    client.get(reverse("profiles"))
    with CaptureQueriesContext(connection) as first:
        client.get(reverse("profiles"))
    for _ in range(5):
        make.make_revision(writer)
    with django_assert_num_queries(len(first)):
        client.get(reverse("profiles"))
