"""What is used of the mask and the noise that come with an image, and what is said of them."""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from pathlib import Path

from glassplate.models.noise.estimate import estimate_noise, typical_sigma
from glassplate.models.noise.model import NoiseModel, NoiseSettings
from glassplate.pipeline.companions.detector_noise import detector_noise
from glassplate.pipeline.defects.infrared import is_infrared
from glassplate.pipeline.open_source import SourceFiles
from glassplate.pipeline.planning.companions.find_companions import wants_noise_by_name
from glassplate.pipeline.planning.companions.mask_check import (
    SeenMask,
    look_at_exposure_mask,
    look_at_mask,
)
from glassplate.pipeline.planning.companions.noise_check import (
    MOST_CONTRADICTION,
    check_given_noise,
    look_at_noise,
    objection_to_found,
)
from glassplate.pipeline.provenance.recorded_plan import RecordedCompanion
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.scaling import Sample
from glassplate.pipeline.source_findings import (
    NOTHING_FOUND,
    SourceFindings,
    exposure_mask_role,
    has_variance,
)
from glassplate.pipeline.sources.flags import Flags

# Factor by which the noise that the cards of a detector state may differ from the estimate to be used: twice
# as far as the noise images of observatories lie. A bias level or a subtracted sky makes more.
MOST_OFF_OF_DETECTOR = 1.25
_DUST = "dust and scratches, which are dark in infrared"
_NO_USE = "set companions.find=none to look for none"


@dataclass(frozen=True)
class Judged:
    """Companions, as they are recorded, and warnings about them."""

    companions: tuple[RecordedCompanion, ...] = ()
    warnings: tuple[str, ...] = ()

    @property
    def unused(self) -> tuple[str, ...]:
        """Roles of those that are not used."""
        return tuple(one.role for one in self.companions if not one.used)

    def joined(self, *others: Judged) -> Judged:
        """All of several."""
        every = (self, *others)
        return Judged(
            tuple(one for judged in every for one in judged.companions),
            tuple(line for judged in every for line in judged.warnings),
        )


def judge_mask(files: SourceFiles) -> Judged:
    """Whether the mask is used: one that was found by name is not, if it seems to be read in the wrong sense.

    Raises
    ------
    SourceError
        If the image or the mask cannot be read.
    """
    spec, seen = files.spec, look_at_mask(files)
    if seen is None:
        return Judged()
    mask = _Mask("mask", "--mask", str(spec.mask), "mask" in spec.found, spec.flags)
    return mask.judged(seen, "are saturated and stay as measured")


def judge_exposure_masks(files: SourceFiles) -> Judged:
    """The same for the mask of each further exposure, whose saturated pixels are left out.

    Raises
    ------
    SourceError
        If an exposure or its mask cannot be read.
    """
    judged = Judged()
    for place in range(1, len(files.spec.exposures) + 1):
        seen, mask = look_at_exposure_mask(files, place), files.exposure_mask(place)
        if seen is not None and mask is not None:
            found = "exposure_masks" in files.spec.found
            role, name = exposure_mask_role(place), str(mask.named)
            of_exposure = _Mask(role, "--exposure-mask", name, found, mask.flags)
            judged = judged.joined(of_exposure.judged(seen, "are saturated"))
    return judged


@dataclass(frozen=True)
class _Mask:
    """A mask, and how it came to be one of the companions."""

    role: str
    option: str
    name: str
    found: bool
    flags: Flags | None

    def judged(self, seen: SeenMask, are_saturated: str) -> Judged:
        """What is recorded of it and said, after a look at it."""
        used = not (self.found and seen.objection)
        remark = f"{100 * seen.bad:.2g} % of the pixels looked at are bad"
        if seen.saturated:
            remark += f", {100 * seen.saturated:.2g} % {are_saturated}"
        reading = _DUST if is_infrared(Path(self.name)) else _reading(self.flags)
        record = RecordedCompanion(
            self.role, self.name, self.found, used, reading, seen.objection or remark
        )
        if not seen.objection:
            return Judged((record,))
        consequence = (
            f"it was found by name and is not used; give {self.option} to use it, or {_NO_USE}"
            if self.found
            else "it is used all the same"
        )
        return Judged((record,), (f"{self.role} {self.name}: {seen.objection}; {consequence}",))


def judge_noise(
    files: SourceFiles, recipe: Recipe, findings: SourceFindings = NOTHING_FOUND
) -> Judged:
    """Whether the image of the noise is used: one that was found by name is not, if the image contradicts it.

    Raises
    ------
    UsageError
        If one that was given is wrong, as in `check_given_noise`.
    SourceError
        If the image cannot be read.
    """
    spec, seen = files.spec, look_at_noise(files, recipe, findings)
    if seen is None:
        return Judged()
    found = "variance" in spec.found
    numbers = f"a standard deviation of {seen.given:.4g}, the image shows {seen.measured:.4g}"
    record = RecordedCompanion(
        "variance", str(spec.variance), found, True, f"as {spec.noise_kind}", numbers
    )
    if not found:
        return Judged((record,), check_given_noise(spec, seen))
    objection = objection_to_found(spec.noise_kind, seen)
    if not objection:
        return Judged((record,))
    unused = replace(record, used=False, remark=objection)
    if not seen.pixels:
        return Judged((unused,))  # an empty plane, as in raw exposures of HST, says nothing
    return Judged(
        (unused,),
        (
            f"{spec.noise_kind} {spec.variance}: {objection}; it was found by name and is not used; give "
            f"--{spec.noise_kind} to use it, or {_NO_USE}",
        ),
    )


def judge_detector(
    files: SourceFiles,
    recipe: Recipe,
    samples: list[Sample],
    estimated: NoiseModel,
    findings: SourceFindings,
) -> tuple[NoiseModel, Judged]:
    """The noise by the gain and the read noise of the detector, if its cards state them and the image agrees.

    Parameters
    ----------
    files
        An image of the noise that is used comes before the cards.
    recipe
        Its section `companions` says whether the noise is looked for.
    samples
        Windows of the image, in units over ``2**exponent``, as all noise.
    estimated
        What the image shows. Correlated noise is that of resampled pixels, which no detector has.
    findings
        Those of `find_value_range`.

    Returns
    -------
    noise, judged
        `estimated` where that is used.
    """
    if has_variance(files.spec, findings):
        return estimated, Judged()
    spec = replace(files.spec, variance=None)
    header = files.image.metadata.get("fits")
    if header is None or not wants_noise_by_name(spec, recipe) or estimated.correlated:
        return estimated, Judged()
    stated = detector_noise(cards_of(header), files.image.unit)
    if stated is None:
        return estimated, Judged()
    settings = NoiseSettings(
        gain=stated.gain,
        read_noise=stated.read_noise,
        correlation=recipe.noise.correlation,
        impulses=recipe.noise.impulses,
    )
    model = estimate_noise(samples, settings.scaled(-findings.exponent))
    model = replace(model, origin=f"header: {stated.cards}")
    given, measured = (
        math.ldexp(typical_sigma(samples, one), findings.exponent) for one in (model, estimated)
    )
    factor = max(given, measured) / min(given, measured) if min(given, measured) > 0 else math.inf
    used = factor <= MOST_OFF_OF_DETECTOR
    numbers = f"a standard deviation of {given:.4g}, the image shows {measured:.4g}"
    record = RecordedCompanion(
        "detector", stated.cards, True, used, "as gain and read noise", numbers
    )
    if used or factor <= MOST_CONTRADICTION:
        return model if used else estimated, Judged((record,))
    likely = "it holds a bias level" if given > measured else "its sky was subtracted"
    warning = (
        f"header {stated.cards}: a standard deviation of {given:.4g}, but the image shows {measured:.4g}; "
        f"probably {likely}, or it was scaled; what is measured is taken; {_NO_USE}"
    )
    return estimated, Judged((record,), (warning,))


def _reading(flags: Flags | None) -> str:
    """How the numbers of a mask are read, in words."""
    if flags is None:
        return "bad where it is not 0"
    kind = "codes" if flags.coded else "flags"
    text = f"{kind} of {flags.table}: bad {_listed(flags.bad)}"
    return f"{text}; saturated if {_listed(flags.saturated)}" if flags.saturated else text


def _listed(numbers: Iterable[int]) -> str:
    return " ".join(str(one) for one in numbers) or "none"


def cards_of(header: Mapping[str, object]) -> dict[str, object]:
    """Cards of an image and of the primary header of its file, by keyword."""
    from glassplate.pipeline.sources.fits.text import parsed

    cards: dict[str, object] = {}
    for text in (header.get("primary"), header.get("header")):
        if isinstance(text, str):
            with collected_warnings("header"):
                cards |= {card.keyword: card.value for card in parsed(text).cards}
    return cards
