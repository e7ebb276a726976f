"""Which requests of a chat page pass: what the page of NextChat v2.16.1 asks for, and nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from deployments.domain.errors import InvalidInput
from deployments.gateways.chat.headers import location, without_prefix
from deployments.gateways.chat.paths import Kind, route

PREFIX = "/api/v1/namespaces/llm/services/http:web-chat:http/proxy"


@pytest.mark.parametrize(
    ("method", "path", "kind"),
    [
        ("GET", "/", Kind.PAGE),
        ("HEAD", "/", Kind.PAGE),
        ("GET", "/_next/static/chunks/app/page-0a1b.js", Kind.ASSET),
        ("GET", "/_next/static/css/%5Bx%5D.css", Kind.ASSET),
        ("GET", "/serviceWorker.js", Kind.ASSET),
        ("GET", "/serviceWorkerRegister.js", Kind.ASSET),
        ("GET", "/masks.json", Kind.ASSET),
        ("GET", "/plugins.json", Kind.ASSET),
        ("GET", "/prompts.json", Kind.ASSET),
        ("GET", "/favicon.ico", Kind.ASSET),
        ("GET", "/favicon-32x32.png", Kind.ASSET),
        ("GET", "/google-fonts/css2", Kind.FONTS),
        ("GET", "/api/config", Kind.CONFIG),
        ("POST", "/api/config", Kind.CONFIG),
        ("POST", "/api/openai/v1/chat/completions", Kind.COMPLETIONS),
        ("GET", "/api/openai/v1/models", Kind.MODELS),
    ],
)
def test_what_the_page_asks_for_passes(method: str, path: str, kind: Kind) -> None:
    assert route(method, path, "").kind is kind


@pytest.mark.parametrize(
    ("method", "path", "status"),
    [
        ("POST", "/", 405),
        ("PUT", "/api/config", 405),
        ("DELETE", "/_next/static/x.js", 405),
        ("GET", "/api/openai/v1/chat/completions", 405),
        ("POST", "/api/openai/v1/embeddings", 403),
        ("POST", "/api/openai/dashboard/billing/usage", 403),
        ("GET", "/api/ollama/api/tags", 403),
        ("POST", "/api/anything/api/pull", 403),
        ("GET", "/api/tags", 403),
        ("GET", "/api", 403),
        ("GET", "/api/webdav/x", 403),
        ("GET", "/api/cache/upload", 403),
        ("GET", "/_next/data/x.json", 404),
        ("GET", "/secret.txt", 404),
        ("GET", "/v1/models", 404),
        ("GET", "/.env", 404),
    ],
)
def test_everything_else_is_refused(method: str, path: str, status: int) -> None:
    found = route(method, path, "")
    assert (found.kind, found.status) == (Kind.REFUSED, status)


@pytest.mark.parametrize(
    "path",
    [
        "/_next/static/../../api/tags",
        "/_next/static/%2e%2e/x",
        "/_next/static/%252e%252e/x",
        "/_next/static/%25252e%25252e/x",
        "/_next/static/..%2fx",
        "/_next/static/a%2Fb",
        "/_next/static/a%252Fb",
        "/_next/static/a\\b",
        "/_next/static/a%5cb",
        "/_next/static/./x",
        "/_next/static/..;/x",
        "/_next/static//x",
        "//_next/static/x",
        "/_next/static/%00",
        "/_next/static/%ff",
        "/api/config/..",
    ],
)
def test_a_path_that_readers_read_differently_is_refused_before_the_table(path: str) -> None:
    with pytest.raises(InvalidInput):
        route("GET", path, "")


@given(st.text(alphabet="./%25ecEC2fF\\;ax_-", max_size=30))
def test_no_path_leads_out_of_the_static_files(tail: str) -> None:
    try:
        found = route("GET", f"/_next/static/{tail}", "")
    except InvalidInput:
        return
    if found.kind is Kind.ASSET:
        assert found.path.startswith("_next/static/")
        assert ".." not in found.path.split("/")


@pytest.mark.parametrize(
    ("query", "passes"),
    [
        ("url=%2Fmacos.png&w=64&q=75", True),
        ("url=%2F_next%2Fstatic%2Fmedia%2Fbot.png&w=64", True),
        ("url=http%3A%2F%2F169.254.169.254%2F&w=64&q=75", False),
        ("url=%2F%2Fevil.example%2Fx.png&w=64&q=75", False),
        ("url=%2Fapi%2Fconfig&w=64&q=75", False),
        ("url=%2Fx.png&w=64;rm&q=75", False),
        ("", False),
    ],
)
def test_only_the_chats_own_images_are_resized(query: str, passes: bool) -> None:
    assert (route("GET", "/_next/image", query).kind is Kind.ASSET) is passes


@pytest.mark.parametrize(
    ("sent", "undone"),
    [
        # Recorded transcript 28 (proxy), redirects.
        (f"{PREFIX}/other/place?x=1", "/other/place?x=1"),
        ("sub/place", "sub/place"),
        (f"http://127.0.0.1:6443{PREFIX}/other", "/other"),
        (f"https://127.0.0.1:6443{PREFIX}/other", "/other"),
        ("http://elsewhere.example/x", None),
        ("//elsewhere.example/x", None),
        (f"{PREFIX}//elsewhere.example/x", None),
        ("/api/v1/namespaces/llm/secrets", None),
        ("https://127.0.0.1:6443/api/v1/secrets", None),
    ],
)
def test_a_location_is_put_back_or_dropped(sent: str, undone: str | None) -> None:
    assert location(sent, (PREFIX,), "127.0.0.1:6443") == undone


def test_html_gets_its_own_paths_back() -> None:
    # Recorded transcript 28 (proxy), html.
    html = f'<link href="{PREFIX}/style.css"><a href="rel">r</a><a href="http://elsewhere.example/">e</a>'
    assert without_prefix(html.encode(), (PREFIX,)) == (
        b'<link href="/style.css"><a href="rel">r</a><a href="http://elsewhere.example/">e</a>'
    )
