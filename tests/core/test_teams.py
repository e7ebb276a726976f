"""Teams, members and invitations as commands: who may, what stays, what is written down."""

from __future__ import annotations

from datetime import timedelta

import pytest
from django.utils import timezone

from deployments.commands import invitations, teams, users
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.states import Outcome, Role, SiteRole
from deployments.domain.team_names import require_team_name, skeleton
from deployments.models import AuditEntry, Invitation, Membership, User
from tests import factories as make

pytestmark = pytest.mark.django_db


def owner(team, name="owner"):
    return make.as_actor(make.make_member(team, Role.OWNER, name))


@pytest.mark.parametrize("name", ["ＯＰＳ", "0ps", "орѕ", "ops", "  OPS "])
def test_a_name_that_looks_like_another_is_refused(name):
    admin = make.as_actor(make.make_admin())
    teams.create_team(admin, name="Ops")
    with pytest.raises(Conflict):
        teams.create_team(admin, name=name)


@pytest.mark.parametrize("name", ["Оps", "", "   ", "<b>", "a" * 81, "ops\u202e", "---"])
def test_a_name_nobody_can_read_aloud_is_refused(name):
    with pytest.raises(InvalidInput):
        require_team_name(name)


@pytest.mark.parametrize("name", ["团队 A", "Équipe Sud", "機械学習チーム", "Research & Dev"])
def test_names_of_one_writing_system_are_fine(name):
    assert require_team_name(name) == name
    assert skeleton(name)


def test_only_admins_make_teams_and_a_refusal_is_audited():
    who = owner(make.default_team())
    with pytest.raises(Denied):
        teams.create_team(who, name="Mine")
    assert AuditEntry.objects.first().outcome == Outcome.DENIED


def test_the_last_owner_can_neither_go_nor_sink():
    team = make.default_team()
    who = owner(team)
    with pytest.raises(Conflict):
        teams.change_role(who, team_id=team.pk, user_id=who.user_id, role=Role.VIEWER)
    with pytest.raises(Conflict):
        teams.remove_member(who, team_id=team.pk, user_id=who.user_id)
    with pytest.raises(Conflict):
        teams.leave_team(who, team_id=team.pk)
    make.make_member(team, Role.OWNER, "second")
    teams.leave_team(who, team_id=team.pk)
    assert AuditEntry.objects.first().action == "team.leave"


def test_a_role_changes_with_before_and_after():
    team = make.default_team()
    who, other = owner(team), make.make_member(team, Role.VIEWER, "other")
    teams.change_role(who, team_id=team.pk, user_id=other.pk, role=Role.OPERATOR, reason="on call")
    entry = AuditEntry.objects.first()
    assert (entry.before["role"], entry.after["role"], entry.reason) == ("viewer", "operator", "on call")


def test_members_of_other_teams_do_not_exist():
    who = owner(make.make_team("A"))
    other = make.make_team("B")
    with pytest.raises(NotFound):
        teams.change_role(who, team_id=other.pk, user_id=1, role=Role.VIEWER)


def test_an_invitation_makes_an_account_once():
    team = make.default_team()
    made, token = invitations.invite_to_team(
        owner(team), team_id=team.pk, email="new@example.com", role=Role.OPERATOR
    )
    assert token not in str(made.__dict__)
    user = invitations.accept_as_new(
        token=token, username="newcomer", password="long enough 7", source="test"
    )
    assert Membership.objects.get(user=user).role == Role.OPERATOR
    assert user.email == "new@example.com"
    with pytest.raises(NotFound):
        invitations.accept_as_new(token=token, username="second", password="long enough 7", source="test")
    assert [e.action for e in AuditEntry.objects.all()[:3]] == ["team.join", "user.create", "team.invite"]


def test_a_refused_account_leaves_the_invitation_open():
    team = make.default_team()
    who = owner(team)
    _, token = invitations.invite_to_team(who, team_id=team.pk, email="new@example.com", role=Role.VIEWER)
    for given in ({"username": "owner", "password": "long enough 7"}, {"username": "x", "password": "short"}):
        with pytest.raises(InvalidInput):
            invitations.accept_as_new(token=token, source="test", **given)
    assert invitations.find_invitation(token)


def test_another_address_does_not_get_in():
    team = make.default_team()
    _, token = invitations.invite_to_team(
        owner(team), team_id=team.pk, email="a@example.com", role=Role.OWNER
    )
    stranger = make.vouch_for(make.make_user("stranger"), "b@example.com")
    with pytest.raises(Denied):
        invitations.accept_as_member(make.as_actor(stranger), token=token)
    assert not Membership.objects.filter(user=stranger).exists()
    assert invitations.find_invitation(token)
    assert AuditEntry.objects.first().outcome == Outcome.DENIED


def test_the_right_account_keeps_its_stronger_role():
    team = make.default_team()
    who = owner(team)
    member = make.vouch_for(make.make_user("member"), "m@example.com")
    _, token = invitations.invite_to_team(who, team_id=team.pk, email="M@example.com", role=Role.MAINTAINER)
    Membership.objects.create(team=team, user=member, role=Role.OWNER)
    invitations.accept_as_member(make.as_actor(member), token=token)
    assert Membership.objects.get(user=member).role == Role.OWNER


def test_invitations_end_by_time_by_hand_and_by_a_newer_one():
    team = make.default_team()
    who = owner(team)
    _, first = invitations.invite_to_team(who, team_id=team.pk, email="a@example.com", role=Role.VIEWER)
    made, second = invitations.invite_to_team(who, team_id=team.pk, email="A@example.com", role=Role.VIEWER)
    with pytest.raises(NotFound):
        invitations.find_invitation(first)
    with pytest.raises(NotFound):
        invitations.find_invitation(second, now=timezone.now() + timedelta(days=8))
    with pytest.raises(NotFound):
        invitations.revoke_invitation(owner(make.make_team("B"), "b"), invitation_id=made.pk)
    invitations.revoke_invitation(who, invitation_id=made.pk)
    with pytest.raises(NotFound):
        invitations.find_invitation(second)


def test_claims_give_and_take_but_leave_what_people_decided():
    a, b, c = (make.make_team(name) for name in ("A", "B", "C"))
    user = make.make_user("claimed")
    Membership.objects.create(team=c, user=user, role=Role.VIEWER)
    who = make.as_actor(user)
    teams.apply_claims(who, user=user, roles={"a": Role.OPERATOR, "c": Role.OWNER, "gone": Role.OWNER})
    teams.apply_claims(who, user=user, roles={"b": Role.VIEWER, "c": Role.OWNER})
    teams.apply_claims(who, user=user, roles={"b": Role.VIEWER, "c": Role.OWNER})
    assert {row.team: row.role for row in user.memberships.all()} == {b: Role.VIEWER, c: Role.VIEWER}
    assert AuditEntry.objects.filter(action="user.apply_claims").count() == 2
    with pytest.raises(Conflict):
        teams.remove_member(make.as_actor(make.make_admin()), team_id=b.pk, user_id=user.pk)
    assert a.pk


def test_the_last_admin_stays_and_a_disabled_account_keeps_its_history():
    admin = make.as_actor(make.make_admin())
    with pytest.raises(Conflict):
        users.disable_user(admin, user_id=admin.user_id)
    with pytest.raises(Conflict):
        users.set_site_role(admin, user_id=admin.user_id, site_role=SiteRole.NONE)
    member = make.make_member(make.default_team(), Role.OWNER, "leaver")
    users.disable_user(admin, user_id=member.pk, reason="left")
    assert make.as_actor(User.objects.get(pk=member.pk)).roles == {}
    assert Membership.objects.filter(user=member).exists()
    users.enable_user(admin, user_id=member.pk)
    assert make.as_actor(User.objects.get(pk=member.pk)).roles


def test_only_admins_look_after_accounts():
    who = owner(make.default_team())
    with pytest.raises(Denied):
        users.set_site_role(who, user_id=who.user_id, site_role=SiteRole.ADMIN)
    with pytest.raises(Denied):
        invitations.invite_to_site(who, email="x@example.com", site_role=SiteRole.ADMIN)
    assert not Invitation.objects.exists()
