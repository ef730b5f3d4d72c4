"""TIFF files damaged in every way that a disk, a transfer or a program can.

Whatever reads them must end restored, or in one line that says what is wrong. Each file is whole first; then
it is cut, or some of its bytes or fields of its tags are replaced. The seed alone decides how.
"""

from __future__ import annotations

import functools
import io
import struct
from collections.abc import Callable

import numpy as np
import tifffile

HEIGHT, WIDTH = 40, 56

# Numbers that break assumptions: nothing, signs, the ends of 16, 31, 32 and 64 bits.
NASTY = (0, 1, 2, 3, 7, 255, 4096, 65535, 65536, 2**31 - 1, 2**31, 2**32 - 1, 2**63, 2**64 - 1)
# Types from BYTE to IFD8, and beyond them.
TYPES = (0, 1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 16, 17, 18, 99, 65535)

LAYOUTS = {
    "plain": {"rowsperstrip": 9},
    "contiguous": {},
    "lzw": {"compression": "lzw", "rowsperstrip": 9},
    "deflate": {"compression": "zlib", "predictor": True, "rowsperstrip": 9},
    "tiles": {"compression": "zlib", "tile": (16, 16)},
    "raw tiles": {"tile": (16, 16)},
    "jpeg": {"compression": "jpeg", "rowsperstrip": 16},
    "jpeg tiles": {"compression": "jpeg", "tile": (16, 16)},
    "big": {"bigtiff": True, "compression": "zlib", "rowsperstrip": 9},
    "motorola": {"byteorder": ">", "compression": "zlib", "rowsperstrip": 9},
    "planar": {"planarconfig": "separate", "compression": "zlib", "rowsperstrip": 9},
    "floats": {"compression": "zlib", "predictor": 3, "rowsperstrip": 9},
    "grey": {"compression": "zlib", "predictor": True, "rowsperstrip": 9},
    "grey tiles": {"tile": (16, 16)},
    "alpha": {"compression": "lzw", "rowsperstrip": 9},
}


def damaged(seed: int) -> tuple[str, str, bytes]:
    """Name of a file, what was done to it, and its content; the seed alone decides all three."""
    rng = np.random.default_rng(seed)
    layout = list(LAYOUTS)[seed % len(LAYOUTS)]
    damage = DAMAGES[int(rng.integers(len(DAMAGES)))]
    data = bytearray(_whole(layout))
    damage(data, rng)
    what = f"{layout}: {damage.__name__.strip('_').replace('_', ' ')}"
    return f"{seed:04d}.tif", what, bytes(data)


@functools.cache
def _whole(layout: str) -> bytes:
    """A file of two pages with all that a page may carry."""
    settings = dict(LAYOUTS[layout])
    pages = {key: settings.pop(key) for key in ("bigtiff", "byteorder") if key in settings}
    y, x = np.mgrid[:HEIGHT, :WIDTH]
    noise = np.random.default_rng(0).normal(0, 6, (HEIGHT, WIDTH, 3))
    colours = np.stack([60 + y, 90 + x, 150 - y + x], axis=2) + noise
    data = colours.astype("f4" if layout == "floats" else "u1")
    if layout.startswith("grey"):
        data = data[..., 0]
    if layout == "alpha":
        data = np.dstack([data, data[..., 0]])
    if settings.get("planarconfig") == "separate":
        data = np.moveaxis(data, 2, 0)
    tags = [
        (271, "s", 0, "Maker", True),
        (274, "H", 1, 6, True),
        (306, "s", 0, "2001:02:03 04:05:06", True),
        (700, "B", 34, b'<x tiff:ImageWidth="56"></x>      ', True),
        (33550, "d", 3, (10.0, 10.0, 0.0), True),
        (33922, "d", 6, (0.0, 0.0, 0.0, 5e5, 6e6, 0.0), True),
        (34735, "H", 8, (1, 1, 0, 1, 1025, 0, 1, 2), True),
        (42113, "s", 0, "-9999", True),
    ]
    file = io.BytesIO()
    with tifffile.TiffWriter(file, **pages) as tiff:
        for _ in range(2):
            tiff.write(
                data,
                photometric="rgb" if data.ndim == 3 else "minisblack",
                metadata=None,
                description="a picture",
                iccprofile=bytes(range(256)),
                resolution=(300, 300),
                resolutionunit=2,
                extratags=tags,
                **settings,
            )
    return file.getvalue()


def _truncated(data: bytearray, rng: np.random.Generator) -> None:
    del data[int(rng.integers(1, len(data))) :]


def _flipped(data: bytearray, rng: np.random.Generator) -> None:
    for at in rng.integers(0, len(data), int(rng.integers(1, 30))):
        data[at] = int(rng.integers(256))


def _flipped_in_a_directory(data: bytearray, rng: np.random.Generator) -> None:
    start, entries, size, _ = _directory(data, int(rng.integers(2)))
    for at in rng.integers(start, start + entries * size + 8, int(rng.integers(1, 6))):
        data[at] = int(rng.integers(256))


def _dropped(data: bytearray, rng: np.random.Generator) -> None:
    at = int(rng.integers(8, len(data) - 1))
    del data[at : at + int(rng.integers(1, 200))]


def _zeroed(data: bytearray, rng: np.random.Generator) -> None:
    at, count = int(rng.integers(0, len(data))), int(rng.integers(1, 600))
    data[at : at + count] = bytes(len(data[at : at + count]))


def _looped(data: bytearray, rng: np.random.Generator) -> None:
    """The second page is followed by the first, by itself, or by something beyond the file."""
    start, entries, size, order = _directory(data, 1)
    wide = "Q" if size == 20 else "I"
    first, second = (_directory(data, page)[0] - (8 if wide == "Q" else 2) for page in (0, 1))
    target = (first, second, len(data) - 3, len(data) + 9999)[int(rng.integers(4))]
    struct.pack_into(f"{order}{wide}", data, start + entries * size, target)


def _replaced_type(data: bytearray, rng: np.random.Generator) -> None:
    at, order, _ = _entry(data, rng)
    struct.pack_into(f"{order}H", data, at + 2, int(rng.choice(TYPES)))


def _replaced_count(data: bytearray, rng: np.random.Generator) -> None:
    at, order, wide = _entry(data, rng)
    struct.pack_into(f"{order}{wide}", data, at + 4, _nasty(rng, wide))


def _replaced_value(data: bytearray, rng: np.random.Generator) -> None:
    at, order, wide = _entry(data, rng)
    struct.pack_into(f"{order}{wide}", data, at + 4 + struct.calcsize(wide), _nasty(rng, wide))


def _replaced_short(data: bytearray, rng: np.random.Generator) -> None:
    """The first 16 bits of a value: where most enumerations stand in either byte order."""
    at, order, wide = _entry(data, rng)
    struct.pack_into(f"{order}H", data, at + 4 + struct.calcsize(wide), int(rng.integers(10)))


def _renamed_tag(data: bytearray, rng: np.random.Generator) -> None:
    """Another tag in the place of one: that one is missing, another there twice or of a wrong type."""
    at, order, _ = _entry(data, rng)
    others = (254, 256, 258, 273, 277, 282, 296, 320, 330, 338, 339, 347, 34665, 34675, 34853)
    struct.pack_into(f"{order}H", data, at, int(rng.choice(others)))


def _nasty(rng: np.random.Generator, wide: str) -> int:
    return NASTY[int(rng.integers(len(NASTY)))] & (2 ** (8 * struct.calcsize(wide)) - 1)


def _directory(data: bytearray, page: int) -> tuple[int, int, int, str]:
    """First entry of a page, number of entries, bytes of each, byte order."""
    order = "<" if data[:2] == b"II" else ">"
    big = 43 in data[2:4]
    head, size, wide = ("Q", 20, "Q") if big else ("H", 12, "I")
    (at,) = struct.unpack_from(f"{order}{wide}", data, 8 if big else 4)
    for _ in range(page + 1):
        (entries,) = struct.unpack_from(f"{order}{head}", data, at)
        start = at + struct.calcsize(head)
        (at,) = struct.unpack_from(f"{order}{wide}", data, start + entries * size)
    return start, entries, size, order


def _entry(data: bytearray, rng: np.random.Generator) -> tuple[int, str, str]:
    """A random entry of the first page: its byte, the byte order and the format of counts."""
    start, entries, size, order = _directory(data, 0)
    return start + int(rng.integers(entries)) * size, order, "Q" if size == 20 else "I"


DAMAGES: tuple[Callable[[bytearray, np.random.Generator], None], ...] = (
    _truncated,
    _flipped,
    _flipped_in_a_directory,
    _dropped,
    _zeroed,
    _looped,
    _replaced_type,
    _replaced_count,
    _replaced_value,
    _replaced_short,
    _renamed_tag,
)
