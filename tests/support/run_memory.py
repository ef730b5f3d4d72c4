"""The peak memory of reading, restoring and exporting; `peak_memory` calls these functions in a fork."""

from pathlib import Path

from peak_memory import status_bytes

from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


def restore_peak(path, name, *settings):
    """Peak memory of a process that restores an image, and the memory projected for it, bytes."""
    spec, recipe = SourceSpec(Path(path)), load_recipe(name, settings)
    request = RestoreRequest(spec, Path(f"{path}.zarr"), recipe, "test", device="cpu")
    restore(request, InlinePool())
    measured = status_bytes("VmHWM")
    plan = make_plan(spec, recipe, recipe_name="test", device="cpu")
    return measured, project(plan, workers=1).host_bytes


def read_growth(path, *bounds):
    """Peak memory of opening an image and reading one box, above that of a process that has not; bytes."""
    before = status_bytes("VmHWM")
    pixels = open_source(SourceSpec(Path(path))).read(Box(*bounds))
    assert pixels.values.shape[1:] == Box(*bounds).shape
    return status_bytes("VmHWM") - before


def export_growth(small, big, suffix):
    """Peak memory of exporting a result above that of a smaller one before, bytes."""
    peaks = []
    for store in (small, big):
        export(Path(store), Path(store).with_suffix(suffix))
        peaks.append(status_bytes("VmHWM"))
    return peaks[1] - peaks[0]
