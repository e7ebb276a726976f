"""Pages of profiles between teams, from sharing to a batch."""

from __future__ import annotations

import pytest
from django.test import Client
from django.urls import reverse

from deployments.commands import sharing
from deployments.commands.profiles import create_profile
from deployments.domain.spec import StackSpec
from deployments.domain.states import OperationKind, Role, ShareLevel
from deployments.models import Batch, Deployment, Profile, ProfileShare, Revision, Team
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
    page = client.get(answer.url).content.decode()
    assert f'Copied from <a href="{reverse("profile", args=[profile.pk])}">small</a> revision 1.' in page


def test_a_copy_does_not_name_a_source_that_the_reader_may_not_see(
    client: Client, profile: Profile, theirs: Team
):
    owner = make.as_actor(make.make_member(make.default_team(), Role.OWNER, "oona"))
    Profile.objects.filter(pk=profile.pk).update(name="codename-kestrel")
    revision = profile.revisions.get()
    copy = sharing.clone_profile(owner, revision_id=revision.pk, team_id=profile.team_id, name="open")
    sharing.share_profile(owner, profile_id=copy.profile_id, team_name=theirs.name, level=ShareLevel.USE)
    client.force_login(make.make_member(theirs, Role.VIEWER, "theo"))
    page = client.get(reverse("profile", args=[copy.profile_id])).content.decode()
    assert "Copied from a profile of another team." in page
    assert "kestrel" not in page


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
    stale = client.post(page, {"deployments": [one.pk], "revision": revision.pk})
    assert stale.status_code == 409, "nobody has looked at the newest one"
    assert "Revision 2 was saved meanwhile" in stale.content.decode()
    assert not Batch.objects.exists()
    newest = profile.revisions.latest("number")
    given = {"deployments": [one.pk, two.pk], "revision": newest.pk, "reason": "weekly"}
    answer = client.post(page, given)
    followed = client.get(answer.url).content.decode()
    assert "1 was left out" in followed
    assert f"operation:{Batch.objects.get().operations.get().pk}" in followed
    stranger = Client()
    stranger.force_login(make.make_user("stranger"))
    assert stranger.get(answer.url).status_code == 404


def test_a_shared_profile_is_installed_for_the_readers_own_team(
    client: Client, profile: Profile, theirs: Team
):
    admin = make.make_admin()
    cluster = make.make_cluster(admin, teams=[theirs])
    cluster.grants.update(quota={"gpus": 4, "deployments": 3})
    ProfileShare.objects.create(profile=profile, team=theirs, level="use")
    theo = make.make_member(theirs, Role.OPERATOR, "theo")
    client.force_login(theo)
    revision = profile.revisions.get()
    place = reverse("install_place", query={"revision": revision.pk})
    page = client.get(place).content.decode()
    assert "for Théo&#x27;s team" in page
    assert "3 deployments" in page
    assert "This takes" in page
    answer = client.post(place, {"cluster": cluster.pk, "namespace": "llm", "name": "r1"})
    assert answer.status_code == 302, answer.content
    assert f"team={theirs.pk}" in answer.url
    review = answer.url.replace(reverse("install_preflight"), reverse("install_review"))
    assert client.post(review.split("&preflight")[0], {}).status_code == 302
    assert Deployment.objects.get().team == theirs


def test_over_the_quota_the_review_says_by_how_much(client: Client, profile: Profile):
    cluster = make.make_cluster(make.make_admin(), teams=[make.default_team()])
    cluster.grants.update(quota={"memory": 2**30})
    query = {"revision": profile.revisions.get().pk, "cluster": cluster.pk, "namespace": "llm", "name": "r1"}
    answer = client.post(reverse("install_review", query=query), {})
    assert answer.status_code == 409
    assert "it may use 1Gi" in answer.content.decode()
    assert not Deployment.objects.exists()


def test_viewers_do_not_get_into_the_install(client: Client, profile: Profile):
    client.force_login(make.make_member(make.default_team(), Role.VIEWER, "vera"))
    place = reverse("install_place", query={"revision": profile.revisions.get().pk})
    assert client.get(place).status_code == 403
