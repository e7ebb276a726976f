"""What a pod's own page shows beyond its state: how its containers are set up, and by what it is placed.

Of the environment only names are kept: values may be secrets.
"""

from __future__ import annotations

from deployments.observer.trimming import Raw, mapping, mappings, number, quantities, text_of

MAX_ENV = 64
# Kubernetes API reference, Volume: the sources that people meet, with the field that names what is mounted.
_SOURCES = {
    "persistentVolumeClaim": "claimName",
    "configMap": "name",
    "secret": "secretName",
    "emptyDir": "medium",
    "hostPath": "path",
    "nfs": "path",
    "csi": "driver",
    "downwardAPI": "",
    "projected": "",
    "ephemeral": "",
    "image": "reference",
}


def setup(obj: Raw) -> Raw:
    """The parts of a pod's spec that do not change while it lives."""
    spec, status = mapping(obj.get("spec")), mapping(obj.get("status"))
    return {
        "qosClass": text_of(status.get("qosClass"), 20),
        "serviceAccount": text_of(spec.get("serviceAccountName"), 253),
        "restartPolicy": text_of(spec.get("restartPolicy"), 20),
        "priorityClass": text_of(spec.get("priorityClassName"), 253),
        "runtimeClass": text_of(spec.get("runtimeClassName"), 253),
        "nodeSelector": {
            text_of(key, 317): text_of(value, 63)
            for key, value in list(mapping(spec.get("nodeSelector")).items())[:16]
        },
        "tolerations": [
            {
                "key": text_of(item.get("key"), 317),
                "operator": text_of(item.get("operator"), 20),
                "value": text_of(item.get("value"), 63),
                "effect": text_of(item.get("effect"), 40),
                "seconds": number(item.get("tolerationSeconds")),
            }
            for item in mappings(spec.get("tolerations"))
        ],
        "volumes": [_volume(item) for item in mappings(spec.get("volumes"))],
        "setups": [
            {**_container(item), "init": init, "sidecar": init and item.get("restartPolicy") == "Always"}
            for member, init in (("initContainers", True), ("containers", False))
            for item in mappings(spec.get(member))
        ],
    }


def _volume(volume: Raw) -> Raw:
    kind = next((key for key in _SOURCES if isinstance(volume.get(key), dict)), "")
    source = mapping(volume.get(kind))
    return {
        "name": text_of(volume.get("name"), 63),
        "kind": kind or text_of(next((key for key in volume if key != "name"), ""), 40),
        "source": text_of(source.get(_SOURCES.get(kind, "")), 300),
        "size": text_of(source.get("sizeLimit"), 40),
        "readOnly": source.get("readOnly") is True,
    }


def _container(container: Raw) -> Raw:
    resources = mapping(container.get("resources"))
    return {
        "name": text_of(container.get("name"), 63),
        "image": text_of(container.get("image"), 300),
        "requests": quantities(resources.get("requests")),
        "limits": quantities(resources.get("limits")),
        "env": [text_of(item.get("name"), 120) for item in mappings(container.get("env"), MAX_ENV)],
        "envFrom": [
            text_of(mapping(item.get(kind)).get("name"), 253)
            for item in mappings(container.get("envFrom"))
            for kind in ("secretRef", "configMapRef")
            if isinstance(item.get(kind), dict)
        ],
        "mounts": [
            {
                "name": text_of(item.get("name"), 63),
                "path": text_of(item.get("mountPath"), 300),
                "subPath": text_of(item.get("subPath"), 300),
                "readOnly": item.get("readOnly") is True,
            }
            for item in mappings(container.get("volumeMounts"))
        ],
    }
