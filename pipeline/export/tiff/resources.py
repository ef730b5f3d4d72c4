"""Photoshop's image resources: what is about pixels follows them, and thumbnails are left out."""

from __future__ import annotations

import struct
from collections.abc import Iterator

_SIGNATURE = b"8BIM"
_RESOLUTION = 1005
_THUMBNAILS = (1033, 1036)
# Guides, slices, and the counts and paths that go with them: places in pixels.
_PLACES = (1032, 1050, 1080)


def adapted_resources(raw: bytes, factor: float) -> bytes:
    """Resources for pixels that are `factor` times finer; bytes that cannot be parsed are dropped."""
    kept = []
    for number, head, data in _resources(raw):
        if number in _THUMBNAILS or (number in _PLACES and factor != 1):
            continue
        if number == _RESOLUTION and len(data) == 16 and factor != 1:
            data = _scaled(data, factor)
        kept.append(head + struct.pack(">I", len(data)) + data + b"\0" * (len(data) % 2))
    return b"".join(kept)


def _resources(raw: bytes) -> Iterator[tuple[int, bytes, bytes]]:
    """Number, bytes before the length, and content of each resource."""
    at = 0
    while raw[at : at + 4] == _SIGNATURE and at + 7 <= len(raw):
        (number,) = struct.unpack_from(">H", raw, at + 4)
        named = 1 + raw[at + 6]
        start = at + 6 + named + named % 2
        if start + 4 > len(raw):
            return
        (size,) = struct.unpack_from(">I", raw, start)
        data = raw[start + 4 : start + 4 + size]
        if len(data) < size:
            return
        yield number, raw[at:start], data
        at = start + 4 + size + size % 2


def _scaled(data: bytes, factor: float) -> bytes:
    """ResolutionInfo: pixels per inch along x and y as numbers of 16 bits before and after the point."""
    x, x_units, y, y_units = struct.unpack(">I4sI4s", data)
    x, y = (min(2**32 - 1, round(n * factor)) for n in (x, y))
    return struct.pack(">I4sI4s", x, x_units, y, y_units)
