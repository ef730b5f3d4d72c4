"""What becomes of each card and each HDU of FITS files in their exports: kept, adapted or dropped, and why.

    python benchmarks/fits_round_trips.py FOLDER -o RESULT.json [--scale 1 2]

Each image of each FITS file below a folder is exported as if a restoration had not changed it, at its own
size and enlarged. The exit code is 1 where a card or an HDU is lost: it is dropped and HISTORY gives no
reason.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from collections import Counter
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.export.fits.cards import stored_cards
from glassplate.pipeline.export.fits.write import write_fits
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.fits.extensions import opened_file
from glassplate.pipeline.sources.fits.file import FitsFile
from glassplate.pipeline.sources.fits.hdus import header_text
from glassplate.pipeline.sources.source import Source, SourceSpec
from glassplate.pipeline.tile_grid import Box

# Images larger than this are left out, pixels: all of one is read at once.
MOST_PIXELS = 20_000_000


class Fate(NamedTuple):
    """Of one card, or of a whole HDU, whose keyword is empty."""

    hdu: int
    keyword: str
    fate: str
    """``kept``, ``adapted``, ``dropped`` with a reason in HISTORY, or ``lost``."""


class _Repeated:
    """The pixels of a source as an array of a result, each `scale` times along both axes."""

    def __init__(self, source: Source, scale: int) -> None:
        _, height, width = source.shape
        pixels = source.read(Box(0, height, 0, width))
        values = np.where(pixels.valid, pixels.values, np.nan).astype(source.working_dtype)
        values = values.repeat(scale, 1).repeat(scale, 2)
        self.values = values if source.ndim == 3 else values[0]
        self.shape, self.dtype = self.values.shape, self.values.dtype
        self.chunks = (256,) * self.values.ndim

    def __getitem__(self, index: Any) -> Any:
        return self.values[index]


def exported(path: Path, hdu: int, scale: int, target: Path) -> None:
    """Export an image as a restoration that changed nothing would be."""
    source = open_source(SourceSpec(path, hdu=hdu))
    run = {
        "version": "0", "run_id": "0", "recipe": "identity", "status": "complete", "scale": scale,
        "unit": source.unit, "source": {"path": str(path), "sha256": sha256_of(path)},
    }  # fmt: skip
    try:
        image = ExportedImage(_Repeated(source, scale), 0, {**source.metadata, "glassplate": run})
        write_fits([image], target)
    finally:
        source.close()


def fates(before: Path, after: Path, restored: Iterable[int]) -> Iterator[Fate]:
    """The fate of each card of the restored HDUs and of the primary header, and of each other HDU."""
    changed = {0, *restored}
    with opened_file(before) as old, opened_file(after) as new:
        said = _history(header_text(0, new[0], new))
        for index, hdu in old.each():
            if index in changed:
                yield from _cards(index, header_text(index, hdu, old), new)
                continue
            if isinstance(hdu, Exception):
                yield Fate(index, "", "dropped" if "is left out: " in said else "lost")
                continue
            same = index < new.count() and _raw(old, index) == _raw(new, index)
            reason = f"HDU {index} of the input is left out" in said
            yield Fate(index, "", "kept" if same else "dropped" if reason else "lost")


def _cards(index: int, text: str, new: FitsFile) -> Iterator[Fate]:
    there = header_text(index, new[index], new)
    found = list(stored_cards(there))
    blocks = Counter(block for _, block in found)
    keywords = {keyword for keyword, _ in found}
    said = set(_history(there).replace(",", " ").split())
    for keyword, block in stored_cards(text):
        # a compressed primary image is an extension, in the input too
        now = "XTENSION" if keyword == "SIMPLE" and index else keyword
        if blocks[block]:
            blocks[block] -= 1
            yield Fate(index, keyword, "kept")
        elif now in keywords or not block.isascii() or not block.isprintable():
            yield Fate(index, keyword, "adapted")
        else:
            yield Fate(index, keyword, "dropped" if keyword in said else "lost")


def _history(text: str) -> str:
    lines = (line for line in text.split("\n") if line.startswith("HISTORY"))
    return " ".join(line[8:].strip() for line in lines)


def _raw(file: FitsFile, index: int) -> bytes:
    span = file.span(index)
    with file.path.open("rb") as raw:
        raw.seek(span.start)
        return raw.read(span.end - span.start)


def images(folder: Path) -> Iterator[tuple[Path, int]]:
    """Every image of every FITS file below a folder that is not too large."""
    for path in sorted(folder.rglob("*.fit*")):
        try:
            facts = describe(path)
        except GlassplateError:
            continue
        for image in facts["images"] if facts["format"] == "fits" else ():
            if image["restorable"] and np.prod(image["shape"]) <= MOST_PIXELS:
                yield path, image["index"]


def main() -> int:
    """Export all images and count the fates."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    parser.add_argument("--scale", type=int, nargs="+", default=[1, 2])
    given = parser.parse_args()
    counts: Counter[str] = Counter()
    changes: dict[str, Counter[str]] = {
        "adapted": Counter(),
        "dropped": Counter(),
        "lost": Counter(),
    }
    files: set[Path] = set()
    with tempfile.TemporaryDirectory() as folder:
        for path, hdu in images(given.folder):
            for scale in given.scale:
                target = Path(folder) / "out.fits"
                exported(path, hdu, scale, target)
                files.add(path)
                for one in fates(path, target, [hdu]):
                    counts[one.fate] += 1
                    if one.fate != "kept":
                        changes[one.fate][one.keyword or "HDU"] += 1
                    if one.fate == "lost":
                        print(f"{path}[{hdu}] x{scale}: {one.keyword or 'HDU'} of HDU {one.hdu}")
    found = {
        "files": len(files), "scales": given.scale, "cards and HDUs": dict(counts),
        **{fate: dict(counter.most_common()) for fate, counter in changes.items()},
    }  # fmt: skip
    given.output.write_text(json.dumps(found, indent=1) + "\n")
    print(f"{len(files)} files: {dict(counts)}")
    return 1 if counts["lost"] else 0


if __name__ == "__main__":
    sys.exit(main())
