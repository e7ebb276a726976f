"""One's own e-mail address on pages: changed by a link, or by a site admin where no letter can be sent."""

from __future__ import annotations

import re

import pytest
from django.core import mail
from django.core.mail.backends.locmem import EmailBackend
from django.test import Client
from django.urls import reverse

from deployments.domain.states import Role
from deployments.models import AuditEntry, User
from deployments.selectors.addresses import holders
from tests import factories as make

pytestmark = pytest.mark.django_db
OLD, NEW = "old@example.com", "new@example.com"
PAGE = "account_email"


def sign_in(client: Client, user: User) -> None:
    given = {"login": user.get_username(), "password": make.PASSWORD}
    assert client.post(reverse("account_login"), given).url == "/"


@pytest.fixture
def ada(client: Client) -> User:
    user = make.vouch_for(make.make_member(make.default_team(), Role.OPERATOR, "ada"), OLD)
    sign_in(client, user)
    return user


@pytest.fixture
def letters(settings) -> None:
    settings.MAIL_CONFIGURED = True


def ask(client: Client, email: str = NEW):
    """Ask for another address, with the password where it is wanted."""
    answer = client.post(reverse(PAGE), {"email": email, "action_add": "1"})
    if answer.status_code == 302 and reverse("account_reauthenticate") in answer.url:
        answer = client.post(answer.url, {"password": make.PASSWORD})
    return answer


def link(number: int = -1) -> str:
    found = re.search(r"https?://[^/]+(/account/confirm-email/\S+)", mail.outbox[number].body)
    assert found, mail.outbox[number].body
    return found[1]


def test_a_new_address_counts_once_its_link_was_opened(client: Client, ada: User, letters):
    assert ask(client).status_code == 302
    assert mail.outbox[0].to == [NEW]
    assert "ada wants to use this address" in mail.outbox[0].body
    ada.refresh_from_db()
    assert (ada.email, list(holders(OLD)), list(holders(NEW))) == (OLD, [ada], [])
    assert f"{NEW} counts once its link was opened" in client.get(reverse("account")).content.decode()
    assert NEW in client.get(reverse(PAGE)).content.decode()
    assert f"{NEW} becomes the address of ada" in client.get(link()).content.decode()
    client.post(link())
    ada.refresh_from_db()
    assert (ada.email, list(holders(OLD)), list(holders(NEW))) == (NEW, [], [ada])
    entry = AuditEntry.objects.get(action="user.confirm_address")
    assert (entry.before, entry.after) == ({"email": OLD}, {"email": NEW})
    assert client.post(link()).status_code == 404, "it works once"


def test_a_session_alone_changes_no_address(client: Client, ada: User, letters):
    borrowed = Client()
    borrowed.force_login(ada)
    answer = borrowed.post(reverse(PAGE), {"email": NEW, "action_add": "1"})
    assert reverse("account_reauthenticate") in answer.url
    assert mail.outbox == []


def test_a_link_counts_for_the_account_alone_that_asked(client: Client, ada: User, letters):
    """Else whoever is sent a letter with somebody else's link would give his address away by a click."""
    ask(client)
    assert reverse("account_login") in Client().get(link()).url
    other = Client()
    other.force_login(make.make_user("other"))
    assert "does not count" in other.get(link()).content.decode()
    assert other.post(link()).status_code == 404
    assert other.get(reverse("account")).status_code == 200, "and signs nobody out"
    assert not holders(NEW).exists()


def test_an_address_of_another_account_is_not_confirmed(client: Client, ada: User, letters):
    ask(client)
    other = make.vouch_for(make.make_user("other"), NEW)
    assert client.get(link()).status_code == 200
    client.post(link())
    assert list(holders(NEW)) == [other]
    ada.refresh_from_db()
    assert ada.email == OLD


def test_nothing_makes_an_unconfirmed_address_the_accounts_own(client: Client, ada: User, letters):
    User.objects.filter(pk=ada.pk).update(email="")
    ada.emailaddress_set.all().delete()
    ask(client)
    client.post(reverse(PAGE), {"email": NEW, "action_primary": "1"})
    ada.refresh_from_db()
    assert ada.email == ""


def test_without_a_mail_server_the_page_says_who_can_change_it(client: Client, ada: User):
    page = client.get(reverse(PAGE)).content.decode()
    assert "No mail server is set up here" in page
    assert "A site admin can change your address" in page
    assert 'name="action_add"' not in page
    answer = client.post(reverse(PAGE), {"email": NEW, "action_add": "1"})
    assert answer.status_code == 409
    assert not ada.emailaddress_set.filter(email=NEW).exists()


def test_an_admin_changes_it_on_the_accounts_page(client: Client, ada: User):
    client.force_login(make.make_admin())
    page = reverse("user", args=[ada.pk])
    User.objects.filter(pk=ada.pk).update(email="typed@example.com")
    assert "not confirmed" in client.get(page).content.decode()
    where = reverse("user_address", args=[ada.pk])
    assert client.post(where, {"email": "nonsense"}).status_code == 422
    assert client.post(where, {"email": NEW, "reason": "married"}).status_code == 302
    assert "not confirmed" not in client.get(page).content.decode()
    assert list(holders(NEW)) == [ada]
    make.vouch_for(make.make_user("other"), "taken@example.com")
    assert "There is an account with" in client.post(where, {"email": "taken@example.com"}).content.decode()


def test_a_mail_server_that_refuses_is_said(client: Client, ada: User, letters, monkeypatch):
    def refuse(self, sent):
        raise ConnectionRefusedError("nobody there")

    monkeypatch.setattr(EmailBackend, "send_messages", refuse)
    ask(client)
    assert "did not take the letter" in client.get(reverse(PAGE)).content.decode()
