"""Descriptions that state sizes and numbers of images: those of ImageJ, OME-XML and tifffile."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Any
from xml.etree import ElementTree

import numpy as np

# Lines of ImageJ that count images along an axis, and those that are lengths in pixels.
_COUNTS = ("images", "channels", "slices", "frames", "hyperstack", "loop")
_ORIGINS = ("xorigin", "yorigin")
# OME's names of pixel types, by numpy's.
_OME_TYPES = {"float32": "float", "float64": "double"}
# GDAL's statistics of the pixels as they were.
_STATISTICS = re.compile(r"\s*<Item [^>]*name=\"STATISTICS_[^>]*>[^<]*</Item>")


@dataclass(frozen=True)
class Written:
    """What is written, as far as a description depends on it."""

    factor: float
    """How many times finer the pixels are than those of the input."""
    pages: int
    """Pages that the file has, without smaller copies."""
    size: tuple[int, int]
    """Height and width in pixels."""
    dtype: np.dtype[Any]


def adapted_description(text: str, written: Written) -> str | None:
    """A description for what is written; None where it would be wrong of it and cannot be adapted."""
    start = text.lstrip()
    if start.startswith('{"shape":'):
        return None  # tifffile's, of the shape of the file it is in
    if start.startswith("ImageJ="):
        return _of_imagej(text, written)
    if "<OME " in text[:1000] or "<OME\n" in text[:1000] or ":OME " in text[:1000]:
        return _of_ome(text, written)
    if start.startswith("Aperio") and written.factor != 1:
        return None  # it states sizes and micrometres of a pixel in a text of its own
    return text


def _of_imagej(text: str, written: Written) -> str:
    """The lines of ImageJ; they count images only if all of them are written."""
    lines = [line for line in text.splitlines() if line]
    counts = dict(line.split("=", 1) for line in lines if "=" in line)
    all_written = counts.get("images", "1").strip() == str(written.pages)
    kept = []
    for line in lines:
        name, _, value = line.partition("=")
        if name in _COUNTS and not all_written:
            continue
        if name in _ORIGINS and written.factor != 1:
            try:
                line = f"{name}={float(value) * written.factor:g}"
            except ValueError:
                continue
        kept.append(line)
    return "\n".join([*kept, ""])


def _of_ome(text: str, written: Written) -> str | None:
    """OME-XML of one image, all of whose planes are written in their order; None for any other."""
    try:
        root = ElementTree.fromstring(text.encode("utf-8"))
    except (ElementTree.ParseError, UnicodeEncodeError):
        return None
    name = re.match(r"\{(.*)\}OME$", root.tag)
    space = f"{{{name[1]}}}" if name else ""
    pixels = root.findall(f".//{space}Pixels")
    if len(pixels) != 1 or not _are_all_planes(pixels[0], space, written.pages):
        return None
    _resize(pixels[0], written)
    root.attrib.pop("UUID", None)
    for block in pixels[0].findall(f"{space}TiffData"):
        for uuid in block.findall(f"{space}UUID"):
            block.remove(uuid)
    if written.factor != 1:
        _drop_regions(root, space)
    if name:
        ElementTree.register_namespace("", name[1])
    return '<?xml version="1.0" encoding="UTF-8"?>' + ElementTree.tostring(root, encoding="unicode")


def _are_all_planes(pixels: ElementTree.Element, space: str, pages: int) -> bool:
    try:
        counts = [int(pixels.get(f"Size{axis}", "1")) for axis in "ZCT"]
        samples = [
            int(channel.get("SamplesPerPixel", "1"))
            for channel in pixels.findall(f"{space}Channel")
        ]
    except ValueError:
        return False
    files = {uuid.text for uuid in pixels.findall(f"{space}TiffData/{space}UUID")}
    together = max(samples, default=1)
    return len(files) <= 1 and counts[0] * counts[1] * counts[2] == pages * together


def _resize(pixels: ElementTree.Element, written: Written) -> None:
    height, width = written.size
    pixels.set("SizeX", str(width))
    pixels.set("SizeY", str(height))
    pixels.set("BigEndian", "false")
    kind = written.dtype.name
    pixels.set("Type", _OME_TYPES.get(kind, kind))
    for axis in "XY":
        stated = pixels.get(f"PhysicalSize{axis}")
        if stated is not None and written.factor != 1:
            try:
                pixels.set(f"PhysicalSize{axis}", repr(float(stated) / written.factor))
            except ValueError:
                del pixels.attrib[f"PhysicalSize{axis}"]


def _drop_regions(root: ElementTree.Element, space: str) -> None:
    """Drop regions of interest, whose places are in pixels of the input."""
    for parent in list(root.iter()):
        for child in list(parent):
            if child.tag in (f"{space}ROI", f"{space}ROIRef"):
                parent.remove(child)


def without_statistics(text: str) -> str:
    """GDAL's metadata without its statistics of the pixels."""
    return _STATISTICS.sub("", text)
