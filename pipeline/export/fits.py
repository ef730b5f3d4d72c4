"""Writes a result as FITS: the header, then the pixels as floats, band by band."""

from __future__ import annotations

import os
from collections.abc import Iterable
from pathlib import Path
from typing import IO

import numpy as np

from glassplate.pipeline.export.fits_checksum import OnesComplementSum, combined, encoded_checksum
from glassplate.pipeline.export.fits_header import card, header_cards
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.sources.fits.scan import BLOCK
from glassplate.pipeline.sources.source import choose_working_dtype

_NO_CHECKSUM = "0" * 16


def write_fits(image: ExportedImage, path: Path) -> None:
    """Write the primary image of a new FITS file, with CHECKSUM and DATASUM."""
    stored = ">f4" if choose_working_dtype(image.dtype) == np.float32 else ">f8"
    cards = header_cards(image, bitpix=-32 if stored == ">f4" else -64)
    with path.open("wb") as file:
        _write_header(file, [*cards, *_sum_cards(0, _NO_CHECKSUM)])
        data_sum = OnesComplementSum()
        for plane in range(image.shape[0]):
            for band in image.bands(plane):
                raw = np.ascontiguousarray(band, stored).reshape(-1).view(np.uint8).data
                data_sum.add(raw)
                file.write(raw)
        file.write(b"\0" * (-file.tell() % BLOCK))
        total = OnesComplementSum()
        total.add(_header_bytes([*cards, *_sum_cards(data_sum.value, _NO_CHECKSUM)]))
        checksum = encoded_checksum(combined(total.value, data_sum.value))
        file.seek(0)
        _write_header(file, [*cards, *_sum_cards(data_sum.value, checksum)])
        file.flush()
        os.fsync(file.fileno())


def _sum_cards(data_sum: int, checksum: str) -> list[str]:
    return [
        card("CHECKSUM", checksum, "HDU checksum"),
        card("DATASUM", str(data_sum), "data unit checksum"),
    ]


def _header_bytes(cards: Iterable[str]) -> bytes:
    text = "".join(cards) + "END".ljust(80)
    return text.ljust(-(-len(text) // BLOCK) * BLOCK).encode("ascii")


def _write_header(file: IO[bytes], cards: Iterable[str]) -> None:
    file.write(_header_bytes(cards))
