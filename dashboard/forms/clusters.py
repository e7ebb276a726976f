"""What is asked when a cluster is connected, given another credential or removed."""

from __future__ import annotations

from typing import Any

from django import forms
from django.http import QueryDict
from django.utils.translation import gettext_lazy as _

from dashboard.forms.faults import sentence
from dashboard.forms.lines import read_names
from deployments.domain.errors import InvalidInput
from deployments.domain.names import require_namespace_patterns
from deployments.domain.quota import NAMES, Limits, read_amount, read_hosts, words
from deployments.domain.states import Approver
from deployments.models import ClusterGrant, Team

HOSTS = ("model_registries", "image_registries")

KUBECONFIG, IN_CLUSTER = "kubeconfig", "in_cluster"
MAX_FILE = 1024 * 1024


class CredentialForm(forms.Form):
    """How Pilothouse proves itself. The text of a kubeconfig is never rendered back: ``held`` is its
    sealed form, so that the next try need not paste it again."""

    way = forms.ChoiceField(
        label=_("Credential"),
        choices=[(KUBECONFIG, _("A kubeconfig")), (IN_CLUSTER, _("The service account of this pod"))],
        initial=KUBECONFIG,
        widget=forms.RadioSelect,
    )
    kubeconfig = forms.CharField(
        label=_("Kubeconfig"),
        required=False,
        strip=False,
        widget=forms.Textarea(
            attrs={"rows": 9, "class": "mono", "spellcheck": "false", "autocomplete": "off"}
        ),
        help_text=_(
            "From kubectl config view --minify --flatten --raw. Programs, files and proxies named in it are "
            "refused, never run. It is encrypted when it is stored and never shown again."
        ),
    )
    file = forms.FileField(label=_("Or a file"), required=False)
    context = forms.ChoiceField(label=_("Context"), required=False)
    held = forms.CharField(required=False, widget=forms.HiddenInput)

    def __init__(self, *args: Any, contexts: list[tuple[str, str]] | None = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.fields["way"].widget.notes = {
            KUBECONFIG: _("for any cluster that Pilothouse can reach"),
            IN_CLUSTER: _("where Pilothouse itself runs in the cluster"),
        }
        self.offer(contexts or [])

    def offer(self, contexts: list[tuple[str, str]]) -> None:
        """Let the reader choose one of (name, server); no question where there is one or none."""
        field = self.fields["context"]
        assert isinstance(field, forms.ChoiceField)
        given = str(self.data.get("context", "")) if self.is_bound else ""
        choices = [(name, f"{name} ({server})" if server else name) for name, server in contexts]
        if given and given not in dict(choices):
            choices.append((given, given))
        field.choices = [("", _("Choose a context")), *choices]
        self.several = len(contexts) > 1

    def text(self) -> str | bytes:
        """What was uploaded, or else pasted; at most a byte more than may be read."""
        uploaded = self.cleaned_data.get("file")
        if uploaded:
            content: bytes = uploaded.read(MAX_FILE + 1)
            return content
        return str(self.cleaned_data.get("kubeconfig") or "")

    def forget_text(self) -> None:
        """Leave the pasted text out of what is rendered: it holds a credential."""
        self.show(kubeconfig="")

    def show(self, **values: str) -> None:
        """Put other values into what is rendered back than were sent."""
        sent = self.data.copy() if isinstance(self.data, QueryDict) else QueryDict(mutable=True)
        for name, value in values.items():
            sent[name] = value
        self.data = sent


class NamespacesField(forms.CharField):
    """Names and patterns of namespaces, parted by blanks or commas -> list of them."""

    def to_python(self, value: Any) -> list[str]:  # type: ignore[override]
        return [] if value in self.empty_values else read_names(str(value))

    def prepare_value(self, value: Any) -> Any:
        return " ".join(value) if isinstance(value, list) else value

    def clean(self, value: Any) -> list[str]:
        try:
            return require_namespace_patterns(super().clean(value))
        except InvalidInput as error:
            raise forms.ValidationError(sentence(error)) from error


class ConnectForm(CredentialForm):
    """A new cluster, and who may use it."""

    name = forms.CharField(
        label=_("Name"), max_length=63, help_text=_("How people call it, such as fra-l40s.")
    )
    teams = forms.ModelMultipleChoiceField(
        label=_("Teams that may use it"),
        queryset=Team.objects.none(),
        required=False,
        widget=forms.CheckboxSelectMultiple,
        help_text=_("Without any, only site admins see it."),
    )
    namespaces = NamespacesField(
        label=_("Namespaces"),
        initial=["*"],
        help_text=_("Where these teams may install: names or patterns such as llm-*, parted by blanks."),
    )
    reason_required = forms.BooleanField(
        label=_("Ask for a reason"),
        required=False,
        help_text=_("Whoever changes something on this cluster then says why; the audit keeps it."),
    )
    field_order = [
        *("name", "way", "kubeconfig", "file", "context", "teams", "namespaces", "reason_required", "held"),
    ]

    def __init__(self, *args: Any, teams: Any = None, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["teams"]
        assert isinstance(field, forms.ModelMultipleChoiceField)
        if teams is not None:
            field.queryset = teams


def _bound(label: Any, example: str) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=40,
        widget=forms.TextInput(attrs={"class": "mono", "placeholder": example, "autocomplete": "off"}),
    )


def _hosts(label: Any, help_text: Any) -> forms.CharField:
    return forms.CharField(
        label=label,
        required=False,
        max_length=4000,
        help_text=help_text,
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "autocomplete": "off"}),
    )


class GrantForm(forms.Form):
    """The namespaces of a team on a cluster, and how much it may take; with ``teams`` it also asks which
    team."""

    team = forms.ModelChoiceField(
        label=_("Team"), queryset=Team.objects.none(), empty_label=_("Choose a team")
    )
    namespaces = NamespacesField(
        label=_("Namespaces"),
        help_text=_("Names or patterns such as llm-*, parted by blanks; * is every namespace."),
        widget=forms.TextInput(attrs={"class": "mono", "spellcheck": "false", "autocomplete": "off"}),
    )

    gpus = _bound(_("GPUs"), "8")
    cpu = _bound(_("CPU"), "64")
    memory = _bound(_("Memory"), "256Gi")
    storage = _bound(_("Storage"), "1Ti")
    deployments = _bound(_("Deployments"), "10")
    model_registries = _hosts(
        _("Model registries"), _("Hosts such as registry.ollama.ai, parted by blanks; empty is any.")
    )
    image_registries = _hosts(
        _("Image registries"), _("Hosts such as docker.io, parted by blanks; empty is any.")
    )

    approver = forms.ChoiceField(
        label=_("Needs a yes from"),
        required=False,
        choices=[
            (Approver.NOBODY, _("Nobody")),
            (Approver.OWNER, _("Another owner of the team")),
            (Approver.ADMIN, _("A site admin")),
        ],
    )
    approve_over_gpus = forms.IntegerField(
        label=_("Only for more GPUs than"),
        required=False,
        min_value=0,
        max_value=100_000,
        help_text=_("Empty is every request that takes more than before."),
    )

    def __init__(
        self, *args: Any, teams: Any = None, grant: ClusterGrant | None = None, **kwargs: Any
    ) -> None:
        if grant is not None:
            bounds = {name: words(name, amount) for name, amount in grant.quota.items() if name in NAMES}
            hosts = {name: " ".join(getattr(grant, name)) for name in HOSTS}
            kwargs["initial"] = {
                "namespaces": grant.namespaces,
                "approver": grant.approver,
                "approve_over_gpus": grant.approve_over_gpus,
                **bounds,
                **hosts,
            }
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        if teams is None:
            del self.fields["team"]
        else:
            field.queryset = teams

    def bounds(self) -> list[forms.BoundField]:
        """The fields of the quota, for the template."""
        return [self[name] for name in NAMES]

    def limits(self) -> Limits:
        """What was typed. Raises :class:`InvalidInput` at the field that is wrong."""
        given = self.cleaned_data
        amounts = {name: read_amount(name, given[name]) for name in NAMES}
        return Limits(
            quota={name: amount for name, amount in amounts.items() if amount is not None},
            model_registries=read_hosts("model_registries", read_names(given["model_registries"])),
            image_registries=read_hosts("image_registries", read_names(given["image_registries"])),
            approver=Approver(given["approver"]),
            approve_over_gpus=given["approve_over_gpus"],
        )


class RemoveForm(forms.Form):
    """The name, typed, and why."""

    confirm = forms.CharField(required=False)
    reason = forms.CharField(
        label=_("Reason"), required=False, max_length=500, help_text=_("Kept in the audit.")
    )
