"""Second factors and sessions, as somebody sets them up and is asked for them."""

from __future__ import annotations

import time

import pytest
from allauth.mfa.totp.internal.auth import format_hotp_value, hotp_value
from django.test import Client
from django.urls import reverse

from deployments.domain.states import Role
from deployments.models import User
from tests import factories as make

pytestmark = pytest.mark.django_db


def sign_in(client: Client, name: str = "tina"):
    return client.post(reverse("account_login"), {"login": name, "password": make.PASSWORD})


def code(secret: str) -> str:
    return format_hotp_value(hotp_value(secret, int(time.time()) // 30))


@pytest.fixture
def user(client: Client) -> User:
    person = make.make_member(make.default_team(), Role.OWNER, "tina")
    assert sign_in(client).url == "/"
    return person


def activate(client: Client) -> str:
    client.post(reverse("account_reauthenticate"), {"password": make.PASSWORD})
    page = client.get(reverse("mfa_activate_totp"))
    secret = page.context["form"].secret
    assert client.post(reverse("mfa_activate_totp"), {"code": code(secret)}).status_code == 302
    return secret


def test_the_password_alone_signs_nobody_in_any_more(client: Client, user: User):
    activate(client)
    codes = client.get(reverse("mfa_view_recovery_codes")).context["unused_codes"]
    client.logout()
    assert sign_in(client).url == reverse("mfa_authenticate")
    assert client.get(reverse("overview")).status_code == 302
    assert client.post(reverse("mfa_authenticate"), {"code": "000000"}).status_code == 200
    assert client.post(reverse("mfa_authenticate"), {"code": codes[0]}).url == "/"
    assert client.get(reverse("overview")).status_code == 200
    client.logout()
    sign_in(client)
    assert client.post(reverse("mfa_authenticate"), {"code": codes[0]}).status_code == 200  # used up


def test_a_second_factor_is_changed_with_the_password_only(client: Client, user: User):
    answer = client.get(reverse("mfa_activate_totp"))
    assert reverse("account_reauthenticate") in answer.url


def test_signing_out_everywhere_ends_the_other_sessions(client: Client, user: User):
    other = Client()
    sign_in(other)
    assert other.get(reverse("overview")).status_code == 200
    client.post(reverse("usersessions_list"))
    assert other.get(reverse("overview")).status_code == 302
    assert client.get(reverse("overview")).status_code == 200


def test_guessing_is_slowed_down(client: Client):
    make.make_user("tina")
    for _ in range(5):
        client.post(reverse("account_login"), {"login": "tina", "password": "wrong"})
    assert "Too many failed" in sign_in(client).content.decode()


def test_a_security_key_can_be_begun(client: Client, user: User):
    client.post(reverse("account_reauthenticate"), {"password": make.PASSWORD})
    page = client.get(reverse("mfa_add_webauthn"))
    assert page.status_code == 200
    assert "js_data" in page.content.decode()


def test_passwords_that_everybody_uses_are_refused(client: Client, user: User):
    given = {"oldpassword": make.PASSWORD, "password1": "password123", "password2": "password123"}
    page = client.post(reverse("account_change_password"), given)
    assert "too common" in page.content.decode()
