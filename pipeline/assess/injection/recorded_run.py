"""The run that made a result, as its manifest records it: its input, its plan, and its donor."""

from __future__ import annotations

from dataclasses import dataclass, replace
from pathlib import Path

from glassplate.pipeline.errors import SourceError, StoreError
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.open_source import open_files
from glassplate.pipeline.planning.donor_reuse import WEIGHTS, recorded_donor
from glassplate.pipeline.planning.make_plan import numerics_for
from glassplate.pipeline.planning.plan import Plan
from glassplate.pipeline.planning.plan_files import plan_files
from glassplate.pipeline.provenance.folder import provenance_path
from glassplate.pipeline.provenance.identity import FileIdentity, RunIdentity
from glassplate.pipeline.provenance.manifest import Manifest
from glassplate.pipeline.provenance.records import read_donor_records
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tiles.donor import DonorFile, donor_is


@dataclass(frozen=True)
class RecordedRun:
    """What is needed to restore tiles again as the run did."""

    plan: Plan
    donor: DonorFile | None
    """Weights that its tiles start from; None for random ones."""


def recorded_run(store: Path, manifest: Manifest) -> RecordedRun:
    """Plan the run of a result again, with what its manifest records.

    Where the run used a GPU and here is none, the tiles are fitted on the CPU.

    Raises
    ------
    SourceError
        If an input is gone or has changed.
    StoreError
        If the weights of the donor are missing or damaged.
    """
    for file in manifest.identity.input_files():
        _check_input(store, file)
    recipe = parse_recipe(manifest.recipe, str(store))
    with open_files(_spec(manifest.identity)) as files:
        numerics = numerics_for(recipe, "auto")
        plan = plan_files(files, recipe, recipe_name=manifest.recipe_name, numerics=numerics)
    here = plan.numerics
    plan = replace(plan.as_recorded(manifest.plan), donor=recorded_donor(store))
    if plan.numerics.device == "cuda" and here.device != "cuda":
        plan = replace(plan, numerics=here)
    return RecordedRun(plan, _donor(store, manifest) if plan.warm else None)


def _check_input(store: Path, file: FileIdentity) -> None:
    path = Path(file.path)
    if not path.is_file():
        raise SourceError(
            f"{path}: the input of {store} is not there, and its tiles are restored again from it; put it "
            "back"
        )
    if path.stat().st_size != file.bytes or sha256_of(path) != file.sha256:
        raise SourceError(
            f"{path}: has changed since {store} was made from it; put the earlier file back, or restore again"
        )


def _spec(identity: RunIdentity) -> SourceSpec:
    """The image and its companions as they were given."""

    def named(role: str) -> Path | None:
        file = identity.file(role)
        return None if file is None else _with_extension(file)

    return SourceSpec(
        path=Path(identity.source.path),
        hdu=identity.hdu,
        page="all"
        if identity.page == "all"
        else None
        if identity.page is None
        else int(identity.page),
        mask=named("mask"),
        flags=identity.flags,
        variance=named("variance"),
        noise_kind=identity.noise_kind,
        psf=named("psf"),
        guide=named("guide"),
        hints=named("hints"),
        overlay=named("overlay"),
        exposures=tuple(_with_extension(file) for file in identity.exposures),
        found=identity.found,
    )


def _with_extension(file: FileIdentity) -> Path:
    return Path(file.path if file.extension is None else f"{file.path}[{file.extension}]")


def _donor(store: Path, manifest: Manifest) -> DonorFile:
    records = read_donor_records(store, manifest.run_id)
    file = DonorFile(provenance_path(store, WEIGHTS), records[-1].sha256) if records else None
    if file is None or not donor_is(file):
        raise StoreError(
            f"{store}: the weights of its donor are missing or damaged; `glassplate verify` it"
        )
    return file
