"""The DeepSeek extension's ``config.yaml``: read, with an account of every line.

Both spellings are understood: the user guide's (``global.ingress.domain``) and the chart's
(``global.extension.ingress.domainSuffix``). The guide's manifest of a Namespace and a claim, with or
without its ``cat <<EOF | kubectl apply -f -`` around it, means "use this claim". Nothing is dropped
silently: what is not understood is in ``ignored`` by its path.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import Any

from deployments.domain import config_parts as parts
from deployments.domain.config_model import read_model, read_name
from deployments.domain.config_notes import Line, Notes
from deployments.domain.errors import InvalidInput
from deployments.domain.modelname import KNOWN_TAGS
from deployments.domain.safe_yaml import load_documents
from deployments.domain.sizing import table_row, under_minimum
from deployments.domain.spec import GpuVendor, IngressSpec, Secrets, StackSpec, StorageMode
from deployments.domain.validation import validate_spec

_GATEWAY = "There is no domain, so no Ingress is made: chat goes through Pilothouse's own gateway."


@dataclass(frozen=True)
class Imported:
    """A profile's content out of a file. ``spec`` may still be invalid in the places that
    ``warnings`` name with the spec's own dotted field."""

    spec: StackSpec
    secrets: Secrets
    understood: tuple[Line, ...]
    warnings: tuple[Line, ...]
    ignored: tuple[Line, ...]
    namespace: str | None


def import_config(data: str | bytes) -> Imported:
    """Read a ``config.yaml``, the guide's claim manifest, or both in one file.

    Raises :class:`InvalidInput` with a sentence where the file cannot be read at all.
    """
    reader = _Reader()
    documents = _load(data, reader.notes)
    if not documents:
        raise InvalidInput("There is nothing in this file.")
    for document in documents:
        if not isinstance(document, dict):
            raise InvalidInput("A configuration is an object with “global” and “backend”.")
        if "kind" in document and "apiVersion" in document:
            reader.manifest(document)
        else:
            reader.config(document)
    return reader.finish()


# "tag:1.5b" between lines with blanks is not even YAML
_GLUED_LINE = re.compile(r"^(\s*(?:registry|repository|tag)):(?=[^\s#])", re.MULTILINE)
_HEREDOC = re.compile(
    r"^\s*\$?\s*cat\s*<<-?\s*['\"]?(?P<end>\w+)['\"]?\s*\|\s*kubectl\b[^\n]*\n(?P<body>.*?)^\s*(?P=end)\s*$",
    re.MULTILINE | re.DOTALL,
)
_FENCE = re.compile(r"^\s*```[a-z]*\s*$", re.MULTILINE)


def _load(data: str | bytes, notes: Notes) -> list[Any]:
    if len(data) > 256 * 1024:
        return load_documents(data)  # refuses, before any expression looks at it
    text = data if isinstance(data, str) else data.decode("utf-8-sig", "replace")
    if "\ufffd" in text:
        return load_documents(data)
    text = _FENCE.sub("", text.replace("\r\n", "\n"))
    bodies = [match["body"] for match in _HEREDOC.finditer(text)]
    if bodies:
        notes.understand("", "A shell command with a manifest inside: the manifest was read, nothing is run.")
        rest = "\n".join(
            line for line in _HEREDOC.sub("", text).splitlines() if not line.lstrip().startswith("#")
        )
        text = "\n---\n".join([*bodies, rest] if rest.strip() else bodies)
    try:
        return load_documents(text)
    except InvalidInput:
        repaired = _GLUED_LINE.sub(r"\1: ", text)
        if repaired == text:
            raise
        documents = load_documents(repaired)
        notes.warn("backend.model", "A blank was missing after a colon; it was read as if it were there.")
        return documents


class _Reader:
    """Walks a document and replaces one part of the spec after the other."""

    def __init__(self) -> None:
        self.spec = StackSpec()
        self.notes = Notes()
        self.namespace: str | None = None
        self._ingress_seen = False
        self._enabled: dict[str, bool] = {}

    def finish(self) -> Imported:
        spec, notes = self.spec, self.notes
        if not spec.ingress.host:
            wanted = self._enabled.get("ingress", True)
            self.spec = spec = replace(spec, ingress=replace(spec.ingress, enabled=False))
            if wanted:
                notes.warn("global.ingress", _GATEWAY)
        for sentence in under_minimum(spec.server.resources):
            notes.warn("backend.server.resources", sentence)
        known = KNOWN_TAGS.get(spec.model.tag.lower())
        if table_row(spec) and known and known.note:
            notes.warn("backend.model.tag", f"deepseek-r1:{known.tag} is {known.note}.")
        for error in validate_spec(spec):
            notes.warn(error.field, error.sentence)
        return Imported(
            spec=spec,
            secrets=Secrets(),
            understood=tuple(notes.understood),
            warnings=tuple(notes.warnings),
            ignored=tuple(notes.ignored),
            namespace=self.namespace,
        )

    def config(self, document: dict[str, Any]) -> None:
        readers: dict[str, Callable[[Any, str], None]] = {
            "global": self._global,
            "backend": self._backend,
            "deepseek": self._deepseek,
            "deepseek.model": self._name,
        }
        self._walk(document, "", readers)

    def manifest(self, document: dict[str, Any]) -> None:
        kind = document["kind"]
        metadata = parts.mapping(document.get("metadata"), f"{kind}.metadata", self.notes)
        name = str(metadata.get("name") or "")
        if kind == "Namespace" and name:
            self.namespace = name
            self.notes.understand("Namespace", f"The stack is meant for namespace {name}.")
        elif kind == "PersistentVolumeClaim" and name:
            self._claim(document, metadata, name)
        else:
            self.notes.ignore(
                str(kind), "Only a Namespace and a PersistentVolumeClaim are read from manifests."
            )

    def _claim(self, document: dict[str, Any], metadata: dict[str, Any], name: str) -> None:
        path = "PersistentVolumeClaim"
        claim = parts.mapping(document.get("spec"), f"{path}.spec", self.notes)
        modes = claim.get("accessModes") or []
        many = isinstance(modes, list) and "ReadWriteMany" in modes
        storage = replace(
            self.spec.storage, mode=StorageMode.EXISTING, claim_name=name, claim_read_write_many=many
        )
        self.spec = replace(self.spec, storage=storage)
        if metadata.get("namespace"):
            self.namespace = str(metadata["namespace"])
        shared = "any number of replicas" if many else "one replica"
        self.notes.understand(path, f"Use the claim {name} as it is, for {shared}.")
        self.notes.warn(
            path, f"Pilothouse does not make the claim {name}: it has to be in the namespace already."
        )

    def _walk(self, value: Any, path: str, readers: dict[str, Callable[[Any, str], None]]) -> None:
        for key, item in parts.mapping(value, path, self.notes).items():
            place = f"{path}.{key}" if path else key
            if key in readers:
                readers[key](item, place)
            else:
                self.notes.ignore(place, "This is not understood.")

    def _deepseek(self, value: Any, path: str) -> None:
        # a chart's values may be nested once more under its own name
        readers: dict[str, Callable[[Any, str], None]] = {
            "model": self._name,
            "backend": self._backend,
            "global": self._global,
        }
        self._walk(value, path, readers)

    def _name(self, value: Any, path: str) -> None:
        reader = read_model if isinstance(value, dict) else read_name
        self.spec = replace(self.spec, model=reader(value, path, self.spec.model, self.notes))

    def _global(self, value: Any, path: str) -> None:
        def node_selector(item: Any, place: str) -> None:
            found = parts.text_map(item, place, self.notes)
            self.spec = replace(self.spec, node_selector=found)

        def extension(item: Any, place: str) -> None:
            self._walk(item, place, {"ingress": self._chart_ingress})

        def tag(item: Any, place: str) -> None:
            if item not in (None, ""):
                self.notes.ignore(place, "One image tag cannot fit both images; set each image instead.")

        self._walk(
            value,
            path,
            {
                "imageRegistry": self._image_registry,
                "imagePullSecrets": self._pull_secrets,
                "nodeSelector": node_selector,
                "tag": tag,
                "ingress": self._guide_ingress,
                "extension": extension,
            },
        )

    def _image_registry(self, value: Any, path: str) -> None:
        if value in (None, ""):
            return
        self.spec = replace(self.spec, images=replace(self.spec.images, registry=str(value)))
        self.notes.understand(path, f"Both images come from {value}.")

    def _pull_secrets(self, value: Any, path: str) -> None:
        found = []
        for place, item in enumerate(value if isinstance(value, list) else [value] if value else []):
            name = item.get("name") if isinstance(item, dict) else item
            if isinstance(name, str) and name:
                found.append(name)
            else:
                self.notes.ignore(f"{path}.{place}", "This has to be the name of a Secret.")
        if found:
            self.spec = replace(self.spec, images=replace(self.spec.images, pull_secrets=tuple(found)))
            self.notes.understand(path, f"Images are pulled with {', '.join(found)}.")

    def _guide_ingress(self, value: Any, path: str) -> None:
        def domain(item: Any, place: str) -> None:
            if item not in (None, ""):
                self._set_ingress(host=str(item), enabled=self._enabled.get("ingress", True))
                self.notes.understand(place, f"The chat's host is {item}.")

        self._walk(value, path, {**self._ingress_readers(), "domain": domain})

    def _chart_ingress(self, value: Any, path: str) -> None:
        def suffix(item: Any, place: str) -> None:
            if item not in (None, ""):
                host = f"deepseek.{item}".replace("..", ".")
                self._set_ingress(host=host, enabled=self._enabled.get("ingress", True))
                self.notes.understand(place, f"The chat's host is {host}.")

        def controller_port(item: Any, place: str) -> None:
            self.notes.ignore(place, "A port of the ingress controller; an Ingress cannot set it.")

        ports = {"httpPort": controller_port, "httpsPort": controller_port}
        self._walk(value, path, {**self._ingress_readers(), "domainSuffix": suffix, **ports})

    def _ingress_readers(self) -> dict[str, Callable[[Any, str], None]]:
        def enabled(item: Any, place: str) -> None:
            on = parts.boolean(item, place, self.notes)
            if on is not None:
                self._enabled["ingress"] = on
                self._set_ingress(enabled=on)
                self.notes.understand(place, "An Ingress is wanted." if on else "No Ingress is wanted.")

        def class_name(item: Any, place: str) -> None:
            self._set_ingress(class_name=str(item or ""))
            self.notes.understand(place, f"Ingress class {item}." if item else "The cluster's default class.")

        def port(item: Any, place: str) -> None:
            found = parts.number(item, place, self.spec.chat.port, self.notes)
            self.spec = replace(self.spec, chat=replace(self.spec.chat, port=found))

        return {"enabled": enabled, "ingressClassName": class_name, "port": port, "tls": self._tls}

    def _tls(self, value: Any, path: str) -> None:
        items = value if isinstance(value, list) else [value] if value else []
        found = []
        for place, item in enumerate(items):
            name = item.get("secretName") if isinstance(item, dict) else item
            if isinstance(name, str) and name:
                found.append(name)
            else:
                self.notes.ignore(f"{path}.{place}", "TLS needs the name of a Secret (secretName).")
        if not found:
            self.notes.understand(path, "No TLS.")
            return
        self._set_ingress(tls_secret=found[0])
        self.notes.understand(path, f"TLS with the certificate in Secret {found[0]}.")
        if len(found) > 1:
            self.notes.warn(path, f"One host has one certificate; {found[0]} is taken.")

    def _set_ingress(self, **changes: Any) -> None:
        ingress: IngressSpec = replace(self.spec.ingress, **changes)
        self.spec = replace(self.spec, ingress=ingress)

    def _backend(self, value: Any, path: str) -> None:
        def model(item: Any, place: str) -> None:
            self.spec = replace(self.spec, model=read_model(item, place, self.spec.model, self.notes))

        def vendor(wanted: GpuVendor) -> Callable[[Any, str], None]:
            def read(item: Any, place: str) -> None:
                on = parts.boolean(item, place, self.notes)
                if on is not None:
                    self._enabled[wanted] = on
                    self.notes.understand(
                        place, f"{wanted.value.upper()} GPUs." if on else "Not switched on."
                    )

            return read

        self._walk(
            value,
            path,
            {
                "model": model,
                "enableNvidia": vendor(GpuVendor.NVIDIA),
                "enableAMD": vendor(GpuVendor.AMD),
                "server": self._server,
                "chat": self._chat,
                "persistence": self._persistence,
            },
        )
        self._choose_vendor(path)

    def _choose_vendor(self, path: str) -> None:
        asked = [v for v in (GpuVendor.NVIDIA, GpuVendor.AMD) if self._enabled.get(v)]
        if not asked:
            return
        if len(asked) > 1:
            self.notes.warn(
                f"{path}.enableAMD", "Both vendors are switched on; a pod can use one: NVIDIA is taken."
            )
        server = self.spec.server
        if server.gpu_vendor is not asked[0] and server.gpu_count:
            self.notes.warn(
                f"{path}.server.resources",
                f"The GPUs asked for are not {asked[0].value.upper()}'s; the switch wins.",
            )
        self.spec = replace(self.spec, server=replace(server, gpu_vendor=asked[0]))

    def _server(self, value: Any, path: str) -> None:
        given = parts.mapping(value, path, self.notes)
        server = self.spec.server
        found, vendor, count = parts.resources(
            given.get("resources"), f"{path}.resources", server.resources, self.notes
        )
        switch = "enableAMD" if vendor is GpuVendor.AMD else "enableNvidia"
        if count and not self._enabled.get(vendor):
            self.notes.warn(
                f"{path}.resources",
                f"GPUs are asked for without {switch}; {vendor.value.upper()} is meant.",
            )
        affinity = parts.mapping(given.get("affinity"), f"{path}.affinity", self.notes)
        if affinity:
            self.notes.understand(f"{path}.affinity", "Taken over as it stands.")
        server = replace(
            server,
            replicas=parts.number(given.get("replicas"), f"{path}.replicas", server.replicas, self.notes),
            image=parts.image(given.get("image"), f"{path}.image", self.notes),
            resources=found,
            gpu_vendor=vendor if count else server.gpu_vendor,
            gpu_count=count,
            node_selector=parts.text_map(given.get("nodeSelector"), f"{path}.nodeSelector", self.notes),
            tolerations=parts.tolerations(given.get("tolerations"), f"{path}.tolerations", self.notes),
            affinity=affinity,
            autoscaling=parts.autoscaling(given.get("autoscaling"), f"{path}.autoscaling", self.notes),
        )
        self.spec = replace(self.spec, server=server)
        self._unknown(given, path, (*_WORKLOAD, "affinity"))

    def _chat(self, value: Any, path: str) -> None:
        given = parts.mapping(value, path, self.notes)
        chat = self.spec.chat
        found, vendor, count = parts.resources(
            given.get("resources"), f"{path}.resources", chat.resources, self.notes
        )
        if count:
            self.notes.warn(
                f"{path}.resources", f"The chat has no use for {vendor.value.upper()} GPUs; it gets none."
            )
        chat = replace(
            chat,
            replicas=parts.number(given.get("replicas"), f"{path}.replicas", chat.replicas, self.notes),
            image=parts.image(given.get("image"), f"{path}.image", self.notes),
            resources=found,
            node_selector=parts.text_map(given.get("nodeSelector"), f"{path}.nodeSelector", self.notes),
            tolerations=parts.tolerations(given.get("tolerations"), f"{path}.tolerations", self.notes),
            autoscaling=parts.autoscaling(given.get("autoscaling"), f"{path}.autoscaling", self.notes),
        )
        self.spec = replace(self.spec, chat=chat)
        self._unknown(given, path, _WORKLOAD)

    def _persistence(self, value: Any, path: str) -> None:
        given = parts.mapping(value, path, self.notes)
        storage = self.spec.storage
        modes = given.get("accessModes") or []
        modes = [modes] if isinstance(modes, str) else modes
        if "ReadWriteMany" in modes:
            storage = replace(storage, mode=StorageMode.SHARED)
            self.notes.understand(f"{path}.accessModes", "One claim that all replicas share.")
        elif modes:
            self.notes.understand(f"{path}.accessModes", "A claim for each replica.")
        if given.get("storageClass"):
            storage = replace(storage, storage_class=str(given["storageClass"]))
            self.notes.understand(f"{path}.storageClass", f"Storage class {given['storageClass']}.")
        if given.get("size"):
            storage = replace(storage, size=str(given["size"]))
            self.notes.understand(f"{path}.size", f"{given['size']}.")
        if given.get("existingClaim"):
            many = "ReadWriteMany" in modes
            name = str(given["existingClaim"])
            storage = replace(storage, mode=StorageMode.EXISTING, claim_name=name, claim_read_write_many=many)
            self.notes.understand(f"{path}.existingClaim", f"Use the claim {name} as it is.")
        self.spec = replace(self.spec, storage=storage)
        self._unknown(given, path, ("accessModes", "storageClass", "size", "existingClaim"))

    def _unknown(self, given: dict[str, Any], path: str, known: tuple[str, ...]) -> None:
        for key in given:
            if key not in known:
                self.notes.ignore(f"{path}.{key}", "This is not understood.")


_WORKLOAD = ("replicas", "image", "resources", "nodeSelector", "tolerations", "autoscaling")
