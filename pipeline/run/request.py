"""The request to restore one image, its check before any pixel is read, and its result."""

from __future__ import annotations

from collections.abc import Mapping
from contextlib import ExitStack
from dataclasses import dataclass, field
from pathlib import Path
from typing import Literal

from glassplate.models.device.numerics import Device
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.export.export import check_target
from glassplate.pipeline.open_source import SourceFiles, open_files
from glassplate.pipeline.planning.companions.companion_checks import check_companions
from glassplate.pipeline.planning.companions.find_companions import with_companions
from glassplate.pipeline.provenance.manifest import Summary
from glassplate.pipeline.recipes.recipe import Recipe
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.store.ome_zarr import read_attributes


@dataclass(frozen=True)
class RestoreRequest:
    """One image to restore."""

    spec: SourceSpec
    store: Path
    recipe: Recipe
    recipe_name: str
    device: Device = "auto"
    export: Path | None = None
    """File to export to at the end; its suffix says FITS or TIFF."""
    keep_scratch: bool = False
    donor: Path | None = None
    """Earlier result whose donor is fitted further, to this image."""
    any_version: bool = False
    """Whether a complete result that other software made counts as done."""
    context: Mapping[str, str] = field(default_factory=dict)
    """Who asked, such as the id of a flow run; recorded with the session."""


@dataclass(frozen=True)
class RunResult:
    """How a run ended."""

    store: Path
    status: Literal["complete", "partial"]
    tiles: int
    done: int
    quarantined: int
    already_complete: bool
    seconds: float
    summary: Summary
    export: Path | None = None
    """File that the result was exported to."""
    passing: bool = False
    """Whether a tile failed for a reason of the moment, so that another run may restore it."""


def check_request(request: RestoreRequest) -> SourceFiles:
    """Refuse what cannot be restored, before gigabytes are hashed.

    Returns
    -------
    files
        The image and its companions, open; the caller closes them.

    Raises
    ------
    UsageError
        If the recipe wants a companion that is not given, or the reverse, or the export cannot be made.
    SourceError, CapacityError
        If an input cannot be read.
    StoreError
        If something other than a result is at the output's path.
    """
    check_companions(request.recipe, request.spec)
    with ExitStack() as opened:
        spec = with_companions(request.spec, request.recipe)
        files = opened.enter_context(open_files(spec))
        _check_outputs(request)
        opened.pop_all()
    return files


def _check_outputs(request: RestoreRequest) -> None:
    """Refuse to write where something else lies."""
    if request.store.exists():
        try:
            read_attributes(request.store)
        except StoreError as error:
            raise StoreError(f"{error}; it will not be overwritten, choose another -o") from error
    if request.export is not None:
        check_target(request.export)
