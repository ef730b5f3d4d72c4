"""Opening an image and all that goes with it, once, and reading it in the ways that planning needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass
from pathlib import Path
from typing import Self

from glassplate.pipeline.companions.exposures import CombinedSource
from glassplate.pipeline.companions.mask import MaskedSource
from glassplate.pipeline.companions.psf import ReadPsf, read_psf
from glassplate.pipeline.companions.sdss_mask import SdssMask, is_sdss_mask
from glassplate.pipeline.companions.table import BY_ROLE, COMPANIONS, Check, Companion
from glassplate.pipeline.defects.cosmic_rays import DefectMaskedSource
from glassplate.pipeline.defects.infrared import InfraredMask, is_infrared
from glassplate.pipeline.defects.wild_pixels import WildMaskedSource
from glassplate.pipeline.errors import SourceChangedError
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings, exposure_mask_role
from glassplate.pipeline.sources.alpha import without_alpha
from glassplate.pipeline.sources.fits.extensions import resolved
from glassplate.pipeline.sources.flags import Flags
from glassplate.pipeline.sources.guarded_reading import file_state
from glassplate.pipeline.sources.metadata.units import scaled
from glassplate.pipeline.sources.open_image import open_image, open_named
from glassplate.pipeline.sources.source import Source, SourceSpec


@dataclass(frozen=True)
class ExposureMask:
    """The mask of a further exposure."""

    exposure: Source
    """The exposure, as it stands in its file."""
    pixels: Source
    """The numbers of the mask."""
    named: Path
    """File and extension."""
    flags: Flags | None
    """How the numbers are read; None: all but zero are bad."""


class SourceFiles:
    """An image and its companions as opened files, each checked against the image; a context manager.

    The sources that `source` and `exposures` return read these files, and must not be closed.
    """

    def __init__(self, spec: SourceSpec, *, with_exposures: bool, with_psf: bool) -> None:
        """Open the files of `spec`; see `open_files`."""
        self.spec = spec
        # before they are opened, so that a change in between shows
        self._states = {path: file_state(path) for path in spec.files}
        with ExitStack() as opened:
            self.image: Source = opened.enter_context(closing(without_alpha(open_image(spec))))
            """The image alone, its colours without alpha, as it stands in the file."""
            self.companions: Mapping[str, Source] = {
                one.role: opened.enter_context(closing(self._open(one, getattr(spec, one.role))))
                for one in COMPANIONS
                if one.join is not None and getattr(spec, one.role) is not None
            }
            """Opened companions by their role: those that are read along with each box of the image."""
            self._exposures = [
                opened.enter_context(closing(self._open(BY_ROLE["exposures"], named)))
                for named in spec.exposures * with_exposures
            ]
            self._exposure_masks = [
                None if named is None else opened.enter_context(closing(self._mask_of(one, named)))
                for one, named in zip(self._exposures, spec.exposure_masks, strict=False)
            ]
            self.psf: ReadPsf | None = (
                read_psf(spec.psf) if with_psf and spec.psf is not None else None
            )
            self._opened = opened.pop_all()

    def _open(self, companion: Companion, named: Path) -> Source:
        """Open one companion and check that it goes with the image."""
        label = companion.label(self.spec, named)
        # an exposure is the same extension or page as the image, unless it is named with another
        like = self.spec if companion.role == "exposures" else None
        source: Source
        if companion.role == "mask":
            source = _opened_mask(named)
        else:
            source = open_named(named, label.split()[0], like)
        if companion.drops_alpha:
            source = without_alpha(source)
        return _checked(self.image, source, label, companion.check)

    @staticmethod
    def _mask_of(exposure: Source, named: Path) -> Source:
        """Open the mask of a further exposure and check that it goes with it."""
        check = BY_ROLE["exposure_masks"].check
        return _checked(exposure, _opened_mask(named), f"exposure mask {named}", check)

    def source(
        self, findings: SourceFindings = NOTHING_FOUND, *, without: Collection[str] = ()
    ) -> Source:
        """The image with its companions, read according to the findings.

        Parameters
        ----------
        findings
            Exposures are combined only if their combination has been found.
        without
            Roles of companions that are left out.
        """
        without = {*without, *findings.unused}
        image = scaled(self.image, findings.exponent, findings.pedestal)
        source = self._with(image, findings, without, "mask")
        source = self._with(source, findings, without, "variance")
        source = self._with(source, findings, without, "guide")
        source = _without_wild(source, findings, 0)
        source = self._with(source, findings, without, "overlay")
        if findings.combination is not None:
            source = CombinedSource(source, self.exposures(findings), findings.combination)
        if findings.detector is not None:
            source = DefectMaskedSource(source, findings.detector)
        return self._with(source, findings, without, "hints")

    def _with(
        self, source: Source, findings: SourceFindings, without: Collection[str], role: str
    ) -> Source:
        """The source with its companion of a role, where there is one."""
        companion, join = self.companions.get(role), BY_ROLE[role].join
        if companion is None or join is None or role in without:
            return source
        return join(source, companion, self.spec, findings.exponent)

    def exposures(self, findings: SourceFindings = NOTHING_FOUND) -> list[Source]:
        """The further exposures, each read according to the findings."""
        return [
            _without_wild(self._exposure(place, one, findings), findings, place)
            for place, one in enumerate(self._exposures, 1)
        ]

    def _exposure(self, place: int, exposure: Source, findings: SourceFindings) -> Source:
        """One exposure with its mask, where it has one that is used."""
        source = scaled(exposure, findings.exponent, findings.pedestal)
        mask = self.exposure_mask(place)
        if mask is None or exposure_mask_role(place) in findings.unused:
            return source
        return MaskedSource(source, mask.pixels, mask.flags)

    def exposure_mask(self, place: int) -> ExposureMask | None:
        """The mask of a further exposure by its number, from 1; None without one."""
        if place > len(self._exposure_masks):
            return None
        pixels, named = self._exposure_masks[place - 1], self.spec.exposure_masks[place - 1]
        if pixels is None or named is None:
            return None
        flags = self.spec.exposure_flags
        return ExposureMask(
            self._exposures[place - 1], pixels, named, flags[place - 1] if flags else None
        )

    def check_unchanged(self) -> None:
        """Refuse to go on where a file has changed since it was opened.

        Raises
        ------
        SourceChangedError
            Naming the file.
        """
        for path, state in self._states.items():
            if file_state(path) != state:
                raise SourceChangedError(
                    f"{path}: has changed while it was being looked at; give the same command again"
                )

    def close(self) -> None:
        """Close all files."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


def _opened_mask(named: Path) -> Source:
    if is_infrared(named):
        return InfraredMask(named)
    return SdssMask(named) if is_sdss_mask(named) else open_named(named, "mask")


def _checked(image: Source, companion: Source, label: str, check: Check | None) -> Source:
    """A companion that goes with an image; it is closed where it does not."""
    try:
        if check is not None:
            check(image, companion, label)
    except BaseException:
        companion.close()
        raise
    return companion


def open_files(spec: SourceSpec) -> SourceFiles:
    """Open an image and all its companions, and refuse what does not go with it; reads no pixel of it.

    `SourceFiles.spec` has unambiguous extensions of the companions.

    Raises
    ------
    SourceError
        If a file is missing, empty, truncated, of no known format, or has no image that can be restored;
        if a companion does not fit the image, or the image of the PSF is not one.
    UsageError
        If an HDU of a TIFF or a page of a FITS file is requested, if an exposure cannot be laid over the
        image, or the image cannot be coloured.
    CapacityError
        If there is no room to unpack a packed file.
    """
    return SourceFiles(resolved(spec), with_exposures=True, with_psf=True)


def open_source(spec: SourceSpec, findings: SourceFindings = NOTHING_FOUND) -> Source:
    """Open the image of `spec` with its companions, read according to the findings.

    Further exposures are opened only if their combination has been found. Closing the source closes all
    files.

    Raises
    ------
    SourceError, UsageError, CapacityError
        As `open_files`.
    """
    joins = findings.combination is not None
    return SourceFiles(spec, with_exposures=joins, with_psf=False).source(findings)


def _without_wild(source: Source, findings: SourceFindings, place: int) -> Source:
    """A source without its wild pixels; `place` counts the exposures, 0 is the image itself."""
    limits = findings.limits[place] if findings.limits else None
    return source if limits is None else WildMaskedSource(source, limits)
