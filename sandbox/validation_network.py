"""Validation of services, ingresses and network policies (recorded transcript 07)."""

from __future__ import annotations

import ipaddress
from typing import Any

from sandbox import rules
from sandbox.rules import Causes, Object


def service(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    kind = spec.get("type") or ""
    ports = spec.get("ports") or []
    headless = spec.get("clusterIP") == "None"
    if not ports and not headless and kind != "ExternalName":
        causes.required("spec.ports")
    names: set[str] = set()
    seen: set[tuple[Any, Any]] = set()
    for index, port in enumerate(ports):
        here = f"spec.ports[{index}]"
        name = port.get("name") or ""
        if not name and len(ports) > 1:
            causes.required(f"{here}.name")
        elif name:
            causes.check(f"{here}.name", name, rules.dns_label)
            if name in names:
                causes.duplicate(f"{here}.name", name)
            names.add(name)
        rules.port(causes, f"{here}.port", port.get("port"))
        causes.one_of(f"{here}.protocol", port.get("protocol"), ("SCTP", "TCP", "UDP"), needed=True)
        rules.port(causes, f"{here}.targetPort", port.get("targetPort"))
        number = port.get("nodePort")
        if number and kind not in ("NodePort", "LoadBalancer"):
            causes.forbidden(f"{here}.nodePort", f"may not be used when `type` is '{kind}'")
        elif number and not 30000 <= number <= 32767:
            text = "provided port is not in the valid range. The range of valid ports is 30000-32767"
            causes.invalid(f"{here}.nodePort", number, text)
        key = (port.get("port"), port.get("protocol"))
        if key in seen:
            causes.duplicate(here, {"port": key[0], "protocol": key[1]})
        seen.add(key)
    rules.labels(causes, "spec.selector", spec.get("selector"))
    causes.one_of("spec.sessionAffinity", spec.get("sessionAffinity"), ("ClientIP", "None"), needed=True)
    causes.one_of("spec.type", kind, ("ClusterIP", "ExternalName", "LoadBalancer", "NodePort"), needed=True)
    if kind == "ExternalName":
        if not spec.get("externalName"):
            causes.required("spec.externalName")
        else:
            causes.check("spec.externalName", spec["externalName"].rstrip("."), rules.dns_subdomain)
        if spec.get("clusterIP") and spec["clusterIP"] != "None":
            causes.forbidden("spec.clusterIPs[0]", "may not be set when `type` is 'ExternalName'")
    address = spec.get("clusterIP")
    if address and address != "None" and not _is_address(address):
        text = "must be a valid IP address, (e.g. 10.9.8.7 or 2001:db8::ffff)"
        causes.invalid("spec.clusterIPs[0]", address, text)
    before = rules.spec_of(old).get("clusterIP")
    if (
        old is not None
        and before
        and kind != "ExternalName"
        and rules.spec_of(old).get("type") != "ExternalName"
        and address != before
    ):
        addresses = [address, *(spec.get("clusterIPs") or [])[1:]] if address else spec.get("clusterIPs")
        causes.invalid("spec.clusterIPs[0]", addresses, "may not change once set")


def _is_address(text: str) -> bool:
    try:
        ipaddress.ip_address(text)
    except ValueError:
        return False
    return True


def endpoint_slice(causes: Causes, new: Object, old: Object | None) -> None:
    causes.one_of("addressType", new.get("addressType"), ("FQDN", "IPv4", "IPv6"), needed=True)
    for index, endpoint in enumerate(new.get("endpoints") or ()):
        if not endpoint.get("addresses"):
            causes.required(f"endpoints[{index}].addresses", "must contain at least 1 address")


def ingress(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    rule_list, default = spec.get("rules") or [], spec.get("defaultBackend")
    if not rule_list and default is None:
        causes.invalid("spec", None, "either `defaultBackend` or `rules` must be specified")
    if default is not None:
        _backend(causes, "spec.defaultBackend", default)
    for index, rule in enumerate(rule_list):
        here = f"spec.rules[{index}]"
        if host := rule.get("host"):
            if _is_address(host):
                causes.invalid(f"{here}.host", host, "must be a DNS name, not an IP address")
            else:
                causes.check(f"{here}.host", host, rules.host_name)
        http = rule.get("http")
        if isinstance(http, dict):
            paths = http.get("paths") or []
            if not paths:
                causes.required(f"{here}.http.paths")
            for number, path in enumerate(paths):
                _path(causes, f"{here}.http.paths[{number}]", path)
    for index, tls in enumerate(spec.get("tls") or ()):
        for number, host in enumerate(tls.get("hosts") or ()):
            causes.check(f"spec.tls[{index}].hosts[{number}]", host, rules.host_name)
        if tls.get("secretName"):
            causes.check(f"spec.tls[{index}].secretName", tls["secretName"], rules.dns_subdomain)
    if spec.get("ingressClassName"):
        causes.check("spec.ingressClassName", spec["ingressClassName"], rules.dns_subdomain)


def _path(causes: Causes, field: str, path: Object) -> None:
    kind, text = path.get("pathType"), path.get("path") or ""
    if kind is None:
        causes.required(f"{field}.pathType", "pathType must be specified")
        return
    if kind in ("Exact", "Prefix"):
        if not text.startswith("/"):
            causes.invalid(f"{field}.path", text, "must be an absolute path")
        for part in ("//", "/./", "/../", "%2f", "%2F"):
            if part in text:
                causes.invalid(f"{field}.path", text, f"must not contain '{part}'")
        for end in ("/..", "/."):
            if text.endswith(end):
                causes.invalid(f"{field}.path", text, f"cannot end with '{end}'")
                break
    elif kind == "ImplementationSpecific":
        if text and not text.startswith("/"):
            causes.invalid(f"{field}.path", text, "must be an absolute path")
    else:
        causes.unsupported(f"{field}.pathType", kind, ("Exact", "ImplementationSpecific", "Prefix"))
    _backend(causes, f"{field}.backend", path.get("backend") or {})


def _backend(causes: Causes, field: str, backend: Object) -> None:
    named, resource = backend.get("service"), backend.get("resource")
    if resource is not None and named is not None:
        causes.invalid(field, "", "cannot set both resource and service backends")
    elif named is None and resource is None:
        causes.required(field, "port name or number is required")
    elif named is not None:
        if not named.get("name"):
            causes.required(f"{field}.service.name")
        else:
            causes.check(f"{field}.service.name", named["name"], rules.dns_label)
        port = named.get("port") or {}
        if port.get("name") and port.get("number"):
            causes.invalid(field, "", "cannot set both port name & port number")
        elif port.get("name"):
            causes.check(f"{field}.service.port.name", port["name"], rules.port_name)
        elif port.get("number"):
            rules.port(causes, f"{field}.service.port.number", port["number"])
        else:
            causes.required(field, "port name or number is required")


def ingress_class(causes: Causes, new: Object, old: Object | None) -> None:
    controller = rules.spec_of(new).get("controller") or ""
    if not controller:
        causes.required("spec.controller")
    if old is not None:
        causes.immutable("spec.controller", controller, rules.spec_of(old).get("controller"))


def network_policy(causes: Causes, new: Object, old: Object | None) -> None:
    spec = rules.spec_of(new)
    rules.label_selector(causes, "spec.podSelector", spec.get("podSelector") or {})
    for way, who in (("ingress", "from"), ("egress", "to")):
        for index, rule in enumerate(spec.get(way) or ()):
            here = f"spec.{way}[{index}]"
            for number, port in enumerate(rule.get("ports") or ()):
                causes.one_of(
                    f"{here}.ports[{number}].protocol", port.get("protocol"), ("SCTP", "TCP", "UDP")
                )
                if port.get("port") is not None:
                    rules.port(causes, f"{here}.ports[{number}].port", port["port"])
            for number, peer in enumerate(rule.get(who) or ()):
                _peer(causes, f"{here}.{who}[{number}]", peer)
    types = spec.get("policyTypes") or []
    if len(types) > 2:
        causes.invalid("spec.policyTypes", types, "may not specify more than two policyTypes")
        return
    for index, name in enumerate(types):
        causes.one_of(f"spec.policyTypes[{index}]", name, ("Ingress", "Egress"), needed=True)


def _peer(causes: Causes, field: str, peer: Object) -> None:
    given = [key for key in ("podSelector", "namespaceSelector", "ipBlock") if peer.get(key) is not None]
    for key in given[:2]:
        if key != "ipBlock":
            rules.label_selector(causes, f"{field}.{key}", peer[key])
    if not given:
        causes.required(field, "must specify a peer")
    elif "ipBlock" in given:
        if len(given) > 1:
            causes.forbidden(field, "may not specify both ipBlock and another peer")
        block = peer["ipBlock"]
        if not block.get("cidr"):
            causes.required(f"{field}.ipBlock.cidr")
        else:
            _network(causes, f"{field}.ipBlock.cidr", block["cidr"])
        for index, part in enumerate(block.get("except") or ()):
            _network(causes, f"{field}.ipBlock.except[{index}]", part)


def _network(causes: Causes, field: str, text: str) -> None:
    try:
        ipaddress.ip_network(text, strict=False)
        valid = "/" in text
    except ValueError:
        valid = False
    if not valid:
        causes.invalid(field, text, "must be a valid CIDR value, (e.g. 10.9.8.0/24 or 2001:db8::/64)")
