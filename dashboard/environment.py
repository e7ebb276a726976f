"""What the environment may say, typed and checked once at start.

Every setting has a default that works on a fresh checkout with SQLite. With any other database the
secrets must be given: a generated key on one of several hosts would make the others unable to read
what it wrote.
"""

from __future__ import annotations

import base64
import hashlib
import os
import re
import secrets
import tempfile
from pathlib import Path
from typing import Annotated
from urllib.parse import urlsplit

from cryptography.fernet import Fernet
from django.core.exceptions import ImproperlyConfigured
from pydantic import AliasChoices, Field, ValidationError, field_validator
from pydantic_settings import BaseSettings, NoDecode, SettingsConfigDict

from dashboard.oidc.claims import check_mapping

BASE_DIR = Path(__file__).resolve().parent.parent

MAX_SOCKET_PATH = 100
Words = Annotated[list[str], NoDecode]  # "a, b" in the environment, not JSON


class Environment(BaseSettings):
    """The settings by their usual names; see docs/operations.md for the table."""

    model_config = SettingsConfigDict(extra="ignore", env_ignore_empty=True)

    debug: bool = False
    var_dir: Path = BASE_DIR / "var"
    static_root: Path | None = None
    database_url: str = ""
    redis_url: str = ""
    secret_key: str = ""
    encryption_keys: Words = Field(
        default=[], validation_alias=AliasChoices("ENCRYPTION_KEYS", "ENCRYPTION_KEY")
    )
    audit_signing_key: str = ""
    audit_public_keys: Words = []
    audit_stream: str = ""
    allowed_hosts: Words = []
    public_url: str = "http://pilothouse.localhost:8000"
    chat_domain: str = ""
    allow_loopback_clusters: bool | None = None
    trusted_proxy: bool = False
    log_format: str = "text"
    log_level: str = "INFO"
    worker_concurrency: int = Field(default=8, ge=1, le=256)
    pull_concurrency: int = Field(default=100, ge=1, le=1000)
    pull_stall_seconds: int = Field(default=60, ge=1)
    gpu_samples_kept_days: int = Field(default=2, ge=1, le=31)
    gpu_five_minutes_kept_days: int = Field(default=14, ge=1, le=366)
    gpu_hours_kept_days: int = Field(default=365, ge=1, le=3660)
    email_url: str = ""
    mail_from: str = "Pilothouse <pilothouse@localhost>"
    oidc_discovery_url: str = ""
    oidc_client_id: str = ""
    oidc_client_secret: str = ""
    oidc_name: str = "single sign-on"
    oidc_groups_claim: str = "groups"
    oidc_roles: dict[str, str | list[str]] = {}
    installation_name: str = Field(default="pilothouse", pattern=r"^[a-z0-9]([-a-z0-9]{0,30}[a-z0-9])?$")

    @field_validator("encryption_keys", "allowed_hosts", "audit_public_keys", mode="before")
    @classmethod
    def _words(cls, value: object) -> object:
        if isinstance(value, str):
            return [word for word in value.replace(",", " ").split() if word]
        return value

    @field_validator("encryption_keys")
    @classmethod
    def _fernet(cls, keys: list[str]) -> list[str]:
        for key in keys:
            try:
                Fernet(key)
            except ValueError:
                raise ValueError(
                    "each key must be 32 bytes in URL-safe base64; `python manage.py generate_key` prints one"
                ) from None
        return keys

    @field_validator("audit_signing_key")
    @classmethod
    def _seed(cls, value: str) -> str:
        if value and not re.fullmatch(r"[A-Za-z0-9_-]{43}=", value):
            raise ValueError(
                "must be 32 bytes in URL-safe base64; `python manage.py generate_key` prints one"
            )
        return value

    @field_validator("audit_public_keys")
    @classmethod
    def _public(cls, keys: list[str]) -> list[str]:
        if any(not re.fullmatch(r"[0-9a-f]{64}", key) for key in keys):
            raise ValueError("each key must be 64 hexadecimal digits")
        return keys

    @field_validator("audit_stream")
    @classmethod
    def _stream(cls, value: str) -> str:
        if not re.fullmatch(r"(?:stdout|syslog:///\S+|syslog(?:\+tcp)?://[^/\s]+)?", value):
            raise ValueError(
                "must be stdout, syslog:///dev/log, syslog://host:port or syslog+tcp://host:port"
            )
        return value

    @field_validator("public_url")
    @classmethod
    def _url(cls, value: str) -> str:
        parts = urlsplit(value)
        if parts.scheme not in {"http", "https"} or not parts.hostname or parts.path not in {"", "/"}:
            raise ValueError("must be http(s)://host[:port] without a path")
        return value.rstrip("/")

    @field_validator("email_url")
    @classmethod
    def _mail(cls, value: str) -> str:
        parts = urlsplit(value)
        if value and (parts.scheme not in {"smtp", "smtp+tls", "smtps"} or not parts.hostname):
            raise ValueError("must be smtp://, smtp+tls:// or smtps:// with [user:password@]host[:port]")
        return value

    @field_validator("oidc_discovery_url")
    @classmethod
    def _discovery(cls, value: str) -> str:
        loopback = urlsplit(value).hostname in {"127.0.0.1", "localhost", "::1"}
        if value and not value.endswith("/.well-known/openid-configuration"):
            raise ValueError("must end in /.well-known/openid-configuration")
        if value and urlsplit(value).scheme != "https" and not loopback:
            raise ValueError("must be https://")
        return value

    @field_validator("oidc_roles")
    @classmethod
    def _roles(cls, value: dict[str, str | list[str]]) -> dict[str, str | list[str]]:
        check_mapping(value)
        return value

    @field_validator("log_format")
    @classmethod
    def _format(cls, value: str) -> str:
        if value not in {"text", "json"}:
            raise ValueError("must be text or json")
        return value

    @property
    def sqlite(self) -> bool:
        return self.database_url.startswith("sqlite:") or not self.database_url


def _generated(var_dir: Path, name: str, make: str) -> str:
    """A secret kept in ``var`` with owner-only rights, made at its first use.

    Written to a file of its own first and linked into place, so that two processes which start
    together agree on one value.
    """
    path = var_dir / name
    if not path.exists():
        var_dir.mkdir(parents=True, exist_ok=True)
        draft = var_dir / f".{name}.{os.getpid()}.{secrets.token_hex(4)}"
        descriptor = os.open(draft, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
        with os.fdopen(descriptor, "w") as file:
            file.write(make)
        try:
            os.link(draft, path)
        except FileExistsError:
            pass  # another process was first: its value counts
        finally:
            draft.unlink()
    return path.read_text().strip()


def socket_path(var_dir: Path) -> Path:
    """Where the embedded Valkey listens: in ``var``, or in a short temporary directory where that
    path is longer than a socket's address may be (108 bytes on Linux, 104 on macOS)."""
    path = var_dir / "valkey.sock"
    if len(os.fsencode(path)) <= MAX_SOCKET_PATH:
        return path
    mark = hashlib.sha256(os.fsencode(var_dir)).hexdigest()[:12]
    return Path(tempfile.gettempdir()) / f"pilothouse-{os.getuid()}-{mark}" / "valkey.sock"


def load() -> Environment:
    """Read and check the environment, one clear line for each thing that is wrong."""
    try:
        env = Environment()
    except ValidationError as error:
        lines = [f"{'.'.join(str(part) for part in e['loc']).upper()}: {e['msg']}" for e in error.errors()]
        raise ImproperlyConfigured("The environment is not usable:\n  " + "\n  ".join(lines)) from None
    env.var_dir = env.var_dir.absolute()
    missing = [
        name
        for name, value in (
            ("SECRET_KEY", env.secret_key),
            ("ENCRYPTION_KEYS", env.encryption_keys),
            ("AUDIT_SIGNING_KEY", env.audit_signing_key),
        )
        if not value
    ]
    if missing and not env.sqlite:
        raise ImproperlyConfigured(
            f"{', '.join(missing)} must be set when DATABASE_URL is not SQLite: "
            "every process of an installation needs the same value."
        )
    if not env.secret_key:
        env.secret_key = _generated(env.var_dir, "secret_key", secrets.token_urlsafe(50))
    if not env.encryption_keys:
        env.encryption_keys = [_generated(env.var_dir, "encryption_key", Fernet.generate_key().decode())]
    if not env.audit_signing_key:
        env.audit_signing_key = _generated(
            env.var_dir, "audit_signing_key", base64.urlsafe_b64encode(secrets.token_bytes(32)).decode()
        )
    if not env.database_url:
        env.var_dir.mkdir(parents=True, exist_ok=True)
        env.database_url = f"sqlite:///{env.var_dir / 'pilothouse.sqlite3'}"
    if not env.redis_url:
        env.redis_url = f"unix://{socket_path(env.var_dir)}"
    if env.allow_loopback_clusters is None:
        env.allow_loopback_clusters = env.sqlite
    if not env.chat_domain:
        env.chat_domain = f"chat.{urlsplit(env.public_url).hostname}"
    return env
