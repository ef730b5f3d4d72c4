"""The FITS file that was restored, from which an export takes all that was not restored."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from glassplate.pipeline.errors import GlassplateError, SourceError, StoreError
from glassplate.pipeline.export.level import ExportedImage
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.fits.file import FitsFile
from glassplate.pipeline.sources.fits.scan import BLOCK, Span
from glassplate.pipeline.sources.fits.text import stored_text
from glassplate.pipeline.sources.guarded_reading import file_state
from glassplate.pipeline.sources.unpack import unpacked_for_a_while

# Bytes that are copied at once; a multiple of 2880.
_STEP_BYTES = 1440 * BLOCK


@dataclass(frozen=True)
class FitsInput:
    """The HDUs of the input, or the reason why they are not at hand."""

    file: FitsFile | None
    """None where the input cannot be read any more."""
    spans: tuple[Span, ...]
    """Of the HDUs that can be copied."""
    left_out: tuple[str, ...]
    """Sentences that say what cannot be copied, and why."""

    def header_text(self, index: int) -> str:
        """The stored header of an HDU, one card a line, without END."""
        if self.file is None:
            return ""
        raw = stored_text(self.file.raw_header(index))
        return "\n".join(raw[at : at + 80] for at in range(0, len(raw), 80))

    def hdu(self, index: int) -> Iterator[bytes]:
        """Yield all bytes of an HDU, with its padding."""
        span = self.spans[index]
        return self._bytes(span.start, span.end)

    def data(self, index: int) -> Iterator[bytes]:
        """Yield the bytes of an HDU's data, with its padding."""
        span = self.spans[index]
        return self._bytes(span.data, span.end)

    def _bytes(self, start: int, end: int) -> Iterator[bytes]:
        if self.file is None:
            return
        with self.file.path.open("rb") as file:
            file.seek(start)
            left = -(-(end - start) // BLOCK) * BLOCK
            while left > 0:
                piece = file.read(min(left, _STEP_BYTES))
                # the last HDU of a file may lack its padding
                yield piece if piece else b"\0" * left
                left -= len(piece) or left


@contextmanager
def opened_input(images: Sequence[ExportedImage]) -> Iterator[FitsInput]:
    """Open the input of results, which all come from one file.

    Only the file that was restored is read: its SHA-256 must be the recorded one. The input of a single HDU
    is not read at all, because nothing else is in it, nor is one of another format.

    Raises
    ------
    StoreError
        If the file changes while the body runs.
    """
    found = images[0].attributes.get("fits")
    source = images[0].run["source"]
    path = Path(str(source.get("path", "")))
    if found is None or (found.get("hdus") == 1 and found["hdu"] == 0):
        yield FitsInput(None, (), ())
        return
    # Another format, such as ASDF, has a header of FITS but no HDUs. A result that was made before their
    # number was recorded has those of its file.
    if "hdus" not in found and not _is_fits(path):
        yield FitsInput(None, (), ())
        return
    state = None
    if why := _changed(path, source.get("sha256")):
        yield FitsInput(None, (), (_all_left_out(found, why),))
        return
    state = file_state(path)
    with unpacked_for_a_while(path) as plain:
        file = FitsFile(plain, path)
        try:
            yield FitsInput(file, *_copyable(file))
        finally:
            file.close()
    if file_state(path) != state:
        raise StoreError(f"{path}: has changed while its other HDUs were copied; export again")


def _is_fits(path: Path) -> bool:
    try:
        return sniff_format(path) == "fits"
    except GlassplateError:
        return False


def _changed(path: Path, sha256: str | None) -> str:
    """Why a path is not the file that was restored; empty if it is."""
    try:
        if file_state(path) is None or not path.is_file():
            return f"{path.name} is not where it was"
        return "" if sha256_of(path) == sha256 else f"{path.name} has changed since"
    except (GlassplateError, OSError):
        return f"{path.name} cannot be read"


def _all_left_out(found: dict[str, object], why: str) -> str:
    count = found.get("hdus")
    others = f"the other {int(count) - 1}" if isinstance(count, int) else "other"
    return f"{others} HDUs of the input are left out: {why}"


def _copyable(file: FitsFile) -> tuple[tuple[Span, ...], tuple[str, ...]]:
    """The HDUs of a file that are whole, in their order, and why those behind them are left out."""
    size = file.path.stat().st_size
    spans: list[Span] = []
    try:
        while True:
            span = file.span(len(spans))
            if span.end > size:
                return tuple(spans), (
                    f"HDU {len(spans)} of the input is left out: the file is truncated",
                )
            spans.append(span)
    except IndexError:
        pass
    except SourceError as error:
        return tuple(spans), (f"what follows HDU {len(spans) - 1} is left out: {error}",)
    end = spans[-1].data + -(-(spans[-1].end - spans[-1].data) // BLOCK) * BLOCK
    if size > end:
        return tuple(spans), (
            f"{size - end} bytes after the last HDU are left out: they are no HDU",
        )
    return tuple(spans), ()


def copy(file: IO[bytes], pieces: Iterator[bytes]) -> None:
    """Append the bytes of an HDU as they are."""
    for piece in pieces:
        file.write(piece)
