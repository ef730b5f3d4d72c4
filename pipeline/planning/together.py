"""How many fits advance together on a GPU, and how their networks work: tried by doctor, known to plans.

Which is fastest depends on the device and the network, and nobody could say it without trying
(docs/design/011-stack.md). Plans try nothing: what they take is in a file, or it is one fit alone.
"""

from __future__ import annotations

import json
import os
import threading
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any, TypeAlias

import torch

from glassplate.models.device.numerics import WAYS, Way
from glassplate.models.fit.loop import Problem, seconds_per_iteration
from glassplate.models.fit.memory import projected_bytes
from glassplate.pipeline.planning.trial import TRIALS, Timer, as_timed
from glassplate.pipeline.planning.windows_in_memory import most_at_hand
from glassplate.pipeline.provenance.documents import processor

WindowShape: TypeAlias = tuple[int, int, int]

# Fits in a stack that are tried. On a CPU several gain nothing (docs/design/011-stack.md). On a GPU: by
# computation 32 windows of 320x320 keep each kernel of the default network at work for many times as long as
# it takes to start, in 6 GB.
WIDTHS = {"cpu": (1,), "cuda": (1, 8, 32)}
# Stacks of one unit of work: a slot whose fit ends finds another one waiting, and a run that is killed
# loses no more than these.
STACKS_AT_ONCE = 4


@dataclass(frozen=True)
class Together:
    """What a stack may be."""

    stack: int
    together: Way

    def of(self, problem: Problem) -> Problem:
        """The problem in such a stack."""
        return replace(problem, numerics=replace(problem.numerics, **asdict(self)))


ALONE = Together(1, "separate")


def candidates(problem: Problem, window_shape: WindowShape, room: float) -> list[Together]:
    """Every stack worth a trial on the problem's device whose projected memory is within `room` bytes."""
    found = [
        Together(width, way)
        for width in WIDTHS[problem.numerics.device]
        for way in (WAYS if width > 1 else WAYS[:1])
    ]

    def fits(one: Together) -> bool:
        at_hand = most_at_hand(one.stack, STACKS_AT_ONCE * one.stack)
        return projected_bytes(one.of(problem), window_shape, at_hand) <= room

    return [one for one in found if one == ALONE or fits(one)]


def choose(
    problem: Problem,
    window_shape: WindowShape,
    some: Sequence[Together],
    time_iteration: Timer = seconds_per_iteration,
) -> Together:
    """Take the stack in which a fit's iteration costs least.

    Parameters
    ----------
    problem, window_shape
        What is fitted, ``(c, h, w)`` pixels of the measurement.
    some
        Of which to choose, one at least.
    time_iteration
        Measures an iteration of one fit, as many beside it as the problem stacks.

    Raises
    ------
    RuntimeError
        If the device can do none of them.
    """
    problem = as_timed(problem)
    seconds: dict[Together, float] = {}
    refused: RuntimeError | None = None
    for one in some:
        try:
            trials = [time_iteration(one.of(problem), window_shape) for _ in range(TRIALS)]
        except RuntimeError as error:  # no kernel for it, or too little memory even for one
            # without what its frames hold on the device
            refused = error.with_traceback(None)
            torch.cuda.empty_cache()
            continue
        seconds[one] = min(trials)
    if not seconds and refused is not None:
        raise refused
    return min(seconds, key=lambda one: seconds[one])


def known(problem: Problem) -> Together | None:
    """What was found best for such problems on this device; None where nothing was."""
    match _read(file_of_choices()).get(_subject(problem)):
        case {"stack": int(stack), "together": way} if stack >= 1 and way in WAYS:
            return Together(stack, way)
    return None


_WRITING = threading.Lock()


def remember(problem: Problem, chosen: Together) -> None:
    """Keep what was found best, for this user; where nothing can be written nothing is kept."""
    path = file_of_choices()
    if path is None:
        return
    making = path.with_name(f"{path.name}.{os.getpid()}")
    with _WRITING, suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # as a whole, since another process may read it
        whole = {**_read(path), _subject(problem): asdict(chosen)}
        making.write_text(json.dumps(whole, indent=1) + "\n")
        making.replace(path)


def file_of_choices() -> Path | None:
    """Where a user's choices are kept, beside what their flows have kept; None without a home folder."""
    try:
        return Path.home() / ".glassplate" / "together.json"
    except RuntimeError:  # a user whom the system does not know
        return None


def _subject(problem: Problem) -> str:
    """What a choice is good for: the device, the software, and what mostly makes an iteration's time."""
    numerics = problem.numerics
    cuda = numerics.device == "cuda"
    device = torch.cuda.get_device_name() if cuda else processor()
    software = (
        f"glassplate {version('glassplate')}, torch {torch.__version__}, {numerics.precision}"
    )
    network = ", ".join(str(value) for value in asdict(problem.network).values())
    painted = f"input {problem.input}, scale {problem.operator.scale}"
    return f"{device}; {software}; {network}; {painted}"


def _read(path: Path | None) -> dict[str, Any]:
    """What is kept; nothing where there is no file, or none that can be read."""
    try:
        kept = {} if path is None else json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return kept if isinstance(kept, dict) else {}
