"""The plan of a run as its manifest records it: numbers in the source's own units, and plain values."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import PurePath

from glassplate.models.device.numerics import Numerics
from glassplate.models.noise.description import NoiseDescription
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.quantisation import Quantisation
from glassplate.models.pixel_transform import PixelTransform
from glassplate.pipeline.companions.exposures import Combination
from glassplate.pipeline.store.layout import Layout


@dataclass(frozen=True)
class RecordedGrid:
    """The fields of a `TileGrid`, and the channel groups, rows and columns of tiles that follow from them."""

    shape: tuple[int, int, int]
    joint: bool
    core: int
    halo: int
    dimensions: tuple[int, int, int]
    colours: int = 1


@dataclass(frozen=True)
class RecordedDonor:
    """The donor of an earlier result that was reused."""

    store: str
    """Absolute path of the earlier result."""
    sha256: str
    """Of its file of weights."""


@dataclass(frozen=True)
class RecordedCompanion:
    """A mask or the noise that came with an image: given, or found by its name."""

    role: str
    """``mask``, ``mask of exposure 1`` and so on, ``variance`` (any image of the noise) or ``detector`` (gain
    and read noise)."""
    name: str
    """File and extension, or the cards of the detector."""
    found: bool
    """Whether it was found by name; otherwise it was given."""
    used: bool
    """Whether it has influenced the pixels."""
    reading: str
    """How it is read, such as the table of flags of a mask."""
    remark: str
    """What it says of the image, or why it is not used."""

    @property
    def words(self) -> str:
        """All this in one line."""
        name = self.name if self.role == "detector" else PurePath(self.name).name
        how = "found by name" if self.found else "given"
        use = "" if self.used else ", not used"
        return f"{name}, {how}{use}; {self.reading}; {self.remark}"


@dataclass(frozen=True, kw_only=True)
class RecordedPlan:
    """What `Plan.recorded` writes and `Plan.as_recorded` reads.

    The order of the fields is that in the manifest. Early manifests lack those that have a default.
    """

    output_shape: tuple[int, ...]
    output_dtype: str
    grid: RecordedGrid
    tiles: int
    batches: int
    batch_size: int
    layout: Layout
    working_dtype: str
    unit_exponent: int = 0
    """Pixels are read divided by ``2**unit_exponent``."""
    pedestal: float = 0.0
    """Subtracted from pixels before: the transform, noise and limits below are of the rest."""
    wild: tuple[dict[str, float | None] | None, ...] = ()
    """What `WildLimits.to_json` gives for the image and each exposure."""
    transform: PixelTransform
    noise: NoiseModel
    numerics: Numerics
    warm: bool = False
    donor: RecordedDonor | None = None
    donor_iterations: int = 0
    exposures: Combination | None = None
    flux_factor: float
    noise_before: float | None = None
    """Of early manifests: differences between neighbouring pixels of the input."""
    noise_found: NoiseDescription | None = None
    removes_nothing: bool = False
    guide: PixelTransform | None = None
    psf_shape: tuple[int, ...] | None = None
    defects: dict[str, bool | int | float | str] | None = None
    """Settings of the detection, of which an earlier release may have had other ones; None without any."""
    defect_noise: NoiseModel | None = None
    """Noise above which something is a defect; None where none is sought, and in early manifests."""
    low_level: float | None = None
    """Value below which pixels are dead."""
    quantisation: Quantisation | None = None
    white: float | None = None
    companions: tuple[RecordedCompanion, ...] = ()
    """The mask and the noise, used or not."""
    warnings: tuple[str, ...] = ()
