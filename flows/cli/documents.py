"""The documents that `--json` prints: the type of each command's, by which `glassplate schema` describes it.

Commands import this module when they run, because it imports the types of all of them.
"""

from __future__ import annotations

import dataclasses
import json
from dataclasses import dataclass
from typing import Any, Literal

import typer

from glassplate.flows.report.job_plan import JobPlan
from glassplate.flows.report.job_report import JobReport
from glassplate.flows.report.reports import ImageReport
from glassplate.models.noise.model import NoiseModel
from glassplate.pipeline.assess.assessment import Assessment
from glassplate.pipeline.assess.injection.inject import Recovery
from glassplate.pipeline.planning.first_look import FirstLook
from glassplate.pipeline.planning.summary import PlanSummary, PlanTotals
from glassplate.pipeline.provenance.manifest import Session, Summary
from glassplate.pipeline.provenance.recorded_plan import RecordedCompanion, RecordedDonor
from glassplate.pipeline.provenance.verify import Check
from glassplate.pipeline.sources.source import ImageInfo


@dataclass(frozen=True)
class Restored:
    """Of `restore`."""

    images: tuple[ImageReport, ...]
    export: str | None
    """The file to which several images were exported together."""


@dataclass(frozen=True)
class Written:
    """Of `export`, `preview` and `report`."""

    written: tuple[str, ...]
    """Paths of the files; the last one is what was asked for."""
    messages: tuple[str, ...] = ()
    """Warnings, and why the page of a result could not be written."""


@dataclass(frozen=True)
class ListedRecipe:
    """A shipped recipe."""

    name: str
    task: str
    summary: str
    """What it is for."""
    measured: str
    """What it was measured to do; empty if nothing was."""
    megapixels_per_hour: float | None = None
    """Rate of one worker on this machine; None without `--table`."""


@dataclass(frozen=True)
class ListedRecipes:
    """Of `recipes`. With the name of one it prints that recipe, whose schema is `recipe`."""

    recipes: tuple[ListedRecipe, ...]


@dataclass(frozen=True)
class Verified:
    """Of `verify`."""

    ok: bool
    """Whether every check is passed."""
    checks: tuple[Check, ...]


@dataclass(frozen=True)
class Finding:
    """One check of this machine. It may have more keys, which are numbers of this check."""

    name: str
    ok: bool
    detail: str


@dataclass(frozen=True)
class Examined:
    """Of `doctor`."""

    ok: bool
    """Whether every check is passed."""
    findings: tuple[Finding, ...]


@dataclass(frozen=True, kw_only=True)
class ImageWithCompanions(ImageInfo):
    """One image of a file."""

    companions: tuple[str, ...]
    """The masks and the noise that are found with it, one line each."""


@dataclass(frozen=True)
class Refused:
    """Why no pixel was looked at."""

    refused: str


@dataclass(frozen=True)
class InspectedSource:
    """Of `inspect` of an image file."""

    kind: Literal["source"]
    path: str
    format: str
    bytes: int
    images: tuple[ImageWithCompanions, ...]
    warnings: tuple[str, ...]
    look: FirstLook | Refused | None
    """What the pixels show; None with `--no-pixels`."""


@dataclass(frozen=True)
class TileCounts:
    """Tiles of a result so far."""

    total: int
    done: int
    quarantined: int


@dataclass(frozen=True)
class InspectedResult:
    """Of `inspect` of a result."""

    kind: Literal["result"]
    status: Literal["running", "complete", "partial"]
    shape: tuple[int, ...]
    dtype: str
    unit: str | None
    scale: int
    levels: int
    recipe: str
    recipe_sha256: str
    run_id: str
    version: str
    source: dict[str, Any]
    tiles: TileCounts
    noise: NoiseModel
    companions: tuple[RecordedCompanion, ...]
    donor: RecordedDonor | None
    summary: Summary | None
    """None while the run has not ended."""
    sessions: tuple[Session, ...]


@dataclass(frozen=True)
class Compared:
    """Of `assess --reference`, over the pixels that are valid in both. None: infinite, or not known."""

    psnr_db: float | None
    ssim: float | None
    """Structural similarity of Wang et al. 2004."""
    mse: float
    """Squared source units."""
    rmse: float
    bias: float
    """Mean difference, source units."""
    chi2: float | None
    """Mean squared difference over the variance of the input's noise."""
    flux: float
    """Sum of the pixels, source units."""
    reference_flux: float
    flux_ratio: float | None
    data_range: float
    """What `psnr_db` refers to, source units."""
    pixels: int


TYPES: dict[str, Any] = {
    "restore": Restored,
    "plan": PlanSummary | PlanTotals,
    "batch": JobReport | JobPlan,
    "inspect": InspectedSource | InspectedResult,
    "verify": Verified,
    "export": Written,
    "preview": Written,
    "report": Written,
    "assess": Assessment | Recovery | Compared,
    "recipes": ListedRecipes,
    "doctor": Examined,
}
"""The document of each command that has `--json`; where there are several, options and input decide."""


def print_document(document: Any) -> None:
    """Print a document: a dataclass, or values of JSON."""
    is_dataclass = dataclasses.is_dataclass(document) and not isinstance(document, type)
    typer.echo(json.dumps(dataclasses.asdict(document) if is_dataclass else document, indent=2))
