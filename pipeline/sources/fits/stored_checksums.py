"""Checks the CHECKSUM and DATASUM that FITS files carry, of the HDUs that are read for a restoration."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING

from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.fits.checksum import OnesComplementSum, combined
from glassplate.pipeline.sources.fits.extensions import opened_file
from glassplate.pipeline.sources.fits.scan import BLOCK
from glassplate.pipeline.sources.source import SourceSpec, split_extension

if TYPE_CHECKING:
    from astropy.io import fits

    from glassplate.pipeline.sources.fits.file import FitsFile

# Bytes that are summed at once; a multiple of 2880.
_STEP_BYTES = 1440 * BLOCK
# A sum of 0 is also written as this: both are 0 in ones' complement.
_MINUS_ZERO = 2**32 - 1


def checksum_warnings(spec: SourceSpec) -> tuple[str, ...]:
    """Warn of each HDU whose data or header are not those that its checksums were made of.

    An HDU without checksums is not read. Files of other formats have none.

    Raises
    ------
    SourceError
        If a file cannot be read.
    """
    named = [(spec.path, spec.hdu), *map(split_extension, _companions(spec))]
    return tuple(
        warning
        for path, hdu in dict.fromkeys(named)
        if sniff_format(path) == "fits"
        for warning in _warnings(path, hdu)
    )


def _companions(spec: SourceSpec) -> Iterator[Path]:
    exposures = (*spec.exposures, *spec.exposure_masks)
    for path in (spec.mask, spec.variance, spec.guide, spec.psf, spec.hints, *exposures):
        if path is not None:
            yield path


def _warnings(path: Path, hdu: int | str | None) -> Iterator[str]:
    from glassplate.pipeline.sources.fits.hdus import find_hdu

    with opened_file(path) as file:
        info = find_hdu(file, hdu, path)
        wrong = wrong_sums(file, info.index)
    if wrong:
        name = f"HDU {info.index} {info.name}".strip()
        yield (
            f"{path.name}, {name}: {' and '.join(wrong)} wrong: it has been changed or damaged since they "
            "were written"
        )


def wrong_sums(file: FitsFile, index: int) -> list[str]:
    """Which of CHECKSUM and DATASUM of an HDU do not agree with its bytes."""
    from glassplate.pipeline.sources.fits.text import parsed, stored_text

    span = file.span(index)
    raw = stored_text(file.raw_header(index))
    header = parsed("\n".join(raw[at : at + 80] for at in range(0, len(raw), 80)))
    data_sum, has_checksum = _stored_sum(header), bool(str(header.get("CHECKSUM", "")).strip())
    if data_sum is None and not has_checksum:
        return []
    end = span.data + -(-(span.end - span.data) // BLOCK) * BLOCK
    data = _sum_of(file.path, span.data, end)
    wrong = []
    if has_checksum and combined(_sum_of(file.path, span.start, span.data), data) not in (
        0,
        _MINUS_ZERO,
    ):
        wrong.append("CHECKSUM")
    if data_sum is not None and data_sum % _MINUS_ZERO != data % _MINUS_ZERO:
        wrong.append("DATASUM")
    return wrong


def _stored_sum(header: fits.Header) -> int | None:
    """The number in DATASUM; None where there is none, or it is blank: "not calculated"."""
    text = str(header.get("DATASUM", "")).strip()
    return int(text) if text.isascii() and text.isdigit() else None


def _sum_of(path: Path, start: int, end: int) -> int:
    total = OnesComplementSum()
    with path.open("rb") as file:
        file.seek(start)
        left = end - start
        while left > 0 and (piece := file.read(min(left, _STEP_BYTES))):
            left -= len(piece)
            total.add(piece + b"\0" * (-len(piece) % 4))
    return total.value
