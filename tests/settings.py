"""Settings for tests: those of a fresh checkout, with all state in a directory of their own."""

from __future__ import annotations

import os
import tempfile

_directory = tempfile.TemporaryDirectory(prefix="pilothouse-test-")
os.environ["VAR_DIR"] = _directory.name
os.environ["REDIS_URL"] = "redis://127.0.0.1:1/0"  # nothing listens: a test that needs one starts it
os.environ["DATABASE_URL"] = os.environ.get("TEST_DATABASE_URL", "")
os.environ["ALLOW_LOOPBACK_CLUSTERS"] = "true"  # the practice cluster lives there
os.environ.setdefault("SECRET_KEY", "only for tests, and of a sensible length")
os.environ.setdefault("ENCRYPTION_KEYS", "MDEyMzQ1Njc4OTAxMjM0NTY3ODkwMTIzNDU2Nzg5MDE=")
os.environ.setdefault("AUDIT_SIGNING_KEY", "c2lnbnMgbm90aGluZyBidXQgd2hhdCB0ZXN0cyBkbyE=")

from dashboard.settings import *  # noqa: E402, F403

os.makedirs(STATIC_ROOT)  # noqa: F405
PASSWORD_HASHERS = ["django.contrib.auth.hashers.MD5PasswordHasher"]  # fast, and nothing is kept
STORAGES = {
    "default": {"BACKEND": "django.core.files.storage.FileSystemStorage"},
    "staticfiles": {"BACKEND": "django.contrib.staticfiles.storage.StaticFilesStorage"},
}
DATABASES["default"]["TEST"] = (  # noqa: F405
    {"NAME": os.path.join(_directory.name, "test.sqlite3")}
    if DATABASES["default"]["ENGINE"].endswith("sqlite3")  # noqa: F405
    else {}
)
