"""Signing in by OpenID Connect: with a provider program, and with one that lies in every way."""

from __future__ import annotations

from collections.abc import Iterator
from urllib.parse import parse_qs, urlsplit

import httpx
import oidc_provider_mock
import pytest
from allauth.account.models import EmailAddress
from allauth.socialaccount.models import SocialAccount
from django.test import Client
from django.urls import reverse

from deployments.domain.states import Outcome, Role, SiteRole
from deployments.models import AuditEntry, Membership, User
from deployments.selectors.addresses import holders
from tests import factories as make
from tests.web.identity_provider import CLIENT, Provider, private_key, running

pytestmark = pytest.mark.django_db
ROLES = {"ml": "default:operator", "leads": ["default:owner", "site:auditor"]}


def configure(settings, discovery: str) -> None:
    settings.OIDC_NAME, settings.OIDC_GROUPS_CLAIM, settings.OIDC_ROLES = "Example ID", "groups", ROLES
    settings.SOCIALACCOUNT_PROVIDERS = {
        "oidc": {
            "APPS": [
                {
                    "provider_id": "site",
                    "name": "Example ID",
                    "client_id": CLIENT,
                    "secret": "not so secret",
                    "settings": {"server_url": discovery},
                }
            ]
        }
    }


@pytest.fixture
def provider(settings) -> Iterator[Provider]:
    with running() as found:
        configure(settings, found.discovery)
        yield found


def sign_in(client: Client, provider: Provider):
    began = client.post(reverse("oidc_login"))
    assert began.status_code == 302, began.content
    return client.get(provider.authorize(began.url))


def signed_in(client: Client) -> bool:
    return "_auth_user_id" in client.session


def test_a_provider_program_signs_somebody_in(client: Client, settings):
    with oidc_provider_mock.run_server_in_thread() as server:
        address = f"http://localhost:{server.server_port}"
        configure(settings, f"{address}/.well-known/openid-configuration")
        claims = {
            "email": "ada@example.com",
            "email_verified": True,
            "groups": ["ml"],
            "preferred_username": "ada",
        }
        httpx.put(f"{address}/users/ada", json=claims, trust_env=False).raise_for_status()
        page = client.get(reverse("account_login")).content.decode()
        assert "Sign in with Example ID" in page
        began = client.post(reverse("oidc_login"))
        back = httpx.post(began.url, data={"sub": "ada"}, trust_env=False)
        assert back.status_code == 302, back.text
        answer = client.get(
            "?".join([urlsplit(back.headers["location"]).path, urlsplit(back.headers["location"]).query])
        )
    assert answer.url == "/"
    user = User.objects.get(username="ada")
    assert Membership.objects.get(user=user).role == Role.OPERATOR
    assert not user.has_usable_password()


def test_nonce_and_challenge_are_sent_and_the_address_bar_adds_nothing(client: Client, provider: Provider):
    began = client.post(reverse("oidc_login") + "?scope=admin&auth_params=prompt%3Dnone%26nonce%3Dmine")
    query = parse_qs(urlsplit(began.url).query)
    assert len(query["nonce"][0]) >= 32
    assert query["code_challenge_method"] == ["S256"]
    assert set(query["scope"][0].split()) == {"openid", "profile", "email"}
    assert "prompt" not in query


def test_a_get_only_asks(client: Client, provider: Provider):
    assert client.get(reverse("oidc_login")).status_code == 200


def test_without_a_provider_there_is_no_such_page(client: Client):
    assert client.post(reverse("oidc_login")).status_code == 404
    assert client.get(reverse("oidc_callback")).status_code == 404


def test_groups_decide_again_at_each_sign_in(client: Client, provider: Provider):
    provider.claims = provider.userinfo = {"groups": ["leads"]}
    sign_in(client, provider)
    user = User.objects.get(username="ada")
    assert (Membership.objects.get(user=user).role, user.site_role) == (Role.OWNER, SiteRole.AUDITOR)
    client.logout()
    provider.claims = provider.userinfo = {"groups": ["ml"]}
    sign_in(client, provider)
    user.refresh_from_db()
    assert (Membership.objects.get(user=user).role, user.site_role) == (Role.OPERATOR, SiteRole.NONE)
    assert User.objects.count() == 1


LIES = {
    "another issuer": {"claims": {"iss": "http://127.0.0.1:9"}},
    "another audience": {"claims": {"aud": "somebody-else"}},
    "several audiences": {"claims": {"aud": [CLIENT, "other"]}},
    "another party": {"claims": {"azp": "other"}},
    "another nonce": {"claims": {"nonce": "replayed"}},
    "no nonce": {"claims": {"nonce": None}},
    "expired": {"claims": {"exp": 1_600_000_000}},
    "no subject": {"claims": {"sub": None}},
    "a foreign key": {"sign_with": private_key(2)},
    "an unknown key": {"header": {"kid": "two"}},
    "a shared secret": {"algorithm": "HS256", "sign_with": "not so secret, and long enough for it"},
    "no signature": {"algorithm": "none", "sign_with": ""},
    "other user info": {"userinfo": {"sub": "43"}},
    "metadata of another issuer": {"issuer": "https://id.example.com"},
}


@pytest.mark.parametrize("lie", LIES)
def test_an_answer_that_does_not_hold_signs_nobody_in(client: Client, provider: Provider, lie: str):
    began = client.post(reverse("oidc_login")) if lie != "metadata of another issuer" else None
    for name, value in LIES[lie].items():
        setattr(provider, name, value)
    if began is None:
        client.post(reverse("oidc_login"))
    else:
        answer = client.get(provider.authorize(began.url))
        assert "failed" in answer.content.decode()
    assert not signed_in(client)
    assert not User.objects.exists()
    entry = AuditEntry.objects.first()
    assert (entry.action, entry.outcome) == ("session.begin", Outcome.DENIED)
    assert entry.reason


@pytest.mark.parametrize(
    "claims, words",
    [
        ({"email_verified": False}, "does not vouch"),
        ({"email_verified": None}, "does not vouch"),
        ({"email_verified": "true"}, "does not vouch"),
        ({"email": None}, "does not vouch"),
        ({"groups": []}, "none of your groups"),
        ({"groups": {"ml": True}}, "none of your groups"),
    ],
)
def test_who_may_not_come_in_is_told_why(client: Client, provider: Provider, claims, words):
    provider.claims = provider.userinfo = claims
    answer = sign_in(client, provider)
    assert answer.status_code == 403
    assert words in answer.content.decode()
    assert not User.objects.exists()


def test_an_account_of_that_address_is_not_taken_over(client: Client, provider: Provider):
    mine = make.vouch_for(make.make_user("mine"), "ada@example.com")
    assert "already" in sign_in(client, provider).content.decode()
    assert not signed_in(client)
    client.force_login(mine)
    began = client.post(reverse("oidc_login") + "?process=connect")
    back = client.get(provider.authorize(began.url))
    # A session alone, perhaps somebody else's, connects nothing: the password is asked for once more.
    assert back.url == reverse("account_reauthenticate")
    assert not SocialAccount.objects.exists()
    client.post(back.url, {"password": make.PASSWORD})
    assert SocialAccount.objects.get().user == mine
    client.logout()
    sign_in(client, provider)
    assert client.session["_auth_user_id"] == str(mine.pk)


@pytest.mark.parametrize("typed", ["Ada@example.com", "ada@example.com"])
def test_an_address_that_somebody_only_typed_is_in_nobodys_way(
    client: Client, provider: Provider, typed: str
):
    squatter = make.make_user("squatter")
    User.objects.filter(pk=squatter.pk).update(email=typed)
    EmailAddress.objects.create(user=squatter, email=typed.lower(), verified=False)
    assert sign_in(client, provider).url == "/"
    ada = User.objects.get(username="ada")
    assert client.session["_auth_user_id"] == str(ada.pk)
    assert list(holders("ada@example.com")) == [ada]
    squatter.refresh_from_db()
    assert (squatter.email, EmailAddress.objects.filter(user=squatter).exists()) == ("", False)
    assert AuditEntry.objects.get(action="user.lose_address").object_name == "squatter"


def test_a_disabled_account_stays_out(client: Client, provider: Provider):
    sign_in(client, provider)
    client.logout()
    User.objects.update(is_active=False)
    sign_in(client, provider)
    assert not signed_in(client)


def test_a_callback_that_nobody_began_is_refused(client: Client, provider: Provider):
    answer = client.get(reverse("oidc_callback") + "?code=x&state=y")
    assert "failed" in answer.content.decode()
    assert not signed_in(client)
