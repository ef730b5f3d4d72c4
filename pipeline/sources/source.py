"""An opened input: lazy pixels, valid, variance, header, unit; one module for each format beside it."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal, Protocol

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.grid import Box

if TYPE_CHECKING:
    from glassplate.pipeline.companions.exposures import Combination
    from glassplate.pipeline.defects.cosmic_rays import Detector
    from glassplate.pipeline.defects.wild_pixels import WildLimits

Format = Literal["fits", "tiff", "png", "jpeg"]
NoiseKind = Literal["variance", "sigma", "weight"]
NOISE_KINDS: tuple[NoiseKind, ...] = ("variance", "sigma", "weight")

# Up to four planes are colours of one scene; more are a cube, whose planes have noise of their own.
MOST_JOINT_PLANES = 4


@dataclass(frozen=True)
class SourceSpec:
    """Which image to restore; small, hashable and picklable, so that each worker opens its own."""

    path: Path
    hdu: int | str | None = None
    """FITS extension by index or EXTNAME; None: the first that can be restored."""
    page: int | Literal["all"] | None = None
    """TIFF page; None: the first; all: every page a plane of a cube."""
    mask: Path | None = None
    """Image on the same grid: non-zero means the pixel is not to be trusted."""
    variance: Path | None = None
    """Image on the same grid that says how noisy each pixel is."""
    noise_kind: NoiseKind = "variance"
    """What `variance` holds: variances in squared source units, standard deviations in source units, or
    weights, which are inverse variances."""
    psf: Path | None = None
    """Image of the point-spread function, on the grid of the estimate."""
    guide: Path | None = None
    """A second image of the same scene on the same grid, of one to four planes."""
    exposures: tuple[Path, ...] = ()
    """Further images of the same scene, with noise of their own."""
    combination: Combination | None = None
    """How they become one measurement; the plan makes it, since it must have looked at them all."""
    hints: Path | None = None
    """RGB or RGBA image on the same grid: the colours that are known of a grey photograph."""
    overlay: Path | None = None
    """Image with an alpha channel that was laid over this one."""
    exponent: int = 0
    """Values are read divided by ``2**exponent``, which brings them near 1; the plan makes it."""
    limits: tuple[WildLimits | None, ...] = ()
    """What makes a pixel wild, thus invalid: of this image and of each exposure; the plan makes them."""
    detector: Detector | None = None
    """Finds defects, which are then invalid; the plan makes it, since it must know the noise."""


@dataclass(frozen=True)
class Pixels:
    """The pixels of one box, as read."""

    values: npt.NDArray[np.floating]
    """``(c, h, w)`` in source units, over ``2**exponent`` of its `SourceSpec`, as all that is read; in the
    source's working dtype; finite, 0 where the file has NaN or BLANK."""
    valid: npt.NDArray[np.bool_]
    """``(c, h, w)``; True means trust the pixel."""
    variance: npt.NDArray[np.float32] | None = None
    """``(c, h, w)`` in squared source units, where the user or the file gives it."""
    guide: npt.NDArray[np.float32] | None = None
    """``(g, h, w)`` in the units of the guide, NaN where it is invalid; where there is one."""
    found: npt.NDArray[np.bool_] | None = None
    """``(c, h, w)``; True where a pixel is invalid only because a detector took it for a defect."""
    witness: npt.NDArray[np.float32] | None = None
    """``(c, h, w)`` in source units: the exposure that is kept from the fit; NaN where it says nothing."""
    wild: npt.NDArray[np.bool_] | None = None
    """``(c, h, w)``; True where a pixel is invalid only because it is wild; where there are such pixels."""
    hints: npt.NDArray[np.float32] | None = None
    """``(2, h, w)``, a and b of CIE Lab, NaN where there is no hint; of a photograph to be coloured."""
    hidden: npt.NDArray[np.bool_] | None = None
    """``(h, w)``; True where alpha is 0: invalid, but nothing is missing. None without alpha."""


@dataclass(frozen=True)
class ImageInfo:
    """One image of a file, as `glassplate inspect` shows it."""

    index: int
    """HDU or page number."""
    name: str
    shape: tuple[int, ...]
    """``(y, x)`` or ``(c, y, x)``; () where there is no image."""
    dtype: str
    """numpy name of the pixel type as the file's scaling presents it; "" where there is none."""
    unit: str | None
    restorable: bool
    reason: str | None
    """Why it cannot be restored; None where it can."""


AlphaReader = Callable[[Box], npt.NDArray[Any]]
"""Gives alpha of a box as it is stored, ``(h, w)``."""


class Source(Protocol):
    """One image of one file, open for lazy reading. Not picklable, not shared between processes."""

    spec: SourceSpec
    format: Format
    info: ImageInfo
    shape: tuple[int, int, int]
    """``(c, y, x)``; c is 1 for a two-dimensional image."""
    ndim: Literal[2, 3]
    """2 where the result is ``(y, x)``, 3 where it is ``(c, y, x)``."""
    joint: bool
    """Whether one network paints all channels (colours) or each plane is fitted by itself (cubes)."""
    dtype: np.dtype[Any]
    """Pixel type of the file."""
    working_dtype: np.dtype[Any]
    """float32 where that holds every value of `dtype` exactly, else float64."""
    output_dtype: np.dtype[Any]
    """Pixel type of the result: float32, or `dtype` for integer TIFF, PNG and JPEG."""
    unit: str | None
    alpha: AlphaReader | None
    """Reads alpha, which is no channel of `shape` and not restored; None where the image has none."""
    resident_bytes: int
    """Most memory that decoded pixels take between reads, in each process that reads: all of the
    image where the format cannot be read in parts, 0 where nothing is compressed."""
    metadata: dict[str, Any]
    """JSON-able: all that the exports need, under the key "fits", "tiff" or "raster"."""

    def read(self, box: Box, channels: tuple[int, int] | None = None) -> Pixels:
        """Read one box of some channels, first to last + 1, or of all of them.

        No more of the file is touched than its storage forces.
        """
        ...

    def close(self) -> None:
        """Close the file; what was unpacked for it stays until `forget_unpacked`."""
        ...


def white_of(source: Source) -> float:
    """The value of white: of integers the largest that they may have, of floats 1."""
    if source.dtype.kind == "f":
        return 1.0
    bits = source.metadata.get("tiff", {}).get("bits_per_sample")
    if isinstance(bits, int) and source.dtype.kind == "u" and bits < 8 * source.dtype.itemsize:
        return float(2**bits - 1)
    return float(np.iinfo(source.dtype).max)


def choose_working_dtype(dtype: np.dtype[Any]) -> np.dtype[Any]:
    """float32 where it holds every value of `dtype` exactly, else float64."""
    return np.dtype(np.float32 if np.can_cast(dtype, np.float32, "safe") else np.float64)


def noise_image(given: Mapping[NoiseKind, Path | None]) -> tuple[Path | None, NoiseKind]:
    """The one image of the noise that is given, and what it holds.

    Raises
    ------
    UsageError
        If there is more than one.
    """
    named = [(kind, path) for kind, path in given.items() if path is not None]
    if len(named) > 1:
        (first, path), (second, other), *_ = named
        raise UsageError(
            f"{first} {path} and {second} {other}: each says how noisy the pixels are, give one of them"
        )
    return (named[0][1], named[0][0]) if named else (None, "variance")


def split_extension(path: Path) -> tuple[Path, int | str | None]:
    """Split ``file.fits[DQ]`` into the file and the extension or page in brackets.

    A file whose real name ends in brackets is taken as it is; without brackets the second is None.
    """
    if path.exists() or not path.name.endswith("]") or "[" not in path.name:
        return path, None
    name, _, inside = path.name[:-1].rpartition("[")
    return path.with_name(name), int(inside) if inside.isdigit() else inside
