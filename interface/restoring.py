"""One restoration in this process, of a file or of an array."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from glassplate.flows.jobs.images import default_recipe
from glassplate.flows.report.progress import open_display
from glassplate.flows.report.reports import ImageReport
from glassplate.given_image import as_given, taken
from glassplate.pipeline.cached_source import close_cached_sources
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.result.opened import Result
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.open_image import spec_of
from glassplate.pipeline.sources.source import SourceSpec


def restore_file(
    path: str | os.PathLike[str],
    recipe: str | None,
    settings: Sequence[str],
    output: str | Path | None,
    *,
    mask: npt.NDArray[np.bool_] | None,
    progress: bool,
) -> Result:
    """Restore the image of a file; parameters as of `glassplate.restore`."""
    if mask is not None:
        raise UsageError(
            f"{path}: mask is for arrays; `glassplate restore --mask` takes that of a file"
        )
    if output is None:
        raise UsageError(
            f"{path}: output is missing; give the path of the result, for example output='a.zarr'"
        )
    _restored(spec_of(Path(path)), recipe, settings, Path(output), progress)
    return Result(output)


def restore_array(
    image: Any,
    recipe: str | None,
    settings: Sequence[str],
    output: str | Path | None,
    *,
    mask: npt.NDArray[np.bool_] | None,
    progress: bool,
) -> Any:
    """Restore an image in memory; parameters and result as of `glassplate.restore`."""
    given = taken(image, mask)
    with tempfile.TemporaryDirectory(prefix="glassplate-") as folder:
        spec = given.write(Path(folder))
        store = Path(output) if output is not None else Path(folder, "restored.zarr")
        report = _restored(spec, recipe, settings, store, progress)
        close_cached_sources()  # of files that are about to be removed
        if output is None:
            report = "\n".join(line for line in report.split("\n") if str(store) not in line)
        return as_given(image, given, Result(store), partial(str, report))


def _restored(
    spec: SourceSpec, recipe: str | None, settings: Sequence[str], store: Path, progress: bool
) -> str:
    """Restore an image, and return a few lines about it."""
    name = recipe or default_recipe(spec.path)
    if isinstance(settings, str):
        raise UsageError(f"settings {settings!r} is one text; give a list, such as [{settings!r}]")
    request = RestoreRequest(spec, store, load_recipe(name, settings), name)
    # one process: a pool of several would start the program that calls this again
    with open_display("auto" if progress else "none") as display, open_pool("inline") as pool:
        result = restore(request, pool, display)
        display.forget(store)
    return ImageReport.from_result(spec.path, result).text()
