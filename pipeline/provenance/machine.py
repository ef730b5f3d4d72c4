"""The machine of a run and the software installed on it."""

from __future__ import annotations

import importlib.metadata
import os
import platform
import sys
from dataclasses import dataclass
from email.parser import HeaderParser
from functools import cache
from pathlib import Path

import psutil


@dataclass(frozen=True)
class Machine:
    """A machine, as a session of a run records it."""

    host: str
    system: str
    """Operating system with its version."""
    processor: str
    gpus: tuple[str, ...]
    """Names of the GPUs, if the run uses them."""
    cores: int | None
    memory_bytes: int
    python: str
    """Version of Python."""


def this_machine(*, gpus: bool = False) -> Machine:
    """Describe this machine.

    Parameters
    ----------
    gpus
        Whether to name the GPUs. Only a run that uses them should ask torch for them.
    """
    return Machine(
        host=platform.node(),
        system=platform.platform(),
        processor=processor(),
        gpus=gpu_names() if gpus else (),
        cores=os.cpu_count(),
        memory_bytes=psutil.virtual_memory().total,
        python=sys.version.split()[0],
    )


def gpu_names() -> tuple[str, ...]:
    """Names of the GPUs that torch finds."""
    import torch  # seconds that a description of the machine without GPUs does not need

    if not torch.cuda.is_available():
        return ()
    return tuple(torch.cuda.get_device_name(n) for n in range(torch.cuda.device_count()))


def processor() -> str:
    """Model name of this machine's processor."""
    cpuinfo = Path("/proc/cpuinfo")
    if cpuinfo.is_file():
        for line in cpuinfo.read_text("utf-8", "replace").splitlines():
            if line.startswith("model name"):
                return line.partition(":")[2].strip()
    return platform.processor() or platform.machine()


@cache
def installed_distributions() -> str:
    """Installed distributions, one ``name==version`` per line, sorted.

    They are read once for each process, and of each the header alone: parsing the descriptions too takes a
    quarter of a second, as long as all the rest of an identity run.
    """
    found = {}
    for distribution in importlib.metadata.distributions():
        metadata = distribution.read_text("METADATA") or distribution.read_text("PKG-INFO") or ""
        header = HeaderParser().parsestr(metadata.partition("\n\n")[0])
        if header["Name"]:
            found[header["Name"].lower()] = header["Version"]
    return "".join(f"{name}=={version}\n" for name, version in sorted(found.items()))
