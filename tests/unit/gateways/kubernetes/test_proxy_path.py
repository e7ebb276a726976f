"""A path below the API server's proxy means one thing only, or it is refused."""

from __future__ import annotations

from urllib.parse import quote, unquote

import httpx
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from deployments.domain.errors import InvalidInput
from deployments.gateways.kubernetes.proxy import _url, proxy_path, safe_path

PREFIX = "/api/v1/namespaces/llm/pods/http:ollama-0:11434/proxy/"
BASE = "https://10.0.0.1:6443"


def path_to(path: str) -> str:
    return proxy_path("llm", "pods", "ollama-0", "http", 11434, path)


@pytest.mark.parametrize(
    "path, sent",
    [
        ("api/tags", "api/tags"),
        ("/api/tags", "api/tags"),
        ("", ""),
        ("/", ""),
        ("a/", "a/"),
        ("a%20b", "a%20b"),
        ("a b", "a%20b"),
        ("über", "%C3%BCber"),
        ("100%25", "100%25"),
        ("_next/static/chunks/app/page-1a2b.js", "_next/static/chunks/app/page-1a2b.js"),
        ("a..b/...c", "a..b/...c"),
        (".well-known/x", ".well-known/x"),
    ],
)
def test_ordinary_paths(path: str, sent: str) -> None:
    assert path_to(path) == PREFIX + sent


@pytest.mark.parametrize(
    "path",
    [
        "..",
        "../../../../secrets",
        "/../x",
        "a/../b",
        "a/./b",
        ".",
        "a/..",
        "%2e%2e/x",
        "%2E./x",
        ".%2e",
        "%252e%252e/x",
        "%25252e%25252e",
        "..%2f..%2fsecrets",
        "a%2fb",
        "a%2Fb",
        "a%252fb",
        "a\\b",
        "..\\x",
        "a%5cb",
        "a%255Cb",
        "..;/x",
        "..;a=b/x",
        "//evil.example/x",
        "a//b",
        "a?x=../..",
        "a#b",
        "a\r\nHost: evil",
        "a%0d%0aHost:%20evil",
        "a\x00b",
        "%00",
        "%c0%ae%c0%ae/x",
        "%ff",
        "\ud800",
        "x" * 5000,
        "%" + "25" * 30 + "2e",
    ],
)
def test_hostile_paths(path: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        path_to(path)
    assert caught.value.field == "path"


@pytest.mark.parametrize(
    "arguments, field",
    [
        (("../x", "pods", "p", "http", 80, ""), "namespace"),
        (("llm", "nodes", "p", "http", 80, ""), "resource"),
        (("llm", "pods", "p/../q", "http", 80, ""), "name"),
        (("llm", "pods", "a:b", "http", 80, ""), "name"),
        (("llm", "pods", "", "http", 80, ""), "name"),
        (("llm", "pods", "p", "ftp", 80, ""), "scheme"),
        (("llm", "pods", "p", "http", 0, ""), "port"),
        (("llm", "pods", "p", "http", 70000, ""), "port"),
        (("llm", "services", "p", "http", "a/b", ""), "port"),
        (("llm\n", "services", "p", "http", "a", ""), "namespace"),
    ],
)
def test_addresses_are_checked(arguments: tuple[str, str, str, str, int | str, str], field: str) -> None:
    with pytest.raises(InvalidInput) as caught:
        proxy_path(*arguments)
    assert caught.value.field == field


def test_forms() -> None:
    assert (
        proxy_path("a", "services", "chat", "", "http", "x")
        == "/api/v1/namespaces/a/services/chat:http/proxy/x"
    )
    assert (
        proxy_path("a", "services", "s", "https", 443, "")
        == "/api/v1/namespaces/a/services/https:s:443/proxy/"
    )


@pytest.mark.parametrize(
    "path", ["/api/v1/secrets", "/api/v1/namespaces/a/secrets/x", PREFIX + "../../x", "", "/" + PREFIX]
)
def test_only_the_proxy_is_reached(path: str) -> None:
    with pytest.raises(InvalidInput):
        _url(BASE, path)


PIECES = st.lists(
    st.sampled_from(
        [
            "..",
            ".",
            "/",
            "\\",
            "%2e",
            "%2E",
            "%2f",
            "%5c",
            "%25",
            "2e",
            "2f",
            "a",
            ";",
            "?",
            "#",
            "%",
            "é",
            " ",
            "\n",
            "%00",
            "@",
            ":",
        ]
    )
    | st.text(max_size=3),
    max_size=12,
).map("".join)


@given(PIECES)
@example("%2e%2e%2f")
@example("a/%25252e%25252e/b")
def test_nothing_climbs_out(path: str) -> None:
    try:
        sent = path_to(path)
    except InvalidInput:
        return
    assert sent.startswith(PREFIX)
    url = _url(BASE, sent)
    assert url.raw_path.decode() == sent == httpx.URL(BASE + sent).raw_path.decode()
    text = sent
    for _ in range(12):
        rest = text.removeprefix(PREFIX)
        assert not {"..", "."} & set(rest.split("/")) and "\\" not in rest
        assert rest.count("/") == sent.removeprefix(PREFIX).count("/")
        text = unquote(text)


@given(PIECES, st.integers(1, 8))
def test_encoding_hides_nothing(path: str, layers: int) -> None:
    """What is refused plainly is refused however often it is encoded."""
    try:
        safe_path(path)
    except InvalidInput:
        encoded = path.removeprefix("/")
        try:
            for _ in range(layers):
                encoded = quote(encoded, safe="")
        except UnicodeEncodeError:
            return
        if "?" in path or "#" in path or "" in path.removeprefix("/").split("/")[:-1]:
            return  # harmless once encoded, or an encoded slash, which the next test has
        with pytest.raises(InvalidInput):
            safe_path(encoded)
