"""How many windows a worker has in memory at once."""

from __future__ import annotations


def most_at_hand(stack: int, tiles: int) -> int:
    """Windows that restoring a batch of so many tiles has in memory at once, at most."""
    # fits that end together, those that take their slots before the first is restored, the one handed on last
    at_hand = 2 * stack + 1
    if stack > 1:
        # what the threads have: read ahead, and waiting to be written
        at_hand += windows_ahead(stack) + stack
    return min(at_hand, tiles)


def most_restored(stack: int, tiles: int) -> int:
    """Restorations among them: those of a stack, the one handed on last, those that wait to be written."""
    return min(2 if stack == 1 else 2 * stack + 1, tiles)


def windows_ahead(stack: int) -> int:
    """Windows read in advance: as many as begin together where a stack ends, none where nothing overlaps."""
    return 0 if stack == 1 else stack
