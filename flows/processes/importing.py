"""Importing large packages."""

from __future__ import annotations

import gc
from collections.abc import Iterator
from contextlib import contextmanager


@contextmanager
def importing() -> Iterator[None]:
    """Import large packages in this context, and nothing else: what they make is never garbage.

    Python would look through all of it again and again, and at each full collection later on. Prefect's
    server is imported in 2.9 s instead of 3.5, the flow of a job in 2.2 s instead of 2.7.
    """
    gc.disable()
    try:
        yield
    finally:
        gc.freeze()
        gc.enable()
