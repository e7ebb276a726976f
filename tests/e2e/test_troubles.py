"""An open page while one trouble after another befalls the deployment that it shows."""

from __future__ import annotations

import ssl
import urllib.request
from base64 import b64decode
from typing import Any

import orjson
import pytest
import yaml
from playwright.sync_api import Page, StorageState, expect

from tests.e2e.conftest import Installed, Opens
from tests.smoke.product import Product

# Fault, its parameters, what the page says of it; the last one begins with a new pod.
CHAIN: list[tuple[str, dict[str, Any], str, bool]] = [
    ("probe_failure", {"kind": "readiness"}, "0 of 1 ready", False),
    ("node_not_ready", {"node": "*"}, "does not answer any more", False),
    ("crash_loop", {"code": 3}, "ends with exit code 3 again and again", True),
]


class Sandbox:
    """The practice cluster of a running product, asked as its administrator."""

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
        headers = {"Content-Type": "application/json"}
        data = None if body is None else orjson.dumps(body)
        message = urllib.request.Request(self.server + path, data, headers, method=method)
        with urllib.request.urlopen(message, timeout=30, context=self.context) as answer:
            return orjson.loads(answer.read() or b"null")


@pytest.fixture
def page(opens: Opens, signed_in: StorageState) -> Page:
    return opens(storage_state=signed_in).new_page()


def test_the_open_page_says_each_trouble_and_its_end(
    page: Page, product: Product, installed: Installed
) -> None:
    sandbox = Sandbox(product)
    page.goto(installed.deployment)
    hero = page.locator(".hero")
    expect(hero.locator(".lab")).to_contain_text("Healthy")
    page.evaluate("document.documentElement.dataset.loaded = 'once'")
    servers = "/api/v1/namespaces/smoke/pods?labelSelector=app.kubernetes.io%2Fcomponent%3Dserver"
    (pod,) = sandbox.ask("GET", servers)["items"]
    meta = pod["metadata"]
    try:
        for fault, params, words, anew in CHAIN:
            scope = {} if "node" in params else {"namespace": meta["namespace"], "pod": meta["name"]}
            sandbox.ask("PUT", f"/sandbox/faults/{fault}", {**scope, **params})
            if anew:
                path = f"/api/v1/namespaces/{meta['namespace']}/pods/{meta['name']}"
                sandbox.ask("DELETE", path, {"gracePeriodSeconds": 0})
            expect(hero).to_contain_text(words)
            sandbox.ask("DELETE", "/sandbox/faults")
            expect(hero.locator(".lab")).to_contain_text("Healthy")
    finally:
        sandbox.ask("DELETE", "/sandbox/faults")
    assert page.evaluate("document.documentElement.dataset.loaded") == "once", "it was never loaded anew"
