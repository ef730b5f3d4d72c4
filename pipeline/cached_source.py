"""Sources that a worker keeps open from one tile to the next."""

from __future__ import annotations

import atexit
import threading
from collections import OrderedDict
from dataclasses import replace
from typing import Any

from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.source_findings import NOTHING_FOUND, SourceFindings
from glassplate.pipeline.sources.guarded_reading import file_state
from glassplate.pipeline.sources.source import Source, SourceSpec

# Sources that one thread keeps open: the image it restores, and the one before, since the tasks of
# two images may interleave on a worker.
_MOST_OPEN = 2

# For each thread its own: an open source has a position in a file and must not be shared.
_opened = threading.local()


class _OpenSources(OrderedDict[Any, Source]):
    """Open sources of one thread, closed when the thread ends."""

    def __del__(self) -> None:
        for source in self.values():
            source.close()


def cached_source(spec: SourceSpec, findings: SourceFindings = NOTHING_FOUND) -> Source:
    """The source of `open_source`, opened once in each worker thread; opened anew when a file changed.

    Raises
    ------
    SourceError
        As `open_source`.
    """
    held: _OpenSources = _opened.__dict__.setdefault("sources", _OpenSources())
    # workers do not read the PSF, and may not see its file
    files = replace(spec, psf=None).files
    key = (spec, findings, *(file_state(path) for path in files))
    if key in held:
        held.move_to_end(key)
        return held[key]
    source = open_source(spec, findings)
    while len(held) >= _MOST_OPEN:
        held.popitem(last=False)[1].close()
    held[key] = source
    return source


def close_cached_sources() -> None:
    """Close what `cached_source` keeps open in this thread."""
    for source in _opened.__dict__.pop("sources", {}).values():
        source.close()


# while the modules that close files still exist
atexit.register(close_cached_sources)
