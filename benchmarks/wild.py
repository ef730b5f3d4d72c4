"""Which pixels of real images count as wild or low: none that an instrument measured should.

    python benchmarks/wild.py FOLDER -o RESULT.json

looks at every FITS and float TIFF below a folder. Weight, mask and exposure maps are images to it, too.
"""

from __future__ import annotations

import argparse
import json
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np

from glassplate.models.noise.estimate import estimate_noise
from glassplate.models.noise.model import NoiseSettings
from glassplate.pipeline.defects.cosmic_rays import DefectSettings, Detector
from glassplate.pipeline.defects.low_pixels import low_level, low_pixels
from glassplate.pipeline.defects.wild_pixels import HOT, wild_limits
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.metadata.units import unit_exponent
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.source import Source, SourceSpec
from glassplate.pipeline.tile_grid import Box

# Images larger than this are left out, pixels: all of one is read at once.
MOST_PIXELS = 20_000_000


def sources(folder: Path) -> Iterator[tuple[str, Source]]:
    """Every image of every file below a folder that the rules apply to."""
    for path in sorted(folder.rglob("*.fit*")) + sorted(folder.rglob("*.tif*")):
        try:
            facts = describe(path)
        except GlassplateError:
            continue
        for image in facts["images"]:
            part = "hdu" if facts["format"] == "fits" else "page"
            spec = SourceSpec(path, **{part: image["index"]})
            try:
                source = open_source(spec)
            except GlassplateError:
                continue
            if source.format == "fits" or source.dtype.kind == "f":
                yield f"{path.relative_to(folder)}[{image['index']}]", source
            source.close()


def measure(source: Source) -> dict[str, Any] | None:
    """What is found in one image; None where it is too large, or all of one value."""
    channels, height, width = source.shape
    if channels * height * width > MOST_PIXELS:
        return None
    samples = sample(source)
    quantum = float(source.dtype.kind != "f")
    limits = wild_limits(samples, sharp=source.format == "fits", quantum=quantum)
    if limits is None:
        return None
    pixels = source.read(Box(0, height, 0, width))
    noise = estimate_noise(samples, NoiseSettings())
    low = low_level(samples, noise, quantum)
    detector = Detector(DefectSettings(cosmic_rays=True), noise, quantum, limits.sky, low)
    wild = dark = 0
    for values, valid in zip(pixels.values, pixels.valid, strict=True):
        wild += int(limits.find(values, valid, (True, True, True, True)).sum())
        dark += int(low_pixels(values.astype(np.float32), valid, detector).sum())
    known = pixels.values[pixels.valid].astype(np.float64)
    distance = np.abs(known - limits.sky)
    sigma = limits.sigma or 1.0
    return {
        "shape": list(source.shape),
        "dtype": source.dtype.name,
        "pixels": int(known.size),
        "sky": limits.sky,
        "sigma": limits.sigma,
        "brightest_sigmas": float((known.max() - limits.sky) / sigma),
        "examined": int((known > limits.sky + HOT * sigma).sum()) if limits.sigma else 0,
        "furthest_over_limit": float(distance.max() / limits.far),
        "unit_exponent": unit_exponent(samples),
        "wild": wild,
        "low": dark,
    }


def main() -> None:
    """Measure a folder and print what is found."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("folder", type=Path)
    parser.add_argument("-o", "--output", type=Path, required=True)
    asked = parser.parse_args()
    found = {}
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of headers, of which real files have many kinds
        for name, source in sources(asked.folder):
            try:
                facts = measure(source)
            except GlassplateError:
                continue
            if facts is None:
                continue
            found[name] = {
                key: float(f"{value:.6g}") if isinstance(value, float) else value
                for key, value in facts.items()
            }
            if facts["wild"] or facts["low"]:
                print(f"{name}: {facts['wild']} wild, {facts['low']} low of {facts['pixels']}")
    total = {key: sum(facts[key] for facts in found.values()) for key in ("pixels", "wild", "low")}
    print(f"{len(found)} images: {total}")
    # a line for each image
    lines = ",\n".join(f" {json.dumps(name)}: {json.dumps(facts)}" for name, facts in found.items())
    text = f'{{"total": {json.dumps(total)},\n"images": {{\n{lines}\n}}}}\n'
    asked.output.write_text(text, "utf-8")


if __name__ == "__main__":
    main()
