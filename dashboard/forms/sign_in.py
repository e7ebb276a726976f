"""Forms of the sign-in and of one's own address."""

from __future__ import annotations

from typing import Any

from allauth.account.forms import AddEmailForm, LoginForm
from django import forms
from django.conf import settings
from django.utils.translation import gettext_lazy as _


class NewAddressForm(AddEmailForm):
    """allauth's form in the words of the other pages."""

    email = forms.EmailField(
        label=_("E-mail address"), max_length=254, widget=forms.EmailInput(attrs={"autocomplete": "email"})
    )


class SignInForm(LoginForm):
    """allauth's form; it leads to a reset by mail only where Pilothouse can send one."""

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        # The library's own word is the button's in some languages.
        self.fields["login"].label = _("User name or e-mail address")
        self.fields["login"].widget.attrs.pop("placeholder", None)
        self.fields["password"].widget.attrs.pop("placeholder", None)
        self.resets_by_mail = bool(settings.MAIL_CONFIGURED)
        if not self.resets_by_mail:
            self.fields["password"].help_text = ""
