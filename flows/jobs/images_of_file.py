"""The images of one file of a job, with the settings of the entry, of a rule and of the job."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

from glassplate.flows.jobs.flags import flags_of
from glassplate.flows.jobs.image import Image
from glassplate.flows.jobs.image_settings import ImageSettings
from glassplate.flows.jobs.inputs.companion_patterns import file_for
from glassplate.flows.jobs.inputs.facts import Facts, KnownFacts
from glassplate.flows.jobs.inputs.input_files import STORE_SUFFIX, Match
from glassplate.flows.jobs.inputs.name_pattern import keywords_of as keywords_of_name
from glassplate.flows.jobs.inputs.name_pattern import name_from
from glassplate.flows.jobs.job import Job, JobInput
from glassplate.flows.jobs.result_names import Parts, name_of_hdu, parts_of, stem_of, suffix_of
from glassplate.flows.jobs.rules import Rule, keywords_of
from glassplate.pipeline.errors import GlassplateError, SourceError, UsageError
from glassplate.pipeline.sources.fits.chosen_hdus import chosen_hdus, means_all, means_several
from glassplate.pipeline.sources.source import NOISE_KINDS, SourceSpec, noise_image
from glassplate.pipeline.text import one_line

# Settings of a job that are fields of a SourceSpec, apart from those that need a look: which image of the
# noise is given, and which HDUs a pattern means.
SPEC_SETTINGS = (
    {field.name for field in dataclasses.fields(SourceSpec)} & ImageSettings.model_fields.keys()
) - {*NOISE_KINDS, "hdu"}


class FileSettings:
    """Settings of the images of a job.

    Parameters
    ----------
    job
        The job.
    facts
        What rules and names need to know of images.
    """

    def __init__(self, job: Job, facts: KnownFacts) -> None:
        self.job = job
        self._facts = facts
        patterns = [one.result for one in (job, *job.inputs, *job.rules) if one.result is not None]
        self._keywords = keywords_of(job.rules).union(*map(keywords_of_name, patterns))

    def names_of(self, entries: Iterable[JobInput]) -> Parts:
        """The images that entries name in each file, by which results of one file are told apart."""
        return parts_of(entries)

    def facts_of(self, entry: JobInput, path: Path) -> Facts:
        """Return the facts of the image that an entry names in a file; of its first one for several.

        Raises
        ------
        SourceError
            If the file cannot be read or has no such image.
        """
        hdu, page = setting(self.job, entry, "hdu"), setting(self.job, entry, "page")
        return self._facts.of(path, None if means_several(hdu) else hdu, page, self._keywords)

    def known_facts(self, entry: JobInput, path: Path) -> Facts | None:
        """Return the facts of an image if anything has asked for them."""
        hdu, page = setting(self.job, entry, "hdu"), setting(self.job, entry, "page")
        return self._facts.known(path, None if means_several(hdu) else hdu, page)

    def with_rule(self, entry: JobInput, path: Path) -> JobInput:
        """The entry with the settings of the first rule that suits a file, where it does not set them itself.

        A file that cannot be read suits no rule that asks for more than its name; its restoration says why.
        """
        for rule in self.job.rules:
            if not rule.when.suits_name(path):
                continue
            try:
                if not rule.when.needs_facts or rule.when.suits(self.facts_of(entry, path)):
                    return _merged(entry, rule)
            except SourceError:
                continue
        return entry


def setting(job: Job, entry: JobInput, key: str) -> Any:
    """The value of a setting: that of the entry if it has one, else that of the job."""
    return getattr(entry if key in entry.model_fields_set else job, key)


def images_of_file(
    settings: FileSettings, entry: JobInput, match: Match, names: Parts, *, alone: bool
) -> list[Image]:
    """The images of one file: several where the entry chooses several of its HDUs.

    Parameters
    ----------
    settings
        Of the job.
    entry
        Of the job, or of one of its lists.
    match
        The file.
    names
        From `FileSettings.names_of`.
    alone
        Whether the entry matches no other file.
    """
    suffix = suffix_of(names, entry)
    if match.fault:
        spec = SourceSpec(match.path)
        store = settings.job.output / match.folder / f"{stem_of(match.path)}{suffix}{STORE_SUFFIX}"
        return [Image(spec, store, None, (), None, None, fault=match.fault)]
    entry = settings.with_rule(entry, match.path)
    image = _image(settings, entry, match, suffix, alone=alone)
    wanted = setting(settings.job, entry, "hdu")
    if not means_several(wanted):
        return [replace(image, spec=replace(image.spec, hdu=wanted))]
    # the names of HDUs tell their results apart, so these need no suffix for the entry
    stem = image.store.name.removesuffix(STORE_SUFFIX)
    return _several(image, stem if entry.name else stem.removesuffix(suffix), wanted)


def _several(image: Image, stem: str, wanted: Any) -> list[Image]:
    """One image for each HDU of a file that a pattern or a list means."""
    path = image.spec.path
    try:
        hdus = chosen_hdus(path, wanted)
    except GlassplateError as error:
        return [replace(image, fault=image.fault or one_line(error))]
    target = image.export_path(is_fits=True)
    joint = target if target is not None and target.suffix == ".fits" else None
    if image.steps and image.export is not None:
        fault = f"{path}: an export of several HDUs has one step; drop steps, export, or all HDUs but one"
        image, joint = replace(image, fault=image.fault or fault), None
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


def _image(
    settings: FileSettings, entry: JobInput, match: Match, suffix: str, *, alone: bool
) -> Image:
    """One file as an image, without the HDU."""
    job = settings.job

    def of_image(value: Any) -> Any:
        """The setting for this image, where it is a pattern."""
        return (
            file_for(value, match.path, stem_of(match.path)) if isinstance(value, Path) else value
        )

    # an entry that gives one image of the noise takes none of the others from the job
    owner = entry if entry.model_fields_set & set(NOISE_KINDS) else job
    noise, noise_kind = noise_image({kind: of_image(getattr(owner, kind)) for kind in NOISE_KINDS})
    name, facts, fault = _name(settings, entry, match.path)
    if entry.name is not None and not alone:
        fault = f"inputs {entry.path}: the name {entry.name!r} is for one image, it matches several"
    given = entry.model_fields_set
    has_own_recipe = given & {"recipe", "scale"} and "steps" not in given
    steps = () if has_own_recipe else setting(job, entry, "steps")
    return Image(
        spec=SourceSpec(
            path=match.path,
            variance=noise,
            noise_kind=noise_kind,
            **{key: of_image(setting(job, entry, key)) for key in SPEC_SETTINGS},
        ),
        store=job.output / match.folder / f"{name}{'' if entry.name else suffix}{STORE_SUFFIX}",
        recipe=None if steps else setting(job, entry, "recipe"),
        overrides=job.set + entry.set + flags_of(job, entry),
        scale=None if steps else setting(job, entry, "scale"),
        export=setting(job, entry, "export"),
        donor=setting(job, entry, "donor"),
        steps=steps,
        facts=facts,
        fault=fault,
    )


def _name(settings: FileSettings, entry: JobInput, path: Path) -> tuple[str, Facts | None, str]:
    """Name of a result without suffix, the facts that were read of the image, and the fault of the name."""
    pattern, stem, fault = setting(settings.job, entry, "result"), stem_of(path), ""
    name = entry.name or stem
    if entry.name is None and pattern is not None:
        try:
            header = settings.facts_of(entry, path).header if keywords_of_name(pattern) else {}
            name = name_from(pattern, path, stem, header)
        except (SourceError, UsageError) as error:
            fault = one_line(error)
    return name, settings.known_facts(entry, path), fault


def _merged(entry: JobInput, rule: Rule) -> JobInput:
    """The entry with the settings of a rule where it has none itself; values of `set` are merged."""
    given = entry.model_fields_set
    taken = (rule.model_fields_set - {"when", "set"}) - given
    # a group of settings of which one takes the place of the others
    for group in ({"recipe", "scale", "steps"}, set(NOISE_KINDS), {"dq_bits", "dq_codes"}):
        if given & group:
            taken -= group
    update = {key: getattr(rule, key) for key in taken}
    return entry.model_copy(update={**update, "set": rule.set + entry.set})
