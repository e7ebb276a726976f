"""The practice cluster of a running product, asked and troubled as its administrator."""

from __future__ import annotations

import ssl
import urllib.error
import urllib.parse
import urllib.request
from base64 import b64decode
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

import orjson
import yaml

from tests.smoke.product import Product, wait

FAST = 100.0


class Practice:
    """Objects and faults of the practice cluster, and how fast its time goes."""

    def __init__(self, product: Product) -> None:
        config = yaml.safe_load(product.kubeconfig.read_text())
        cluster, user = config["clusters"][0]["cluster"], config["users"][0]["user"]
        self.server: str = cluster["server"]
        ca = b64decode(cluster["certificate-authority-data"]).decode()
        self.context = ssl.create_default_context(cadata=ca)
        pair = product.directory / "administrator.pem"
        pair.write_bytes(b64decode(user["client-certificate-data"]) + b64decode(user["client-key-data"]))
        self.context.load_cert_chain(pair)

    def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Raises :class:`urllib.error.HTTPError` for a refusal."""
        headers = {"Content-Type": "application/json"}
        data = None if body is None else orjson.dumps(body)
        message = urllib.request.Request(self.server + path, data, headers, method=method)
        with urllib.request.urlopen(message, timeout=30, context=self.context) as answer:
            return orjson.loads(answer.read() or b"null")

    def fault(self, name: str, **params: Any) -> None:
        self.ask("PUT", f"/sandbox/faults/{name}", params)

    def clear(self, name: str = "") -> None:
        self.ask("DELETE", f"/sandbox/faults/{name}" if name else "/sandbox/faults")

    def delete(self, path: str) -> None:
        """At once; an object that is gone already is as good."""
        try:
            self.ask("DELETE", path, {"gracePeriodSeconds": 0})
        except urllib.error.HTTPError as error:
            if error.code != 404:
                raise

    def speed(self, factor: float) -> None:
        self.ask("PUT", "/sandbox/clock", {"speed": factor})

    @contextmanager
    def at(self, factor: float) -> Iterator[None]:
        """Simulated time at another pace meanwhile, and no fault afterwards."""
        before = self.ask("GET", "/sandbox/clock")["speed"]
        self.speed(factor)
        try:
            yield
        finally:
            self.clear()
            self.speed(before)

    def pods(self, namespace: str, component: str) -> list[dict[str, Any]]:
        chosen = urllib.parse.quote(f"app.kubernetes.io/component={component}")
        found: list[dict[str, Any]] = self.ask(
            "GET", f"/api/v1/namespaces/{namespace}/pods?labelSelector={chosen}"
        )["items"]
        return found


def caught(condition: Callable[[], object], what: str) -> None:
    """Wait for something that may pass quickly: looked at as often as it can be."""
    wait(lambda: condition() or None, 60, what, pause=0.01)


def crashes(pod: dict[str, Any], least: int) -> bool:
    """Whether its container waits before it is started again, for the ``least``-th time or a later one."""
    (status,) = pod["status"].get("containerStatuses") or [{}]
    reason = (status.get("state", {}).get("waiting") or {}).get("reason")
    return bool(reason == "CrashLoopBackOff" and status["restartCount"] >= least)


__all__ = ["FAST", "Practice", "caught", "crashes"]
