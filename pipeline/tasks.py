"""The tasks of a recipe, one entry each: what a task needs, and what it does to the pixels.

A new task is one entry here, and its forward operator where it has one (`planning.operator`).
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal, TypeAlias

TaskName: TypeAlias = Literal[
    "denoise",
    "guided",
    "superres",
    "deconvolve",
    "inpaint",
    "deartifact",
    "colorize",
    "identity",
]
Role: TypeAlias = Literal["psf", "guide", "hints", "variance"]
"""Role of a companion that only some tasks use, as in `companions.table`."""


@dataclass(frozen=True)
class TaskTraits:
    """What a task needs, and what it does to the pixels."""

    result: str
    """What the result is, for the documentation."""
    needs: frozenset[Role] = frozenset()
    """Companions without which the task is refused."""
    takes: frozenset[Role] = frozenset({"guide", "variance"})
    """Companions that may be given; any other is refused."""
    fits: bool = True
    """Whether networks are fitted; otherwise each pixel is copied."""
    measures: bool = True
    """Whether pixels are measurements with noise. If so, the noise is estimated, a unit far from 1 is scaled,
    and wild pixels are looked for. If not, values are taken as they are."""
    denoises: bool = False
    """Whether the result is the image without its noise, on the same grid."""
    enlarges: bool = False
    """Whether the result has `operator.scale` times as many rows and columns."""
    fills_only: bool = False
    """Whether invalid pixels are filled, and all others stay the same to the bit."""
    from_jpeg: bool = False
    """Whether the measurement is what a JPEG's quantisation tables left."""
    has_uncertainty: bool = True
    """Whether `fit.uncertainty` is possible."""
    why_fixed: str | None = None
    """Why no stopping rule but `fixed` is possible: what any other rule does that cannot work; None where all
    rules are possible."""
    copied_because: str | None = None
    """Stop reason of a tile that is copied instead of fitted; None where every tile is fitted."""


TASKS: Mapping[TaskName, TaskTraits] = {
    "denoise": TaskTraits("the image without its noise", denoises=True),
    "guided": TaskTraits(
        "the image without its noise, with a second image of the same scene as a guide",
        needs=frozenset({"guide"}),
        denoises=True,
    ),
    "superres": TaskTraits(
        "the image on a grid `operator.scale` times as fine",
        takes=frozenset({"psf", "guide", "variance"}),
        enlarges=True,
    ),
    "deconvolve": TaskTraits(
        "the image before it was blurred by a known point-spread function",
        needs=frozenset({"psf"}),
        takes=frozenset({"psf", "guide", "variance"}),
    ),
    "inpaint": TaskTraits(
        "the image with its invalid pixels filled, and all others the same to the bit",
        fills_only=True,
        copied_because="nothing to fill",
    ),
    "deartifact": TaskTraits(
        "the image without the blocks and ringing of a JPEG",
        measures=False,
        from_jpeg=True,
        why_fixed="holds pixels out, of which a JPEG says nothing one by one",
    ),
    "colorize": TaskTraits(
        "a grey photograph in colours, from hints",
        needs=frozenset({"hints"}),
        takes=frozenset({"hints"}),
        measures=False,
        has_uncertainty=False,
        why_fixed="would hold out hints, which their own neighbours predict",
        copied_because="no hint",
    ),
    "identity": TaskTraits(
        "a copy, through the whole pipeline",
        takes=frozenset({"variance"}),
        fits=False,
        measures=False,
        copied_because="identity",
    ),
}
