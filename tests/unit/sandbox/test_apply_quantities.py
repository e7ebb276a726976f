"""An apply whose types fit the schema but not Go's: the answer is the manifest's fault, not a crash."""

from __future__ import annotations

from tests.sandbox_server import running_sandbox


def test_a_bad_quantity_in_an_apply() -> None:
    container = {"name": "main", "image": "i", "resources": {"limits": {"memory": "8G i"}}}
    pod = {"apiVersion": "v1", "kind": "Pod", "metadata": {"name": "p"}, "spec": {"containers": [container]}}
    with running_sandbox() as cluster:
        status, _, body = cluster.request(
            "PATCH",
            "/api/v1/namespaces/default/pods/p?fieldManager=a",
            pod,
            {"Content-Type": "application/apply-patch+yaml"},
        )
    assert status == 500
    assert body["message"].startswith(
        "failed to convert new object (/p; /v1, Kind=Pod) to proper version (v1): "
    )
    assert "quantities must match the regular expression" in body["message"]
