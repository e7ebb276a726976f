"""Every error that Ollama's server writes about a pull, and what it means here."""

from __future__ import annotations

import pytest

from deployments.domain.errors import ModelError, ModelNotFound
from deployments.gateways.ollama.errors import cut, pull_error, run_error

URL = "https://registry.ollama.ai/v2/library/x/manifests/latest"
PERMANENT, AGAIN = False, True


@pytest.mark.parametrize(
    ("text", "retryable"),
    [
        ("pull model manifest: 400: bad", PERMANENT),
        ("pull model manifest: 401: who are you", PERMANENT),
        ("pull model manifest: 403: no", PERMANENT),
        ("pull model manifest: 412: \n\nThis model requires a newer version of Ollama.", PERMANENT),
        ("pull model manifest: 429: slow down", AGAIN),
        ("pull model manifest: 500: oops", AGAIN),
        ("pull model manifest: 503: <html>500: x</html>", AGAIN),
        ('pull model manifest: realm host "a" does not match original host "b"', PERMANENT),
        ('pull model manifest: Get "?nonce=1": unsupported protocol scheme ""', PERMANENT),
        ("pull model manifest: unauthorized: access denied", PERMANENT),
        ("open /root/.ollama/id_ed25519: no such file or directory", PERMANENT),
        (
            f'pull model manifest: Get "{URL}": dial tcp: lookup registry.ollama.ai on 10.0.0.10:53: no such host',
            AGAIN,
        ),
        (f'pull model manifest: Get "{URL}": dial tcp 1.2.3.4:443: connect: connection refused', AGAIN),
        (f'pull model manifest: Get "{URL}": dial tcp 1.2.3.4:443: i/o timeout', AGAIN),
        (f'pull model manifest: Get "{URL}": EOF', AGAIN),
        (
            f'pull model manifest: Get "{URL}": tls: failed to verify certificate: x509: certificate signed by '
            "unknown authority",
            PERMANENT,
        ),
        (f'pull model manifest: Get "{URL}": http: server gave HTTP response to HTTPS client', PERMANENT),
        ("http: no Location header in response", PERMANENT),
        ("context deadline exceeded", AGAIN),
        ("max retries exceeded: unexpected EOF", AGAIN),
        ("max retries exceeded: write /m/blobs/sha256-ab-partial: no space left on device", PERMANENT),
        ("write /models/blobs/sha256-ab-partial: no space left on device", PERMANENT),
        ("mkdir /models/blobs: permission denied", PERMANENT),
        ("digest mismatch, file must be downloaded again: want sha256:ab, got sha256:cd", AGAIN),
        ("invalid digest format", PERMANENT),
        ("this model requires MLX support, but the MLX runtime is not available", PERMANENT),
        ("invalid model name", PERMANENT),
        ("a sentence that nobody has seen before", AGAIN),
    ],
)
def test_a_pull_error_says_whether_trying_again_can_help(text: str, retryable: bool) -> None:
    error = pull_error(text, "deepseek-r1:1.5b")
    assert type(error) is ModelError
    assert error.retryable is retryable
    assert error.tried == "pull deepseek-r1:1.5b"
    assert error.remedy


@pytest.mark.parametrize(
    "text", ["pull model manifest: file does not exist", "pull model manifest: 404: gone"]
)
def test_an_absent_tag_is_named_with_its_nearest_neighbour(text: str) -> None:
    error = pull_error(text, "deepseek-r1:3b")
    assert isinstance(error, ModelNotFound)
    assert not error.retryable
    assert "deepseek-r1:1.5b" in error.remedy


def test_a_mistyped_model_is_named_too() -> None:
    assert "deepseek-r1" in pull_error("pull model manifest: file does not exist", "deepsek-r1:7b").remedy


def test_what_a_registry_put_into_an_error_is_cut_away() -> None:
    assert cut("pull model manifest: 403: <html>secret-in-body</html>") == "pull model manifest: 403"
    assert cut("max retries exceeded: 500: secret\nmore") == "max retries exceeded: 500"
    shown = cut('Get "https://user:pw@host/blob?X-Amz-Signature=abc": EOF')
    assert "pw" not in shown
    assert "abc" not in shown
    assert len(cut("x" * 5000)) == 300


@pytest.mark.parametrize(
    ("status", "text", "retryable", "missing"),
    [
        (404, "model 'x' not found", False, True),
        (404, 'model "x" not found, try pulling it first', False, True),
        (500, "model requires more system memory (5.6 GiB) than is available (3.1 GiB)", False, False),
        (500, "llama-server process has terminated: exit 1: cudaMalloc failed: out of memory", False, False),
        (503, "server busy, please try again.  maximum pending requests exceeded", True, False),
        (500, "timed out waiting for llama runner to start - progress 0.42 - ", True, False),
        (499, "request canceled", True, False),
        (400, '"x" does not support chat', False, False),
        (500, "something else", True, False),
        (400, "something else", False, False),
    ],
)
def test_a_run_error_is_read_likewise(status: int, text: str, retryable: bool, missing: bool) -> None:
    error = run_error(text, "x", status, tried="generate")
    assert error.retryable is retryable
    assert isinstance(error, ModelNotFound) is missing
