"""Pages: live."""

from __future__ import annotations

urlpatterns: list = []
