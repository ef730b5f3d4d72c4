"""Every image of a collection of real files: restored as it is, adapted, or refused, and why.

    python benchmarks/real_files.py FOLDER [FOLDER ...] -o RESULT.json

Each image of each file below the folders is restored with ``identity``, exported, and compared with what
astropy, tifffile or Pillow reads from the same file: the result pixel by pixel, and the export as well.
Images of more than `MOST_PIXELS` pixels are read in three boxes only.

An image is ``equal``; ``adapted``, if some of its pixels differ for a reason that is named; ``alone``, if no
oracle reads it; ``differs``; ``refused``, with the reason; or ``no image``, such as a table. The exit code is
1 if any differs or ends in another way.
"""

from __future__ import annotations

import argparse
import json
import re
import sys
import tempfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any

import numpy as np
import oracle

from glassplate.pipeline.cached_source import close_cached_sources
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.file_format import holds_measurements
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

MOST_PIXELS = 20_000_000
# No images: descriptions, headers, and arrays of numpy.
LEFT_OUT = {".md", ".txt", ".hdr", ".npz", ".json"}


@dataclass(frozen=True)
class Outcome:
    """What became of one image."""

    file: str
    image: int | str
    """HDU, page or number of the image; "" for a file that is refused as a whole."""
    ended: str
    why: str = ""
    oracle: str = ""
    """For a refused image whether an oracle reads it: ``reads`` or ``refuses``."""


def outcomes(path: Path, named: str, scratch: Path, pool: Pool) -> Iterator[Outcome]:
    """Try every image of a file."""
    try:
        found = describe(path)
    except GlassplateError as error:
        yield Outcome(named, "", "refused", _without(path, str(error)), _whole(path))
        return
    except Exception as error:
        yield Outcome(named, "", "fault", f"{type(error).__name__}: {error}")
        return
    for image in found["images"]:
        index = image["index"]
        if not image["restorable"] and not image["shape"]:
            yield Outcome(named, index, "no image", str(image["reason"]))
            continue
        if not image["restorable"]:
            read = _reads(path, found["format"], index, image["name"])
            yield Outcome(named, index, "refused", str(image["reason"]), read)
            continue
        part = {"tiff": "page", "fits": "hdu"}.get(found["format"])
        spec = SourceSpec(path, **({part: index} if part else {}))
        try:
            pixels = int(np.prod(image["shape"]))
            one = (
                _large(spec, found["format"])
                if pixels > MOST_PIXELS
                else _tried(spec, scratch, pool, image["note"])
            )
        except GlassplateError as error:
            read = _reads(path, found["format"], index, image["name"])
            yield Outcome(named, index, "refused", _without(path, str(error)), read)
            continue
        except Exception as error:
            yield Outcome(named, index, "fault", f"{type(error).__name__}: {error}")
            continue
        yield Outcome(named, index, one.ended, one.detail)


def _tried(spec: SourceSpec, scratch: Path, pool: Pool, note: str | None) -> oracle.Comparison:
    """Restore an image, export it, and compare both with the oracle."""
    suffix = ".fits" if holds_measurements(spec.path) else ".tif"
    with tempfile.TemporaryDirectory(dir=scratch) as folder:
        store, export = Path(folder, "a.zarr"), Path(folder, f"out{suffix}")
        recipe = load_recipe("identity")
        try:
            restore(RestoreRequest(spec, store, recipe, "identity", "cpu", export), pool)
        finally:
            close_cached_sources()
        found = oracle.compare(store, spec.path, note=note)
        if found.ended not in ("equal", "adapted"):
            return found
        kind = suffix[1:].replace("tif", "tiff")
        # the export of an HDU is its file, with the other HDUs as they were
        again = oracle.compare(store, export, part=spec.hdu or 0, kind=kind, note=note)
        if again.ended == "differs":
            return oracle.Comparison("differs", f"the export: {again.detail}")
        return found


def _large(spec: SourceSpec, kind: str) -> oracle.Comparison:
    """Read three boxes of an image that is too large for the rest."""
    source = open_source(spec)
    try:
        _, height, width = source.shape
        for y, x in ((0, 0), (height // 2, width // 2), (height - 100, width - 100)):
            source.read(Box(y, y + 100, x, x + 100))
    finally:
        source.close()
    return oracle.Comparison("alone", f"{source.shape}: only read in boxes, which takes no oracle")


def _reads(path: Path, kind: str, index: int, name: str) -> str:
    """Whether the oracle reads an image that is refused."""
    try:
        oracle.read(path, kind, index, name)
    # an oracle raises nearly anything on what is no image
    except Exception:
        return "refuses"
    return "reads"


def _whole(path: Path) -> str:
    """Whether any oracle reads a file that is refused as a whole."""
    return (
        "reads"
        if "reads" in {_reads(path, kind, 0, "") for kind in ("fits", "tiff", "png")}
        else "refuses"
    )


def _without(path: Path, message: str) -> str:
    """A message without the file's name."""
    return re.sub(rf"\S*{re.escape(path.name)}: ?", "", message)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folders", nargs="+", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    given = parser.parse_args()
    found: list[Outcome] = []
    with (
        tempfile.TemporaryDirectory() as scratch,
        open_pool("inline", workers=None, device="cpu") as pool,
    ):
        for folder in given.folders:
            files = [path for path in sorted(folder.rglob("*")) if path.is_file()]
            for path in files:
                if path.suffix in LEFT_OUT:
                    continue
                named = f"{folder.name}/{path.relative_to(folder)}"
                for one in outcomes(path, named, Path(scratch), pool):
                    found.append(one)
                    if one.ended not in ("equal", "adapted", "refused", "no image"):
                        print(f"{one.file}[{one.image}]: {one.ended}: {one.why}", flush=True)
    given.output.write_text(_document(found), "utf-8")
    totals = Counter(one.ended for one in found)
    print(dict(totals))
    return 1 if totals["differs"] or totals["fault"] else 0


def _document(found: list[Outcome]) -> str:
    """JSON with totals by folder, reasons, and a line for each image that is not equal."""
    folders: dict[str, Counter[str]] = {}
    for one in found:
        folders.setdefault(one.file.split("/")[0], Counter())[one.ended] += 1
    refused = Counter(
        (re.sub(r"[-+]?\d[\d.,]*", "N", one.why), one.oracle)
        for one in found
        if one.ended == "refused"
    )
    head: dict[str, Any] = {
        "files": len({one.file for one in found}),
        "images": len(found),
        "folders": {name: dict(counts.most_common()) for name, counts in folders.items()},
        "refused": [
            {"reason": why, "oracle": read, "images": count}
            for (why, read), count in refused.most_common()
        ],
    }
    lines = ",\n".join(
        f"  {json.dumps(asdict(one), ensure_ascii=False)}"
        for one in found
        if one.ended not in ("equal", "no image")
    )
    total = json.dumps(head, indent=1, ensure_ascii=False)
    return f'{total[:-2]},\n "images_not_equal": [\n{lines}\n ]\n}}\n'


if __name__ == "__main__":
    sys.exit(main())
