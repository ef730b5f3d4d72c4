import errno

import pytest

from glassplate.flows.jobs.running.verdicts import LimitReachedError, verdict_of
from glassplate.pipeline.errors import (
    BusyError,
    CapacityError,
    DiskFullError,
    GlassplateError,
    NoRoomError,
    PassingError,
    SourceChangedError,
    SourceError,
    StoreError,
    UsageError,
)
from glassplate.pipeline.sources.guarded_reading import answered_within, as_source_errors


def caused(error, cause):
    error.__cause__ = cause
    return error


@pytest.mark.parametrize(
    ("error", "passing", "known"),
    [
        (PassingError("its workers are gone"), True, True),
        (BusyError("another run is writing it"), True, True),
        (NoRoomError("1 GiB of disk"), True, True),
        (LimitReachedError("late"), True, True),
        (DiskFullError("full"), True, True),
        (OSError(errno.ENOSPC, "no space"), True, True),
        (OSError(errno.EIO, "input/output error"), True, True),
        (MemoryError(), True, True),
        (TimeoutError(), True, True),
        (ConnectionResetError(), True, True),
        (RuntimeError("CUBLAS_STATUS_ALLOC_FAILED"), True, True),
        (caused(RuntimeError("in a library"), ConnectionError()), True, True),
        (SourceChangedError("has changed"), True, True),
        (SourceError("is no FITS"), False, True),
        (UsageError("needs a mask"), False, True),
        (CapacityError("9 GiB of memory"), False, True),
        (StoreError("is damaged"), False, True),
        (GlassplateError("all 4 tiles failed: diverged"), False, True),
        (ZeroDivisionError(), False, False),
        (OSError(errno.EINVAL, "of a library"), False, False),
    ],
)
def test_kinds(error, passing, known):
    verdict = verdict_of(error)
    assert (verdict.passing, verdict.known) == (passing, known)
    assert verdict.reason
    assert verdict.remedy
    assert verdict.disk_full == (isinstance(error, DiskFullError) or "no space" in str(error))


def read(error, path):
    with as_source_errors(path):
        raise error


@pytest.mark.parametrize(
    ("error", "passing"),
    [(OSError(errno.ESTALE, "stale"), True), (OSError("truncated"), False), (KeyError("x"), False)],
)
def test_a_file_server_that_is_gone_says_nothing_about_a_file(tmp_path, error, passing):
    with pytest.raises(SourceError) as caught:
        read(error, tmp_path / "a.fits")
    assert verdict_of(caught.value).passing == passing


def test_a_file_that_does_not_answer_may_answer_later(tmp_path):
    import threading

    waiting = threading.Event()
    with pytest.raises(SourceError, match="did not answer within 0 s") as caught:
        answered_within(0.01, tmp_path, lambda: waiting.wait(5))
    waiting.set()
    assert verdict_of(caught.value).passing
