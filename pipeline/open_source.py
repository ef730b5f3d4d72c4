"""Opening a source: which format a file is, its image with mask and variance, what else it holds.

The formats are imported when one is met: tifffile and astropy take half a second each.
"""

from __future__ import annotations

import atexit
import threading
from collections import OrderedDict
from collections.abc import Callable
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any, Literal

from glassplate.pipeline.companions.colour_hints import HintedSource, check_hinted
from glassplate.pipeline.companions.exposure_shift import whole_shift
from glassplate.pipeline.companions.exposures import ExposedSource
from glassplate.pipeline.companions.watermark import BaredSource, check_overlaid
from glassplate.pipeline.defects.cosmic_rays import InspectedSource
from glassplate.pipeline.defects.wild_pixels import WildSource
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.alpha import has_alpha, without_alpha
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.source import (
    MOST_JOINT_PLANES,
    Format,
    Source,
    SourceSpec,
    split_extension,
)
from glassplate.pipeline.sources.units import scaled
from glassplate.pipeline.sources.unpack import (
    forget_unpacked,
    unpacked,
    unpacked_for_a_while,
)
from glassplate.pipeline.sources.unreadable import OPEN_S, answered_within, refused
from glassplate.pipeline.sources.wrapped import ForeignSource, JoinedSource

__all__ = [
    "cached_source",
    "check_source",
    "close_cached_sources",
    "describe",
    "forget_unpacked",
    "open_named",
    "open_source",
    "sniff_format",
]


_ROLES: dict[str, tuple[Callable[[Source, Source], None], Callable[[Source, Source], Source]]] = {
    "hints": (check_hinted, HintedSource),
    "overlay": (check_overlaid, BaredSource),
}

# Powers of the image's unit in which its companions are given.
_POWERS = {"variance": 2, "sigma": 1, "weight": -2}


def open_source(spec: SourceSpec) -> Source:
    """Open the image of `spec`, with its mask and variance where there are any, its defects found.

    Further exposures are joined to it once the plan has said how.

    Raises
    ------
    SourceError
        If the file is missing, empty, truncated, of no known format, or has no image that can be
        restored, or the mask or variance is of another shape.
    UsageError
        If an HDU of a TIFF or a page of a FITS file is asked for.
    CapacityError
        If there is no room to unpack a packed file.
    """
    source = _without_wild(_with_companions(spec), spec, 0)
    if spec.overlay is not None:
        source = _with_another(source, spec.overlay, "overlay")
    if spec.combination is not None:
        source = ExposedSource(source, open_exposures(spec, source), spec.combination)
    if spec.detector is not None:
        source = InspectedSource(source, spec.detector)
    return source if spec.hints is None else _with_another(source, spec.hints, "hints")


def _with_another(source: Source, named: Path, role: Literal["hints", "overlay"]) -> Source:
    """A source with its colour hints, or without what was laid over it; closed where that cannot be."""
    check, wrapper = _ROLES[role]
    opened = [source]
    try:
        opened.append(open_named(named, role))
        check(*opened)
    except BaseException:
        for one in opened:
            one.close()
        raise
    return wrapper(*opened)


def open_exposures(spec: SourceSpec, first: Source) -> list[Source]:
    """Open the further exposures of `spec`: the same extension or page as of the first, unless named.

    Raises
    ------
    SourceError, UsageError, CapacityError
        As `open_source`, or if one has another number of channels; then `first` is closed, too.
    """
    opened: list[Source] = []
    try:
        for named in spec.exposures:
            one = open_named(named, "exposure", SourceSpec(spec.path, spec.hdu, spec.page))
            opened.append(_without_wild(scaled(one, spec.exponent), spec, len(opened) + 1))
            if opened[-1].shape[0] != first.shape[0]:
                raise SourceError(
                    f"exposure {named}: {opened[-1].shape[0]} channels, {spec.path} has "
                    f"{first.shape[0]}; all exposures must have the same"
                )
    except BaseException:
        for source in (first, *opened):
            source.close()
        raise
    return opened


def check_source(spec: SourceSpec) -> None:
    """Refuse what `open_source` would, and exposures that cannot be laid over the first; reads no pixel.

    Raises
    ------
    SourceError, UsageError, CapacityError
        As `open_source` and `whole_shift`.
    """
    source = open_source(replace(spec, combination=None, limits=(), detector=None))
    others = open_exposures(spec, source)
    try:
        for other in others:
            whole_shift(source, other)
    finally:
        for opened in (source, *others):
            opened.close()


def _without_wild(source: Source, spec: SourceSpec, place: int) -> Source:
    """A source without its wild pixels; `place` counts the exposures, 0 is the image itself."""
    limits = spec.limits[place] if spec.limits else None
    return source if limits is None else WildSource(source, limits)


def _with_companions(spec: SourceSpec) -> Source:
    source = scaled(without_alpha(_open_image(spec)), spec.exponent)
    if spec.mask is None and spec.variance is None and spec.guide is None:
        return source
    companions: list[Source | None] = []
    try:
        roles = ((spec.mask, "mask"), (spec.variance, spec.noise_kind), (spec.guide, "guide"))
        for named, role in roles:
            one = None if named is None else _open_companion(named, role, source)
            power = _POWERS.get(role, 0) * spec.exponent
            companions.append(None if one is None else scaled(one, power))
    except BaseException:
        for opened in (source, *companions):
            if opened is not None:
                opened.close()
        raise
    mask, variance, guide = companions
    kind = spec.noise_kind
    return JoinedSource(source, mask=mask, variance=variance, guide=guide, kind=kind)


def _open_image(spec: SourceSpec, *, bilevel: bool = False) -> Source:
    """Open the image of `spec` without its mask and variance.

    `bilevel` lets 1-bit images pass, which serve as masks but cannot be restored.
    """
    found = sniff_format(spec.path)
    path = unpacked(spec.path)
    with refused(spec.path):
        return ForeignSource(
            answered_within(OPEN_S, spec.path, lambda: _opened_as(found, spec, path, bilevel))
        )


def _opened_as(found: Format, spec: SourceSpec, path: Path, bilevel: bool) -> Source:
    """Open a plain file of a known format."""
    if found == "fits":
        from glassplate.pipeline.sources.fits.image import FitsSource

        return FitsSource(spec, path)
    if found == "tiff" and spec.page == "all":
        from glassplate.pipeline.sources.tiff.cube import PagesSource

        return PagesSource(spec, path)
    if found == "tiff":
        from glassplate.pipeline.sources.tiff.image import TiffSource

        return TiffSource(spec, path, bilevel=bilevel)
    from glassplate.pipeline.sources.png_jpeg import RasterSource

    return RasterSource(spec, path, found, bilevel=bilevel)


def open_named(named: Path, role: str, like: SourceSpec | None = None) -> Source:
    """Open an image that goes with another, which may be named with its extension: ``file.fits[DQ]``.

    Parameters
    ----------
    named
        The file.
    role
        What it is, "mask" for example: the first word of the message where it cannot be read.
    like
        Whose extension or page to take where `named` names none.

    Raises
    ------
    SourceError, UsageError, CapacityError
        As `open_source`.
    """
    path, part = split_extension(named)
    try:
        spec = SourceSpec(path) if like is None or part is not None else replace(like, path=path)
        if isinstance(part, int) and sniff_format(path) == "tiff":
            spec = replace(spec, page=part)
        elif part is not None:
            spec = replace(spec, hdu=part)
        source = _open_image(spec, bilevel=role == "mask")
        # of hints and overlays alpha says where there is something
        return without_alpha(source) if role in ("exposure", "guide") else source
    except SourceError as error:
        raise SourceError(f"{role} {error}") from error


def _open_companion(named: Path, role: str, source: Source) -> Source:
    companion = open_named(named, role)
    if has_alpha(companion):
        companion.close()
        raise SourceError(f"{role} {named}: has an alpha channel; save it without")
    planes = range(1, MOST_JOINT_PLANES + 1) if role == "guide" else (1, source.shape[0])
    if companion.shape[0] not in planes or companion.shape[1:] != source.shape[1:]:
        companion.close()
        raise SourceError(
            f"{role} {named}: shape {companion.shape} does not fit that of "
            f"{source.spec.path}, {source.shape}; it must be on the same grid"
        )
    return companion


def describe(path: Path) -> dict[str, Any]:
    """What a file holds, as `glassplate inspect --json` prints it.

    Returns
    -------
    document
        ``kind``, ``path``, ``format``, ``bytes``, ``images`` (fields of `ImageInfo`) and
        ``warnings``; an image that cannot be restored says why in ``reason``.

    Raises
    ------
    SourceError
        If the file as a whole cannot be read.
    """
    found = sniff_format(path)
    with unpacked_for_a_while(path) as plain:
        if found == "fits":
            from glassplate.pipeline.sources.fits.image import fits_images as images_of
        elif found == "tiff":
            from glassplate.pipeline.sources.tiff.pages import tiff_images as images_of
        else:
            from glassplate.pipeline.sources.png_jpeg import raster_images as images_of
        try:
            with refused(path):
                images, complaints = answered_within(OPEN_S, path, lambda: images_of(plain))
        except SourceError as error:
            raise SourceError(str(error).replace(str(plain), str(path))) from error
    return {
        "kind": "source",
        "path": str(path),
        "format": found,
        "bytes": path.stat().st_size,
        "images": [asdict(image) for image in images],
        "warnings": complaints,
    }


# Sources that one thread keeps open: the image it restores, and the one before, since the tasks of
# two images may interleave on a worker.
_MOST_OPEN = 2

# For each thread its own: an open source has a position in a file and must not be shared.
_opened = threading.local()


class _OpenSources(OrderedDict[Any, Source]):
    """Open sources of one thread, closed when the thread ends."""

    def __del__(self) -> None:
        for source in self.values():
            source.close()


def cached_source(spec: SourceSpec) -> Source:
    """The source of `spec`, opened once in each worker thread; opened anew when a file changed.

    Raises
    ------
    SourceError
        As `open_source`.
    """
    held: _OpenSources = _opened.__dict__.setdefault("sources", _OpenSources())
    key = (spec, *(_identity(path) for path in _files(spec)))
    if key in held:
        held.move_to_end(key)
        return held[key]
    source = open_source(spec)
    while len(held) >= _MOST_OPEN:
        held.popitem(last=False)[1].close()
    held[key] = source
    return source


def _files(spec: SourceSpec) -> tuple[Path | None, ...]:
    companions = (spec.mask, spec.variance, spec.guide, spec.hints, spec.overlay)
    return (spec.path, *companions, *spec.exposures)


def close_cached_sources() -> None:
    """Close what `cached_source` keeps open in this thread."""
    for source in _opened.__dict__.pop("sources", {}).values():
        source.close()


# while the modules that close files still exist
atexit.register(close_cached_sources)


def _identity(named: Path | None) -> tuple[int, int] | None:
    if named is None:
        return None
    path, _ = split_extension(named)
    try:
        status = path.stat()
    except OSError as error:
        raise SourceError(f"{path}: {(error.strerror or 'cannot be read').lower()}") from error
    return status.st_size, status.st_mtime_ns
