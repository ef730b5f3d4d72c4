"""The peak memory of a whole restoration; `peak_memory` calls it in a fork."""

from pathlib import Path

from peak_memory import status_bytes

from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec


def restore_peak(path, name, *settings):
    """Peak memory of a process that restores an image, and the memory projected for it, bytes."""
    spec, recipe = SourceSpec(Path(path)), load_recipe(name, settings)
    request = RestoreRequest(spec, Path(f"{path}.zarr"), recipe, "test", device="cpu")
    restore(request, InlinePool())
    measured = status_bytes("VmHWM")
    plan = make_plan(spec, recipe, recipe_name="test", device="cpu")
    return measured, project(plan, workers=1).host_bytes
