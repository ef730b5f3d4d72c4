"""Manifests that no run wrote."""

from glassplate.models.device.numerics import Numerics
from glassplate.models.noise.model import NoiseModel
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.provenance.identity import FileIdentity, RunIdentity
from glassplate.pipeline.provenance.manifest import Manifest, Summary
from glassplate.pipeline.provenance.recorded_plan import RecordedGrid, RecordedPlan
from glassplate.pipeline.store.layout import Layout

SOURCE = FileIdentity("/somewhere/sky.fits", 2880, "ab" * 32)
IDENTITY = RunIdentity(
    source=SOURCE, hdu=None, page=None, recipe_sha256="cd" * 32, versions={"glassplate": "0.1.0"}
)
PLAN = RecordedPlan(
    output_shape=(20, 30),
    output_dtype="float32",
    grid=RecordedGrid((1, 20, 30), True, 32, 8, (1, 1, 1)),
    tiles=1,
    batches=1,
    batch_size=1,
    layout=Layout((1, 20, 30), 2, True, 1, "float32", 32, 64),
    working_dtype="float32",
    transform=PixelTransform(),
    noise=NoiseModel(1.0, 0.0, 0.0, False, "given: sigma"),
    numerics=Numerics(),
    flux_factor=1.0,
    noise_before=1.0,
)


def summary(**values):
    """The summary of a run of one tile."""
    given = {"noise_before": 1.0, "noise_after": 0.5, "noise_model": "given", "iterations": 6.0}
    given |= {"chi2": None, "filled_pixels": 0, "stop_reasons": {}, "fit_seconds": 1.0}
    return Summary(**{**given, "quarantined": {}, **values})


def manifest(**values):
    """A complete manifest of a run without sessions."""
    given = {"run_id": "0192f3a0-run", "status": "complete", "created": "2026-01-01T00:00:00+00:00"}
    given |= {"recipe_name": "draft", "recipe": {}, "identity": IDENTITY, "plan": PLAN}
    given["summary"] = summary()
    return Manifest(**{**given, **values})
