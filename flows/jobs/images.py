"""The images of a job: what its inputs stand for now, and what becomes of each."""

from __future__ import annotations

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from glassplate.flows.jobs.job import Job, JobInput
from glassplate.flows.jobs.matches import (
    STORE_SUFFIX,
    Match,
    matches_of,
    nothing_there,
    without_our_own,
)
from glassplate.flows.report.text import plural
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipe import Recipe, load_recipe
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.source import NOISE_KINDS, SourceSpec, noise_image


@dataclass(frozen=True)
class Image:
    """One image of a job."""

    spec: SourceSpec
    store: Path
    recipe: str | None
    overrides: tuple[str, ...]
    scale: int | None
    export: Literal["fits", "tif", "auto"] | None
    donor: Path | None = None
    """Earlier result from whose donor the tiles start; in a sequence, of its first image alone."""
    fault: str = ""
    """Why the job cannot give it a result of its own, on one line; empty where it can."""

    @property
    def part(self) -> str:
        """Which image of its file it is, as the job says it; empty where it says nothing."""
        if self.spec.hdu is not None:
            return str(self.spec.hdu)
        return "" if self.spec.page is None else f"page {self.spec.page}"

    @property
    def label(self) -> str:
        """The file's name and the image in it: ``m31.fits`` or ``m31.fits[SCI]``."""
        return self.spec.path.name + (f"[{self.part}]" if self.part else "")

    def load(self, default: str) -> tuple[str, Recipe]:
        """Name and settings of the recipe, `default` where the job names none."""
        name = self.recipe or default
        return name, load_recipe(name, self.overrides, scale=self.scale)

    def export_path(self, *, is_fits: bool) -> Path | None:
        """Where the export goes; None where none is wished."""
        if self.export is None:
            return None
        kind = ("fits" if is_fits else "tif") if self.export == "auto" else self.export
        return self.store.with_name(self.store.name.removesuffix(STORE_SUFFIX) + f".{kind}")


@dataclass(frozen=True)
class Found:
    """What the inputs of a job stand for now."""

    images: tuple[Image, ...]
    """In the order of the entries; with a `fault` where two would become one result."""
    left_out: tuple[Path, ...] = ()
    """Files that patterns match and glassplate has made: exports, and what lies within results."""


def find_images(job: Job) -> Found:
    """Find the images of a job, now.

    A path without wildcards that is not there is listed too: the job is to report it. A pattern may
    match nothing: tonight's images may not have come yet. A file that an entry names itself is left
    to that entry; of two patterns that match one image the later says how it is restored.

    Raises
    ------
    UsageError
        If an entry is a folder.
    """
    candidates: list[tuple[Image, JobInput, Match]] = []
    left_out: list[Path] = []
    for entry in job.inputs:
        matches, ours = without_our_own(matches_of(entry.path), job.output)
        left_out += ours
        candidates += [
            (_image(job, entry, match, alone=len(matches) == 1), entry, match) for match in matches
        ]
    named = {_place(match.path) for _, _, match in candidates if match.literal}
    order: dict[str, int] = {}
    chosen: dict[Any, Image] = {}
    for image, entry, match in candidates:
        place = _place(match.path)
        order.setdefault(place, len(order))
        if match.literal:
            chosen[image] = image
        elif place not in named:
            chosen[place, image.spec.hdu, image.spec.page, entry.name] = image
    images = sorted(chosen.values(), key=lambda image: order[_place(image.spec.path)])
    kept = {image.spec.path for image in images}
    gone = dict.fromkeys(path for path in left_out if path not in kept)
    return Found(tuple(_with_faults(images)), tuple(gone))


def images_of(job: Job) -> list[Image]:
    """The images of `find_images`."""
    return list(find_images(job).images)


def require_any(job: Job, found: Found) -> None:
    """Refuse a job without a single image that could be restored.

    Raises
    ------
    UsageError
        If there is none.
    """
    require_any_without_fault(found)
    if any(image.spec.path.exists() for image in found.images):
        return
    wished = [entry.path for entry in job.inputs[:3]]
    if found.left_out:
        raise UsageError(
            f"inputs {', '.join(wished)}: nothing but {plural(len(found.left_out), 'file')} that "
            f"glassplate made, such as {found.left_out[0]}; name one itself to restore it again"
        )
    raise UsageError(nothing_there(wished))


def require_any_without_fault(found: Found) -> None:
    """Refuse a job each of whose images has a fault.

    Raises
    ------
    UsageError
        With the fault of the first.
    """
    if found.images and all(image.fault for image in found.images):
        raise UsageError(found.images[0].fault)


def check_recipes(images: Iterable[Image]) -> None:
    """Load every recipe that is named, so that a wrong one is refused before anything runs.

    Raises
    ------
    UsageError
        If a recipe, key or value is unknown or impossible.
    """
    for name, overrides, scale in {(i.recipe, i.overrides, i.scale) for i in images}:
        # without a name the format decides, and what holds for one default holds for the other
        load_recipe(name or "astro-denoise", overrides, scale=scale)


def default_recipe(path: Path) -> str:
    """Name of the recipe for a file where none is named: by its format.

    Raises
    ------
    SourceError
        If the file cannot be read or is of no known format.
    """
    return "astro-denoise" if sniff_format(path) == "fits" else "archive-denoise"


def stem_of(path: Path) -> str:
    """The file's name without what says its format: ``m31`` of ``m31.fits.gz``."""
    name = path.name
    for packed in (".gz", ".bz2", ".fz"):
        name = name.removesuffix(packed)
    return Path(name).stem


def _image(job: Job, entry: JobInput, match: Match, *, alone: bool) -> Image:
    def wish(key: str) -> Any:
        return getattr(entry if key in entry.model_fields_set else job, key)

    # an entry that says how noisy its pixels are takes nothing of this from the job
    own = any(kind in entry.model_fields_set for kind in NOISE_KINDS)
    noise, noise_kind = noise_image(
        {kind: getattr(entry if own else job, kind) for kind in NOISE_KINDS}
    )
    name = entry.name or stem_of(match.path) + _suffix(job, entry)
    return Image(
        spec=SourceSpec(
            path=match.path,
            hdu=wish("hdu"),
            page=wish("page"),
            mask=wish("mask"),
            variance=noise,
            noise_kind=noise_kind,
            psf=wish("psf"),
            guide=wish("guide"),
            exposures=wish("exposures"),
            hints=wish("hints"),
            overlay=wish("overlay"),
        ),
        store=job.output / match.folder / f"{name}{STORE_SUFFIX}",
        recipe=wish("recipe"),
        overrides=job.set + entry.set,
        scale=wish("scale"),
        export=wish("export"),
        donor=wish("donor"),
        fault=""
        if entry.name is None or alone
        else f"inputs {entry.path}: the name {entry.name!r} is for one image, it matches several",
    )


def _suffix(job: Job, entry: JobInput) -> str:
    """What tells the results of entries apart that name one path and different images of it.

    It follows from the job alone, not from what lies on the disk: a result has the same name each
    night. An entry whose path no other names has none.
    """
    siblings = {
        (other.hdu, other.page) for other in job.inputs if _place(other.path) == _place(entry.path)
    }
    if len(siblings) < 2:
        return ""
    parts = [] if entry.hdu is None else [str(entry.hdu).replace("/", "_")]
    parts += [] if entry.page is None else [f"page{entry.page}"]
    return "".join(f"-{part}" for part in parts)


def _place(path: Path | str) -> str:
    """One text for all ways to write a path."""
    return os.path.abspath(path)


def _with_faults(images: list[Image]) -> Iterator[Image]:
    """Say which images cannot have a result of their own; the others are as good as ever."""
    owners: dict[Path, list[Image]] = defaultdict(list)
    for image in images:
        owners[image.store].append(image)
    sources = {image.spec.path.resolve() for image in images}
    for image in images:
        others = [other for other in owners[image.store] if other is not image]
        exports = [image.export_path(is_fits=is_fits) for is_fits in (True, False)]
        taken = [path for path in exports if path is not None and path.resolve() in sources]
        if image.fault:
            yield image
        elif others:
            yield replace(image, fault=_clash(image, others[0]))
        elif taken:
            fault = f"export {taken[0]} would overwrite an input; choose another output folder"
            yield replace(image, fault=fault)
        else:
            yield image


def _clash(image: Image, other: Image) -> str:
    """Why two images cannot have one result."""
    if _place(image.spec.path) == _place(other.spec.path) and image.part == other.part:
        both = f"input {image.spec.path} is given twice with different settings, and"
    else:
        both = f"inputs {_named(image)} and {_named(other)}"
    return (
        f"{both} would both become {image.store}; give one of them another name: "
        "inputs: [{path: ..., name: ...}]"
    )


def _named(image: Image) -> Path:
    """The path of a file with the image in it that is meant."""
    return image.spec.path.with_name(image.label)
