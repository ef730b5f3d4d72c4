"""Sections of a recipe that belong to the pipeline alone: tiles, the forward operator, the output.

The other sections are declared beside the code that they set.
"""

from __future__ import annotations

from typing import Annotated, Literal

from pydantic import BaseModel, ConfigDict, Field

from glassplate.models.operators.kernels import Kernel


class Section(BaseModel):
    """A frozen group of settings that refuses keys it does not know."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class TilesSettings(Section):
    """How the image is cut."""

    core: int = Field(256, ge=16, le=8192)
    """Largest side of a tile's core, pixels of the input."""
    halo: int = Field(32, ge=0, le=1024)
    """Pixels around a core that are restored with it and blended with the neighbours'."""
    batch: Literal["auto"] | Annotated[int, Field(ge=1)] = "auto"
    """Tiles that a worker gets as one unit of work; auto: one, or four times the stack."""
    stack: Literal["auto"] | Annotated[int, Field(ge=1, le=1024)] = "auto"
    """Tiles that are fitted side by side, so that a large device is busy. auto: one on a CPU, where more gain
    nothing; on a GPU the number that `glassplate doctor` found fastest. Memory grows with it, and where a
    device has too little, half as many go on."""
    together: Literal["auto", "separate", "grouped"] = "auto"
    """How the networks of a stack work: one after the other (separate), or as one network of grouped
    convolutions (grouped); auto: what `glassplate doctor` has found fastest, else separate. Grouped networks
    differ from fits alone by rounding (docs/design/011-stack.md)."""
    threads: int = Field(1, ge=1, le=64)
    """CPU threads of one fit; part of the recipe, since the last bit of a sum depends on it. Two fits on one
    core each are faster than one after the other on both cores, and do not stall when another program
    needs a core (docs/design/002-pool.md)."""


class OperatorSettings(Section):
    """The forward operator A: how the measurement follows from the image that is sought."""

    scale: int = Field(1, ge=1, le=16)
    """Super-resolution factor."""
    kernel: Kernel = "lanczos3"
    """How pixels of the estimate become a pixel of the measurement, after the PSF if there is one. lanczos2,
    lanczos3 and bicubic are resampling filters; box is the mean over the area of a detector's pixel; pick
    is the value at its middle, for a PSF that includes the pixel's area."""
    jpeg_quality: int | None = Field(None, ge=1, le=100)
    """Quality, on libjpeg's scale, of the JPEG from which the image was made; null: the file is that
    JPEG, and its own tables are used (deartifact)."""
    jpeg_sampling: Literal["4:4:4", "4:2:2", "4:4:0", "4:2:0"] = "4:2:0"
    """Chroma subsampling of that JPEG, where jpeg_quality is given (deartifact)."""


class OutputSettings(Section):
    """The Zarr store of the result."""

    chunk: int = Field(256, ge=16, le=4096)
    """Side of a chunk, which a viewer reads at once; rounded up to a multiple of the scale."""
    shard: int = Field(2048, ge=16, le=16384)
    """Largest side of a shard, which is written at once."""
    invalid: Literal["keep", "fill"] = "keep"
    """What becomes of invalid pixels. keep: NaN, or the original value of integers; fill: the network's
    estimate."""
    grain: float = Field(0.0, ge=0, le=1)
    """Share of the removed noise that is mixed back, so that a photograph does not look like plastic
    (denoise)."""
    clamp: float | None = Field(None, gt=0)
    """Largest change of a pixel, in standard deviations of the noise (denoise); null: no limit."""
    flux: Literal["auto", "surface", "total"] = "auto"
    """Of an enlarged image. surface: keep the surface brightness; total: divide by the scale squared, so
    that sums over an area stay the same; auto: total where BUNIT is a count per pixel (adu, electrons,
    counts)."""
