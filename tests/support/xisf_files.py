"""Writes XISF files as PixInsight does, for tests of their reader."""

import base64
import struct
import zlib
from pathlib import Path
from xml.sax.saxutils import quoteattr

import imagecodecs
import numpy as np

TYPES = {"u1": "UInt8", "u2": "UInt16", "u4": "UInt32", "f4": "Float32", "f8": "Float64"}
CODECS = {
    "zlib": zlib.compress,
    "lz4": lambda raw: bytes(imagecodecs.lz4_encode(raw, header=False)),
    "zstd": lambda raw: bytes(imagecodecs.zstd_encode(raw)),
}


def write_xisf(
    path: Path,
    pixels: np.ndarray,
    *,
    codec: str = "",
    shuffle: bool = False,
    blocks: int = 1,
    normal: bool = False,
    big: bool = False,
    inline: bool = False,
    keywords: tuple[tuple[str, str, str], ...] = (),
    profile: bytes = b"",
    **attributes: str,
) -> None:
    """Write one image, ``(y, x)`` or ``(c, y, x)``."""
    planes = pixels[None] if pixels.ndim == 2 else pixels
    stored = np.moveaxis(planes, 0, 2) if normal else planes
    raw = np.ascontiguousarray(stored, pixels.dtype.newbyteorder(">" if big else "<")).tobytes()
    channels, height, width = planes.shape
    said = {
        "id": "main",
        "geometry": f"{width}:{height}:{channels}",
        "sampleFormat": TYPES[pixels.dtype.str[1:]],
        "pixelStorage": "Normal" if normal else "Planar",
        "byteOrder": "big" if big else "little",
        "colorSpace": "RGB" if channels == 3 else "Gray",
    }
    if codec:
        size, item = len(raw), pixels.dtype.itemsize
        said["compression"] = f"{codec}+sh:{size}:{item}" if shuffle else f"{codec}:{size}"
        if shuffle:
            raw = np.frombuffer(raw, "u1").reshape(-1, item).T.tobytes()
        cuts = [raw[at : at + -(-size // blocks)] for at in range(0, size, -(-size // blocks))]
        packed = [CODECS[codec](cut) for cut in cuts]
        if blocks > 1:
            parts = zip(packed, cuts, strict=True)
            said["subblocks"] = ":".join(f"{len(short)},{len(long)}" for short, long in parts)
        raw = b"".join(packed)
    start = 4096
    said["location"] = "inline:base64" if inline else f"attachment:{start}:{len(raw)}"
    said |= attributes
    names = " ".join(f"{name}={quoteattr(value)}" for name, value in said.items())
    cards = "".join(
        f"<FITSKeyword name={quoteattr(name)} value={quoteattr(value)} comment={quoteattr(comment)}/>"
        for name, value, comment in keywords
    )
    if profile:
        cards += f'<ICCProfile location="inline:base64">{base64.b64encode(profile).decode()}</ICCProfile>'
    text = base64.b64encode(raw).decode() if inline else ""
    xml = (
        '<?xml version="1.0" encoding="UTF-8"?><xisf version="1.0" '
        f'xmlns="http://www.pixinsight.com/xisf"><Image {names}>{text}{cards}</Image></xisf>'
    ).encode()
    head = struct.pack("<8sI4x", b"XISF0100", len(xml)) + xml
    path.write_bytes(head if inline else head.ljust(start, b"\0") + raw)
