"""Writes one HDU of a FITS file in pieces: its header, its data, and the CHECKSUM and DATASUM of both."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import IO, Any

import numpy as np
import numpy.typing as npt

from glassplate.pipeline.export.fits.cards import card
from glassplate.pipeline.sources.fits.checksum import OnesComplementSum, combined, encoded_checksum
from glassplate.pipeline.sources.fits.scan import BLOCK

_NO_CHECKSUM = "0" * 16


def write_hdu(file: IO[bytes], cards: Iterable[str], data: Iterable[bytes | memoryview]) -> None:
    """Append an HDU with CHECKSUM and DATASUM.

    Parameters
    ----------
    file
        Open for writing, positioned at its end, which is a multiple of 2880 bytes.
    cards
        Of the header, without END, CHECKSUM and DATASUM.
    data
        The data in pieces, each a multiple of 4 bytes except the last one. It is padded with zeros.
    """
    cards = list(cards)
    start = file.tell()
    file.write(_header_bytes([*cards, *_sum_cards(0, _NO_CHECKSUM)]))
    data_sum = OnesComplementSum()
    for piece in data:
        whole = piece if len(piece) % 4 == 0 else bytes(piece).ljust(-(-len(piece) // 4) * 4, b"\0")
        data_sum.add(whole)
        file.write(whole)
    file.write(b"\0" * (-file.tell() % BLOCK))
    end = file.tell()
    total = OnesComplementSum()
    total.add(_header_bytes([*cards, *_sum_cards(data_sum.value, _NO_CHECKSUM)]))
    checksum = encoded_checksum(combined(total.value, data_sum.value))
    file.seek(start)
    file.write(_header_bytes([*cards, *_sum_cards(data_sum.value, checksum)]))
    file.seek(end)


def image_cards(bitpix: int, axes: Iterable[int], name: str, version: int) -> list[str]:
    """Cards of the structure of an image extension; `axes` counts from NAXIS1."""
    lengths = list(axes)
    return [
        card("XTENSION", "IMAGE", "image extension"),
        card("BITPIX", bitpix, "IEEE floating point" if bitpix < 0 else "unsigned bytes"),
        card("NAXIS", len(lengths), "number of array dimensions"),
        *(card(f"NAXIS{axis}", length) for axis, length in enumerate(lengths, 1)),
        card("PCOUNT", 0),
        card("GCOUNT", 1),
        card("EXTNAME", name),
        card("EXTVER", version),
    ]


def raw_pieces(pixels: Iterable[npt.NDArray[Any]], stored: str) -> Iterator[memoryview]:
    """Yield arrays as the bytes of a FITS type, such as ``>f4``."""
    for piece in pixels:
        yield np.ascontiguousarray(piece, stored).reshape(-1).view(np.uint8).data


def _sum_cards(data_sum: int, checksum: str) -> list[str]:
    return [
        card("CHECKSUM", checksum, "HDU checksum"),
        card("DATASUM", str(data_sum), "data unit checksum"),
    ]


def _header_bytes(cards: Iterable[str]) -> bytes:
    text = "".join(cards) + "END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")
