"""A FITS file opened by astropy, which is given only headers that are checked and printable."""

from __future__ import annotations

import contextlib
import io
import itertools
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from astropy.io import fits

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.fits.scan import Span, spans
from glassplate.pipeline.text import one_line

_FORBIDDEN = re.compile(rb"[^ -~]")


class FitsFile:
    """The HDUs of a file, read when they are accessed."""

    def __init__(self, path: Path, named: Path) -> None:
        """Open the plain file `path`.

        Parameters
        ----------
        path
            The file.
        named
            The file as the user named it, for messages.

        Raises
        ------
        SourceError
            If its primary header is damaged, or astropy cannot read it.
        """
        self.path = path
        self._ahead = spans(path)
        self._spans: list[Span] = []
        self._fault: SourceError | None = None
        try:
            self.span(0)
            self._hdus = _opened(_CleanHeaders(path, lambda: self._spans))
        # astropy raises OSError, but also ValueError, KeyError and VerifyError on malformed headers
        except Exception as error:
            self._ahead.close()
            raise SourceError(f"{named}: not a readable FITS file: {one_line(error)}") from error

    def span(self, index: int) -> Span:
        """Position of an HDU in the file.

        Raises
        ------
        IndexError
            If there is no such HDU.
        SourceError
            If its header, or one before it, is damaged.
        """
        while len(self._spans) <= index:
            if self._fault is not None:
                raise self._fault
            try:
                self._spans.append(next(self._ahead))
            except StopIteration:
                raise IndexError(index) from None
            except SourceError as error:
                self._fault = error
        return self._spans[index]

    def __getitem__(self, index: int) -> Any:
        """An HDU of astropy; an exception in place of one that cannot be read.

        Raises
        ------
        IndexError
            If there is no such HDU.
        """
        try:
            self.span(index)
        except SourceError as error:
            # the damaged HDU is reported, and those behind it cannot be found
            if index > len(self._spans):
                raise IndexError(index) from error
            return error
        try:
            hdu = self._hdus[index]
            if hdu.fileinfo()["datLoc"] != self.span(index).data:
                return SourceError("astropy sees the end of its header elsewhere than its card END")
            return hdu
        except IndexError as error:
            return SourceError(f"astropy does not understand its header: {one_line(error)}")
        # astropy raises nearly anything on a damaged header, and one HDU must not hide the others
        except Exception as error:
            return error

    def each(self) -> Iterator[tuple[int, Any]]:
        """Every HDU with its index, as `__getitem__` returns it."""
        for index in itertools.count():
            try:
                hdu = self[index]
            except IndexError:
                return
            yield index, hdu

    def count(self) -> int:
        """Number of HDUs up to the end of the file or the first damaged header, which counts as one."""
        with contextlib.suppress(IndexError):
            while self._fault is None:
                with contextlib.suppress(SourceError):
                    self.span(len(self._spans))
        return len(self._spans) + (self._fault is not None)

    def raw_header(self, index: int) -> bytes:
        """The stored cards of an HDU's header, without END."""
        span = self.span(index)
        with self.path.open("rb") as file:
            file.seek(span.start)
            return file.read(span.end_card - span.start)

    def close(self) -> None:
        """Close the file."""
        self._ahead.close()
        self._hdus.close()


class _CleanHeaders(io.FileIO):
    """A file whose headers are read as printable ASCII, with blanks after END.

    astropy refuses cards with a NUL or a tab, and reads on past an END that anything else follows.
    """

    def __init__(self, path: Path, known: Callable[[], list[Span]]) -> None:
        super().__init__(path, "rb")
        self._known = known

    def read(self, size: int | None = -1, /) -> bytes:
        start = self.tell()
        raw = super().read(-1 if size is None else size) or b""
        for span in reversed(self._known()):
            if span.data <= start:
                break
            low, high = max(span.start - start, 0), min(span.data - start, len(raw))
            if low < high:
                raw = raw[:low] + _FORBIDDEN.sub(b"?", raw[low:high]) + raw[high:]
            low = max(span.end_card + len("END") - start, 0)
            if low < high:
                raw = raw[:low] + b" " * (high - low) + raw[high:]
        return raw


def _opened(file: _CleanHeaders) -> fits.HDUList:
    try:
        # astropy refuses memmap=True with BZERO, BSCALE or BLANK; values are scaled in this package, since
        # astropy ignores BLANK = 0 and the BLANK of unsigned images
        return fits.open(
            file,
            memmap=False,
            lazy_load_hdus=True,
            do_not_scale_image_data=True,
            ignore_blank=True,
        )
    except BaseException:
        file.close()
        raise
