"""The form of a profile: one input for every value of a stack, flat, named after the spec's own fields."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import replace
from typing import Any

import yaml
from django import forms
from django.utils.translation import gettext_lazy as _

from dashboard.forms import lines
from dashboard.presenters.numbers import data
from deployments.domain.errors import InvalidInput, ManyInvalid
from deployments.domain.modelname import KNOWN_TAGS
from deployments.domain.sizing import Origin, Sizing, size_stack
from deployments.domain.spec import Secrets, StackSpec, spec_from_json, spec_to_json
from deployments.models import Team

KEEP, REPLACE, REMOVE = "keep", "replace", "remove"


def _leaves(content: dict[str, Any], above: str = "") -> Iterator[str]:
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _leaves(value, f"{above}{key}.")
        elif not isinstance(value, list | tuple):
            yield f"{above}{key}"


# Field of the form -> path in the spec, for values that are the same on both sides.
PLAIN: dict[str, str] = {
    path.replace(".", "_"): path
    for path in _leaves(spec_to_json(StackSpec()))
    if path != "chat.has_access_code"
}
PAIRS = ("node_selector", "server.node_selector", "chat.node_selector", "ingress.annotations")
TOLERATIONS = ("server.tolerations", "chat.tolerations")
# A number that may be left blank, and what blank means.
BLANK: dict[str, Any] = {
    "server.gpu_count": 0,
    "server.context_length": 0,
    "server.num_parallel": 0,
    "server.run_as_user": None,
    "server.autoscaling.memory_percent": 0,
    "chat.autoscaling.memory_percent": 0,
}


def _text(label: Any, help_text: Any = "", *, required: bool = False, **attrs: Any) -> forms.CharField:
    attrs = {"spellcheck": "false", "autocomplete": "off", **attrs}
    return forms.CharField(
        label=label, required=required, help_text=help_text, widget=forms.TextInput(attrs=attrs)
    )


def _area(label: Any, help_text: Any, rows: int = 3) -> forms.CharField:
    attrs = {"rows": rows, "class": "mono", "spellcheck": "false"}
    return forms.CharField(
        label=label, required=False, help_text=help_text, widget=forms.Textarea(attrs=attrs)
    )


def _number(label: Any, help_text: Any = "", *, required: bool = True) -> forms.IntegerField:
    return forms.IntegerField(
        label=label,
        required=required,
        help_text=help_text,
        widget=forms.TextInput(attrs={"inputmode": "numeric", "autocomplete": "off"}),
    )


def _tick(label: Any, help_text: Any = "") -> forms.BooleanField:
    return forms.BooleanField(label=label, required=False, help_text=help_text)


def _secret(label: Any, help_text: Any = "") -> forms.CharField:
    widget = forms.PasswordInput(attrs={"autocomplete": "new-password"}, render_value=False)
    return forms.CharField(label=label, required=False, help_text=help_text, widget=widget, strip=False)


def _fate(label: Any) -> forms.ChoiceField:
    choices = [(KEEP, _("Keep")), (REPLACE, _("Replace")), (REMOVE, _("Remove"))]
    return forms.ChoiceField(label=label, required=False, choices=choices)


def _autoscaling(prefix: str, what: Any) -> dict[str, forms.Field]:
    blank = _("0 or blank to leave it out.")
    return {
        f"{prefix}_enabled": _tick(what),
        f"{prefix}_min_replicas": _number(_("Least")),
        f"{prefix}_max_replicas": _number(_("Most")),
        f"{prefix}_cpu_percent": _number(_("Processor target, %")),
        f"{prefix}_memory_percent": _number(_("Memory target, %"), blank, required=False),
    }


class StackForm(forms.Form):
    """Every value of a :class:`StackSpec`. What only the domain can judge is judged there, by the command."""

    based_on = forms.IntegerField(required=False, widget=forms.HiddenInput)

    model_repository = _text(_("Model"), _("As Ollama calls it, without the tag."), required=True)
    model_tag = _text(_("Tag"), required=True, list="known-tags")
    model_registry = _text(
        _("Model registry"), _("Host and namespace, such as registry.ollama.ai/library."), required=True
    )
    model_insecure = _tick(_("The registry speaks plain HTTP"))
    download_gb = forms.DecimalField(
        label=_("Size of the download, GB"),
        required=False,
        min_value=0,
        max_value=10_000,
        widget=forms.TextInput(attrs={"inputmode": "decimal", "autocomplete": "off"}),
        help_text=_("For a model that is not in the table: figures left blank are estimated from it."),
    )

    server_replicas = _number(_("Servers"))
    server_gpu_vendor = forms.ChoiceField(
        label=_("GPUs"), choices=[("none", _("none")), ("nvidia", "NVIDIA"), ("amd", "AMD")]
    )
    server_gpu_count = _number(_("GPUs for each server"), _("Blank: from the table."), required=False)
    server_resources_cpu_request = _text(_("Processors requested"))
    server_resources_cpu_limit = _text(_("Processors at most"))
    server_resources_memory_request = _text(_("Memory requested"))
    server_resources_memory_limit = _text(_("Memory at most"))

    node_selector = _area(_("Node labels, all pods"), _("key=value, one on each line."), 2)
    server_node_selector = _area(
        _("Node labels, servers"), _("Such as nvidia.com/gpu.product=NVIDIA-L40S."), 2
    )
    server_tolerations = _area(
        _("Tolerated taints"), _("key=value:NoSchedule or key:NoExecute on each line; or YAML.")
    )
    server_affinity = _area(_("Affinity"), _("YAML, as under affinity of a pod."))
    server_spread_over_nodes = _tick(
        _("Spread servers over nodes"), _("Preferred, so it never keeps one from starting.")
    )

    storage_mode = forms.ChoiceField(
        label=_("Where models are kept"),
        choices=[
            ("template", _("A claim for each server")),
            ("shared", _("One shared claim, made by Pilothouse")),
            ("existing", _("A claim that is there already")),
        ],
        widget=forms.RadioSelect,
    )
    storage_storage_class = _text(_("Storage class"), _("Blank: the cluster's default."))
    storage_size = _text(_("Size"), _("Blank: from the model's size."))
    storage_claim_name = _text(_("Name of the claim"))
    storage_claim_read_write_many = _tick(
        _("It can be mounted by several nodes"), _("ReadWriteMany; needed for more than one server.")
    )

    chat_enabled = _tick(_("Install the chat"), _("NextChat, talking to this model only."))
    chat_replicas = _number(_("Chat pods"))
    chat_port = _number(_("Port of its Service"))
    chat_resources_cpu_request = _text(_("Processors requested"))
    chat_resources_cpu_limit = _text(_("Processors at most"))
    chat_resources_memory_request = _text(_("Memory requested"))
    chat_resources_memory_limit = _text(_("Memory at most"))
    chat_network_policy = _tick(
        _("Let it reach the model and DNS only"), _("A NetworkPolicy; conversations stay in the cluster.")
    )
    chat_node_selector = _area(_("Node labels, chat"), _("key=value, one on each line."), 2)
    chat_tolerations = _area(_("Tolerated taints, chat"), _("As for the servers."), 2)
    access_code_fate = _fate(_("Access code"))
    chat_access_code = _secret(
        _("Access code"), _("Asked for by the chat behind an Ingress. Stored encrypted, never shown again.")
    )

    ingress_enabled = _tick(
        _("Make an Ingress"), _("Without one, or without a host, chat goes through Pilothouse.")
    )
    ingress_host = _text(_("Host"))
    ingress_class_name = _text(_("Ingress class"), _("Blank: the cluster's default."))
    ingress_tls_secret = _text(_("TLS Secret"), _("Name of a Secret in the namespace; blank for none."))
    ingress_annotations = _area(_("Annotations"), _("key=value, one on each line."), 2)

    images_registry = _text(_("Image registry"), _("In place of Docker Hub for both images; blank for none."))
    images_pull_policy = forms.ChoiceField(
        label=_("Pull images"), choices=[(p, p) for p in ("IfNotPresent", "Always", "Never")]
    )
    images_pull_secrets = _text(_("Pull secrets"), _("Names of Secrets in the namespace, parted by commas."))
    images_registry_username = _text(_("Registry user"), _("Pilothouse then makes a pull Secret of its own."))
    registry_password_fate = _fate(_("Registry password"))
    images_registry_password = _secret(_("Registry password"), _("Stored encrypted, never shown again."))

    server_keep_alive = _text(_("Keep the model loaded"), _("30m, 24h, or -1 for ever."), required=True)
    server_context_length = _number(_("Context, tokens"), _("Blank: Ollama's own."), required=False)
    server_num_parallel = _number(_("Requests at once"), _("Blank: Ollama's own."), required=False)
    server_run_as_user = _number(
        _("Run as user id"), _("Blank: root, which caches made by root need."), required=False
    )
    server_runtime_class = _text(_("Runtime class"), _("Such as nvidia; blank for the node's own."))
    server_image = _text(_("Image of the server"), _("Blank: the version Pilothouse was tested with."))
    chat_image = _text(_("Image of the chat"), _("Blank: the version Pilothouse was tested with."))

    note = forms.CharField(
        label=_("What changes, and why"),
        required=False,
        max_length=500,
        help_text=_("Stands beside the revision."),
    )

    def __init__(
        self, *args: Any, spec: StackSpec | None = None, held: Secrets | None = None, **kwargs: Any
    ) -> None:
        """``spec`` fills the inputs and stands behind whatever the form has no input for; ``held`` are
        the secrets that are stored, of which only their presence is shown."""
        self.base = spec or StackSpec()
        self.held = held or Secrets()
        kwargs["initial"] = {**initial_of(self.base), **kwargs.get("initial", {})}
        super().__init__(*args, **kwargs)
        if not self.held.access_code:
            del self.fields["access_code_fate"]
        if not self.held.registry_password:
            del self.fields["registry_password_fate"]
        self.sizing: Sizing | None = None

    def clean(self) -> dict[str, Any]:
        for fate, name in (
            ("access_code_fate", "chat_access_code"),
            ("registry_password_fate", "images_registry_password"),
        ):
            if self.cleaned_data.get(fate) == REPLACE and not self.cleaned_data.get(name):
                self.add_error(name, _("Give the new one, or keep the old one."))
        return self.cleaned_data

    def spec(self) -> StackSpec:
        """The spec that was typed. Raises :class:`InvalidInput`/:class:`ManyInvalid` where a text cannot
        be read; the values themselves are judged by the command."""
        given = self.cleaned_data
        content = spec_to_json(self.base)
        faults: list[InvalidInput] = []
        for name, path in PLAIN.items():
            value = given.get(name)
            _put(content, path, BLANK.get(path) if value is None and path in BLANK else value)
        readers: list[tuple[str, Callable[[str, str], Any]]] = [
            *((path, lines.read_pairs) for path in PAIRS),
            *((path, lines.read_tolerations) for path in TOLERATIONS),
            ("server.affinity", lines.read_object),
        ]
        for path, read in readers:
            try:
                _put(content, path, read(given.get(path.replace(".", "_")) or "", path))
            except InvalidInput as error:
                faults.append(error)
        if faults:
            raise faults[0] if len(faults) == 1 else ManyInvalid(faults)
        content["images"]["pull_secrets"] = lines.read_names(given.get("images_pull_secrets") or "")
        content["chat"]["has_access_code"] = bool(self.secrets().access_code)
        return spec_from_json(content)

    def secrets(self) -> Secrets:
        """The secrets after this form: kept, replaced or removed one by one."""
        given = self.cleaned_data
        code = self._secret("access_code_fate", "chat_access_code", self.held.access_code)
        password = self._secret(
            "registry_password_fate", "images_registry_password", self.held.registry_password
        )
        return Secrets(code, password if given.get("images_registry_username") else "")

    def keeps_password(self) -> bool:
        """Whether the stored password of the registry goes on, unseen by whoever fills in the form."""
        typed = self.cleaned_data.get("images_registry_password")
        return bool(self.held.registry_password and self.secrets().registry_password and not typed)

    def _secret(self, fate: str, name: str, held: str) -> str:
        typed = str(self.cleaned_data.get(name) or "")
        wish = self.cleaned_data.get(fate) or (KEEP if held else REPLACE)
        if wish == REMOVE:
            return ""
        return typed if typed or wish == REPLACE else held

    def sized_spec(self) -> StackSpec:
        """The spec, with what was left blank filled in where the size of the download was given and the
        table does not know the model. Sets ``sizing``."""
        spec = self.spec()
        gb = self.cleaned_data.get("download_gb")
        self.sizing = size_stack(spec, int(gb * 10**9) if gb else None)
        if gb and self.sizing.origin is Origin.ESTIMATED:
            storage = spec.storage
            if self.sizing.claim_size and not storage.size:
                storage = replace(storage, size=self.sizing.claim_size)
            server = replace(spec.server, resources=self.sizing.resources, gpu_count=self.sizing.gpu_count)
            spec = replace(spec, server=server, storage=storage)
        return spec


class NewProfileForm(StackForm):
    """The same, with a name and a team."""

    name = forms.CharField(label=_("Name"), max_length=80)
    team = forms.ModelChoiceField(label=_("Team"), queryset=Team.objects.none(), empty_label=None)
    description = forms.CharField(label=_("Description"), required=False, max_length=500)

    def __init__(self, *args: Any, teams: list[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Team.objects.filter(pk__in=[team.pk for team in teams])


class ImportForm(forms.Form):
    """A file to be read."""

    text = forms.CharField(
        label=_("config.yaml, a profile's file or a claim's manifest"),
        required=False,
        strip=False,
        widget=forms.Textarea(attrs={"rows": 14, "class": "mono", "spellcheck": "false"}),
    )
    file = forms.FileField(label=_("Or a file"), required=False)


class AboutForm(forms.Form):
    """What a profile is called, and what for."""

    name = forms.CharField(label=_("Name"), max_length=80)
    description = forms.CharField(label=_("Description"), required=False, max_length=500)


class RenameForm(AboutForm):
    """The same with what it was when the form was opened, so that a change since then is noticed."""

    seen_name = forms.CharField(required=False, widget=forms.HiddenInput)
    seen_description = forms.CharField(required=False, widget=forms.HiddenInput)

    def asked(self) -> dict[str, Any]:
        """The command's arguments."""
        given = self.cleaned_data
        seen = {"name": given["seen_name"], "description": given["seen_description"]}
        shown = seen if given["seen_name"] else None
        return {"name": given["name"], "description": given["description"], "seen": shown}


class SaveImportForm(AboutForm):
    """What an imported profile is called. ``held`` is the sealed file, so that no secret of it is shown."""

    team = forms.ModelChoiceField(label=_("Team"), queryset=Team.objects.none(), empty_label=None)
    held = forms.CharField(widget=forms.HiddenInput)

    def __init__(self, *args: Any, teams: list[Team], **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        field = self.fields["team"]
        assert isinstance(field, forms.ModelChoiceField)
        field.queryset = Team.objects.filter(pk__in=[team.pk for team in teams])


def initial_of(spec: StackSpec) -> dict[str, Any]:
    """What the inputs hold for a spec."""
    content = spec_to_json(spec)
    found: dict[str, Any] = {}
    for name, path in PLAIN.items():
        value = _get(content, path)
        found[name] = "" if path in BLANK and value == BLANK[path] else value
    for path in PAIRS:
        found[path.replace(".", "_")] = lines.write_pairs(_get(content, path))
    found["server_tolerations"] = lines.write_tolerations(spec.server.tolerations)
    found["chat_tolerations"] = lines.write_tolerations(spec.chat.tolerations)
    affinity = spec.server.affinity
    found["server_affinity"] = yaml.safe_dump(affinity, sort_keys=False) if affinity else ""
    found["images_pull_secrets"] = ", ".join(spec.images.pull_secrets)
    return found


def known_tags() -> list[tuple[str, str]]:
    """(tag, what to say beside it) for the list of suggestions."""
    return [
        (tag.tag, data(tag.bytes) if tag.in_library else str(_("not in the library")))
        for tag in KNOWN_TAGS.values()
    ]


def _get(content: dict[str, Any], path: str) -> Any:
    value: Any = content
    for key in path.split("."):
        value = value[key]
    return value


def _put(content: dict[str, Any], path: str, value: Any) -> None:
    *above, last = path.split(".")
    for key in above:
        content = content[key]
    content[last] = value


for _prefix, _what in (
    ("server_autoscaling", _("Scale the servers by load")),
    ("chat_autoscaling", _("Scale the chat by load")),
):
    StackForm.base_fields.update(_autoscaling(_prefix, _what))
    NewProfileForm.base_fields.update(_autoscaling(_prefix, _what))
