"""Sections of a recipe that belong to the pipeline alone: tiles, the forward operator, the output.

The other sections are declared beside the code that they set.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from glassplate.models.operators.downsample import Kernel


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TilesSettings(Section):
    """How the image is cut."""

    core: int = Field(256, ge=16, le=8192)
    """Largest side of the pixels a tile owns."""
    halo: int = Field(32, ge=0, le=1024)
    """Context on each side of a core that is restored too and blended away."""
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Tiles handed to a worker as one unit of work; auto: one, or four times the stack."""
    stack: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Fits that advance together on one device, so that a large one is kept busy; auto: one on a CPU, where
    more gain nothing, on a GPU what `glassplate doctor` has found fastest there. Memory grows with it; where
    a device has too little, half as many go on."""
    together: Literal["auto", "separate", "grouped", "gemm"] = "auto"
    """How the networks of a stack work: one after the other (separate), as one network of grouped
    convolutions (grouped), or as one of matrix products (gemm); auto: what `glassplate doctor` has found
    fastest, else separate. The last two differ from fits alone by rounding (docs/design/011-stack.md)."""
    threads: int = Field(1, ge=1, le=64)
    """CPU threads of one fit; part of the recipe, since sums depend on it in the last bit. Two fits
    side by side on a core each are faster than one after the other on both, and do not stall when
    another program wants a core (docs/design/002-pool.md)."""


class OperatorSettings(Section):
    """The forward operator A: how the measurement came from what is sought."""

    scale: int = Field(1, ge=1, le=16)
    """Super-resolution factor."""
    kernel: Kernel = "lanczos3"
    """How pixels of the estimate become one of the measurement, after the PSF where one is given:
    lanczos2, lanczos3 and bicubic are resampling filters, box is the mean over a detector's pixel, pick
    its middle, for a PSF that holds the pixel already."""
    jpeg_quality: int | None = Field(None, ge=1, le=100)
    """Quality, as libjpeg counts it, of the JPEG that the image was before it became what it is; null: the
    file is that JPEG, and its own tables are taken (deartifact)."""
    jpeg_sampling: Literal["4:4:4", "4:2:2", "4:4:0", "4:2:0"] = "4:2:0"
    """How sparsely that JPEG sampled its colours, where jpeg_quality is given (deartifact)."""


class OutputSettings(Section):
    """The Zarr that is written."""

    chunk: int = Field(256, ge=16, le=4096)
    """Side of a chunk, what a viewer reads at once; rounded up to a multiple of the scale."""
    shard: int = Field(2048, ge=16, le=16384)
    """Largest side of a shard, what is written at once."""
    invalid: Literal["keep", "fill"] = "keep"
    """What becomes of invalid pixels: keep (NaN, or the original value for integers) or fill with
    the network's estimate."""
    grain: float = Field(0.0, ge=0, le=1)
    """Share of what was removed that is mixed back, so that a photograph does not look like plastic
    (denoise)."""
    clamp: float | None = Field(None, gt=0)
    """Standard deviations of the noise by which a pixel may be changed at most (denoise)."""
    flux: Literal["auto", "surface", "total"] = "auto"
    """Super-resolution: keep surface brightness, or divide by the scale squared so that sums over an
    area stay; auto: total where BUNIT counts per pixel (adu, electrons, counts)."""
