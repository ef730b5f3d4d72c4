"""Images as Python programs hold them: what is restored of them, and how a result takes their form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.sources.source import NoiseKind, SourceSpec

if TYPE_CHECKING:
    from astropy.io.fits import Header

    from glassplate.pipeline.result.opened import Result

# Types of pictures. They are restored as TIFF is, and the result has the same type; all others as FITS is.
PICTURES = (np.uint8, np.uint16)
_NOISE: dict[str, NoiseKind] = {"std": "sigma", "var": "variance", "ivar": "weight"}
"""What an uncertainty of astropy holds, by its type."""


class RestoredArray(np.ndarray[Any, Any]):
    """A restored array of numpy, with what was removed from it. A part of it is a plain view without that."""

    residual: npt.NDArray[Any] | None = None
    """Input minus restored image, on the grid of the input."""
    uncertainty: npt.NDArray[np.float32] | None = None
    """Standard deviation of each pixel's error; None without ``fit.uncertainty=true``."""
    report: Callable[[], str] | None = None
    """Returns a few lines about the restoration."""


@dataclass(frozen=True)
class GivenImage:
    """An image that a Python program gave, taken apart."""

    pixels: npt.NDArray[Any]
    """``(y, x)`` or ``(c, y, x)``."""
    invalid: npt.NDArray[np.bool_] | None
    """True where a pixel is not to be used, of the shape of `pixels` or of one plane."""
    noise: tuple[NoiseKind, npt.NDArray[Any]] | None
    unit: str | None
    header: Header | None
    """Cards with the WCS."""
    channels_last: bool
    """Whether the colours were the last axis."""

    @property
    def is_picture(self) -> bool:
        """Whether it is treated as a picture, and not as a measurement."""
        return self.pixels.dtype in PICTURES

    def write(self, folder: Path) -> SourceSpec:
        """Write the files that the pipeline reads into a folder."""
        image = folder / ("array.tif" if self.is_picture else "array.fits")
        if self.is_picture:
            import tifffile

            colours = self.pixels.ndim == 3 and len(self.pixels) in (3, 4)
            planar = {"planarconfig": "separate"} if self.pixels.ndim == 3 else {}
            kind = "rgb" if colours else "minisblack"
            tifffile.imwrite(image, self.pixels, photometric=kind, metadata=None, **planar)
        else:
            _write_fits(image, self.pixels, self.unit, self.header)
        mask = noise = None
        if self.invalid is not None and self.invalid.any():
            mask = folder / "mask.fits"
            _write_fits(mask, self.invalid.astype(np.uint8))
        if self.noise is not None:
            noise = folder / "noise.fits"
            _write_fits(noise, self.noise[1].astype(np.float32))
        kind = "variance" if self.noise is None else self.noise[0]
        return SourceSpec(image, mask=mask, variance=noise, noise_kind=kind)


def _write_fits(
    path: Path, pixels: npt.NDArray[Any], unit: str | None = None, header: Header | None = None
) -> None:
    from astropy.io import fits

    hdu = fits.PrimaryHDU(pixels, header)
    if unit:
        hdu.header["BUNIT"] = unit
    hdu.writeto(path)


def taken(image: Any, mask: npt.NDArray[np.bool_] | None) -> GivenImage:
    """Take an image apart: an array, a masked array, astropy's NDData or CCDData, or xarray's DataArray.

    Parameters
    ----------
    image
        Numbers, ``(y, x)``, ``(c, y, x)``, or ``(y, x, c)`` with three or four colours.
    mask
        True where a pixel is not to be used, besides those that the image itself masks.

    Raises
    ------
    UsageError
        If it is no image, or its mask or uncertainty has another shape.
    """
    noise = unit = header = None
    own: Any = None
    pixels = image
    if is_nddata(image):
        pixels, own = image.data, image.mask
        unit = None if image.unit is None else image.unit.to_string()
        noise = _noise_of(image.uncertainty)
        header = None if image.wcs is None else _header_of(image.wcs)
    elif is_dataarray(image):
        pixels, unit = image.values, str(image.attrs.get("units", "")) or None
    elif isinstance(image, np.ma.MaskedArray):
        pixels, own = image.data, np.ma.getmaskarray(image)
    pixels = np.asarray(pixels)
    if pixels.ndim not in (2, 3) or pixels.dtype.kind not in "uif" or 0 in pixels.shape:
        raise UsageError(
            f"an array of {pixels.dtype} of shape {pixels.shape} is no image; give numbers with two axes, "
            "(y, x), or three, (c, y, x)"
        )
    last = pixels.ndim == 3 and pixels.shape[2] in (3, 4) and pixels.shape[0] not in (3, 4)
    invalid = None
    for one in (own, mask):
        if one is not None and one is not np.ma.nomask:
            whole = np.asarray(one, bool) if np.ndim(one) else np.full(pixels.shape, bool(one))
            there = _as_first(_checked("mask", whole, pixels.shape), last)
            invalid = there if invalid is None else invalid | there
    if noise is not None:
        noise = noise[0], _as_first(_checked("uncertainty", noise[1], pixels.shape), last)
    pixels = _as_first(pixels, last)
    if pixels.dtype == np.float16:
        pixels = pixels.astype(np.float32)
    return GivenImage(pixels, invalid, noise, unit, header, last)


def is_nddata(image: Any) -> bool:
    """Whether an image is NDData of astropy or of a class made from it, without importing astropy."""
    return any(base.__name__ == "NDData" for base in type(image).__mro__)


def is_dataarray(image: Any) -> bool:
    """Whether an image is a DataArray of xarray, without importing xarray."""
    return any(base.__name__ == "DataArray" for base in type(image).__mro__)


def _as_first(pixels: npt.NDArray[Any], last: bool) -> npt.NDArray[Any]:
    return np.moveaxis(pixels, 2, 0) if last and pixels.ndim == 3 else pixels


def _checked(name: str, array: npt.NDArray[Any], shape: tuple[int, ...]) -> npt.NDArray[Any]:
    if array.shape != shape:
        raise UsageError(
            f"the {name} has shape {array.shape}, the image {shape}; give both the same"
        )
    return array


def _noise_of(uncertainty: Any) -> tuple[NoiseKind, npt.NDArray[Any]] | None:
    if uncertainty is None or uncertainty.array is None:
        return None
    kind = _NOISE.get(uncertainty.uncertainty_type)
    if kind is None:
        raise UsageError(
            f"an uncertainty of type {uncertainty.uncertainty_type!r} does not say how noisy the pixels are; "
            "give a StdDevUncertainty, a VarianceUncertainty or an InverseVariance"
        )
    return kind, np.asarray(uncertainty.array)


def _header_of(wcs: Any) -> Header | None:
    """The cards of a WCS; None for one that FITS cannot hold, which comes back as it is all the same."""
    if not hasattr(wcs, "to_header"):
        return None
    cards: Header = wcs.to_header(relax=True)
    return cards


def as_given(image: Any, given: GivenImage, result: Result, report: Callable[[], str]) -> Any:
    """Give a result the form of the image that it was made from.

    Returns
    -------
    restored
        Of the type of `image`, with the attributes ``residual``, ``uncertainty`` and ``report``; a DataArray
        has the first two as coordinates, and the text of the report in its ``attrs``.
    """
    values = _arranged(result.numpy(), given)
    residual = _arranged(result.numpy("residual"), given)
    uncertainty = None
    if "uncertainty" in result.arrays:
        uncertainty = _arranged(result.numpy("uncertainty"), given)
    restored: Any
    if is_dataarray(image):
        more = {"residual": residual, "uncertainty": uncertainty}
        return _as_dataarray(image, values, more, report())
    if is_nddata(image):
        from astropy.nddata import StdDevUncertainty

        parts = result.nddata()
        restored = type(image)(
            values,
            mask=_arranged(parts.mask, given),
            uncertainty=None if uncertainty is None else StdDevUncertainty(uncertainty),
            unit=image.unit,
            wcs=image.wcs if result.scale == 1 else parts.wcs,
            meta=image.meta,
        )
    elif isinstance(image, np.ma.MaskedArray):
        restored = np.ma.MaskedArray(values, _arranged(result.nddata().mask, given))
        restored.uncertainty = uncertainty
    else:
        restored = values.view(RestoredArray)
        restored.uncertainty = uncertainty
    restored.residual = residual
    restored.report = report
    return restored


def _as_dataarray(
    image: Any, values: npt.NDArray[Any], more: dict[str, npt.NDArray[Any] | None], report: str
) -> Any:
    """A DataArray with the dimensions, name and attributes of another, and the coordinates that still fit.

    The coordinates of an axis that was enlarged count other pixels, and are left out, and so is what was
    removed from an image that was enlarged.
    """
    sizes = dict(zip(image.dims, values.shape, strict=True))
    coords: dict[Any, Any] = {
        name: along
        for name, along in image.coords.items()
        if all(along.sizes[axis] == sizes[axis] for axis in along.dims)
    }
    for name, plane in more.items():
        if plane is not None and plane.shape == values.shape:
            coords[name] = (image.dims, plane)
    attrs = {**image.attrs, "report": report}
    return type(image)(values, coords, image.dims, name=image.name, attrs=attrs)


def _arranged(values: npt.NDArray[Any], given: GivenImage) -> npt.NDArray[Any]:
    return np.moveaxis(values, 0, 2) if given.channels_last else values
