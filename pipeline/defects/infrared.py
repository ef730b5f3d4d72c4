"""A mask of dust and scratches from the infrared plane of a scan of film."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np

from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.defects.cosmic_rays import DefectSettings, Detector, specks
from glassplate.pipeline.defects.medians import MAD_TO_SIGMA
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.open_image import open_image
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.source import Pixels, SourceSpec, WrappedSource, split_extension
from glassplate.pipeline.sources.tiff.infrared import infrared_page
from glassplate.pipeline.sources.unpack import unpacked
from glassplate.pipeline.tile_grid import Box

NAME = "infrared"
# Dust is dark in infrared, in which film is clear and even, so that a wide median still is the level beside
# it: hairs of 20 pixels are found. Edges are partly dust, and the colours are focused elsewhere.
_SETTINGS = DefectSettings(specks="dark", speck_radius=20, grow=2)
# Least share of the light that dust takes away. The layers of colour film let a few per cent of the picture
# through to infrared.
LEAST_LOSS = 0.1
# Largest spread of clear film, as a share of its level, with which dust can be told from the picture. Silver,
# in black-and-white film and some slides, is as dark in infrared as it is to the eye.
MOST_SPREAD = LEAST_LOSS / 2
# Side of a window for which memory is counted.
_WINDOW = 512


class InfraredMask(WrappedSource):
    """The mask of one scan, ``(1, y, x)``: 1 where the infrared plane is dark, else 0."""

    def __init__(self, named: Path) -> None:
        """Open the infrared plane that ``file.dng[infrared,2]`` names, 2 being the page that holds it.

        Raises
        ------
        SourceError
            If there is no such plane, or it cannot be read.
        """
        path, page = split_extension(named)[0], _page_of(named)
        source = open_image(SourceSpec(path, page=page))
        super().__init__(source)
        self.spread = 0.0
        """Spread of the infrared plane within a window, as a share of its level."""
        self._plane = source.shape[0] - 1
        self.shape = (1, *source.shape[1:])
        self.joint = True
        try:
            level, self.spread = self._look()
        except BaseException:
            source.close()
            raise
        floor = (LEAST_LOSS * level / _SETTINGS.speck_sigma) ** 2
        noise = NoiseModel(floor, slope=0.0, pedestal=0.0, lag1=0.0, correlated=False, origin=NAME)
        self._detector = Detector(_SETTINGS, noise, quantum=0.0, sky=level)
        self.resident_bytes += self._detector.projected_bytes((_WINDOW, _WINDOW), 1)

    def _look(self) -> tuple[float, float]:
        """The usual value of clear film, and its usual spread within a window as a share of that."""
        planes = [values[-1][valid[-1]] for values, valid in sample(self._source)]
        levels = [np.median(plane) for plane in planes if plane.size]
        spreads = [np.median(np.abs(plane - np.median(plane))) for plane in planes if plane.size]
        level = float(np.median(levels))
        return level, MAD_TO_SIGMA * float(np.median(spreads)) / level if level > 0 else np.inf

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box, with the margin on which its dust depends."""
        around = box.grown(self._detector.margin, self.shape[1:])
        wider = self._source.read(around, (self._plane, self._plane + 1))
        dust = specks(wider.values[0].astype(np.float32), wider.valid[0], self._detector)
        pixels = wider.cropped(box.relative_to(around).slices)
        found = dust[box.relative_to(around).slices]
        return replace(pixels, values=found[None].astype(np.float32))


def is_infrared(named: Path) -> bool:
    """Whether a path names an infrared plane: ``file.dng[infrared,2]``."""
    part = split_extension(named)[1]
    return isinstance(part, str) and part.partition(",")[0] == NAME


def _page_of(named: Path) -> int:
    path, part = split_extension(named)
    number = str(part).partition(",")[2]
    if not number.isdigit():
        raise SourceError(f"mask {named}: name the page that holds it: {path.name}[{NAME},0]")
    return int(number)


def find_infrared(path: Path, number: int) -> Path | None:
    """The infrared plane that goes with a page of a TIFF file, for `InfraredMask`; None without one."""
    page = infrared_page(unpacked(path), number)
    return None if page is None else path.with_name(f"{path.name}[{NAME},{page}]")
