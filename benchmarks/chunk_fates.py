"""What becomes of the chunks of a PNG and the segments of a JPEG in a TIFF export."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

# Chunks and segments of the pixels themselves.
_PIXELS = {b"IHDR", b"IDAT", b"IEND", b"PLTE", b"tRNS"}
_STORAGE = "says how the pixels are stored in the input; written anew"

# Where the content of a chunk arrives: the tags of which one must be there.
_ARRIVES = {
    b"iCCP": (34675,),
    b"pHYs": (282,),
    b"eXIf": (271, 272, 274, 306, 34665),
    b"iTXt": (269, 270, 305, 315, 700, 33432),
    b"tEXt": (269, 270, 305, 315, 700, 33432, 34665),
    b"zTXt": (269, 270, 305, 315, 700, 33432, 34665),
    b"tIME": (306,),
    b"cHRM": (318, 34675),
    "JFIF": (282,),
    "Exif": (271, 272, 274, 306, 34665),
    "http://ns.adobe.com/xap/1.0/": (700,),
    "ICC_PROFILE": (34675,),
    "Photoshop 3.0": (33723, 34377),
    "comment": (270,),
}
# Why others do not arrive.
_DROPPED = {
    b"sRGB": "a TIFF without a profile is taken for sRGB",
    b"gAMA": "TIFF states a curve only as a table; readers of TIFF do not apply it",
    b"bKGD": "the colour of a page behind the image, of which TIFF knows nothing",
    b"sBIT": "significant bits of the input's pixels; restored ones have all of them",
    b"hIST": "how often colours of the palette occur in the input",
    b"sPLT": "a palette for displays",
    "Adobe": "says how the pixels are stored in the input; written anew",
    "MPF": "further images behind the first",
    "http://ns.adobe.com/xmp/extension/": "XMP in several parts: previews and depth maps",
}
_UNDEFINED_UNIT = "has no unit: an aspect of 1, of which TIFF needs no tag"


def fates_of_chunks(path: Path, page: Any) -> Iterator[tuple[str, str, str]]:
    """Name, fate and reason of each chunk or segment.

    Parameters
    ----------
    path
        A PNG or JPEG file.
    page
        The page of its export, as tifffile has it.
    """
    found = _png(path) if path.suffix.lower() == ".png" else _jpeg(path)
    for key, name, content in found:
        if key is None or key in _PIXELS:
            yield name, "dropped", _STORAGE
        elif key in ("JFIF", b"pHYs") and 282 not in page.tags and _without_unit(key, content):
            yield name, "dropped", _UNDEFINED_UNIT
        elif key in _ARRIVES:
            there = any(code in page.tags for code in _ARRIVES[key])
            yield name, "adapted" if there else "LOST", "as tags of TIFF" if there else ""
        else:
            why = _DROPPED.get(key, "")
            yield name, "dropped" if why else "LOST", why


def _without_unit(key: Any, content: bytes) -> bool:
    return content[8:9] == b"\0" if key == b"pHYs" else content[7:8] == b"\0"


def _png(path: Path) -> Iterator[tuple[Any, str, bytes]]:
    raw, at = path.read_bytes(), 8
    while at + 8 <= len(raw):
        size, kind = struct.unpack_from(">I4s", raw, at)
        yield kind, kind.decode("latin-1"), raw[at + 8 : at + 8 + size]
        at += 12 + size


def _jpeg(path: Path) -> Iterator[tuple[Any, str, bytes]]:
    raw, at = path.read_bytes(), 2
    while at + 4 <= len(raw) and raw[at] == 0xFF and raw[at + 1] != 0xDA:
        marker, (size,) = raw[at + 1], struct.unpack_from(">H", raw, at + 2)
        content = raw[at + 4 : at + 2 + size]
        if marker == 0xFE:
            yield "comment", "COM", content
        elif 0xE0 <= marker <= 0xEF:
            word = content.split(b"\0")[0].decode("latin-1")
            word = "Adobe" if word.startswith("Adobe") else word
            yield word, f"APP{marker - 0xE0} {word[:30]}", content
        else:
            yield None, f"marker {marker:02X}", content
        at += 2 + size
