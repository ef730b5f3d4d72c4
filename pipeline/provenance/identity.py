"""What a result was made from: two runs with the same identity may share a store, no others."""

from __future__ import annotations

import hashlib
import importlib.metadata
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.recipe import Recipe
from glassplate.pipeline.sources.source import NoiseKind, SourceSpec, split_extension

# Files that go with the source and decide its pixels; an early manifest may lack the last four.
COMPANIONS = ("mask", "variance", "psf", "guide", "hints", "overlay", "donor")
# Distributions whose version may change a pixel.
PIXEL_MAKERS = ("glassplate", "torch", "numpy")


@dataclass(frozen=True)
class FileIdentity:
    """A file by content."""

    path: str
    """Absolute, for humans; a moved file is the same file."""
    bytes: int
    sha256: str
    extension: int | str | None = None
    """Extension of a mask, variance or PSF image, where named."""


@dataclass(frozen=True)
class RunIdentity:
    """Input, settings and software of a run."""

    source: FileIdentity
    hdu: int | str | None
    page: int | str | None
    mask: FileIdentity | None
    variance: FileIdentity | None
    noise_kind: NoiseKind
    """What `variance` holds; an early manifest has variances and does not say so."""
    psf: FileIdentity | None
    guide: FileIdentity | None
    hints: FileIdentity | None
    overlay: FileIdentity | None
    exposures: tuple[FileIdentity, ...]
    """Further exposures of the scene, in the order given."""
    donor: FileIdentity | None
    """Weights taken over from an earlier result."""
    recipe_sha256: str
    versions: dict[str, str]

    def input_files(self) -> list[FileIdentity]:
        """All files that the pixels are read from: not the donor, whose weights are copied at the start."""
        companions = (getattr(self, what) for what in COMPANIONS if what != "donor")
        named = (self.source, *companions, *self.exposures)
        return [file for file in named if file is not None]

    def to_json(self) -> dict[str, Any]:
        """For the manifest."""
        return asdict(self)


def identify(spec: SourceSpec, recipe: Recipe, donor: FileIdentity | None = None) -> RunIdentity:
    """Hash the inputs and name the software."""
    return RunIdentity(
        source=file_identity(spec.path),
        hdu=spec.hdu,
        page=spec.page,
        mask=_companion(spec.mask),
        variance=_companion(spec.variance),
        noise_kind="variance" if spec.variance is None else spec.noise_kind,
        psf=_companion(spec.psf),
        guide=_companion(spec.guide),
        hints=_companion(spec.hints),
        overlay=_companion(spec.overlay),
        exposures=tuple(_file(named) for named in spec.exposures),
        donor=donor,
        recipe_sha256=recipe.sha256(),
        versions={name: importlib.metadata.version(name) for name in PIXEL_MAKERS},
    )


def _companion(named: Path | None) -> FileIdentity | None:
    return None if named is None else _file(named)


def _file(named: Path) -> FileIdentity:
    """An image that goes with the source, which may be named with its extension: ``file.fits[DQ]``."""
    path, extension = split_extension(named)
    identity = file_identity(path)
    return replace(identity, extension=extension) if extension is not None else identity


def file_identity(path: Path) -> FileIdentity:
    """Hash a file in pieces."""
    with path.open("rb") as file:
        digest = hashlib.file_digest(file, "sha256").hexdigest()
    return FileIdentity(str(path.absolute()), path.stat().st_size, digest)


def check_same(
    store: Path, manifest: Mapping[str, Any], identity: RunIdentity, recipe: Recipe
) -> None:
    """Refuse to mix two runs in one store.

    Raises
    ------
    StoreError
        Naming the first difference and the way out.
    """
    there, here = manifest["identity"], identity.to_json()
    way_out = f"choose another -o, or remove {store} to start afresh"
    for what in ("source", *COMPANIONS):
        if _digest(there.get(what)) != _digest(here[what]):
            path = (here[what] or there[what])["path"]
            raise StoreError(f"{store}: made from another {what} than {path}; {way_out}")
    was_kind = there.get("noise_kind", "variance")
    if was_kind != here["noise_kind"]:
        raise StoreError(
            f"{store}: made with {was_kind} {here['variance']['path']}, not with it as "
            f"{here['noise_kind']}; {way_out}"
        )
    was, now = ([_digest(file) for file in files] for files in _exposures(there, here))
    if was != now:
        raise StoreError(
            f"{store}: made from {len(was)} further exposures, not from the same {len(now)}; {way_out}"
        )
    for what in ("hdu", "page"):
        if there[what] != here[what]:
            raise StoreError(
                f"{store}: made from {what} {there[what]}, not {here[what]}; {way_out}"
            )
    for name, version in here["versions"].items():
        if there["versions"].get(name) != version:
            raise StoreError(
                f"{store}: made with {name} {there['versions'].get(name)}, this is {version}; "
                f"{way_out}"
            )
    if there["recipe_sha256"] != here["recipe_sha256"]:
        key, was, now = _first_difference(manifest["recipe"], recipe.model_dump(mode="json"))
        raise StoreError(
            f"{store}: made with another recipe ({key} was {was}, is now {now}); {way_out}"
        )


def _exposures(*identities: Mapping[str, Any]) -> Iterator[Sequence[Mapping[str, Any]]]:
    """The further exposures of identities as JSON; an early manifest has none."""
    for identity in identities:
        yield identity.get("exposures") or ()


def _digest(file: Mapping[str, Any] | None) -> tuple[Any, Any] | None:
    return (file["sha256"], file["extension"]) if file else None


def _first_difference(was: Any, now: Any, key: str = "") -> tuple[str, Any, Any]:
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted(set(was) | set(now)):
            if was.get(name) != now.get(name):
                place = f"{key}.{name}" if key else name
                return _first_difference(was.get(name), now.get(name), place)
    return key, was, now
