"""Bodies that pods send compressed, unpacked a bounded piece at a time.

Anybody who may make a pod can answer as an exporter does: a kilobyte that is packed twice becomes half a
gigabyte, and httpx unpacks what it has received in one go, in as many layers as the answer names.
"""

from __future__ import annotations

import zlib
from collections.abc import Iterator

import httpx

from deployments.domain.errors import ServerFault

ACCEPT = {"Accept-Encoding": "gzip"}
"""What has to be asked for: nothing else is unpacked."""
PIECE = 256 * 1024
_GZIP = 16 + zlib.MAX_WBITS  # zlib documentation: with the head of a gzip file


def unpacked(response: httpx.Response, tried: str) -> Iterator[bytes]:
    """The body as it arrives, in pieces of at most ``PIECE`` bytes where it was compressed. Raises
    :class:`ServerFault` for one that is compressed otherwise, or is not what it says."""
    encoding = response.headers.get("content-encoding", "").strip().lower()
    if encoding in ("", "identity"):
        yield from response.iter_raw()
    elif encoding in ("gzip", "x-gzip"):
        try:
            yield from _gzip(response.iter_raw())
        except zlib.error as error:
            raise ServerFault(
                "The answer cannot be unpacked.",
                tried=tried,
                answered=str(error),
                status=response.status_code,
            ) from error
    else:
        raise ServerFault(
            "The answer is compressed in a way that was not asked for.",
            tried=tried,
            answered=f"content-encoding: {encoding[:100]}",
            status=response.status_code,
            retryable=False,
        )


def _gzip(packed: Iterator[bytes]) -> Iterator[bytes]:
    unpacker = zlib.decompressobj(_GZIP)
    begun = False
    for rest in packed:
        begun = begun or bool(rest)
        while not unpacker.eof:
            piece = unpacker.decompress(rest, PIECE)
            if piece:
                yield piece
            rest = unpacker.unconsumed_tail
            # A full piece may have more behind it, although all that came in was taken.
            if not rest and len(piece) < PIECE:
                break
    if begun and not unpacker.eof:
        raise zlib.error("it ends before its end")
