"""Damaged files: each is restored or refused in one line, soon; anything else is a fault.

    python benchmarks/damaged.py [fits ...] [--count 150] [--first 0] [--limit 20] [--keep FOLDER]

Files come from ``damaged_KIND.py`` beside this one, whose ``damaged(seed)`` gives a file's name, what was
done to it, and its content. Each is described, planned with the default recipe of its format, restored with
``identity`` and exported, all in this process. The exit code is 1 where there is a fault.

A fault is whatever is no `GlassplateError` of exit code 2, a message of several lines, more than the limit of
seconds, or an export that cannot be read.
"""

from __future__ import annotations

import argparse
import importlib
import shutil
import signal
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from astropy.io import fits

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


class _Late(BaseException):
    """The limit of time is over; no Exception, so that no handler of damage takes it for one."""


@contextmanager
def _limit(seconds: float) -> Iterator[None]:
    """Raise in the body when its time is over; code that never returns to Python is not stopped."""

    def stop(*_: object) -> None:
        raise _Late

    before = signal.signal(signal.SIGALRM, stop)
    signal.setitimer(signal.ITIMER_REAL, seconds)
    try:
        yield
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)


def outcomes(path: Path, what: str, pool: Pool, limit: float) -> list[Outcome]:
    """Try every step on one file; what it leaves behind lies beside it and is removed."""
    work: dict[str, Callable[[], object]] = {
        "describe": lambda: describe(path),
        "plan": lambda: _plan(path),
        "restore": lambda: _restore(path, pool),
    }
    return [_tried(path.name, what, step, do, limit) for step, do in work.items()]


def _tried(name: str, what: str, step: str, work: Callable[[], object], limit: float) -> Outcome:
    start = time.monotonic()
    try:
        with _limit(limit):
            work()
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
    return Outcome(name, what, step, ended, message, time.monotonic() - start)


def _plan(path: Path) -> None:
    name = default_recipe(path)
    make_plan(SourceSpec(path), load_recipe(name), recipe_name=name, device="cpu")


def _restore(path: Path, pool: Pool) -> None:
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
    finally:
        close_cached_sources()
        shutil.rmtree(store, ignore_errors=True)
        export.unlink(missing_ok=True)


def _check_fits(path: Path) -> None:
    """Read an export as anybody would: by astropy, header and pixels."""
    with collected_warnings(path), fits.open(path) as hdus:
        end = hdus[0].fileinfo()["datLoc"]
        if hdus[0].data is None:
            raise ValueError("the export has no pixels")
    header = path.read_bytes()[:end].decode("ascii")
    if not header.isprintable():
        raise ValueError("the export's header holds characters that FITS does not allow")


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


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("kinds", nargs="*", default=KINDS, metavar="KIND")
    parser.add_argument("--count", type=int, default=150)
    parser.add_argument("--first", type=int, default=0)
    parser.add_argument("--limit", type=float, default=20.0, help="seconds for a step")
    parser.add_argument("--keep", type=Path, help="folder in which the files of faults stay")
    given = parser.parse_args()
    faults = 0
    with tempfile.TemporaryDirectory() as temporary:
        folder = given.keep or Path(temporary)
        folder.mkdir(parents=True, exist_ok=True)
        seeds = range(given.first, given.first + given.count)
        for kind in given.kinds:
            counts: Counter[tuple[str, str]] = Counter()
            longest = 0.0
            for one in tried(kind, seeds, folder, limit=given.limit):
                counts[one.step, one.ended] += 1
                longest = max(longest, one.seconds)
                if one.ended == "fault":
                    print(f"{one.name} ({one.what}), {one.step}: {one.message}")
            for step in STEPS:
                ends = (f"{counts[step, ended]} {ended}" for ended in ("done", "refused", "fault"))
                print(f"{kind} {step:<9} {', '.join(ends)}")
                faults += counts[step, "fault"]
            print(f"{kind} longest step {longest:.1f} s")
    return 1 if faults else 0


if __name__ == "__main__":
    sys.exit(main())
