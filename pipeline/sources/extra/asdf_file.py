"""The images of ASDF files, as Roman and JWST have them: arrays in a tree, with a GWCS.

The packages asdf and gwcs are the extra "asdf". The GWCS becomes a FITS WCS with SIP terms, and so it comes
through the pipeline into exports.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.array_source import ArraySource
from glassplate.pipeline.sources.source import Format, ImageInfo, Source, SourceSpec

# Names under which an image is taken without being asked for.
_MAIN = ("data", "sci")
# The bit DO_NOT_USE in the data quality of Roman and JWST. Their other bits say what was found, not that the
# pixel is bad.
_DO_NOT_USE = 1
# Pixels by which the FITS WCS may be off the GWCS without a warning.
_MOST_WCS_ERROR = 0.01
_MOST_DEPTH = 12
# FITS cards by the place in ``meta`` where Roman and JWST store their values.
_CARDS = {
    "TELESCOP": ("telescope",),
    "INSTRUME": ("instrument", "name"),
    "DETECTOR": ("instrument", "detector"),
    "FILTER": ("instrument", "optical_element"),
    "EXPTIME": ("exposure", "exposure_time"),
    "DATE-OBS": ("exposure", "start_time"),
}


@dataclass(frozen=True)
class _Image:
    """An array of two axes or more."""

    info: ImageInfo
    pixels: npt.NDArray[Any]
    beside: Mapping[Any, Any]
    """The part of the tree that it is in."""

    @property
    def key(self) -> str:
        """Its name in that part of the tree."""
        return self.info.name.rpartition(".")[2]


class AsdfReader:
    """ASDF files. An image is named by its place in the tree, ``roman.data``, or by its number."""

    name = "asdf"
    like: Format = "fits"

    def reads(self, start: bytes) -> bool:
        """Whether it begins with the first line of the standard."""
        return start.startswith(b"#ASDF ")

    def images(self, path: Path) -> tuple[list[ImageInfo], list[str]]:
        """List every array of two axes or more."""
        with collected_warnings(path) as complaints, _opened(path, path) as file:
            infos = [image.info for image in _images(file.tree)]
        return infos, complaints

    def open(self, spec: SourceSpec, path: Path) -> Source:
        """Open an array; its neighbour ``dq`` says which pixels are bad."""
        if spec.page is not None:
            raise UsageError(f"{spec.path}: --page is for TIFF, this is ASDF; use --hdu")
        with collected_warnings(spec.path) as complaints:
            file = _opened(path, spec.path)
            try:
                image = _find(spec, file.tree)
                return ArraySource(
                    spec,
                    image.info,
                    image.pixels,
                    like="fits",
                    metadata=_metadata(image, complaints),
                    invalid=_bad_pixels(image),
                    close=file.close,
                )
            except BaseException:
                file.close()
                raise


READER = AsdfReader()


def _opened(path: Path, named: Path) -> Any:
    try:
        import asdf
        import gwcs  # noqa: F401  # without it, the WCS is not read
    except ImportError as error:
        raise SourceError(
            f"{named}: is ASDF, which needs the packages asdf and gwcs; pip install 'glassplate[asdf]'"
        ) from error
    return asdf.open(path, memmap=True)


def _images(tree: Mapping[Any, Any]) -> Iterator[_Image]:
    """Every array of two axes or more, in the order of the file."""
    found = (one for one in _nodes(tree, "", 0) if len(getattr(one[1], "shape", ())) >= 2)
    for index, (name, node, beside) in enumerate(found):
        pixels, unit = np.asarray(getattr(node, "value", node)), getattr(node, "unit", None)
        reason = None
        if pixels.ndim > 3 or pixels.dtype.kind not in "uif" or 0 in pixels.shape:
            reason = f"an array of {pixels.dtype} of shape {pixels.shape}, not an image"
        info = ImageInfo(
            index=index,
            name=name,
            shape=tuple(int(length) for length in pixels.shape),
            dtype=pixels.dtype.name,
            unit=None if unit is None else _named(unit),
            restorable=reason is None,
            reason=reason,
        )
        yield _Image(info, pixels, beside)


def _nodes(
    tree: Mapping[Any, Any], prefix: str, depth: int
) -> Iterator[tuple[str, Any, Mapping[Any, Any]]]:
    """Name, value and mapping of everything in a tree that is no mapping itself."""
    if depth > _MOST_DEPTH:
        return  # a damaged tree may contain itself
    for key, node in tree.items():
        if isinstance(node, Mapping):
            yield from _nodes(node, f"{prefix}{key}.", depth + 1)
        else:
            yield f"{prefix}{key}", node, tree


def _named(unit: Any) -> str | None:
    """A unit as FITS writes it, or in words of its own where FITS does not know it."""
    try:
        return str(unit.to_string("fits")) or None
    except ValueError:
        return str(unit) or None


def _find(spec: SourceSpec, tree: Mapping[Any, Any]) -> _Image:
    """The image that is named, or the first that may be meant."""
    there = list(_images(tree))
    if spec.hdu is None:
        fitting = [one for one in there if one.info.restorable]
        if not fitting:
            raise SourceError(f"{spec.path}: its tree has no image to restore")
        return next((one for one in fitting if one.key.lower() in _MAIN), fitting[0])
    for one in there:
        if str(spec.hdu) in (str(one.info.index), one.info.name):
            if not one.info.restorable:
                raise SourceError(f"{spec.path}: {one.info.name}: {one.info.reason}")
            return one
    names = ", ".join(one.info.name for one in there) or "none"
    raise SourceError(f"{spec.path}: no image {spec.hdu}; there are {names}")


def _bad_pixels(image: _Image) -> npt.NDArray[Any] | None:
    """Where the data quality beside the image says that a pixel must not be used."""
    quality = np.asarray(image.beside.get("dq"))
    same = quality.shape == image.pixels.shape[-2:]
    if not same or quality.dtype.kind not in "ui" or image.key == "dq":
        return None
    bad: npt.NDArray[Any] = quality & quality.dtype.type(_DO_NOT_USE)
    return bad.astype(np.uint8)


def _metadata(image: _Image, complaints: list[str]) -> dict[str, Any]:
    """A FITS header of the image, and all of its ``meta`` that JSON can hold."""
    from astropy.io import fits

    info, meta = image.info, image.beside.get("meta")
    meta = meta if isinstance(meta, Mapping) else {}
    header = fits.Header([("SIMPLE", True), ("BITPIX", -32), ("NAXIS", len(info.shape))])
    for axis, length in enumerate(reversed(info.shape), 1):
        header[f"NAXIS{axis}"] = length
    if info.unit:
        header["BUNIT"] = info.unit
    for keyword, place in _CARDS.items():
        value = _at(meta, place)
        if value is not None:
            header[keyword] = value if isinstance(value, int | float) else str(value)
    sky, why = _sky(meta.get("wcs", image.beside.get("wcs")), info.shape)
    header.extend(sky, strip=True, update=True)
    text = header.tostring("\n", endcard=False, padding=False)
    cards = [[card.keyword, card.value, card.comment] for card in header.cards]
    warnings = [*complaints, *([why] if why else [])]
    found = {"header": text, "cards": cards, "hdu": 0, "name": "", "warnings": warnings}
    return {"fits": found, "asdf": {"array": info.name, "meta": _jsonable(meta, 0)}}


def _at(meta: Mapping[Any, Any], place: tuple[str, ...]) -> Any:
    node: Any = meta
    for key in place:
        node = node.get(key) if isinstance(node, Mapping) else None
    return node


def _sky(wcs: Any, shape: tuple[int, ...]) -> tuple[Any, str | None]:
    """A FITS header with the WCS, and what is wrong with it."""
    from astropy.io import fits

    if not hasattr(wcs, "to_fits_sip"):
        return fits.Header(), None
    box = wcs.bounding_box or ((-0.5, shape[-1] - 0.5), (-0.5, shape[-2] - 0.5))
    # a GWCS that is no image of the sky, such as that of a spectrum, raises several kinds of error
    try:
        header = wcs.to_fits_sip(bounding_box=box, max_pix_error=_MOST_WCS_ERROR)
    except Exception as error:
        return fits.Header(), f"its GWCS cannot be written as FITS: {error}"
    for keyword in ("NAXIS", "NAXIS1", "NAXIS2"):
        header.remove(keyword, ignore_missing=True)
    off = float(header.get("SIPMXERR", 0.0))
    if off > _MOST_WCS_ERROR:
        return header, f"its WCS in FITS is off the GWCS by up to {off:.2g} pixels"
    return header, None


def _jsonable(node: Any, depth: int) -> Any:
    """A part of the tree without arrays and other objects, which become their text."""
    if isinstance(node, Mapping):
        if depth > _MOST_DEPTH:
            return None
        inside = {str(key): value for key, value in node.items() if not _is_object(value)}
        return {key: _jsonable(value, depth + 1) for key, value in inside.items()}
    if isinstance(node, list | tuple):
        return [_jsonable(value, depth + 1) for value in node if not _is_object(value)]
    return node if node is None or isinstance(node, bool | int | float | str) else str(node)


def _is_object(node: Any) -> bool:
    """Whether a node is an array or a WCS, which have no place in JSON."""
    return bool(getattr(node, "shape", ())) or hasattr(node, "to_fits_sip")
