"""How Python's garbage collector goes about a web process."""

from __future__ import annotations

import gc

# New objects before the youngest are looked through: a page makes some ten thousand, nearly all of which
# are gone by counting references when its answer is.
OF_SOME_PAGES = 50_000


def settle() -> None:
    """To be called once everything is loaded. What is there then stays for the process's life, so the
    collector need not go through it with each page: a tenth of a page's time, and most of its worst."""
    gc.collect()
    gc.freeze()
    gc.set_threshold(OF_SOME_PAGES, 20, 20)
