"""The images of a job: which files its inputs match now, and which of them have a result of their own."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.images_of_file import FileSettings, images_of_file
from glassplate.flows.jobs.inputs.facts import KnownFacts
from glassplate.flows.jobs.inputs.input_files import (
    Chosen,
    Match,
    Matches,
    find_matches,
    is_record,
    leave_out_own_files,
    no_such_file,
)
from glassplate.flows.jobs.inputs.lists import rows_of
from glassplate.flows.jobs.job import Job, JobInput, entry_of_list
from glassplate.flows.jobs.result_names import normalised
from glassplate.flows.report.text import plural
from glassplate.pipeline.companions.beside import image_of_companion
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.file_format import holds_measurements

__all__ = ["FoundImages", "Image", "find_images"]


@dataclass(frozen=True)
class FoundImages:
    """What the inputs of a job match now."""

    images: tuple[Image, ...]
    """In the order of the inputs. Two that would be written to one result have a `fault`."""
    left_out: tuple[Path, ...] = ()
    """Files that patterns match and glassplate has written: exports, and files within results."""
    companions: tuple[Path, ...] = ()
    """Files that patterns match and that are the masks or the noise of other images that they match."""
    others: tuple[Path, ...] = ()
    """Files in folders of the inputs whose suffix is that of no image."""


def find_images(job: Job, facts: KnownFacts | None = None) -> FoundImages:
    """Find the images of a job, now.

    A path without wildcards is an image even if no file exists, and the job reports it. A pattern may
    match nothing, because tonight's images may not have arrived yet. A file that an entry names
    literally is restored as that entry says; if two patterns match one image, the later one decides. A
    file that patterns match and that is the mask or the noise of another one, by the names of
    observatories, is no image.

    Parameters
    ----------
    job
        The job.
    facts
        What is known of the images; None: nothing.

    Raises
    ------
    UsageError
        If an entry is a result, or a list cannot be read.
    """
    settings = FileSettings(job, facts or KnownFacts())
    candidates: list[tuple[Image, JobInput, Match]] = []
    left_out: list[Path] = []
    others: list[Path] = []
    entries = [one for entry in job.inputs for one in _expanded(entry)]
    names = settings.names_of(entries)
    for entry in entries:
        found = _matches(job, entry)
        matches, own = leave_out_own_files(found.files, job.output)
        left_out += own
        others += [path for path in found.others if not is_record(path, job.output)]
        alone = len(matches) == 1
        candidates += [
            (image, entry, match)
            for match in matches
            for image in images_of_file(settings, entry, match, names, alone=alone)
        ]
    images = _chosen(candidates)
    literal = {Path(normalised(match.path)) for _, _, match in candidates if match.literal}
    kept = {image.spec.path for image in images}
    unused = dict.fromkeys(path for path in left_out if path not in kept)
    companions = {path for path in kept - literal if image_of_companion(path) in kept}
    images = [image for image in images if image.spec.path not in companions]
    return FoundImages(
        tuple(_with_faults(images)),
        tuple(unused),
        tuple(sorted(companions)),
        tuple(dict.fromkeys(path for path in others if path not in kept)),
    )


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
    patterns = [str(entry.list or entry.path) for entry in job.inputs[:3]]
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
    asked = {(i.recipe, i.overrides, i.scale) for i in images if not i.steps}
    asked |= {(s.recipe, i.overrides + s.set, s.scale) for i in images for s in i.steps}
    for name, overrides, scale in asked:
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


def _expanded(entry: JobInput) -> list[JobInput]:
    """The entries that an entry with a list stands for; itself otherwise."""
    if entry.list is None:
        return [entry]
    return [entry_of_list(entry, entry.list, *row) for row in rows_of(entry.list)]


def _matches(job: Job, entry: JobInput) -> Matches:
    owner = entry if entry.model_fields_set & {"include", "exclude"} else job
    return find_matches(entry.path, Chosen(owner.include, owner.exclude))


def _chosen(candidates: list[tuple[Image, JobInput, Match]]) -> list[Image]:
    """One image for each that several entries match, in the order of the inputs."""
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
    return sorted(chosen.values(), key=lambda image: order[normalised(image.spec.path)])


def _with_faults(images: list[Image]) -> Iterator[Image]:
    """Add a fault to each image that cannot have a result of its own."""
    by_store: dict[Path, list[Image]] = defaultdict(list)
    for image in images:
        for store in image.stores:
            by_store[store].append(image)
    sources = {image.spec.path.resolve() for image in images}
    for image in images:
        others = [o for store in image.stores for o in by_store[store] if o is not image]
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
