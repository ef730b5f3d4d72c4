"""Refuse to start worker processes where they would run the caller's program again."""

from __future__ import annotations

import multiprocessing
import sys
from pathlib import Path

from glassplate.pipeline.errors import UsageError


def refuse_unsafe_spawning() -> None:
    """Refuse to start workers where each would run the caller's program again from its top.

    A worker of a local pool is a new process that first imports the main module of this one. A script
    that runs a flow at its top level, not under ``if __name__ == "__main__":``, would start a flow in
    each worker. A program that was read from a pipe cannot be imported at all.

    Raises
    ------
    UsageError
        If this process is being started by another one, may have no children, or runs a program that
        was read from a pipe.
    """
    process = multiprocessing.current_process()
    # multiprocessing sets it while a child imports the main module of its parent
    if getattr(process, "_inheriting", False):
        raise UsageError(
            "pool local: this script starts its workers at its top level; move the call below "
            'if __name__ == "__main__": or use the pool inline'
        )
    if process.daemon:
        raise UsageError(
            f"pool local: the process {process.name!r} may have no children; use the pool inline"
        )
    main = sys.modules.get("__main__")
    path = getattr(main, "__file__", None)
    if path is not None and getattr(main, "__spec__", None) is None and not Path(path).is_file():
        raise UsageError(
            f"pool local: workers cannot import {path}; save the program to a file or use the pool inline"
        )
