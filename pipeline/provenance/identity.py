"""What a result is made from. Only a run of the same identity may resume a result."""

from __future__ import annotations

import importlib.metadata
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from pathlib import Path

from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.flags import Flags
from glassplate.pipeline.sources.source import NoiseKind, SourceSpec, split_extension

# Files that are given with the source and influence the pixels of the result.
COMPANIONS = ("mask", "variance", "psf", "guide", "hints", "overlay", "donor")
# Distributions whose version can change the value of a pixel.
PIXEL_MAKERS = ("glassplate", "torch", "numpy")


@dataclass(frozen=True)
class FileIdentity:
    """A file, identified by its content."""

    path: str
    """Absolute. It is not compared: a file that was moved is the same file."""
    bytes: int
    sha256: str
    extension: int | str | None = None
    """FITS extension of an image that is given with the source, if one is named."""


@dataclass(frozen=True, kw_only=True)
class RunIdentity:
    """Input, settings and software of a run. Early manifests lack the fields that have a default."""

    source: FileIdentity
    hdu: int | str | None
    page: int | str | None
    mask: FileIdentity | None = None
    flags: Flags | None = None
    """How the numbers of `mask` are read; None: all but zero are bad."""
    variance: FileIdentity | None = None
    noise_kind: NoiseKind = "variance"
    """What the file `variance` contains."""
    psf: FileIdentity | None = None
    guide: FileIdentity | None = None
    hints: FileIdentity | None = None
    overlay: FileIdentity | None = None
    exposures: tuple[FileIdentity, ...] = ()
    """Further exposures of the scene, in the order given."""
    exposure_masks: tuple[FileIdentity | None, ...] = ()
    """The mask of each exposure; empty if none has one."""
    exposure_flags: tuple[Flags | None, ...] = ()
    """How the numbers of these masks are read."""
    donor: FileIdentity | None = None
    """Weights of the donor of an earlier result, from which this run starts."""
    found: tuple[str, ...] = ()
    """Which of these files were found by name beside the image: `SourceSpec.found`."""
    recipe_sha256: str
    versions: dict[str, str]
    """Version of each distribution in `PIXEL_MAKERS`."""

    def input_files(self) -> list[FileIdentity]:
        """Return all files that pixels are read from. The donor is not one: its weights are copied first."""
        companions = (self.file(role) for role in COMPANIONS if role != "donor")
        named = (self.source, *companions, *self.exposures, *self.exposure_masks)
        return [file for file in named if file is not None]

    def file(self, role: str) -> FileIdentity | None:
        """Return the file of a role: ``source`` or one of `COMPANIONS`."""
        found: FileIdentity | None = getattr(self, role)
        return found


def identify(spec: SourceSpec, recipe: Recipe, donor: FileIdentity | None = None) -> RunIdentity:
    """Hash the input files, each of them once, and list the software."""
    known: dict[Path, FileIdentity] = {}

    def file(named: Path) -> FileIdentity:
        """Identify an image that may be given with its extension: ``file.fits[DQ]``."""
        path, extension = split_extension(named)
        if path not in known:
            known[path] = file_identity(path)
        return replace(known[path], extension=extension)

    def companion(named: Path | None) -> FileIdentity | None:
        return None if named is None else file(named)

    return RunIdentity(
        source=known.setdefault(spec.path, file_identity(spec.path)),
        hdu=spec.hdu,
        page=spec.page,
        mask=companion(spec.mask),
        flags=spec.flags,
        variance=companion(spec.variance),
        noise_kind="variance" if spec.variance is None else spec.noise_kind,
        psf=companion(spec.psf),
        guide=companion(spec.guide),
        hints=companion(spec.hints),
        overlay=companion(spec.overlay),
        exposures=tuple(file(named) for named in spec.exposures),
        exposure_masks=tuple(companion(named) for named in spec.exposure_masks),
        exposure_flags=spec.exposure_flags,
        donor=donor,
        found=spec.found,
        recipe_sha256=recipe.sha256(),
        versions=dict(software_versions()),
    )


@cache
def software_versions() -> Mapping[str, str]:
    """Version of each distribution in `PIXEL_MAKERS`, read once: what a process has imported stays."""
    return {name: importlib.metadata.version(name) for name in PIXEL_MAKERS}


def file_identity(path: Path) -> FileIdentity:
    """Identify a file by its present content."""
    return FileIdentity(str(path.absolute()), path.stat().st_size, sha256_of(path))
