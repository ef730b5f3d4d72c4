"""Whether the pixels of enlarged FITS images keep their places in the sky, for every header of a folder.

    python benchmarks/fits_sky.py FOLDER... [--scale 2 4] [-o RESULT.json]

The header of each image is changed as an export at that scale changes it, and the sky positions of 7 x 7
pixels are compared, corners included. The exit code is 1 where one is off by more than a millionth of a
pixel.
"""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Iterator
from pathlib import Path

from astropy.io import fits

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.export.fits.wcs import header_changes
from glassplate.pipeline.export.fits.wcs_check import wcs_disagreement
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.fits.extensions import opened_file
from glassplate.pipeline.sources.fits.hdus import hdu_info, header_text
from glassplate.pipeline.sources.fits.text import parsed

MOST_OFF = 1e-6


def headers(folder: Path) -> Iterator[tuple[str, fits.Header]]:
    """Name and header of every image of every FITS file, and of every header that is a file of its own."""
    for path in sorted(folder.rglob("*.hdr")):
        with collected_warnings(path):
            yield path.name, fits.Header.fromtextfile(path)
    for path in sorted(folder.rglob("*.fit*")):
        try:
            with opened_file(path) as file:
                for index, hdu in file.each():
                    if hdu_info(index, hdu, file).restorable:
                        yield f"{path.name}[{index}]", parsed(header_text(index, hdu, file))
        except GlassplateError:
            continue


def enlarged(header: fits.Header, scale: float) -> fits.Header:
    """The header of the image with pixels `scale` times finer."""
    changes, new = header_changes(header, scale), header.copy()
    for key in {key for key in header if key.partition(".")[0] in changes.dropped}:
        new.remove(key, remove_all=True)
    for key, value in (changes.values | changes.added).items():
        new[key] = value
    return new


def main() -> int:
    """Compare all headers and print the largest distance at each scale."""
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--scale", type=float, nargs="+", default=[2, 4])
    parser.add_argument("-o", "--output", type=Path)
    given = parser.parse_args()
    distances: dict[float, dict[str, float]] = {scale: {} for scale in given.scale}
    without = 0
    for folder in given.folder:
        for name, header in headers(folder):
            with collected_warnings(name):
                for scale in given.scale:
                    off = wcs_disagreement(header, enlarged(header, scale), scale)
                    if off is not None:
                        distances[scale][name] = off
                without += off is None
    found = {
        "headers": len(distances[given.scale[0]]),
        "without_wcs": without,
        "largest_pixels": {f"{scale:g}": max(of.values()) for scale, of in distances.items()},
    }
    off = {
        f"{name} x{scale:g}": distance
        for scale, of in distances.items()
        for name, distance in of.items()
        if distance > MOST_OFF
    }
    text = json.dumps(found | {"off": off}, indent=1)
    print(text)
    if given.output is not None:
        given.output.write_text(f"{text}\n")
    return int(bool(off))


if __name__ == "__main__":
    sys.exit(main())
