"""Profiles that other teams use, edit, copy and apply: who may, what goes along, what stays."""

from __future__ import annotations

from dataclasses import replace

import pytest

from deployments.commands import sharing
from deployments.commands.batches import apply_to_many
from deployments.commands.install import install, upgrade
from deployments.commands.profiles import create_profile, read_secrets, save_revision
from deployments.domain.actors import Actor
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.spec import ImageSpec, Secrets, StackSpec, spec_from_json
from deployments.domain.states import OperationKind, OperationState, Role, ShareLevel
from deployments.models import AuditEntry, Deployment, Membership, Operation, Profile, Revision, Team, User
from deployments.selectors import lookup, scope
from deployments.selectors import sharing as selector
from deployments.selectors.deployments import deployment_page
from deployments.selectors.profiles import profile_page
from tests import factories as make
from tests.web import rows

pytestmark = pytest.mark.django_db
SECRET = Secrets(registry_password="not for others")
PRIVATE = replace(StackSpec(), images=ImageSpec(registry="registry.example.com", registry_username="robot"))


def member(team: Team, role: Role, name: str) -> Actor:
    return make.as_actor(make.make_member(team, role, name))


class World:
    def __init__(self) -> None:
        self.mine, self.theirs = make.default_team(), make.make_team("Theirs")
        self.owner = member(self.mine, Role.OWNER, "owner")
        self.maintainer = member(self.mine, Role.MAINTAINER, "maintainer")
        self.other = member(self.theirs, Role.MAINTAINER, "other")
        self.admin = make.as_actor(make.make_admin())
        self.revision = create_profile(self.owner, team_id=self.mine.pk, name="small", spec=StackSpec())
        self.profile = self.revision.profile
        self.cluster = make.make_cluster(make.make_admin("a2"), teams=[self.mine, self.theirs])

    def share(self, level: ShareLevel = ShareLevel.USE, by: Actor | None = None) -> None:
        sharing.share_profile(by or self.owner, profile_id=self.profile.pk, team_name="theirs", level=level)

    def install(self, who: Actor, team: Team | None = None, name: str = "r1"):
        return install(
            who,
            revision_id=self.revision.pk,
            cluster_id=self.cluster.pk,
            namespace="llm",
            name=name,
            team_id=team.pk if team else None,
        )


@pytest.fixture
def world() -> World:
    return World()


def test_what_is_shared_for_use_is_installed_into_ones_own_team(world: World):
    with pytest.raises(NotFound):
        lookup.profile(world.other, world.profile.pk)
    with pytest.raises(NotFound):
        world.install(world.other, world.theirs)
    world.share()
    world.install(world.other, world.theirs)
    assert Deployment.objects.get().team == world.theirs
    with pytest.raises(Denied):
        save_revision(world.other, profile_id=world.profile.pk, based_on=1, spec=PRIVATE)
    with pytest.raises(NotFound):
        world.install(world.other, world.mine, "r2")


def test_what_is_shared_for_editing_gets_revisions_from_both(world: World):
    world.share(ShareLevel.EDIT)
    spec = replace(StackSpec(), chat=replace(StackSpec().chat, port=4000))
    saved = save_revision(world.other, profile_id=world.profile.pk, based_on=1, spec=spec)
    assert saved.number == 2
    with pytest.raises(Conflict):
        save_revision(world.owner, profile_id=world.profile.pk, based_on=1, spec=StackSpec())


def test_only_an_owner_lets_others_edit(world: World):
    with pytest.raises(Denied):
        world.share(ShareLevel.EDIT, by=world.maintainer)
    world.share(ShareLevel.USE, by=world.maintainer)
    world.share(ShareLevel.EDIT)
    with pytest.raises(Denied):
        world.share(ShareLevel.USE, by=world.maintainer)
    with pytest.raises(Denied):
        sharing.withdraw_share(world.maintainer, profile_id=world.profile.pk, team_id=world.theirs.pk)
    assert AuditEntry.objects.filter(action="profile.share_for_editing", outcome="done").count() == 1


def test_a_user_of_a_profile_does_not_share_it_on(world: World):
    world.share()
    make.make_team("Third")
    with pytest.raises(Denied):
        sharing.share_profile(
            world.other, profile_id=world.profile.pk, team_name="third", level=ShareLevel.USE
        )


def test_what_runs_goes_on_after_the_sharing_ended(world: World):
    world.share()
    world.install(world.other, world.theirs)
    sharing.withdraw_share(world.owner, profile_id=world.profile.pk, team_id=world.theirs.pk)
    assert lookup.profile(world.other, world.profile.pk)
    with pytest.raises(InvalidInput):
        world.install(world.other, world.theirs, "r2")


def test_what_was_saved_after_a_sharing_ended_is_not_for_the_other_team(world: World):
    world.share()
    world.install(world.other, world.theirs)
    deployment = Deployment.objects.get()
    rows.release(deployment, 1, [])
    Operation.objects.update(state=OperationState.SUCCEEDED)
    sharing.withdraw_share(world.owner, profile_id=world.profile.pk, team_id=world.theirs.pk)
    spec = replace(StackSpec(), chat=replace(StackSpec().chat, port=4000))
    later = save_revision(world.owner, profile_id=world.profile.pk, based_on=1, spec=spec)
    page = profile_page(world.other, world.profile.pk)
    assert [row.number for row in page.revisions] == [1]
    assert deployment_page(world.other, deployment.pk).newer is None
    for attempt in (
        lambda: upgrade(world.other, deployment_id=deployment.pk, revision_id=later.pk),
        lambda: sharing.clone_profile(
            world.other, revision_id=later.pk, team_id=world.theirs.pk, name="carried off"
        ),
        lambda: lookup.revision(world.other, later.pk),
    ):
        with pytest.raises(NotFound):
            attempt()
    # What runs may be applied once more, to repair it.
    upgrade(world.other, deployment_id=deployment.pk, revision_id=world.revision.pk)


@pytest.mark.parametrize("name", ["Default", "nobody", ""])
def test_sharing_names_a_team_that_is_there_and_another_one(world: World, name: str):
    with pytest.raises(InvalidInput):
        sharing.share_profile(world.owner, profile_id=world.profile.pk, team_name=name, level=ShareLevel.USE)


def test_the_catalog_is_asked_for_by_owners_and_filled_by_admins(world: World):
    with pytest.raises(Denied):
        sharing.ask_for_catalog(world.maintainer, profile_id=world.profile.pk)
    sharing.ask_for_catalog(world.owner, profile_id=world.profile.pk)
    assert not scope.profiles(world.other).exists()
    with pytest.raises(Denied):
        sharing.publish_profile(world.owner, profile_id=world.profile.pk)
    sharing.publish_profile(world.admin, profile_id=world.profile.pk)
    world.install(world.other, world.theirs)
    with pytest.raises(InvalidInput):
        save_revision(world.owner, profile_id=world.profile.pk, based_on=1, spec=PRIVATE, secrets=SECRET)
    sharing.withdraw_from_catalog(world.admin, profile_id=world.profile.pk)
    assert list(scope.profiles(world.other)) == [world.profile]  # it runs there


def test_secrets_do_not_go_into_the_catalog(world: World):
    made = create_profile(world.owner, team_id=world.mine.pk, name="private", spec=PRIVATE, secrets=SECRET)
    with pytest.raises(Conflict):
        sharing.publish_profile(world.admin, profile_id=made.profile_id)
    # Each revision can be installed, so that taking them out of the newest one is not enough.
    save_revision(world.owner, profile_id=made.profile_id, based_on=1, spec=StackSpec(), secrets=Secrets())
    with pytest.raises(Conflict, match="revision 1"):
        sharing.publish_profile(world.admin, profile_id=made.profile_id)


def test_a_stored_password_is_not_sent_to_another_registry(world: World):
    made = create_profile(world.owner, team_id=world.mine.pk, name="private", spec=PRIVATE, secrets=SECRET)
    sharing.share_profile(world.owner, profile_id=made.profile_id, team_name="Theirs", level=ShareLevel.EDIT)
    elsewhere = replace(PRIVATE, images=replace(PRIVATE.images, registry="registry.attacker.example"))
    with pytest.raises(InvalidInput) as error:
        save_revision(world.other, profile_id=made.profile_id, based_on=1, spec=elsewhere)
    assert error.value.field == "images.registry_password"
    port = replace(PRIVATE, chat=replace(PRIVATE.chat, port=4000))
    assert (
        read_secrets(save_revision(world.other, profile_id=made.profile_id, based_on=1, spec=port)) == SECRET
    )


def test_a_copy_knows_its_origin_and_carries_no_secrets_off(world: World):
    made = create_profile(world.owner, team_id=world.mine.pk, name="private", spec=PRIVATE, secrets=SECRET)
    sharing.share_profile(world.owner, profile_id=made.profile_id, team_name="Theirs", level=ShareLevel.USE)
    copy = sharing.clone_profile(world.other, revision_id=made.pk, team_id=world.theirs.pk, name="mine now")
    assert Profile.objects.get(pk=copy.profile_id).origin == made
    assert "private" not in copy.note, "who sees the copy need not see what it came from"
    assert profile_page(world.other, copy.profile_id).origin_seen
    sharing.withdraw_share(world.owner, profile_id=made.profile_id, team_id=world.theirs.pk)
    assert not profile_page(world.other, copy.profile_id).origin_seen
    assert read_secrets(copy) == Secrets()
    assert spec_from_json(copy.spec).images.registry_username == ""
    again = sharing.clone_profile(world.owner, revision_id=made.pk, team_id=world.mine.pk, name="second")
    assert read_secrets(again) == SECRET
    with pytest.raises(NotFound):
        sharing.clone_profile(world.owner, revision_id=made.pk, team_id=world.theirs.pk, name="x")


def test_a_refused_copy_is_on_record(world: World):
    viewer = member(world.mine, Role.VIEWER, "viewer")
    with pytest.raises(Denied):
        sharing.clone_profile(viewer, revision_id=world.revision.pk, team_id=world.mine.pk, name="x")
    entry = AuditEntry.objects.get(outcome="denied")
    assert (entry.actor_name, entry.action) == ("viewer", "profile.write")


def test_what_was_left_out_of_a_batch_is_told_to_its_own_team_only(world: World):
    both = world.owner
    Membership.objects.create(team=world.theirs, user_id=both.user_id, role=Role.OPERATOR)
    both = make.as_actor(User.objects.get(pk=both.user_id))
    world.share()
    free = rows.deployment(world.revision, world.cluster, "free", team=world.theirs)
    busy = rows.deployment(world.revision, world.cluster, "busy")
    rows.operation(busy, OperationKind.UPGRADE)
    made = apply_to_many(both, revision_id=world.revision.pk, deployment_ids=[free.pk, busy.pk])
    assert [entry["deployment"] for entry in selector.batch(both, made.pk).left_out] == [busy.pk]
    assert [entry["deployment"] for entry in selector.batch(world.admin, made.pk).left_out] == [busy.pk]
    assert selector.batch(world.other, made.pk).left_out == []


def test_a_revision_goes_to_many_and_says_what_was_left_out(world: World):
    free = rows.deployment(world.revision, world.cluster, "free")
    busy = rows.deployment(world.revision, world.cluster, "busy")
    rows.operation(busy, OperationKind.UPGRADE)
    foreign = rows.deployment(rows.revision(world.theirs, "t"), world.cluster, "foreign")
    newer = Revision.objects.create(
        profile=world.profile, number=2, spec=world.revision.spec, digest="1" * 64
    )
    batch = apply_to_many(
        world.owner,
        revision_id=newer.pk,
        deployment_ids=[free.pk, busy.pk, foreign.pk, free.pk],
        reason="weekly",
    )
    begun = [(each.deployment_id, each.request["revision"]) for each in batch.operations.all()]
    assert begun == [(free.pk, newer.pk)]
    assert [entry["deployment"] for entry in batch.left_out] == [busy.pk]
    foreign.refresh_from_db()
    assert foreign.revision.profile.name == "t"
    assert AuditEntry.objects.first().action == "profile.apply_to_many"
    with pytest.raises(InvalidInput):
        apply_to_many(world.owner, revision_id=newer.pk, deployment_ids=[])
