"""A browser without a screen or scripts: pages, forms and cookies, over HTTP alone.

Names below ``.localhost`` are this machine's (RFC 6761), but Python asks the system for them, which
need not know: the request goes to 127.0.0.1 and carries the name in its Host header.
"""

from __future__ import annotations

import http.client
from dataclasses import dataclass, field
from html.parser import HTMLParser
from http.cookies import SimpleCookie
from urllib.parse import urlencode, urljoin, urlsplit

REDIRECTS = {301, 302, 303, 307, 308}
SECONDS = 30.0


@dataclass
class Form:
    """A form as it stands on a page. ``values`` are what would be sent, ``buttons`` (name, value, text)."""

    action: str
    method: str
    values: list[tuple[str, str]] = field(default_factory=list)
    names: set[str] = field(default_factory=set)  # also of what is not sent, say an unchecked box
    choices: dict[str, list[tuple[str, str]]] = field(default_factory=dict)  # name -> (value, text)
    buttons: list[tuple[str, str, str]] = field(default_factory=list)

    def set(self, name: str, value: str) -> None:
        """Fill in one field. Raises :class:`KeyError` where the form has none of that name."""
        if name not in self.names:
            raise KeyError(f"the form has no field {name}; it has {sorted(self.names)}")
        self.values = [each for each in self.values if each[0] != name] + [(name, value)]

    def choose(self, name: str, text: str) -> None:
        """Choose the option whose text begins so."""
        for value, label in self.choices.get(name, []):
            if label.strip().lower().startswith(text.lower()):
                self.set(name, value)
                return
        raise KeyError(f"{name} offers no {text}; it offers {self.choices.get(name)}")


@dataclass(frozen=True)
class Page:
    url: str
    status: int
    text: str

    @property
    def forms(self) -> list[Form]:
        reader = _Forms(self.url)
        reader.feed(self.text)
        return reader.forms


class Browser:
    """Keeps cookies by host and follows redirects."""

    def __init__(self) -> None:
        self._cookies: dict[str, dict[str, str]] = {}

    def open(self, url: str) -> Page:
        return self._ask("GET", url, None, "")

    def submit(self, form: Form, button: tuple[str, str] | None = None) -> Page:
        values = [*form.values, *([button] if button and button[0] else [])]
        if form.method == "get":
            return self.open(f"{form.action.partition('?')[0]}?{urlencode(values)}")
        return self._ask("POST", form.action, urlencode(values).encode(), "application/x-www-form-urlencoded")

    def stream(self, url: str, body: bytes, content_type: str) -> http.client.HTTPResponse:
        """Post, and read the answer piece by piece as it comes."""
        return self._send("POST", url, body, content_type)

    def _ask(self, method: str, url: str, body: bytes | None, content_type: str) -> Page:
        for _ in range(10):
            answer = self._send(method, url, body, content_type)
            text = answer.read().decode(errors="replace")
            location = answer.headers.get("Location")
            if answer.status not in REDIRECTS or not location:
                return Page(url, answer.status, text)
            url = urljoin(url, location)
            if answer.status not in {307, 308}:
                method, body = "GET", None
        raise RuntimeError(f"too many redirects, the last one to {url}")

    def _send(self, method: str, url: str, body: bytes | None, content_type: str) -> http.client.HTTPResponse:
        parts = urlsplit(url)
        host = parts.hostname or ""
        cookies = self._cookies.setdefault(host, {})
        headers = {"Host": parts.netloc, "Accept": "text/html,*/*", "Connection": "close"}
        if cookies:
            headers["Cookie"] = "; ".join(f"{name}={value}" for name, value in cookies.items())
        if body is not None:
            headers |= {"Content-Type": content_type, "Origin": f"{parts.scheme}://{parts.netloc}"}
        connection = http.client.HTTPConnection("127.0.0.1", parts.port or 80, timeout=SECONDS)
        target = (parts.path or "/") + (f"?{parts.query}" if parts.query else "")
        connection.request(method, target, body, headers)
        answer = connection.getresponse()
        for line in answer.headers.get_all("Set-Cookie", []):
            for name, morsel in SimpleCookie(line).items():
                cookies[name] = morsel.value
        return answer


class _Forms(HTMLParser):
    """Collects the forms of a page with the values that a browser would send."""

    def __init__(self, url: str) -> None:
        super().__init__()
        self.forms: list[Form] = []
        self._url = url
        self._form: Form | None = None
        self._select: dict[str, str | None] | None = None
        self._option: tuple[str, bool] | None = None
        self._text: list[str] = []
        self._area = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        given = dict(attrs)
        if tag == "form":
            action = urljoin(self._url, given.get("action") or self._url)
            self._form = Form(action, (given.get("method") or "get").lower())
            self.forms.append(self._form)
            return
        name, form = given.get("name") or "", self._form
        if form is None or "disabled" in given:
            return
        if tag == "input":
            self._input(form, name, given)
        elif tag == "select":
            form.names.add(name)
            form.choices[name] = []
            self._select = {"name": name, "value": None}
        elif tag == "option" and self._select is not None:
            self._text = []
            self._option = (given.get("value") or "", "selected" in given)
        elif tag == "textarea":
            form.names.add(name)
            self._area, self._text = name, []
        elif tag == "button" and given.get("type", "submit") == "submit":
            form.buttons.append((name, given.get("value") or "", given.get("class") or ""))

    def _input(self, form: Form, name: str, given: dict[str, str | None]) -> None:
        kind = (given.get("type") or "text").lower()
        value = given.get("value")
        if kind == "submit":
            form.buttons.append((name, value or "", given.get("class") or ""))
        elif not name or kind in {"button", "reset", "file", "image"}:
            return
        elif kind in {"checkbox", "radio"}:
            form.names.add(name)
            form.choices.setdefault(name, []).append(
                (value or "on", given.get("aria-label") or value or "on")
            )
            if "checked" in given:
                form.values.append((name, value or "on"))
        else:
            form.names.add(name)
            form.values.append((name, value or ""))

    def handle_data(self, data: str) -> None:
        self._text.append(data)

    def handle_endtag(self, tag: str) -> None:
        form = self._form
        if tag == "form":
            self._form = None
        elif form is None:
            return
        elif tag == "option" and self._select is not None and self._option is not None:
            name, (value, chosen) = str(self._select["name"]), self._option
            form.choices[name].append((value, "".join(self._text).strip()))
            if chosen or self._select["value"] is None:
                self._select["value"] = value
            self._option = None
        elif tag == "select" and self._select is not None:
            if self._select["value"] is not None:
                form.values.append((str(self._select["name"]), self._select["value"]))
            self._select = None
        elif tag == "textarea":
            form.values.append((self._area, "".join(self._text)))
