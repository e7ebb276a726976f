"""The form to sign in with."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import LoginForm
from django.conf import settings


class SignInForm(LoginForm):
    """allauth's form; it leads to a reset by mail only where Pilothouse can send one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.resets_by_mail = bool(settings.MAIL_CONFIGURED)
        if not self.resets_by_mail:
            self.fields["password"].help_text = ""
