"""Pages: one's own account. What signs one in, where one is signed in, one's teams."""

from __future__ import annotations

from typing import Any

from allauth.account.models import EmailAddress
from allauth.account.views import ConfirmEmailView, EmailView
from allauth.mfa.utils import is_mfa_enabled
from allauth.socialaccount.models import SocialAccount
from allauth.usersessions.models import UserSession
from django.conf import settings
from django.http import Http404, HttpRequest, HttpResponse
from django.http.response import HttpResponseBase
from django.shortcuts import render
from django.urls import path
from django.utils.translation import gettext as _
from django.views.decorators.http import require_GET

from dashboard.access import actor
from deployments.domain.errors import Conflict
from deployments.selectors import teams as selector
from deployments.selectors.actors import account_of
from deployments.selectors.addresses import holds


@require_GET
def account(request: HttpRequest) -> HttpResponse:
    """Everything about the signed-in account on one page."""
    who = actor(request)
    user = account_of(who)
    values = {
        "mine": user,
        "site_role": who.site_role,
        "confirmed": bool(user.email) and holds(user, user.email),
        "pending": EmailAddress.objects.get_new(user),
        "two_factors": is_mfa_enabled(user),
        "sessions": UserSession.objects.filter(user=user).count(),
        "memberships": selector.memberships_of(who),
        "provider": settings.OIDC_NAME,
        "connected": SocialAccount.objects.filter(user=user).exists(),
    }
    return render(request, "account/account.html", values)


class AddressView(EmailView):
    """One's own e-mail address. Another one counts once its link was opened, so without a mail server only a
    site admin can change it."""

    def post(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponse:
        if not settings.MAIL_CONFIGURED:
            raise Conflict(
                _("No mail server is set up here, so that an address cannot be confirmed."),
                remedy=_("Ask a site admin to change yours."),
            )
        answer: HttpResponse = super().post(request, *args, **kwargs)
        return answer

    def _action_primary(self, request: HttpRequest, *args: Any, **kwargs: Any) -> None:
        """Nothing: allauth would make an address the account's own that nobody confirmed."""

    def get_context_data(self, **kwargs: Any) -> dict[str, Any]:
        return {**super().get_context_data(**kwargs), "mail": settings.MAIL_CONFIGURED}


class ConfirmAddressView(ConfirmEmailView):
    """What a link in a letter opens. It counts for the account that is signed in alone: else somebody could
    have another's address confirmed for his own account by a letter that looks harmless."""

    def dispatch(self, request: HttpRequest, *args: Any, **kwargs: Any) -> HttpResponseBase:
        answer: HttpResponseBase = super().dispatch(request, *args, **kwargs)
        return answer

    def get_object(self, queryset: Any = None) -> Any:
        found = super().get_object(queryset)
        if found.email_address.user_id != self.request.user.pk:
            raise Http404
        return found


urlpatterns = [
    path("", account, name="account"),
    path("email/", AddressView.as_view(), name="account_email"),
    path("confirm-email/<str:key>/", ConfirmAddressView.as_view(), name="account_confirm_email"),
]
