"""The header and metadata of a PNG: size and type, profile, resolution, EXIF, XMP and IPTC.

Pillow is not used for this. It refuses a file with a damaged chunk of metadata, reads the chunks behind the
pixels only by decoding all pixels, and does not tell the depth of 16-bit colours.
"""

from __future__ import annotations

import base64
import io
import struct
import zlib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

import imagecodecs
import numpy.typing as npt

from glassplate.pipeline.sources.raster.header import UNASSOCIATED, RasterHeader, interpretation
from glassplate.pipeline.sources.raster.jpeg import iptc_of
from glassplate.pipeline.sources.tiff.tags import described

CHANNELS = {0: 1, 2: 3, 3: 1, 4: 2, 6: 4}
PALETTE = 3

_SIGNATURE_BYTES = 8
# Where the header states the kind of the colours.
_KIND_AT = 25
# Largest metadata that is read. Profiles and EXIF take some ten thousand bytes, compressed or not.
_MOST_BYTES = 16 << 20

# Largest text that is kept.
_MOST_TEXT = 1 << 16
_DESCRIPTION, _DATE_TIME = 270, 306
# Tags of TIFF for the keywords of textual chunks that PNG defines.
_TEXT_TAGS = {
    "title": 269,
    "description": _DESCRIPTION,
    "software": 305,
    "author": 315,
    "copyright": 33432,
}

# Keyword under which ImageMagick and exiftool store EXIF, IPTC and XMP as text.
_RAW_PROFILE = b"Raw profile type "
_XMP_KEYWORD = b"XML:com.adobe.xmp"


@dataclass
class PngHeader:
    """The header and metadata of a PNG."""

    width: int
    height: int
    channels: int
    """Channels that the codec decodes, alpha included."""
    bits: int
    palette: bool
    alpha: bool
    grey_palette: bool = False
    """Whether all colours of the palette are grey; then only one of the three is read."""
    found: dict[str, Any] = field(default_factory=dict)
    """``icc``, ``resolution`` and ``resolution_unit`` as `RasterHeader.metadata` has them."""
    exif: bytes | None = None
    xmp: bytes | None = None
    iptc: bytes | None = None
    texts: dict[str, str] = field(default_factory=dict)
    """Textual chunks by their keywords."""
    chromaticities: list[list[Any]] = field(default_factory=list)
    """Those of white and of the primary colours as tags, in the form of `read_tags`."""
    changed: str | None = None
    """Time of the last change, as TIFF writes it."""
    frames: int = 1
    """Frames of an animation; the codec decodes the first picture."""


def decode(raw: bytes) -> npt.NDArray[Any]:
    """Decode a file; palettes become colours, and less than 8 bits a sample become 8.

    Raises
    ------
    RuntimeError
        If it is damaged.
    """
    pixels: npt.NDArray[Any] = imagecodecs.png_decode(raw)
    if raw[_KIND_AT] != PALETTE or not read_png_header(io.BytesIO(raw)).grey_palette:
        return pixels
    return pixels[:, :, 0] if pixels.shape[2] == 3 else pixels[:, :, 2:]


def header_of(path: Path) -> RasterHeader:
    """Read the header and the metadata of a file.

    Raises
    ------
    ValueError, struct.error, zlib.error
        If the header is damaged.
    """
    with path.open("rb") as file:
        png = read_png_header(file)
    metadata = {
        **described(png.exif, png.xmp, png.iptc, texts=_texts(png)),
        **png.found,
        **interpretation(png.channels, alpha=UNASSOCIATED if png.alpha else None),
    }
    if "icc" not in metadata:
        metadata["tags"] = [*metadata["tags"], *png.chromaticities]
    bits = 8 if png.palette else max(8, png.bits)
    return RasterHeader(png.width, png.height, png.channels, bits, metadata, note=_said(png))


def _said(png: PngHeader) -> str | None:
    """What is done to the stored pixels, or not read."""
    notes = []
    if png.palette:
        colours = "greys" if png.grey_palette else "colours"
        notes.append(f"a palette is read as its {colours} of 8 bits")
    elif png.bits < 8:
        notes.append(f"grey of {png.bits} bit{'s' * (png.bits > 1)} is read as grey of 8 bits")
    if png.frames > 1:
        notes.append(f"an animation of {png.frames} frames, of which the first is read")
    return "; ".join(notes) or None


def read_png_header(file: IO[bytes]) -> PngHeader:
    """Read all chunks but those of the pixels.

    Raises
    ------
    ValueError, struct.error, zlib.error
        If the first chunk is damaged.
    """
    file.seek(_SIGNATURE_BYTES)
    start = file.read(8 + 13)
    size, name, width, height, bits, kind = struct.unpack_from(">I4sIIBB", start)
    if name != b"IHDR" or kind not in CHANNELS:
        raise ValueError("no valid IHDR chunk")
    channels = 3 if kind == PALETTE else CHANNELS[kind]
    header = PngHeader(width, height, channels, bits, kind == PALETTE, kind in (4, 6))
    file.seek(_SIGNATURE_BYTES + 12 + size)
    for name, data in _chunks(file):
        if name == b"tRNS" and kind in (0, 2, PALETTE):
            # the codec decodes it to an alpha channel
            header.channels, header.alpha = header.channels + 1, True
        elif name == b"PLTE" and kind == PALETTE:
            header.grey_palette = data[::3] == data[1::3] == data[2::3]
            header.channels -= 2 * header.grey_palette
        else:
            _note(header, name, data)
    return header


def _chunks(file: IO[bytes]) -> Iterator[tuple[bytes, bytes]]:
    """Name and content of each undamaged chunk but those of the pixels."""
    while len(start := file.read(8)) == 8:
        size, name = struct.unpack(">I4s", start)
        if name == b"IEND":
            return
        if name == b"IDAT" or size > _MOST_BYTES:
            file.seek(size + 4, 1)
            continue
        data, crc = file.read(size), file.read(4)
        if crc == struct.pack(">I", zlib.crc32(name + data)):
            yield name, data


def _note(header: PngHeader, name: bytes, data: bytes) -> None:
    """Keep the metadata of a chunk; one that cannot be parsed is ignored."""
    if name == b"iCCP":
        profile = _decompressed(data.partition(b"\0")[2][1:])
        if profile:
            header.found["icc"] = base64.b64encode(profile).decode()
    elif name == b"pHYs" and data[8:9] == b"\1":
        x, y = struct.unpack(">II", data[:8])
        if x and y:
            # pixels per centimetre, as exact ratios
            header.found["resolution"] = [[x, 100], [y, 100]]
            header.found["resolution_unit"] = 3
    elif name == b"cHRM" and len(data) == 32:
        # as exact ratios
        ratios = [n for x in struct.unpack(">8I", data) for n in (x, 100000)]
        white, primaries = ratios[:4], ratios[4:]
        header.chromaticities = [
            [318, "WhitePoint", 5, 2, white],
            [319, "PrimaryChromaticities", 5, 6, primaries],
        ]
    elif name == b"eXIf":
        header.exif = data
    elif name == b"acTL" and len(data) == 8:
        (header.frames,) = struct.unpack_from(">I", data)
    elif name == b"iTXt" and data.startswith(_XMP_KEYWORD + b"\0"):
        header.xmp = _international(data)
    elif name in (b"tEXt", b"zTXt") and data.startswith(_RAW_PROFILE):
        _note_raw_profile(header, name, data)
    elif name in (b"tEXt", b"zTXt", b"iTXt"):
        _note_text(header, name, data)
    elif name == b"tIME" and len(data) == 7:
        header.changed = "{:04}:{:02}:{:02} {:02}:{:02}:{:02}".format(
            *struct.unpack(">HBBBBB", data)
        )


def _note_text(header: PngHeader, name: bytes, data: bytes) -> None:
    """Keep a textual chunk; of several with the same keyword the first."""
    keyword, _, text = data.partition(b"\0")
    if name == b"iTXt":
        content = _international(data)
    else:
        content = _decompressed(text[1:]) if name == b"zTXt" else text
    if content and len(content) <= _MOST_TEXT:
        encoding = "utf-8" if name == b"iTXt" else "latin-1"
        header.texts.setdefault(keyword.decode("latin-1"), content.decode(encoding, "replace"))


def _texts(png: PngHeader) -> dict[int, str]:
    """Textual chunks and the time of change by the tags of TIFF; those without one describe the image."""
    found: dict[int, str] = {}
    others = []
    for keyword, text in png.texts.items():
        code = _TEXT_TAGS.get(keyword.lower())
        if code is not None:
            found.setdefault(code, text)
        else:
            others.append(f"{keyword}: {text}")
    if others:
        first = [found[_DESCRIPTION]] if _DESCRIPTION in found else []
        found[_DESCRIPTION] = "\n".join(first + others)
    if png.changed:
        found.setdefault(_DATE_TIME, png.changed)
    return found


def _international(data: bytes) -> bytes | None:
    """Text of an iTXt chunk, which follows the keyword, compression, language and translated keyword."""
    rest = data.partition(b"\0")[2]
    text = rest[2:].partition(b"\0")[2].partition(b"\0")[2]
    return _decompressed(text) if rest[:1] == b"\1" else text


def _note_raw_profile(header: PngHeader, name: bytes, data: bytes) -> None:
    keyword, _, text = data.partition(b"\0")
    if name == b"zTXt":
        text = _decompressed(text[1:]) or b""
    # a line with the name, a line with the length, then hexadecimal digits
    try:
        profile = bytes.fromhex(b"".join(text.split()[2:]).decode("ascii"))
    except ValueError:
        return
    kind = keyword[len(_RAW_PROFILE) :].lower()
    if kind in (b"exif", b"app1") and profile.startswith(b"Exif\0\0"):
        header.exif = header.exif or profile[6:]
    elif kind == b"xmp":
        header.xmp = header.xmp or profile
    elif kind == b"iptc":
        header.iptc = header.iptc or iptc_of(profile)


def _decompressed(compressed: bytes) -> bytes | None:
    """Decompressed bytes; None where they are damaged or more than `_MOST_BYTES`."""
    unpacker = zlib.decompressobj()
    try:
        whole = unpacker.decompress(compressed, _MOST_BYTES)
    except zlib.error:
        return None
    return whole if unpacker.eof else None
