"""E-mail addresses: which one counts for which account, and who may decide that."""

from __future__ import annotations

import pytest
from allauth.account.models import EmailAddress

from deployments.commands import addresses, invitations, teams, users
from deployments.domain.errors import Conflict, Denied, InvalidInput, NotFound
from deployments.domain.states import Role, SiteRole
from deployments.models import AuditEntry, Invitation, Membership, User
from deployments.selectors.addresses import holders, holds
from deployments.selectors.teams import open_invitations
from tests import factories as make

pytestmark = pytest.mark.django_db
ADDRESS = "new@example.com"


def owner(name: str = "owner"):
    return make.as_actor(make.make_member(make.default_team(), Role.OWNER, name))


def invite(who, email: str = ADDRESS, role: Role = Role.OPERATOR) -> str:
    return invitations.invite_to_team(who, team_id=make.default_team().pk, email=email, role=role)[1]


def join(token: str, name: str = "newcomer") -> User:
    return invitations.accept_as_new(token=token, username=name, password="long enough 7", source="test")


def test_the_address_of_an_invitation_counts_for_the_account_that_it_made():
    made = join(invite(owner(), "New@Example.com"))
    assert (made.email, list(holders("NEW@example.com"))) == (ADDRESS, [made])
    assert EmailAddress.objects.get(user=made).primary


def test_what_somebody_typed_himself_opens_no_invitation():
    token = invite(owner())
    squatter = make.make_user("squatter")
    User.objects.filter(pk=squatter.pk).update(email=ADDRESS)
    EmailAddress.objects.create(user=squatter, email=ADDRESS, verified=False, primary=True)
    with pytest.raises(Denied):
        invitations.accept_as_member(make.as_actor(squatter), token=token)
    made = join(token)
    squatter.refresh_from_db()
    assert (list(holders(ADDRESS)), squatter.email) == ([made], "")


def test_one_address_counts_for_one_account():
    who = owner()
    join(invite(who))
    with pytest.raises(Conflict):
        invite(who)  # a member already
    with pytest.raises(Conflict):
        invitations.invite_to_site(make.as_actor(make.make_admin()), email=ADDRESS, site_role=SiteRole.NONE)
    teams.remove_member(who, team_id=make.default_team().pk, user_id=holders(ADDRESS).get().pk)
    with pytest.raises(Conflict, match="account with"):
        join(invite(who), "twice")
    assert not User.objects.filter(username="twice").exists()


def test_a_site_admin_changes_an_address_and_vouches_for_it():
    admin, user = make.as_actor(make.make_admin()), make.make_user("ada")
    addresses.set_address(admin, user_id=user.pk, email=" Ada@Example.com ", reason="asked me")
    user.refresh_from_db()
    assert (user.email, holds(user, "ada@example.com")) == ("ada@example.com", True)
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.after, entry.reason) == (
        "user.set_address",
        {"email": "ada@example.com"},
        "asked me",
    )
    with pytest.raises(Conflict):
        addresses.set_address(admin, user_id=make.make_user().pk, email="ADA@example.com")
    with pytest.raises(InvalidInput):
        addresses.set_address(admin, user_id=user.pk, email="ada@")
    with pytest.raises(Denied):
        addresses.set_address(owner(), user_id=user.pk, email="mine@example.com")


def test_a_link_to_an_account_is_none_for_who_has_one():
    admin = make.as_actor(make.make_admin())
    _, token = invitations.invite_to_site(admin, email="a@example.com", site_role=SiteRole.ADMIN)
    mine = make.vouch_for(make.make_user("mine"), "a@example.com")
    with pytest.raises(Conflict, match="you have one"):
        invitations.accept_as_member(make.as_actor(mine), token=token)
    assert invitations.find_invitation(token), "it was not used up"


# -- whose links count ------------------------------------------------------------------------------------


def demoted(who, other) -> None:
    team = make.default_team()
    teams.change_role(other, team_id=team.pk, user_id=who.user_id, role=Role.MAINTAINER)


def put_out(who, other) -> None:
    teams.remove_member(other, team_id=make.default_team().pk, user_id=who.user_id)


def disabled(who, other) -> None:
    users.disable_user(make.as_actor(make.make_admin()), user_id=who.user_id)


@pytest.mark.parametrize("happens", [demoted, put_out, disabled])
def test_a_link_that_was_kept_back_ends_with_the_right_to_make_it(happens):
    who, other = owner(), owner("other")
    token = invite(who, role=Role.OWNER)
    assert open_invitations().count() == 1
    happens(who, other)
    assert not open_invitations().exists()
    with pytest.raises(NotFound):
        join(token)
    with pytest.raises(NotFound):
        invitations.accept_as_member(make.as_actor(make.vouch_for(make.make_user(), ADDRESS)), token=token)
    assert (
        not Membership.objects.filter(role=Role.OWNER).exclude(user__username__in=("other", "owner")).exists()
    )


def test_an_admins_link_into_a_team_counts_without_a_place_in_it():
    assert join(invite(make.as_actor(make.make_admin()))).memberships.get().role == Role.OPERATOR


def test_links_are_not_made_without_end(monkeypatch: pytest.MonkeyPatch):
    monkeypatch.setattr(invitations, "MOST_AN_HOUR", 3)
    who = owner()
    for _ in range(3):
        invite(who)  # each ends the one before, and each is a letter
    with pytest.raises(Conflict, match="within the hour"):
        invite(who)
    Invitation.objects.update(created_at="2026-01-01T00:00:00Z")
    invite(who)


def test_a_role_that_a_person_gave_is_not_taken_back_by_a_group():
    team, user = make.default_team(), make.vouch_for(make.make_user("claimed"), ADDRESS)
    actor, token = make.as_actor(user), invite(owner(), role=Role.MAINTAINER)
    teams.apply_claims(actor, user=user, roles={team.slug: Role.VIEWER})
    invitations.accept_as_member(actor, token=token)
    teams.apply_claims(actor, user=user, roles={team.slug: Role.VIEWER})
    assert Membership.objects.get(user=user).role == Role.MAINTAINER
