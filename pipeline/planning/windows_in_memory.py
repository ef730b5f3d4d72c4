"""How many windows a worker holds in memory at once."""

from __future__ import annotations


def most_at_hand(stack: int, tiles: int) -> int:
    """Most windows in memory while a batch of so many tiles is restored, `stack` of them side by side."""
    # a whole stack may end together while the next one takes its slots, and one more is being handed on
    windows = 2 * stack + 1
    if stack > 1:
        # one thread reads ahead, another has windows waiting to be written
        windows += windows_ahead(stack) + stack
    return min(windows, tiles)


def most_restored(stack: int, tiles: int) -> int:
    """Most restorations in memory: those of a stack, the one handed on, those waiting to be written."""
    return min(2 if stack == 1 else 2 * stack + 1, tiles)


def windows_ahead(stack: int) -> int:
    """Windows that are read in advance: a whole stack, since so many may begin together; none for one fit."""
    return 0 if stack == 1 else stack
