"""Pages: health."""

from __future__ import annotations

urlpatterns: list = []
