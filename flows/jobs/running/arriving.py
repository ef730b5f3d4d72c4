"""Files that are still being written: a camera, a scanner or a copy has not finished them."""

from __future__ import annotations

import threading
import time
from collections.abc import Iterable
from contextlib import suppress
from pathlib import Path

# Nanoseconds without a change after which a file counts as whole. Whoever writes a file without a pause
# changes it more often; one that is cut off in a longer pause is found damaged, and is looked at again when
# it has changed.
QUIET_NS = 2 * 10**9

# Seconds for which an image waits before its turn passes to the others. It is looked at again after them.
PATIENCE_S = 10.0
POLL_S = 0.25

ARRIVING = "is still being written"


def is_arriving(path: Path) -> bool:
    """Whether the content of a file has changed just now; False if there is no such file."""
    with suppress(OSError):
        # a clock of another machine may be ahead a little
        return abs(time.time_ns() - path.stat().st_mtime_ns) < QUIET_NS
    return False


def wait_until_whole(files: Iterable[Path], stop: threading.Event) -> bool:
    """Wait until no file of an image is being written; False if that takes too long or the run is to stop."""
    deadline = time.monotonic() + PATIENCE_S
    while any(is_arriving(path) for path in files):
        if time.monotonic() > deadline or stop.wait(POLL_S):
            return False
    return True
