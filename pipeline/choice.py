"""How many fits advance together on a device, and how their networks work: by trial, then remembered.

Which is fastest depends on the device, the network and the window, and nobody could say it without trying
(docs/design/011-stack.md). What was tried once on a device is not tried again.
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, Literal, TypeAlias, get_args

import torch

from glassplate.models.costs import projected_bytes
from glassplate.models.fit import Problem, seconds_per_iteration
from glassplate.pipeline.provenance import processor
from glassplate.pipeline.trial import Timer, as_timed, try_window

Way: TypeAlias = Literal["separate", "grouped", "gemm"]
WAYS: tuple[Way, ...] = get_args(Way)
WindowShape: TypeAlias = tuple[int, int, int]

# Fits in a stack that auto means. On a CPU several gain nothing (docs/design/011-stack.md). On a GPU these
# are tried: by computation 32 windows of 320x320 keep each kernel of the default network at work for many
# times as long as it takes to start, in 6 GB.
WIDTHS = {"cpu": (1,), "cuda": (1, 8, 32)}


@dataclass(frozen=True)
class Together:
    """What a stack may be."""

    stack: int
    together: Way

    def of(self, problem: Problem) -> Problem:
        """The problem in such a stack."""
        return replace(problem, numerics=replace(problem.numerics, **asdict(self)))


ALONE = Together(1, "separate")


def allowed(
    stack: int | Literal["auto"],
    together: Way | Literal["auto"],
    device: Literal["cpu", "cuda"],
    most: int,
) -> list[Together]:
    """Every stack that a recipe's settings allow on a device, for so many tiles."""
    widths = WIDTHS[device] if stack == "auto" else (stack,)
    ways = WAYS if together == "auto" else (together,)
    found = [(min(width, most), way) for width in widths for way in ways]
    return list(dict.fromkeys(Together(*one) if one[0] > 1 else ALONE for one in found))


def that_fit(
    candidates: Sequence[Together], problem: Problem, window_shape: WindowShape, room: float
) -> list[Together]:
    """Those whose projected memory is within `room` bytes, or the first where none is."""
    fitting = [
        one
        for one in candidates
        if projected_bytes(one.of(problem), window_shape, one.stack) <= room
    ]
    return fitting or list(candidates[:1])


def choose(
    problem: Problem,
    window_shape: WindowShape,
    candidates: Sequence[Together],
    time_iteration: Timer = seconds_per_iteration,
) -> Together:
    """Take the stack in which a fit's iteration costs least.

    Parameters
    ----------
    problem, window_shape
        What is fitted, ``(c, h, w)`` pixels of the measurement.
    candidates
        One at least; if only one, nothing is tried.
    time_iteration
        Measures an iteration of one fit, as many beside it as the problem stacks.

    Raises
    ------
    RuntimeError
        If the device can do none of them.
    """
    if len(candidates) == 1:
        return candidates[0]
    seconds: dict[Together, float] = {}
    refused: RuntimeError | None = None
    for one in candidates:
        try:
            trial = try_window(one.of(problem), window_shape, time_iteration)
        except RuntimeError as error:  # too little memory after all, or no kernel for it
            refused = error
            continue
        seconds[one] = trial.seconds_on(window_shape[1:])
    if not seconds and refused is not None:
        raise refused
    return min(seconds, key=lambda one: seconds[one])


def choose_once(
    problem: Problem,
    window_shape: WindowShape,
    candidates: Sequence[Together],
    kept: Path,
    time_iteration: Timer = seconds_per_iteration,
) -> Together:
    """As `choose`, with what was chosen before in the file `kept`, JSON; where there is none it is made.

    A file that cannot be read or written is as good as none: the trials are made again.
    """
    if len(candidates) == 1:
        return candidates[0]
    subject = _subject(problem, window_shape, candidates)
    known = _read(kept)
    for one in candidates:
        if known.get(subject) == asdict(one):
            return one
    chosen = choose(problem, window_shape, candidates, time_iteration)
    _write(kept, {**known, subject: asdict(chosen)})
    return chosen


def file_of_choices() -> Path:
    """Where a user's choices are kept, beside what their flows have kept."""
    return Path.home() / ".glassplate" / "together.json"


def _subject(problem: Problem, window_shape: WindowShape, candidates: Sequence[Together]) -> str:
    """What a choice is good for: the device, the software, what is fitted, and what could be chosen."""
    numerics = problem.numerics
    device = torch.cuda.get_device_name() if numerics.device == "cuda" else processor()
    software = f"glassplate {version('glassplate')}, torch {torch.__version__}"
    fitted = f"{ALONE.of(as_timed(problem))} {window_shape} {list(candidates)}"
    return f"{device}, {software}, {hashlib.sha256(fitted.encode()).hexdigest()[:16]}"


def _read(kept: Path) -> dict[str, Any]:
    try:
        known = json.loads(kept.read_text())
    except (OSError, ValueError):
        return {}
    return known if isinstance(known, dict) else {}


def _write(kept: Path, known: dict[str, Any]) -> None:
    """Replace the file as a whole, since another run may read it."""
    making = kept.with_name(f"{kept.name}.{os.getpid()}")
    with suppress(OSError):
        kept.parent.mkdir(parents=True, exist_ok=True)
        making.write_text(json.dumps(known, indent=1) + "\n")
        making.replace(kept)
    with suppress(OSError):
        making.unlink(missing_ok=True)
