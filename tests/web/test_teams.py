"""Pages of teams, accounts and invitations, from the link to the place in the team."""

from __future__ import annotations

import re

import pytest
from allauth.usersessions.models import UserSession
from django.core import mail
from django.db import connection
from django.test import Client
from django.test.utils import CaptureQueriesContext
from django.urls import reverse

from deployments.domain.states import Role
from deployments.models import AuditEntry, Invitation, Membership, Team, User
from tests import factories as make

pytestmark = pytest.mark.django_db
LINK = re.compile(r"http://testserver(/join/[^/\s<]+/)")


@pytest.fixture
def owner(client: Client) -> User:
    user = make.make_member(make.default_team(), Role.OWNER, "olga")
    client.force_login(user)
    return user


def invite(client: Client, email: str = "new@example.com", role: str = "operator") -> str:
    answer = client.post(
        reverse("team_invite", args=[make.default_team().pk]), {"email": email, "role": role}
    )
    assert answer.status_code == 200
    return LINK.search(answer.content.decode())[1]


def test_from_an_invitation_to_the_teams_page(client: Client, owner: User):
    link = invite(client)
    assert link not in client.get(reverse("team", args=[make.default_team().pk])).content.decode()
    client.logout()
    page = client.get(link)
    assert page.status_code == 200
    assert "olga invited new@example.com" in page.content.decode()
    answer = client.post(link, {"username": "newcomer", "password": "a long one 77"})
    assert answer.url == reverse("team", args=[make.default_team().pk])
    page = client.get(reverse("team", args=[make.default_team().pk])).content.decode()
    assert "newcomer" in page
    assert reverse("team_invite", args=[make.default_team().pk]) not in page
    # The session is one like any other: on record, in the list, and ended with the others.
    assert UserSession.objects.get().user.username == "newcomer"
    assert AuditEntry.objects.filter(action="session.begin", actor_name="newcomer").exists()
    client.logout()
    assert client.get(link).status_code == 404


def test_an_invitation_is_sent_where_mail_is_set_up(client: Client, owner: User, settings):
    settings.MAIL_CONFIGURED = True
    link = invite(client)
    assert link in mail.outbox[0].body
    assert mail.outbox[0].to == ["new@example.com"]


def test_a_bad_account_says_so_at_the_field(client: Client, owner: User):
    link = invite(client)
    client.logout()
    answer = client.post(link, {"username": "olga", "password": "a long one 77"})
    assert answer.status_code == 422
    assert "Somebody has this name already" in answer.content.decode()
    assert client.get(link).status_code == 200


def test_another_account_is_told_whom_the_link_is_for(client: Client, owner: User):
    link = invite(client)
    client.force_login(make.make_user("stranger"))
    answer = client.post(link)
    assert answer.status_code == 403
    assert "another e-mail address" in answer.content.decode()
    assert Invitation.objects.get().accepted_at is None


def test_a_revoked_link_is_dead(client: Client, owner: User):
    link = invite(client)
    client.post(reverse("invitation_revoke", args=[Invitation.objects.get().pk]))
    assert client.get(link).status_code == 404


def test_roles_change_and_members_leave(client: Client, owner: User):
    team = make.default_team()
    other = make.make_member(team, Role.VIEWER, "viktor")
    there = reverse("team_member", args=[team.pk, other.pk])
    assert client.post(there, {"role": "maintainer", "reason": "trusted"}).status_code == 302
    assert Membership.objects.get(user=other).role == Role.MAINTAINER
    mine = reverse("team_member", args=[team.pk, owner.pk])
    assert "only owner" in client.post(mine, {"role": "viewer"}).content.decode()
    assert "Leave Default" in client.get(reverse("team_leave", args=[team.pk])).content.decode()
    assert "only owner" in client.post(reverse("team_leave", args=[team.pk])).content.decode()
    assert client.post(reverse("team_remove", args=[team.pk, other.pk])).status_code == 302
    assert not Membership.objects.filter(user=other).exists()


def test_a_form_replayed_after_the_role_was_taken_does_nothing(client: Client, owner: User):
    team = make.default_team()
    make.make_member(team, Role.OWNER, "other")
    Membership.objects.filter(user=owner).update(role=Role.VIEWER)
    answer = client.post(reverse("team_invite", args=[team.pk]), {"email": "a@example.com", "role": "owner"})
    assert answer.status_code == 403
    assert not Invitation.objects.exists()


def test_teams_of_others_do_not_exist(client: Client, owner: User):
    other = make.make_team("Other")
    assert client.get(reverse("team", args=[other.pk])).status_code == 404
    assert client.post(reverse("team_rename", args=[other.pk]), {"name": "x"}).status_code == 404
    assert "Other" not in client.get(reverse("teams")).content.decode()


def test_names_are_escaped_and_look_alikes_refused(client: Client):
    client.force_login(make.make_admin())
    assert client.post(reverse("team_new"), {"name": "<script>"}).status_code == 422
    assert client.post(reverse("team_new"), {"name": "R&D"}).status_code == 302
    assert "R&amp;D" in client.get(reverse("teams")).content.decode()
    answer = client.post(reverse("team_new"), {"name": "r&d"})
    assert "looks the same" in answer.content.decode()


def test_accounts_are_for_admins(client: Client, owner: User):
    for name, args in (("users", []), ("user", [owner.pk]), ("user_disable", [owner.pk])):
        assert client.get(reverse(name, args=args)).status_code == 403
    client.force_login(make.make_admin())
    assert "olga" in client.get(reverse("users")).content.decode()
    client.post(reverse("user_disable", args=[owner.pk]), {"reason": "left"})
    assert not User.objects.get(pk=owner.pk).is_active


def test_a_link_for_a_new_password_works_once(client: Client, owner: User):
    client.force_login(make.make_admin())
    page = client.post(reverse("user_new_password", args=[owner.pk])).content.decode()
    link = re.search(r"http://testserver(/account/password/reset/key/[^<\s]+)", page)[1]
    client.logout()
    there = client.get(link, follow=True)
    path = there.redirect_chain[-1][0]
    answer = client.post(path, {"password1": "quite another 9", "password2": "quite another 9"})
    assert answer.status_code == 302, answer.content
    assert client.login(username="olga", password="quite another 9")
    client.logout()
    assert b"password1" not in client.get(link, follow=True).content


def test_the_account_page_warns_without_a_second_factor(client: Client, owner: User):
    page = client.get(reverse("account")).content.decode()
    assert "Only a password protects this account" in page
    for name in ("mfa_index", "usersessions_list", "account_change_password"):
        assert client.get(reverse(name), follow=True).status_code == 200


def test_the_list_asks_as_often_for_two_hundred_teams(client: Client):
    client.force_login(make.make_admin())
    client.get(reverse("teams"))

    def queries() -> int:
        with CaptureQueriesContext(
            connection,
        ) as seen:
            assert client.get(reverse("teams")).status_code == 200
        return len(seen)

    few = queries()
    Team.objects.bulk_create(Team(name=f"t{n}", skeleton=f"t{n}", slug=f"t{n}") for n in range(200))
    assert queries() == few
