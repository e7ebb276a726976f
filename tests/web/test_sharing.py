"""Pages of profiles between teams, from sharing to a batch."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from deployments.commands.profiles import create_profile
from deployments.domain.spec import StackSpec
from deployments.domain.states import OperationKind, Role
from deployments.models import Batch, Profile, ProfileShare, Revision, Team
from tests import factories as make
from tests.web import rows

pytestmark = pytest.mark.django_db


@pytest.fixture
def theirs() -> Team:
    return make.make_team("Théo's team")


@pytest.fixture
def profile(client: Client) -> Profile:
    owner = make.make_member(make.default_team(), Role.OWNER, "olga")
    client.force_login(owner)
    return create_profile(
        make.as_actor(owner), team_id=make.default_team().pk, name="small", spec=StackSpec()
    ).profile


def test_sharing_and_withdrawing(client: Client, profile: Profile, theirs: Team):
    page = reverse("profile_share", args=[profile.pk])
    assert client.post(page, {"team_name": "nobody", "level": "use"}).status_code == 422
    assert client.post(page, {"team_name": "théo's TEAM", "level": "use"}).status_code == 302
    assert "Théo&#x27;s team" in client.get(page).content.decode()
    stranger = Client()
    stranger.force_login(make.make_member(theirs, Role.MAINTAINER, "theo"))
    seen = stranger.get(reverse("profile", args=[profile.pk])).content.decode()
    assert reverse("profile_copy", args=[profile.pk]) in seen
    assert reverse("profile_edit", args=[profile.pk]) not in seen
    assert stranger.get(page).status_code == 403
    client.post(reverse("profile_withdraw", args=[profile.pk, theirs.pk]))
    assert stranger.get(reverse("profile", args=[profile.pk])).status_code == 404
    assert not ProfileShare.objects.exists()


def test_a_maintainer_is_told_that_only_owners_let_others_edit(
    client: Client, profile: Profile, theirs: Team
):
    client.force_login(make.make_member(make.default_team(), Role.MAINTAINER, "max"))
    answer = client.post(
        reverse("profile_share", args=[profile.pk]), {"team_name": theirs.name, "level": "edit"}
    )
    assert answer.status_code == 403
    assert "owner" in answer.content.decode()


def test_the_way_into_the_catalog(client: Client, profile: Profile, theirs: Team):
    assert client.post(reverse("profile_publish", args=[profile.pk])).status_code == 403
    assert client.post(reverse("profile_ask", args=[profile.pk])).status_code == 302
    assert client.post(reverse("profile_ask", args=[profile.pk])).status_code == 409
    admin = Client()
    admin.force_login(make.make_admin())
    assert "asked for the catalog" in admin.get(reverse("profiles")).content.decode()
    assert admin.post(reverse("profile_publish", args=[profile.pk])).status_code == 302
    client.force_login(make.make_member(theirs, Role.VIEWER, "theo"))
    assert "small" in client.get(reverse("profiles")).content.decode()


def test_a_copy_says_where_it_came_from(client: Client, profile: Profile):
    page = reverse("profile_copy", args=[profile.pk])
    assert client.post(page, {"team": make.default_team().pk, "name": "small"}).status_code == 422
    answer = client.post(page, {"team": make.default_team().pk, "name": "second"})
    assert "Copied from small revision 1" in client.get(answer.url).content.decode()


def test_a_revision_for_many_is_followed_on_one_page(client: Client, profile: Profile):
    cluster = rows.cluster()
    revision = profile.revisions.get()
    one, two = (rows.deployment(revision, cluster, name) for name in ("one", "two"))
    rows.operation(two, OperationKind.UPGRADE)
    Revision.objects.create(profile=profile, number=2, spec=revision.spec, digest="1" * 64)
    page = reverse("profile_apply", args=[profile.pk])
    assert page in client.get(reverse("profile", args=[profile.pk])).content.decode()
    assert client.get(page).content.decode().count(" checked") == 2
    assert client.post(page, {}).status_code == 422
    answer = client.post(page, {"deployments": [one.pk, two.pk], "reason": "weekly"})
    followed = client.get(answer.url).content.decode()
    assert "1 was left out" in followed
    assert f"operation:{Batch.objects.get().operations.get().pk}" in followed
    stranger = Client()
    stranger.force_login(make.make_user("stranger"))
    assert stranger.get(answer.url).status_code == 404
