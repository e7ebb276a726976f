"""What kinds a cluster serves: the official client's lazy discovery with a file shared by processes."""

from __future__ import annotations

import json
import os
import tempfile
from pathlib import Path
from typing import Any

from kubernetes.dynamic.discovery import CacheEncoder, LazyDiscoverer


class SharedDiscoverer(LazyDiscoverer):
    """Replaces its cache file in one step: workers and observers read it at any moment, and a
    half-written one would make each of them ask the cluster for everything again."""

    def __init__(self, client: Any, cache_file: str) -> None:
        self._path = Path(cache_file)
        super().__init__(client, cache_file)

    def _write_cache(self) -> None:
        self._path.parent.mkdir(parents=True, exist_ok=True)
        descriptor, name = tempfile.mkstemp(dir=self._path.parent, prefix=".discovery-")
        with os.fdopen(descriptor, "w", encoding="utf-8") as file:
            json.dump(self._cache, file, cls=CacheEncoder)
        os.replace(name, self._path)
