"""Find by name what a user did not give: the mask and the noise that belong to an image."""

from __future__ import annotations

from collections import ChainMap
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path

from glassplate.pipeline.companions.beside import (
    MASK_NAMES,
    Beside,
    Hdu,
    find_mask,
    find_noise,
    hdus_of,
    image_of_companion,
    is_companion,
)
from glassplate.pipeline.companions.detector_noise import detector_noise
from glassplate.pipeline.companions.flag_tables import Header, named_planes, table_of
from glassplate.pipeline.companions.sdss_mask import is_sdss_mask
from glassplate.pipeline.defects.infrared import find_infrared
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.fits.extensions import opened_file, resolved
from glassplate.pipeline.sources.flags import Flags
from glassplate.pipeline.sources.open_image import open_image
from glassplate.pipeline.sources.source import SourceSpec, split_extension


def with_companions(spec: SourceSpec, recipe: Recipe) -> SourceSpec:
    """The specification with what is found beside the image, and with the flags of its mask.

    Parameters
    ----------
    spec
        What is given, or what was found before: it is not looked for again.
    recipe
        Its section `companions` says what is looked for. A task that takes pixels as they are uses nothing
        that is not given.

    Raises
    ------
    SourceError
        If a file beside the image cannot be read.
    UsageError
        If the recipe names a flag that the mask does not have.
    """
    spec = _with_masks_of_exposures(_with_flags_of_given(resolved(spec), recipe), recipe)
    wants_mask, wants_noise = _wants_mask(spec, recipe), wants_noise_by_name(spec, recipe)
    if not (wants_mask or wants_noise):
        return spec
    found = sniff_format(spec.path)
    if found == "tiff" and wants_mask and spec.page != "all":
        return _with_infrared(spec)
    if found != "fits":
        return spec
    index = _index_of_image(spec)
    mask = _beside(spec.path, index, find_mask) if wants_mask else None
    noise = _beside(spec.path, index, find_noise) if wants_noise else None
    if mask is not None:
        spec = replace(
            spec, mask=mask.named, flags=_flags(mask.header, recipe), found=(*spec.found, "mask")
        )
    if noise is not None:
        spec = replace(
            spec, variance=noise.named, noise_kind=noise.kind, found=(*spec.found, "variance")
        )
    return spec


def _with_infrared(spec: SourceSpec) -> SourceSpec:
    """The specification with the infrared plane of a scan as its mask, if the file has one."""
    mask = find_infrared(spec.path, _index_of_image(spec))
    return spec if mask is None else replace(spec, mask=mask, found=(*spec.found, "mask"))


def companions_by_hdu(path: Path) -> dict[int, list[str]]:
    """What would be found by name for each image of a file, one line each, by the index of the HDU.

    A file beside it that cannot be read has a line that says so. Nothing is found in a file that cannot be
    read itself, of which its listing says why.
    """
    try:
        recipe, hdus = Recipe(), hdus_of(path)
    except SourceError:
        return {}
    lines: dict[int, list[str]] = {}
    for image in hdus:
        if not is_companion(image.name):
            try:
                lines[image.extension.index] = list(_found_lines(image, hdus, recipe))
            except SourceError as error:
                lines[image.extension.index] = [str(error)]
    return lines


def _found_lines(image: Hdu, hdus: list[Hdu], recipe: Recipe) -> Iterator[str]:
    mask, noise = find_mask(image, hdus), find_noise(image, hdus)
    if mask is not None:
        flags = _flags(ChainMap(dict(mask.header), dict(image.header)), recipe)
        reading = "bad where it is not 0" if flags is None else f"flags of {flags.table}"
        yield f"mask {mask.named.name}, {reading}"
    if noise is not None:
        yield f"{noise.kind} {noise.named.name}"
    elif (stated := detector_noise(image.header, image.unit)) is not None:
        yield f"gain and read noise: {stated.cards}"


def _with_masks_of_exposures(spec: SourceSpec, recipe: Recipe) -> SourceSpec:
    """The specification with the masks that are found beside the further exposures, if none is given."""
    wished = recipe.companions.find in ("all", "mask") and recipe.traits.measures
    if not wished or not spec.exposures or spec.exposure_masks:
        return spec
    masks = [_mask_of_exposure(spec, named) for named in spec.exposures]
    if not any(masks):
        return spec
    flags = tuple(None if one is None else _flags(one.header, recipe) for one in masks)
    return replace(
        spec,
        exposure_masks=tuple(None if one is None else one.named for one in masks),
        exposure_flags=flags,
        found=(*spec.found, "exposure_masks"),
    )


def _mask_of_exposure(spec: SourceSpec, named: Path) -> Beside | None:
    from glassplate.pipeline.sources.fits.hdus import find_hdu

    path, part = split_extension(named)
    try:
        if sniff_format(path) != "fits":
            return None
        with opened_file(path) as file:
            # without an extension of its own, an exposure has that of the image
            index = find_hdu(file, spec.hdu if part is None else part, path).index
    except SourceError as error:
        raise SourceError(f"exposure {error}") from error
    return _beside(path, index, find_mask)


def _beside(
    path: Path, index: int, find: Callable[[Hdu, Sequence[Hdu]], Beside | None]
) -> Beside | None:
    """What goes with an HDU of a file, with its own cards and then those of the image; None for nothing.

    Raises
    ------
    SourceError
        If a file beside the image cannot be read.
    """
    hdus = hdus_of(path)  # none of another format than FITS
    image = next((one for one in hdus if one.extension.index == index), None)
    if image is None or is_companion(image.name):
        return None
    try:
        found = find(image, hdus)
    except SourceError as error:
        raise SourceError(
            f"{error}; it goes with {path} by its name: set companions.find=none to do without"
        ) from error
    if found is None:
        return None
    # the mask may not say whose it is, but the image does
    return replace(found, header=ChainMap(dict(found.header), dict(image.header)))


def _wants_mask(spec: SourceSpec, recipe: Recipe) -> bool:
    wished = recipe.companions.find in ("all", "mask")
    return wished and recipe.traits.measures and spec.mask is None and spec.overlay is None


def wants_noise_by_name(spec: SourceSpec, recipe: Recipe) -> bool:
    """Whether the noise is looked for by name: nobody states it, and the image is a single exposure."""
    noise = recipe.noise
    stated = noise.model != "auto" or any(
        one is not None for one in (noise.sigma, noise.gain, noise.read_noise)
    )
    return (
        recipe.companions.find in ("all", "noise")
        and recipe.traits.measures
        and "variance" in recipe.traits.takes
        and not stated
        and spec.variance is None
        and not spec.exposures
        and spec.overlay is None
    )


def _index_of_image(spec: SourceSpec) -> int:
    """Index of the HDU to restore."""
    source = open_image(spec)
    source.close()
    return source.info.index


def _with_flags_of_given(spec: SourceSpec, recipe: Recipe) -> SourceSpec:
    """The specification with the flags of a mask that is given and is one of an observatory.

    Any other mask is bad where it is not zero, unless the recipe says which flags are bad.
    """
    if "mask" not in spec.found and spec.flags is None:
        spec = replace(spec, flags=_flags_of_given(spec.mask, recipe))
    if spec.exposure_masks and not spec.exposure_flags:
        flags = tuple(_flags_of_given(mask, recipe) for mask in spec.exposure_masks)
        spec = replace(spec, exposure_flags=flags)
    return spec


def _flags_of_given(mask: Path | None, recipe: Recipe) -> Flags | None:
    if mask is None:
        return None
    path, part = split_extension(mask)
    header = _header_of_mask(path, part) if path.is_file() else None
    return _flags(header, recipe)


def _header_of_mask(path: Path, part: int | str | None) -> Header | None:
    """Cards of a given mask that has the name of an observatory's; None for any other."""
    if is_sdss_mask(path):
        return {"ORIGIN": "SDSS"}
    hdus = hdus_of(path)
    for one in hdus:
        extension = one.extension
        meant = part in (None, extension.index, extension.label) or (
            isinstance(part, str) and extension.is_called(part)
        )
        by_name = one.name.upper() in MASK_NAMES or image_of_companion(path) is not None
        if meant and (by_name or named_planes(one.header)):
            return one.header
    return None


def _flags(header: Header | None, recipe: Recipe) -> Flags | None:
    """How a mask is read; None for an unknown one, which is bad where it is not zero.

    Parameters
    ----------
    header
        Cards by which its observatory is known; None for a mask of nobody's.
    recipe
        May say itself which flags are bad.
    """
    table = None if header is None else table_of(header)
    if recipe.companions.reads_flags:
        return recipe.companions.flags(table)
    return None if table is None else table.flags()
