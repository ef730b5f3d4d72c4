"""Opening an image and all that goes with it, once, and reading it in the ways that planning needs."""

from __future__ import annotations

from collections.abc import Collection, Mapping
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Self

from glassplate.pipeline.companions.exposures import CombinedSource
from glassplate.pipeline.companions.psf import ReadPsf, read_psf
from glassplate.pipeline.companions.sdss_mask import SdssMask, is_sdss_mask
from glassplate.pipeline.companions.table import BY_ROLE, COMPANIONS, Companion
from glassplate.pipeline.defects.cosmic_rays import DefectMaskedSource
from glassplate.pipeline.defects.wild_pixels import WildMaskedSource
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings
from glassplate.pipeline.sources.alpha import without_alpha
from glassplate.pipeline.sources.fits.extensions import resolved
from glassplate.pipeline.sources.guarded_reading import file_state
from glassplate.pipeline.sources.open_image import open_image, open_named
from glassplate.pipeline.sources.source import Source, SourceSpec
from glassplate.pipeline.sources.units import scaled


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
        if companion.role == "mask" and is_sdss_mask(named):
            source = SdssMask(named)
        else:
            source = open_named(named, label.split()[0], like)
        if companion.drops_alpha:
            source = without_alpha(source)
        try:
            if companion.check is not None:
                companion.check(self.image, source, label)
        except BaseException:
            source.close()
            raise
        return source

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
            _without_wild(scaled(one, findings.exponent, findings.pedestal), findings, place)
            for place, one in enumerate(self._exposures, 1)
        ]

    def check_unchanged(self) -> None:
        """Refuse to go on where a file has changed since it was opened.

        Raises
        ------
        SourceError
            Naming the file.
        """
        for path, state in self._states.items():
            if file_state(path) != state:
                raise SourceError(
                    f"{path}: has changed while it was being looked at; give the same command again"
                )

    def close(self) -> None:
        """Close all files."""
        self._opened.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *error: object) -> None:
        self.close()


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
