"""The fastest stacking that `glassplate doctor` found for a device and a network, kept in a user's file.

A stacking is how many fits advance side by side on one device, and how their networks are computed.
"""

from __future__ import annotations

import json
import os
import threading
from contextlib import suppress
from dataclasses import asdict, dataclass, replace
from importlib.metadata import version
from pathlib import Path
from typing import Any

from glassplate.models.device.numerics import WAYS, Way
from glassplate.models.fit.problem import Problem
from glassplate.pipeline.provenance.machine import processor

_WRITING = threading.Lock()


@dataclass(frozen=True)
class Stacking:
    """How fits are stacked."""

    stack: int
    """Fits side by side."""
    together: Way
    """How their networks are computed."""

    def of(self, problem: Problem) -> Problem:
        """The problem, stacked like this."""
        return replace(problem, numerics=replace(problem.numerics, **asdict(self)))


ALONE = Stacking(1, "separate")


def recorded_stacking(problem: Problem) -> Stacking | None:
    """The fastest stacking on record for such problems on this device; None where there is no record."""
    match _read(record_file()).get(_key(problem)):
        case {"stack": int(stack), "together": way} if stack >= 1 and way in WAYS:
            return Stacking(stack, way)
    return None


def record_stacking(problem: Problem, stacking: Stacking) -> None:
    """Keep the fastest stacking for this user; do nothing where the file cannot be written."""
    path = record_file()
    if path is None:
        return
    partial = path.with_name(f"{path.name}.{os.getpid()}")
    with _WRITING, suppress(OSError):
        path.parent.mkdir(parents=True, exist_ok=True)
        # replaced as a whole, since another process may read it
        records = {**_read(path), _key(problem): asdict(stacking)}
        partial.write_text(json.dumps(records, indent=1) + "\n")
        partial.replace(path)


def record_file() -> Path | None:
    """The file of the records; None for a user without a home folder."""
    try:
        return Path.home() / ".glassplate" / "together.json"
    except RuntimeError:  # a user whom the system does not know
        return None


def _key(problem: Problem) -> str:
    """What a record holds for: the device, the software, and what decides most of an iteration's time."""
    numerics = problem.numerics
    cuda = numerics.device == "cuda"
    device = _gpu_name() if cuda else processor()
    software = f"glassplate {version('glassplate')}, torch {version('torch')}, {numerics.precision}"
    network = ", ".join(str(value) for value in asdict(problem.network).values())
    painted = f"input {problem.input}, scale {problem.operator.scale}"
    return f"{device}; {software}; {network}; {painted}"


def _gpu_name() -> str:
    import torch  # a plan of fits on the CPU does without it

    return torch.cuda.get_device_name()


def _read(path: Path | None) -> dict[str, Any]:
    """The records; empty where the file is missing or cannot be read."""
    try:
        records = {} if path is None else json.loads(path.read_text())
    except (OSError, ValueError):
        return {}
    return records if isinstance(records, dict) else {}
