"""The images of a job: which files its inputs match now, and how each of them is restored."""

from __future__ import annotations

import dataclasses
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from glassplate.flows.jobs.companion_patterns import file_for
from glassplate.flows.jobs.flags import flags_of
from glassplate.flows.jobs.input_files import (
    STORE_SUFFIX,
    Match,
    find_matches,
    leave_out_own_files,
    no_such_file,
)
from glassplate.flows.jobs.job import ImageSettings, Job, JobInput
from glassplate.flows.jobs.result_names import name_of_hdu, normalised, stem_of, suffix_of
from glassplate.flows.report.text import plural
from glassplate.pipeline.companions.beside import image_of_companion
from glassplate.pipeline.errors import GlassplateError, UsageError
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.sources.file_format import holds_measurements
from glassplate.pipeline.sources.fits.chosen_hdus import chosen_hdus, means_all, means_several
from glassplate.pipeline.sources.source import NOISE_KINDS, SourceSpec, noise_image
from glassplate.pipeline.text import one_line

# Settings of a job that are fields of a SourceSpec, apart from those that need a look: which image of the
# noise is given, and which HDUs a pattern means.
SPEC_SETTINGS = (
    {field.name for field in dataclasses.fields(SourceSpec)} & ImageSettings.model_fields.keys()
) - {*NOISE_KINDS, "hdu"}


@dataclass(frozen=True)
class Image:
    """One image of a job, and how it is restored."""

    spec: SourceSpec
    store: Path
    recipe: str | None
    overrides: tuple[str, ...]
    scale: int | None
    export: Literal["fits", "tif", "auto"] | None
    joint: Path | None = None
    """FITS file to which this image and others of its file are exported together, when all have ended."""
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
        """Return the path of the image's own export; None if none is requested."""
        if self.export is None or self.joint is not None:
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
        candidates += [
            (image, entry, match)
            for match in matches
            for image in _images(job, entry, match, alone=alone)
        ]
    literal = {normalised(match.path) for _, _, match in candidates if match.literal}
    order: dict[str, int] = {}
    chosen: dict[Any, Image] = {}
    for image, entry, match in candidates:
        path = normalised(match.path)
        order.setdefault(path, len(order))
        if match.literal:
            chosen[image] = image
        elif path not in literal:
            chosen[path, image.spec.hdu, image.spec.page, entry.name] = image
    images = sorted(chosen.values(), key=lambda image: order[normalised(image.spec.path)])
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
    return "astro-denoise" if holds_measurements(path) else "archive-denoise"


def _images(job: Job, entry: JobInput, match: Match, *, alone: bool) -> list[Image]:
    """The images of one file: several where the entry chooses several of its HDUs."""
    image = _image(job, entry, match, alone=alone)
    wanted = _setting(job, entry, "hdu")
    if not means_several(wanted):
        return [replace(image, spec=replace(image.spec, hdu=wanted))]
    try:
        hdus = chosen_hdus(match.path, wanted)
    except GlassplateError as error:
        return [replace(image, fault=image.fault or one_line(error))]
    target = image.export_path(is_fits=True)
    joint = target if target is not None and target.suffix == ".fits" else None
    # the names of HDUs tell their results apart, so these need no suffix for the entry
    stem = entry.name or stem_of(match.path)
    parts = [
        replace(
            image,
            spec=replace(image.spec, hdu=hdu),
            store=image.store.with_name(f"{stem}-{name_of_hdu(hdu)}{STORE_SUFFIX}"),
            joint=joint,
        )
        for hdu in hdus
    ]
    if means_all(wanted) and len(parts) == 1 and not parts[0].store.exists():
        # an earlier version named this result after its HDU, and such a one is kept and resumed
        only = image.store.with_name(f"{stem}{STORE_SUFFIX}")
        return [replace(parts[0], store=only, joint=None)]
    return parts


def _setting(job: Job, entry: JobInput, key: str) -> Any:
    return getattr(entry if key in entry.model_fields_set else job, key)


def _image(job: Job, entry: JobInput, match: Match, *, alone: bool) -> Image:
    """One file as an image, without the HDU."""

    def setting(key: str) -> Any:
        return _setting(job, entry, key)

    def of_image(value: Any) -> Any:
        """The setting for this image, where it is a pattern."""
        return (
            file_for(value, match.path, stem_of(match.path)) if isinstance(value, Path) else value
        )

    # an entry that gives one image of the noise takes none of the others from the job
    owner = entry if entry.model_fields_set & set(NOISE_KINDS) else job
    noise, noise_kind = noise_image({kind: of_image(getattr(owner, kind)) for kind in NOISE_KINDS})
    name = entry.name or stem_of(match.path) + suffix_of(job, entry)
    return Image(
        spec=SourceSpec(
            path=match.path,
            variance=noise,
            noise_kind=noise_kind,
            **{key: of_image(setting(key)) for key in SPEC_SETTINGS},
        ),
        store=job.output / match.folder / f"{name}{STORE_SUFFIX}",
        recipe=setting("recipe"),
        overrides=job.set + entry.set + flags_of(job, entry),
        scale=setting("scale"),
        export=setting("export"),
        donor=setting("donor"),
        fault=""
        if entry.name is None or alone
        else f"inputs {entry.path}: the name {entry.name!r} is for one image, it matches several",
    )


def _with_faults(images: list[Image]) -> Iterator[Image]:
    """Add a fault to each image that cannot have a result of its own."""
    by_store: dict[Path, list[Image]] = defaultdict(list)
    for image in images:
        by_store[image.store].append(image)
    sources = {image.spec.path.resolve() for image in images}
    for image in images:
        others = [other for other in by_store[image.store] if other is not image]
        exports = [image.export_path(is_fits=is_fits) for is_fits in (True, False)]
        exports.append(image.joint)
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
    same_path = normalised(image.spec.path) == normalised(other.spec.path)
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
