"""The images of XISF files, as PixInsight writes them: an XML header, then blocks of pixels.

Extensible Image Serialization Format 1.0, monolithic files. Plain pixels are mapped, compressed ones decoded
as a whole.
"""

from __future__ import annotations

import base64
import math
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import imagecodecs
import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.array_source import ArraySource
from glassplate.pipeline.sources.segments import SEGMENT_LIMIT_BYTES
from glassplate.pipeline.sources.source import Format, ImageInfo, Source, SourceSpec

_SIGNATURE = b"XISF0100"
# Signature, length of the XML header, and four reserved bytes.
_PREAMBLE = struct.Struct("<8sI4x")
_TYPES = {
    "UInt8": "u1",
    "UInt16": "u2",
    "UInt32": "u4",
    "UInt64": "u8",
    "Float32": "f4",
    "Float64": "f8",
}
_IMAGE = "{*}Image"
# Cards of the encoding, which describe the FITS file that the image once was in.
_ENCODING = (
    "SIMPLE",
    "BITPIX",
    "NAXIS",
    "EXTEND",
    "XTENSION",
    "PCOUNT",
    "GCOUNT",
    "BZERO",
    "BSCALE",
    "END",
)
_MOST_CHARACTERS = 68
"""Of a value that fits one card."""


@dataclass(frozen=True)
class _Layout:
    """How the pixels of an image are stored."""

    shape: tuple[int, ...]
    """``(y, x)`` or ``(c, y, x)``, as the pixels are read."""
    dtype: np.dtype[Any]
    """With its byte order."""
    planar: bool
    """Whether the planes are stored one after another, and not the channels of each pixel."""

    @property
    def nbytes(self) -> int:
        """Bytes of the plain pixels."""
        return math.prod(self.shape) * self.dtype.itemsize

    def arranged(self, pixels: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Give the stored pixels their axes."""
        if len(self.shape) == 2 or self.planar:
            return pixels.reshape(self.shape)
        return np.moveaxis(pixels.reshape(*self.shape[1:], self.shape[0]), 2, 0)


class XisfReader:
    """XISF files. An image is named by its ``id`` or by its number."""

    name = "xisf"
    like: Format = "fits"

    def reads(self, start: bytes) -> bool:
        """Whether it begins with the signature of monolithic files."""
        return start.startswith(_SIGNATURE)

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        """List every image."""
        return [_info(index, image) for index, image in enumerate(_elements(path))], []

    def open(self, spec: SourceSpec, path: Path) -> Source:
        """Open an image; its FITS keywords come along."""
        if spec.page is not None:
            raise UsageError(f"{spec.path}: --page is for TIFF, this is XISF; use --hdu")
        images = list(_elements(path))
        infos = [_info(index, image) for index, image in enumerate(images)]
        info = _find(spec, infos)
        image = images[info.index]
        pixels = _pixels(path, image, _layout(image))
        metadata = _metadata(image, info)
        profile = image.find("{*}ICCProfile")
        if profile is not None:
            icc = _block(path, profile, int(profile.get("compression", ":0").split(":")[1]))
            metadata["xisf"]["icc"] = base64.b64encode(icc).decode()
        return ArraySource(spec, info, pixels, like="fits", metadata=metadata)


READER = XisfReader()


def _elements(path: Path) -> Iterator[ElementTree.Element]:
    """The elements of the XML header that describe images."""
    with path.open("rb") as file:
        _, length = _PREAMBLE.unpack(file.read(_PREAMBLE.size))
        if length > path.stat().st_size:
            raise SourceError(
                f"{path}: its header of {length} bytes goes beyond the end of the file"
            )
        text = file.read(length)
    yield from ElementTree.fromstring(text.rstrip(b"\0")).iterfind(_IMAGE)


def _info(index: int, image: ElementTree.Element) -> ImageInfo:
    try:
        layout = _layout(image)
    except (ValueError, KeyError, TypeError) as error:
        return ImageInfo(
            index, image.get("id", ""), (), "", None, False, f"damaged header: {error}"
        )
    reason = None
    if 0 in layout.shape:
        reason = f"zero size {layout.shape}"
    elif image.get("colorSpace") == "CIELab":
        reason = "colours of CIE Lab; convert it to RGB first"
    elif "compression" in image.attrib and layout.nbytes > SEGMENT_LIMIT_BYTES:
        reason = f"decodes to {layout.nbytes} bytes, at most {SEGMENT_LIMIT_BYTES} are read; save it plain"
    name = layout.dtype.newbyteorder("=").name
    return ImageInfo(index, image.get("id", ""), layout.shape, name, None, reason is None, reason)


def _layout(image: ElementTree.Element) -> _Layout:
    sizes = [int(size) for size in image.attrib["geometry"].split(":")]
    if len(sizes) != 3 or min(sizes) < 0:
        raise ValueError(f"geometry is {image.attrib['geometry']}, must be width:height:channels")
    width, height, channels = sizes
    kind = image.attrib["sampleFormat"]
    if kind not in _TYPES:
        raise ValueError(f"sampleFormat is {kind}, must be one of {', '.join(_TYPES)}")
    order = ">" if image.get("byteOrder") == "big" else "<"
    shape = (height, width) if channels == 1 else (channels, height, width)
    return _Layout(shape, np.dtype(order + _TYPES[kind]), image.get("pixelStorage") != "Normal")


def _find(spec: SourceSpec, infos: list[ImageInfo]) -> ImageInfo:
    if spec.hdu is None:
        for info in infos:
            if info.restorable:
                return info
        why = "; ".join(f"image {info.index}: {info.reason}" for info in infos) or "it has none"
        raise SourceError(f"{spec.path}: no image to restore: {why}")
    for info in infos:
        if str(spec.hdu) in (str(info.index), info.name):
            if not info.restorable:
                raise SourceError(f"{spec.path}: image {info.index}: {info.reason}")
            return info
    raise SourceError(f"{spec.path}: no image {spec.hdu}; there are 0 to {len(infos) - 1}")


def _pixels(path: Path, image: ElementTree.Element, layout: _Layout) -> npt.NDArray[Any]:
    """The pixels of an image: a memory map of plain ones that lie in the file, else an array."""
    where, *place = image.attrib["location"].split(":")
    if where == "attachment":
        start, length = (int(number) for number in place)
        if start + length > path.stat().st_size:
            raise SourceError(f"{path}: is cut: its pixels end at byte {start + length}")
        if "compression" not in image.attrib:
            if length != layout.nbytes:
                raise SourceError(f"{path}: {length} bytes of pixels, {layout.nbytes} are needed")
            stored = np.memmap(path, layout.dtype, "r", start, (math.prod(layout.shape),))
            return layout.arranged(stored)
    raw = _block(path, image, layout.nbytes)
    if len(raw) != layout.nbytes:
        raise SourceError(f"{path}: {len(raw)} bytes of pixels, {layout.nbytes} are needed")
    return layout.arranged(np.frombuffer(raw, layout.dtype))


def _block(path: Path, element: ElementTree.Element, nbytes: int) -> bytes:
    """The plain bytes of a block of data, of which there are `nbytes` if they are compressed."""
    where, *place = element.attrib["location"].split(":")
    if where == "attachment":
        with path.open("rb") as file:
            file.seek(int(place[0]))
            raw = file.read(int(place[1]))
    else:
        raw = _decoded_text(path, element, where, place)
    if "compression" in element.attrib:
        raw = _decompressed(raw, element.attrib["compression"], element.get("subblocks"), nbytes)
    return raw


def _decoded_text(path: Path, element: ElementTree.Element, where: str, place: list[str]) -> bytes:
    """The bytes of a block that stands in the header as text."""
    data = element if where == "inline" else element.find("{*}Data")
    encoding = place[0] if where == "inline" else (data is not None and data.get("encoding"))
    decode = {"base64": base64.b64decode, "hex": bytes.fromhex}.get(str(encoding))
    if where not in ("inline", "embedded") or data is None or decode is None:
        raise SourceError(
            f"{path}: its data are at {element.attrib['location']}, which is not read"
        )
    return decode("".join((data.text or "").split()))


def _decompressed(raw: bytes, told: str, subblocks: str | None, nbytes: int) -> bytes:
    """The plain bytes of a compressed block, which may be cut into several."""
    method, size, *item = told.split(":")
    codec, _, shuffled = method.partition("+")
    if int(size) != nbytes:
        raise ValueError(f"compression is {told}, {nbytes} bytes are needed")
    parts = [(len(raw), int(size))]
    if subblocks:
        parts = [tuple(map(int, part.split(","))) for part in subblocks.split(":")]  # type: ignore[misc]
    if sum(plain for _, plain in parts) != nbytes:
        raise ValueError(f"subblocks is {subblocks}, {nbytes} bytes are needed")
    at, plain = 0, b""
    for length, decoded in parts:
        plain += _decode(codec, raw[at : at + length], decoded)
        at += length
    return _unshuffled(plain, int(item[0])) if shuffled else plain


def _decode(codec: str, raw: bytes, size: int) -> bytes:
    if codec == "zlib":
        return bytes(imagecodecs.zlib_decode(raw, out=size))
    if codec in ("lz4", "lz4hc"):
        return bytes(imagecodecs.lz4_decode(raw, header=False, out=size))
    if codec == "zstd":
        return bytes(imagecodecs.zstd_decode(raw, out=size))
    raise ValueError(f"compression by {codec} is not known")


def _unshuffled(raw: bytes, item: int) -> bytes:
    """Undo the shuffling: first bytes of all numbers, then second ones, and a rest that is left as it is."""
    count = len(raw) // item
    planes = np.frombuffer(raw, np.uint8, count * item).reshape(item, count)
    return planes.T.tobytes() + raw[count * item :]


def _metadata(image: ElementTree.Element, info: ImageInfo) -> dict[str, Any]:
    """A FITS header of the keywords that come with the image."""
    from astropy.io import fits

    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(info.shape))])
    for axis, length in enumerate(reversed(info.shape), 1):
        header[f"NAXIS{axis}"] = length
    with collected_warnings("FITS keywords") as complaints:
        for keyword in image.iterfind("{*}FITSKeyword"):
            name = keyword.get("name", "").strip().upper()
            if name.rstrip("0123456789") not in _ENCODING:
                _add(header, name, keyword.get("value", "").strip(), keyword.get("comment", ""))
        text = header.tostring("\n", endcard=False, padding=False)
    cards = [[card.keyword, _plain(card.value), card.comment] for card in header.cards]
    found = {"header": text, "cards": cards, "hdu": 0, "name": "", "warnings": complaints}
    properties = {
        str(one.get("id")): one.get("value", one.text) for one in image.iterfind("{*}Property")
    }
    return {"fits": found, "xisf": {"id": info.name, "properties": properties}}


def _add(header: Any, name: str, value: str, comment: str) -> None:
    """Add a keyword whose value is written as in FITS; one that is not allowed there is left out."""
    from astropy.io import fits

    try:
        if name in ("HISTORY", "COMMENT", ""):
            header.add_history(comment) if name == "HISTORY" else header.add_comment(comment)
            return
        if value.startswith("'") and len(value) > _MOST_CHARACTERS:
            card = fits.Card(name, value.strip("'").rstrip(), comment)
        else:
            card = fits.Card.fromstring(f"{name:<8}= {value:>20} / {comment}"[:80])
        _ = str(card), card.value, card.comment
        header.append(card)
    # astropy raises VerifyError and ValueError on values that FITS does not allow
    except (ValueError, fits.VerifyError):
        return


def _plain(value: Any) -> Any:
    return value if value is None or isinstance(value, bool | int | float | str) else str(value)
