"""What becomes of the files of a folder in a copy through the whole program: of their pixels and their tags.

    python benchmarks/round_trips.py FOLDER... -o RESULT.json

restores every TIFF, PNG, JPEG, JPEG 2000, WebP and JPEG XL below the folders with task identity, exports it
as TIFF, and compares. An image is *equal* if the export holds the numbers that tifffile or Pillow reads in
the input, *adapted* if these are seen in another form (the colours of a palette, eight bits for one), and
else *refused*, with the reason. A tag is *kept*, *adapted* or *dropped*, with the reason.
"""

from __future__ import annotations

import argparse
import collections
import json
import tempfile
import warnings
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from chunk_fates import fates_of_chunks
from PIL import Image

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.sources.tiff.tag_table import why_dropped

SUFFIXES = {".tif", ".tiff", ".png", ".jpg", ".jpeg", ".jp2", ".j2k", ".webp", ".jxl"}
# Larger images are left out, pixels: the oracles read all of one at once.
MOST_PIXELS = 40_000_000

# Tags that follow the pixels, or state what is true of the export; how.
ADAPTED = {
    270: "description: numbers of images and sizes as written",
    282: "resolution: exact ratio of the new pixels",
    283: "resolution: exact ratio of the new pixels",
    296: "unit of the resolution that is stated",
    305: "names glassplate, the run, and the program before",
    700: "XMP: sizes, resolution and DigitalSourceType",
    34377: "image resources: resolution of the new pixels, without thumbnails",
    34665: "EXIF: sizes of the new pixels",
    42112: "GDAL's metadata without statistics",
}
# Tags that an input may have without a value that can be carried.
EMPTY = {
    270: "describes the input's own file or images that are not written, or is empty",
    282: "is no ratio of numbers (0/0 stands for not known)",
    283: "is no ratio of numbers (0/0 stands for not known)",
    296: "without a resolution a unit says nothing",
    700: "is empty",
    34665: "the directory is empty or damaged",
    34853: "the directory is empty or damaged",
    42113: "is one of the stored numbers, which are others now",
}


@dataclass(frozen=True)
class Fate:
    """What became of an image or of a tag."""

    name: str
    fate: str
    """``equal``, ``kept``, ``adapted``, ``dropped`` or ``refused``; ``DIFFERENT`` and ``LOST`` are faults."""
    why: str = ""


def fates_of_tags(before: Any, after: Any) -> Iterator[Fate]:
    """What became of each tag of a page.

    Parameters
    ----------
    before, after
        The page of the input and that of its export, as tifffile has them.
    """
    for tag in before.tags:
        name = f"{tag.code} {tag.name}"
        why = why_dropped(int(tag.code), int(tag.dtype))
        if why is not None:
            yield Fate(name, "dropped", why)
        elif tag.code not in after.tags:
            reason = EMPTY.get(tag.code) if _may_be_empty(before, tag) else None
            yield Fate(name, "dropped" if reason else "LOST", reason or "")
        elif _same(tag.value, after.tags.valueof(tag.code)):
            yield Fate(name, "kept")
        else:
            how = ADAPTED.get(tag.code)
            yield Fate(name, "adapted" if how else "LOST", how or _different(tag, after))


def _may_be_empty(page: Any, tag: Any) -> bool:
    """Whether the value of a tag may be left out for the reason that `EMPTY` gives."""
    if tag.code == 270:
        text = str(tag.value).strip("\0 ")
        return not text or text.startswith('{"shape"') or "<OME" in text[:200]
    if tag.code in (282, 283, 296):
        ratios = [page.tags.valueof(code) for code in (282, 283)]
        return any(ratio is None or ratio[0] < 0 or ratio[1] <= 0 for ratio in ratios) or (
            page.tags.valueof(296, 2) not in (1, 2, 3)
        )
    if tag.code == 42113:
        return int(page.photometric) == 3 or page.dtype.kind == "b"
    return tag.code in EMPTY and not tag.value


def _same(one: Any, other: Any) -> bool:
    if isinstance(one, np.ndarray) or isinstance(other, np.ndarray):
        return np.array_equal(one, other)
    if isinstance(one, str) and isinstance(other, str):
        return one.strip("\0 ") == other.strip("\0 ")
    return bool(one == other)


def _different(tag: Any, after: Any) -> str:
    return f"was {str(tag.value)[:60]!r}, is {str(after.tags.valueof(tag.code))[:60]!r}"


def fate_of_pixels(path: Path, page: int, note: str | None, export: Path) -> Fate:
    """Whether the export of a page holds what tifffile or Pillow reads in it."""
    name = f"{path.name}[{page}]"
    written = tifffile.imread(export)
    for stored, how in _stored(path, page):
        if _equal(stored, written):
            return Fate(name, "adapted", how) if how else Fate(name, "equal")
    for mode in ("L", "RGB", "RGBA", "CMYK", "I;16"):
        seen = _seen(path, page, mode)
        if seen is not None and _equal(seen, written):
            return Fate(name, "adapted", note or f"as Pillow shows it in {mode}")
    return Fate(name, "DIFFERENT", note or "")


def _equal(one: np.ndarray, other: np.ndarray) -> bool:
    one, other = _channels_last(one), _channels_last(other)
    if one.shape != other.shape:
        return False
    if other.dtype.kind == "f":
        # results of floats are float32
        return np.allclose(one, other, rtol=1e-6, equal_nan=True)
    return np.array_equal(one, other)


def _channels_last(pixels: np.ndarray) -> np.ndarray:
    """Pixels with their channels last, whatever the planar layout, and one channel without an axis."""
    if pixels.ndim == 3 and pixels.shape[0] < min(8, *pixels.shape[1:]):
        pixels = np.moveaxis(pixels, 0, -1)
    return pixels[..., 0] if pixels.ndim == 3 and pixels.shape[-1] == 1 else pixels


def _stored(path: Path, page: int) -> Iterator[tuple[np.ndarray, str]]:
    """The numbers of a page by a decoder of its format, and how they are presented if not as stored."""
    decoders = {
        ".png": imagecodecs.png_decode,
        ".jp2": imagecodecs.jpeg2k_decode,
        ".j2k": imagecodecs.jpeg2k_decode,
        ".webp": imagecodecs.webp_decode,
        ".jxl": imagecodecs.jpegxl_decode,
    }
    try:
        if path.suffix.lower() in decoders:
            yield decoders[path.suffix.lower()](path.read_bytes()), ""
            return
        with tifffile.TiffFile(path) as tiff:
            if len(tiff.pages) <= page:
                yield tiff.series[0].asarray()[page], ""
                return
            pixels, table = tiff.pages[page].asarray(), tiff.pages[page].colormap
    except Exception:
        return
    yield pixels, ""
    if pixels.dtype == bool:
        yield pixels.astype(np.uint8) * np.uint8(255), "1 bit per pixel as 0 and 255"
    if table is not None:
        yield (
            np.moveaxis(table[:, pixels.astype(int)], 0, -1),
            "a palette as its colours of 16 bits",
        )


def _seen(path: Path, page: int, mode: str) -> np.ndarray | None:
    try:
        with Image.open(path) as image:
            image.seek(page)
            pixels = np.asarray(image if mode == "I;16" else image.convert(mode))
            # Adobe's JPEGs store no ink as 255
            inverted = image.format == "JPEG" and image.mode == "CMYK"
            return np.invert(pixels) if inverted and "adobe" not in image.info else pixels
    except Exception:
        return None


def round_trip(path: Path, page: int | None, folder: Path) -> Path:
    """The export of a copy of an image through the whole program."""
    target = folder / "export.tif"
    target.unlink(missing_ok=True)
    store = folder / f"{len(list(folder.iterdir()))}.zarr"
    recipe = load_recipe("identity", [])
    spec = SourceSpec(path, page=page)
    asked = RestoreRequest(spec, store, recipe, "identity", device="cpu", export=target)
    restore(asked, InlinePool())
    return target


def examine(path: Path, folder: Path) -> Iterator[tuple[Fate, list[Fate]]]:
    """What becomes of each image of a file, and of its tags if it is a TIFF."""
    try:
        document = describe(path)
    except GlassplateError as error:
        yield Fate(path.name, "refused", str(error).removeprefix(f"{path}: ")), []
        return
    for image in document["images"]:
        name, page = f"{path.name}[{image['index']}]", image["index"]
        if not image["restorable"]:
            yield Fate(name, "refused", image["reason"]), []
        elif int(np.prod(image["shape"])) > MOST_PIXELS:
            yield Fate(name, "left out", f"{image['shape']} is too large for the oracles"), []
        else:
            is_tiff = document["format"] == "tiff"
            try:
                export = round_trip(path, page if is_tiff else None, folder)
            except GlassplateError as error:
                yield Fate(name, "refused", str(error).removeprefix(f"{path}: ")), []
                continue
            fate = fate_of_pixels(path, page, image["note"], export)
            tags: list[Fate] = []
            if document["format"] in ("png", "jpeg"):
                with tifffile.TiffFile(export) as other:
                    tags = [Fate(*found) for found in fates_of_chunks(path, other.pages[0])]
            if is_tiff:
                with (
                    collected_warnings(path),
                    tifffile.TiffFile(path) as one,
                    tifffile.TiffFile(export) as other,
                ):
                    behind = len(one.pages) <= page
                    tags = list(fates_of_tags(one.pages[0 if behind else page], other.pages[0]))
            yield fate, tags


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", type=Path, nargs="+")
    parser.add_argument("-o", "--output", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    files = sorted(
        path
        for folder in arguments.folders
        for path in folder.rglob("*")
        if path.suffix.lower() in SUFFIXES
    )
    images: list[Fate] = []
    tags: dict[str, collections.Counter[str]] = collections.defaultdict(collections.Counter)
    for path in files:
        with tempfile.TemporaryDirectory() as folder:
            for fate, of_tags in examine(path, Path(folder)):
                images.append(fate)
                for tag in of_tags:
                    tags[tag.name][f"{tag.fate}: {tag.why}" if tag.why else tag.fate] += 1
    counts = collections.Counter(fate.fate for fate in images)
    others = [asdict(fate) for fate in images if fate.fate != "equal"]
    document = {
        "images": dict(sorted(counts.items())),
        "not_equal": others,
        "tags": {name: dict(tags[name]) for name in sorted(tags, key=_by_number)},
    }
    arguments.output.write_text(json.dumps(document, indent=1, ensure_ascii=False) + "\n")
    print(dict(counts))


def _by_number(name: str) -> tuple[bool, int, str]:
    """Tags by their number, then chunks and segments by their name."""
    number = name.split()[0]
    return not number.isdigit(), int(number) if number.isdigit() else 0, name


if __name__ == "__main__":
    main()
