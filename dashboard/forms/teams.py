"""What is asked about teams, members, invitations and accounts."""

from __future__ import annotations

from django import forms
from django.utils.translation import gettext_lazy as _

from deployments.domain.states import Role, SiteRole

ROLES = [
    (Role.VIEWER, _("Viewer")),
    (Role.OPERATOR, _("Operator")),
    (Role.MAINTAINER, _("Maintainer")),
    (Role.OWNER, _("Owner")),
]
SITE_ROLES = [
    (SiteRole.NONE, _("None")),
    (SiteRole.AUDITOR, _("Auditor")),
    (SiteRole.ADMIN, _("Site admin")),
]


class TeamForm(forms.Form):
    """A team's name."""

    name = forms.CharField(label=_("Name"), max_length=200)


class InviteForm(forms.Form):
    """Who is asked into a team, and as what."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    role = forms.ChoiceField(label=_("Role"), choices=ROLES, initial=Role.OPERATOR)

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class AddMemberForm(forms.Form):
    """Somebody with an account who is put into a team by a site admin."""

    username = forms.CharField(label=_("Account"), max_length=150)
    role = forms.ChoiceField(label=_("Role"), choices=ROLES, initial=Role.OPERATOR)

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class RoleForm(forms.Form):
    """Another role for a member."""

    role = forms.ChoiceField(label=_("Role"), choices=ROLES)
    reason = forms.CharField(label=_("Reason"), required=False, max_length=500)

    def clean_role(self) -> Role:
        return Role(self.cleaned_data["role"])


class ReasonForm(forms.Form):
    """Why something is done to an account or a membership."""

    reason = forms.CharField(label=_("Reason"), required=False, max_length=500)


class SiteInviteForm(forms.Form):
    """Who gets an account that belongs to no team yet."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    site_role = forms.ChoiceField(label=_("Site role"), choices=SITE_ROLES, required=False)

    def clean_site_role(self) -> SiteRole:
        return SiteRole(self.cleaned_data["site_role"])


class AddressForm(forms.Form):
    """Another e-mail address for an account."""

    email = forms.EmailField(label=_("E-mail address"), max_length=254)
    reason = forms.CharField(label=_("Reason"), required=False, max_length=500)


class SiteRoleForm(forms.Form):
    """Another site role for an account."""

    site_role = forms.ChoiceField(label=_("Site role"), choices=SITE_ROLES, required=False)
    reason = forms.CharField(label=_("Reason"), required=False, max_length=500)

    def clean_site_role(self) -> SiteRole:
        return SiteRole(self.cleaned_data["site_role"])


class JoinForm(forms.Form):
    """The new account that an invitation is for."""

    username = forms.CharField(
        label=_("Name"), max_length=150, help_text=_("Letters, digits and @ . + - _; others see it.")
    )
    password = forms.CharField(
        label=_("Password"),
        strip=False,
        widget=forms.PasswordInput(attrs={"autocomplete": "new-password"}),
        help_text=_("At least 10 characters, and not one that everybody uses."),
    )
