"""Damaged files: each is restored or refused in one line, soon; anything else is a fault.

    python benchmarks/damaged.py [fits ...] [--count 150] [--first 0] [--limit 10] [--keep FOLDER] [-o FILE]

Files come from ``damaged_KIND.py`` beside this one, whose ``damaged(seed)`` gives a file's name, what was
done to it, and its content. Each is described, planned with the default recipe of its format, restored with
``identity`` and exported, all in this process. What is accepted is compared with what astropy, tifffile or
Pillow read from the same file. The exit code is 1 where there is a fault.

A fault is whatever is no `GlassplateError` of exit code 2, a message of several lines, more than the limit of
processor seconds or ten times as long altogether, more than 1 GiB of memory, an export that cannot be read,
or a pixel that an oracle reads otherwise.
"""

from __future__ import annotations

import argparse
import importlib
import json
import platform
import re
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from astropy.io import fits
from oracle import Comparison, compare

from glassplate.flows.jobs.images import default_recipe
from glassplate.pipeline.cached_source import close_cached_sources
from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.pools.pool import Pool
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.source import SourceSpec

FOLDER = Path(__file__).parent
KINDS = sorted(path.stem.removeprefix("damaged_") for path in FOLDER.glob("damaged_*.py"))
STEPS = ("describe", "plan", "restore")
ENDS = ("done", "refused", "fault")
MOST_BYTES = 1 << 30
# Other programs may take most of the processor and the disk: a step that works is given ten times as long.
WAITS = 10


@dataclass(frozen=True)
class Outcome:
    """How one step ended for one file."""

    name: str
    what: str
    """What was done to the file."""
    step: str
    ended: str
    """``done``, ``refused`` or ``fault``."""
    message: str
    seconds: float
    """Of the processor."""
    memory_bytes: int = 0
    """Most memory of the process during the step, above that at its beginning."""
    compared: str = ""
    """How the result compares with an oracle: ``equal``, ``differs`` or ``alone``; empty without one."""


class _Late(BaseException):
    """The limit of time is over; no Exception, so that no handler of damage takes it for one."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise in the body when its processor time is over, or when it has waited `WAITS` times as long.

    Code that never returns to Python is not stopped.
    """

    def stop(*_: object) -> None:
        raise _Late

    clocks = ((signal.ITIMER_PROF, signal.SIGPROF, 1), (signal.ITIMER_REAL, signal.SIGALRM, WAITS))
    before = [signal.signal(sign, stop) for _, sign, _ in clocks]
    try:
        for clock, _, times in clocks:
            signal.setitimer(clock, seconds * times)
        yield
    finally:
        for (clock, sign, _), handler in zip(clocks, before, strict=True):
            signal.setitimer(clock, 0)
            signal.signal(sign, handler)


def outcomes(path: Path, what: str, pool: Pool, limit: float) -> list[Outcome]:
    """Try every step on one file; what it leaves behind lies beside it and is removed."""
    work: dict[str, Callable[[], Comparison | None]] = {
        "describe": lambda: _describe(path),
        "plan": lambda: _plan(path),
        "restore": lambda: _restore(path, pool),
    }
    return [_tried(path.name, what, step, do, limit) for step, do in work.items()]


def _tried(
    name: str, what: str, step: str, work: Callable[[], Comparison | None], limit: float
) -> Outcome:
    start, before = time.process_time(), _begin_peak()
    compared = None
    try:
        with _limit(limit):
            compared = work()
        ended, message = "done", ""
    except GlassplateError as error:
        message = str(error)
        plain = error.exit_code == 2 and "\n" not in message
        ended = "refused" if plain else "fault"
    except _Late:
        ended, message = "fault", f"not done after {limit:g} s"
    # this is what is looked for
    except BaseException as error:
        if isinstance(error, KeyboardInterrupt):
            raise
        ended, message = "fault", f"{type(error).__name__}: {error}"
    seconds, memory = time.process_time() - start, _peak_bytes() - before
    if compared is not None:
        message = compared.detail
        ended = "fault" if compared.ended == "differs" else ended
    if memory > MOST_BYTES:
        ended, message = "fault", f"takes {memory >> 20} MiB; {message}"
    return Outcome(
        name, what, step, ended, message, seconds, memory, compared.ended if compared else ""
    )


def _begin_peak() -> int:
    """Reset the kernel's record of the largest memory of this process; return what it has now."""
    with suppress(OSError):  # no such file but on Linux
        Path("/proc/self/clear_refs").write_text("5")
    return _peak_bytes()


def _peak_bytes() -> int:
    """Largest resident memory since the last reset."""
    status = Path("/proc/self/status")
    found = re.search(r"VmHWM:\s*(\d+) kB", status.read_text()) if status.exists() else None
    return int(found[1]) << 10 if found else 0


def _describe(path: Path) -> None:
    describe(path)


def _plan(path: Path) -> None:
    name = default_recipe(path)
    make_plan(SourceSpec(path), load_recipe(name), recipe_name=name, device="cpu")


def _restore(path: Path, pool: Pool) -> Comparison:
    store = path.with_name(f"{path.stem}.zarr")
    suffix = ".fits" if default_recipe(path).startswith("astro") else ".tif"
    export = path.with_name(f"{path.stem}-restored{suffix}")
    request = RestoreRequest(
        SourceSpec(path), store, load_recipe("identity"), "identity", "cpu", export
    )
    try:
        restore(request, pool)
        if suffix == ".fits":
            _check_fits(export)
        return compare(store, path)
    finally:
        close_cached_sources()
        shutil.rmtree(store, ignore_errors=True)
        export.unlink(missing_ok=True)


def _check_fits(path: Path) -> None:
    """Read an export as anybody would: by astropy, the primary header and the restored HDU."""
    places, restored = [], False
    with collected_warnings(path), fits.open(path) as hdus:
        for index, hdu in enumerate(hdus):
            # other HDUs are copies of the damaged ones; only restored ones name their recipe
            if "GPRECIPE" in hdu.header:
                restored = hdu.data is not None
            if index == 0 or restored:
                places.append(hdu.fileinfo())
            if restored:
                break
    if not restored:
        raise ValueError("the export has no pixels")
    raw = path.read_bytes()
    for place in places:
        if not raw[place["hdrLoc"] : place["datLoc"]].decode("ascii").isprintable():
            raise ValueError("a header of the export holds characters that FITS does not allow")


def tried(kind: str, seeds: range, folder: Path, *, limit: float) -> Iterator[Outcome]:
    """The outcomes of the damaged files of one kind, one after another."""
    damaged = importlib.import_module(f"damaged_{kind}").damaged
    with open_pool("inline", workers=None, device="cpu") as pool:
        for seed in seeds:
            name, what, content = damaged(seed)
            path = folder / name
            path.write_bytes(content)
            found = outcomes(path, what, pool, limit)
            yield from found
            if all(one.ended != "fault" for one in found):
                path.unlink()


@dataclass
class Table:
    """What became of the files of one kind."""

    files: int = 0
    steps: dict[str, Counter[str]] = field(
        default_factory=lambda: {step: Counter() for step in STEPS}
    )
    compared: Counter[str] = field(default_factory=Counter)
    refused: Counter[str] = field(default_factory=Counter)
    """Files that are not restored, by the reason."""
    alone: Counter[str] = field(default_factory=Counter)
    """Restored files that no oracle reads, by what it says."""
    longest_s: float = 0.0
    most_mib: int = 0
    faults: list[str] = field(default_factory=list)

    def add(self, one: Outcome) -> None:
        """Count one outcome."""
        self.files += one.step == STEPS[0]
        self.steps[one.step][one.ended] += 1
        if one.compared:
            self.compared[one.compared] += 1
        if one.compared == "alone":
            self.alone[_general(one.message)] += 1
        elif one.step == "restore" and one.ended == "refused":
            self.refused[_general(one.message)] += 1
        self.longest_s = max(self.longest_s, round(one.seconds, 1))
        self.most_mib = max(self.most_mib, one.memory_bytes >> 20)
        if one.ended == "fault":
            self.faults.append(f"{one.name} ({one.what}), {one.step}: {one.message}")

    def to_json(self) -> dict[str, Any]:
        """The table with the most frequent reasons first."""
        return {
            **vars(self),
            "steps": {step: dict(ended) for step, ended in self.steps.items()},
            **{
                name: dict(getattr(self, name).most_common())
                for name in ("compared", "refused", "alone")
            },
        }


def _general(message: str) -> str:
    """A message without what differs from file to file: its name and numbers."""
    message = re.sub(r"\S*/(\S+?):", "FILE:", message)
    message = re.sub(r"'[^']*'|b\"[^\"]*\"", "'...'", message)
    return re.sub(r"[-+]?\d[\d.,]*(e[+-]?\d+)?", "N", message)


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--limit", type=float, default=10.0, help="processor seconds for a step")
    parser.add_argument("--keep", type=Path, help="folder in which the files of faults stay")
    parser.add_argument("-o", "--output", type=Path, help="JSON file with the figures")
    given = parser.parse_args()
    tables: dict[str, Table] = {}
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seeds = range(given.first, given.first + given.count)
        for kind in given.kinds:
            table = tables[kind] = Table()
            for one in tried(kind, seeds, folder, limit=given.limit):
                faults = len(table.faults)
                table.add(one)
                for fault in table.faults[faults:]:
                    print(fault, flush=True)
            for step in STEPS:
                ends = (f"{table.steps[step][ended]} {ended}" for ended in ENDS)
                print(f"{kind} {step:<9} {', '.join(ends)}")
            print(f"{kind} against an oracle: {dict(table.compared)}")
            print(
                f"{kind} longest step {table.longest_s} processor seconds, most memory {table.most_mib} MiB"
            )
    if given.output:
        figures = {
            "seeds": [given.first, given.first + given.count - 1],
            "limit_s": given.limit,
            "python": platform.python_version(),
            "kinds": {kind: table.to_json() for kind, table in tables.items()},
        }
        given.output.write_text(json.dumps(figures, indent=1, ensure_ascii=False) + "\n", "utf-8")
    return 1 if any(table.faults for table in tables.values()) else 0


if __name__ == "__main__":
    sys.exit(main())
