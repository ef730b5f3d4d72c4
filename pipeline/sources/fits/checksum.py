"""CHECKSUM and DATASUM of an HDU that is written in pieces (FITS standard 4.0, appendix J)."""

from __future__ import annotations

import numpy as np

_WORD = 2**32 - 1

# ASCII punctuation that the encoded sum must not contain.
_EXCLUDED = frozenset([*range(0x3A, 0x41), *range(0x5B, 0x61)])
_ZERO = 0x30


class OnesComplementSum:
    """Sum of big-endian 32-bit words with the carries added back, fed in multiples of 4 bytes."""

    def __init__(self) -> None:
        self.value = 0

    def add(self, data: bytes | memoryview) -> None:
        """Add a multiple of four bytes."""
        words = np.frombuffer(data, ">u4")
        self.value = _folded(self.value + int(words.sum(dtype=np.uint64)))


def encoded_checksum(total: int) -> str:
    """Compute the CHECKSUM with which an HDU sums to -0.

    Parameters
    ----------
    total
        Ones' complement sum of the HDU with sixteen zeros (the character) as its CHECKSUM.
    """
    complement = _WORD - total
    characters = [0] * 16
    for place in range(4):
        byte = (complement >> (24 - 8 * place)) & 0xFF
        quarters = [byte // 4 + _ZERO] * 4
        quarters[0] += byte % 4
        # moving one from a pair's second to its first keeps the sum
        while any(q in _EXCLUDED for q in quarters):
            for first in (0, 2):
                if quarters[first] in _EXCLUDED or quarters[first + 1] in _EXCLUDED:
                    quarters[first] += 1
                    quarters[first + 1] -= 1
        for quarter, character in enumerate(quarters):
            characters[4 * quarter + place] = character
    # the value of a card begins one byte before a word
    return bytes(characters[-1:] + characters[:-1]).decode("ascii")


def combined(*totals: int) -> int:
    """Add ones' complement sums."""
    return _folded(sum(totals))


def _folded(total: int) -> int:
    while total > _WORD:
        total = (total & _WORD) + (total >> 32)
    return total
