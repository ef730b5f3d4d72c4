"""The images of a job: which files its inputs match now, and how each of them is restored."""

from __future__ import annotations

import dataclasses
import json
import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from glassplate.flows.jobs.companion_patterns import file_for
from glassplate.flows.jobs.input_files import (
    STORE_SUFFIX,
    Match,
    find_matches,
    leave_out_own_files,
    no_such_file,
)
from glassplate.flows.jobs.job import ImageSettings, Job, JobInput
from glassplate.flows.report.text import plural
from glassplate.pipeline.companions.beside import image_of_companion
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.source import NOISE_KINDS, SourceSpec, noise_image

# Settings of a job that are fields of a SourceSpec; which of the images of the noise is given needs a look.
SPEC_SETTINGS = (
    {field.name for field in dataclasses.fields(SourceSpec)} & ImageSettings.model_fields.keys()
) - set(NOISE_KINDS)


@dataclass(frozen=True)
class Image:
    """One image of a job, and how it is restored."""

    spec: SourceSpec
    store: Path
    recipe: str | None
    overrides: tuple[str, ...]
    scale: int | None
    export: Literal["fits", "tif", "auto"] | None
    donor: Path | None = None
    """Earlier result from whose donor the tiles start; in a sequence, the first image alone uses it."""
    fault: str = ""
    """Why the job cannot give the image a result of its own, on one line; empty if it can."""

    @property
    def part(self) -> str:
        """The HDU or page that the job names; empty if it names none."""
        if self.spec.hdu is not None:
            return str(self.spec.hdu)
        return "" if self.spec.page is None else f"page {self.spec.page}"

    @property
    def label(self) -> str:
        """The file's name with the image in it: ``m31.fits`` or ``m31.fits[SCI]``."""
        return self.spec.path.name + (f"[{self.part}]" if self.part else "")

    def load_recipe(self, default: str) -> tuple[str, Recipe]:
        """Return the recipe's name and settings; `default` is the name if the job gives none."""
        name = self.recipe or default
        return name, load_recipe(name, self.overrides, scale=self.scale)

    def export_path(self, *, is_fits: bool) -> Path | None:
        """Return the path of the export; None if none is requested."""
        if self.export is None:
            return None
        kind = ("fits" if is_fits else "tif") if self.export == "auto" else self.export
        return self.store.with_name(self.store.name.removesuffix(STORE_SUFFIX) + f".{kind}")


@dataclass(frozen=True)
class FoundImages:
    """What the inputs of a job match now."""

    images: tuple[Image, ...]
    """In the order of the inputs. Two that would be written to one result have a `fault`."""
    left_out: tuple[Path, ...] = ()
    """Files that patterns match and glassplate has written: exports, and files within results."""
    companions: tuple[Path, ...] = ()
    """Files that patterns match and that are the masks or the noise of other images that they match."""


def find_images(job: Job) -> FoundImages:
    """Find the images of a job, now.

    A path without wildcards is an image even if no file exists, and the job reports it. A pattern may
    match nothing, because tonight's images may not have arrived yet. A file that an entry names
    literally is restored as that entry says; if two patterns match one image, the later one decides. A
    file that patterns match and that is the mask or the noise of another one, by the names of
    observatories, is no image.

    Raises
    ------
    UsageError
        If an entry is a folder.
    """
    candidates: list[tuple[Image, JobInput, Match]] = []
    left_out: list[Path] = []
    for entry in job.inputs:
        matches, own = leave_out_own_files(find_matches(entry.path), job.output)
        left_out += own
        alone = len(matches) == 1
        candidates += [(_image(job, entry, match, alone=alone), entry, match) for match in matches]
    literal = {_normalised(match.path) for _, _, match in candidates if match.literal}
    order: dict[str, int] = {}
    chosen: dict[Any, Image] = {}
    for image, entry, match in candidates:
        path = _normalised(match.path)
        order.setdefault(path, len(order))
        if match.literal:
            chosen[image] = image
        elif path not in literal:
            chosen[path, image.spec.hdu, image.spec.page, entry.name] = image
    images = sorted(chosen.values(), key=lambda image: order[_normalised(image.spec.path)])
    kept = {image.spec.path for image in images}
    unused = dict.fromkeys(path for path in left_out if path not in kept)
    companions = {
        path for path in kept - {Path(one) for one in literal} if image_of_companion(path) in kept
    }
    images = [image for image in images if image.spec.path not in companions]
    return FoundImages(tuple(_with_faults(images)), tuple(unused), tuple(sorted(companions)))


def refuse_empty_job(job: Job, found: FoundImages) -> None:
    """Refuse a job without a single image that could be restored.

    Raises
    ------
    UsageError
        If no image is found, or `refuse_faulty_job` refuses the job.
    """
    refuse_faulty_job(found)
    if any(image.spec.path.exists() for image in found.images):
        return
    patterns = [entry.path for entry in job.inputs[:3]]
    if found.left_out:
        raise UsageError(
            f"inputs {', '.join(patterns)}: nothing but {plural(len(found.left_out), 'file')} that "
            f"glassplate made, such as {found.left_out[0]}; name one itself to restore it again"
        )
    raise UsageError(no_such_file(patterns))


def refuse_faulty_job(found: FoundImages) -> None:
    """Refuse a job all of whose images have a fault.

    Raises
    ------
    UsageError
        With the fault of the first image.
    """
    if found.images and all(image.fault for image in found.images):
        raise UsageError(found.images[0].fault)


def check_recipes(images: Iterable[Image]) -> None:
    """Load every recipe of the images, so that an invalid one is refused before anything runs.

    Raises
    ------
    UsageError
        If a recipe, key or value is invalid.
    """
    for name, overrides, scale in {(i.recipe, i.overrides, i.scale) for i in images}:
        # the format decides if no recipe is named; overrides that suit one default suit the other
        load_recipe(name or "astro-denoise", overrides, scale=scale)


def default_recipe(path: Path) -> str:
    """Return the name of the recipe for a file's format.

    Raises
    ------
    SourceError
        If the file cannot be read or its format is unknown.
    """
    return "astro-denoise" if sniff_format(path) == "fits" else "archive-denoise"


def flag_overrides(bits: object, codes: object) -> tuple[str, ...]:
    """The overrides of a recipe for the flags and the codes of bad pixels, where they are given."""
    given = {"dq_bits": bits, "dq_codes": codes}
    return tuple(
        f"companions.{key}={value if isinstance(value, str) else json.dumps(value)}"
        for key, value in given.items()
        if value is not None
    )


def stem_of(path: Path) -> str:
    """Return the file's name without the suffixes of its format: ``m31`` for ``m31.fits.gz``."""
    name = path.name
    for compressed in (".gz", ".bz2", ".fz"):
        name = name.removesuffix(compressed)
    return Path(name).stem


def _image(job: Job, entry: JobInput, match: Match, *, alone: bool) -> Image:
    def setting(key: str) -> Any:
        return getattr(entry if key in entry.model_fields_set else job, key)

    def of_image(value: Any) -> Any:
        """The setting for this image, where it is a pattern."""
        return (
            file_for(value, match.path, stem_of(match.path)) if isinstance(value, Path) else value
        )

    # an entry that gives one image of the noise takes none of the others from the job
    owner = entry if entry.model_fields_set & set(NOISE_KINDS) else job
    noise, noise_kind = noise_image({kind: of_image(getattr(owner, kind)) for kind in NOISE_KINDS})
    name = entry.name or stem_of(match.path) + _suffix(job, entry)
    return Image(
        spec=SourceSpec(
            path=match.path,
            variance=noise,
            noise_kind=noise_kind,
            **{key: of_image(setting(key)) for key in SPEC_SETTINGS},
        ),
        store=job.output / match.folder / f"{name}{STORE_SUFFIX}",
        recipe=setting("recipe"),
        overrides=job.set + entry.set + _flags_of(job, entry),
        scale=setting("scale"),
        export=setting("export"),
        donor=setting("donor"),
        fault=""
        if entry.name is None or alone
        else f"inputs {entry.path}: the name {entry.name!r} is for one image, it matches several",
    )


def _flags_of(job: Job, entry: JobInput) -> tuple[str, ...]:
    """Overrides for the flags of bad pixels; an entry that gives flags takes no codes from the job."""
    owner = entry if entry.model_fields_set & {"dq_bits", "dq_codes"} else job
    return flag_overrides(owner.dq_bits, owner.dq_codes)


def _suffix(job: Job, entry: JobInput) -> str:
    """Suffix of a result's name that tells apart the entries for different images of one path.

    It follows from the job alone and not from files on disk, so that a result has the same name each
    night. It is empty if no other entry has the same path.
    """
    path = _normalised(entry.path)
    parts = {(other.hdu, other.page) for other in job.inputs if _normalised(other.path) == path}
    if len(parts) < 2:
        return ""
    suffix = "" if entry.hdu is None else "-" + str(entry.hdu).replace("/", "_")
    return suffix + ("" if entry.page is None else f"-page{entry.page}")


def _normalised(path: Path | str) -> str:
    """The same text for every way to write a path."""
    return os.path.abspath(path)


def _with_faults(images: list[Image]) -> Iterator[Image]:
    """Add a fault to each image that cannot have a result of its own."""
    by_store: dict[Path, list[Image]] = defaultdict(list)
    for image in images:
        by_store[image.store].append(image)
    sources = {image.spec.path.resolve() for image in images}
    for image in images:
        others = [other for other in by_store[image.store] if other is not image]
        exports = [image.export_path(is_fits=is_fits) for is_fits in (True, False)]
        overwritten = [path for path in exports if path is not None and path.resolve() in sources]
        if image.fault:
            yield image
        elif others:
            yield replace(image, fault=_clash(image, others[0]))
        elif overwritten:
            fault = (
                f"export {overwritten[0]} would overwrite an input; choose another output folder"
            )
            yield replace(image, fault=fault)
        else:
            yield image


def _clash(image: Image, other: Image) -> str:
    """Message for two images that would be written to one result."""
    same_path = _normalised(image.spec.path) == _normalised(other.spec.path)
    if same_path and image.part == other.part:
        both = f"input {image.spec.path} is given twice with different settings, and"
    else:
        both = f"inputs {_labelled_path(image)} and {_labelled_path(other)}"
    return (
        f"{both} would both become {image.store}; give one of them another name: "
        "inputs: [{path: ..., name: ...}]"
    )


def _labelled_path(image: Image) -> Path:
    return image.spec.path.with_name(image.label)
