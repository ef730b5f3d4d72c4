"""Every exception of a reader becomes a SourceError; a file that does not answer is given up."""

import errno
import os
import socket
import threading

import numpy as np
import pytest
from astropy.io import fits

from glassplate.pipeline import open_source
from glassplate.pipeline.errors import SourceAwayError, SourceError, UsageError
from glassplate.pipeline.sources import guarded_reading as guarded
from glassplate.pipeline.sources import open_image, unpack
from glassplate.pipeline.sources import sample_windows as sampling
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.guarded_reading import (
    answered_within,
    as_source_errors,
    check_regular,
)
from glassplate.pipeline.sources.own_readers import FitsReader
from glassplate.pipeline.sources.sample_windows import sample
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box


@pytest.fixture
def sky(tmp_path):
    fits.writeto(
        tmp_path / "sky.fits", np.random.default_rng(0).normal(9, 1, (40, 50)).astype("f4")
    )
    return tmp_path / "sky.fits"


@pytest.fixture
def never():
    """An event that is not set while a test runs."""
    event = threading.Event()
    yield event
    event.set()


def opened(path):
    return open_source.open_source(SourceSpec(path))


class TestAsSourceErrors:
    @pytest.mark.parametrize(
        "error",
        [KeyError("NAXIS"), AssertionError(), RecursionError("too deep"), OSError(22, "invalid")],
        ids=lambda error: type(error).__name__,
    )
    def test_whatever_a_reader_raises(self, tmp_path, error):
        with pytest.raises(SourceError) as caught, as_source_errors(tmp_path / "a.fits"):
            raise error
        text = str(caught.value)
        assert text.startswith(f"{tmp_path}/a.fits: cannot be read: {type(error).__name__}")
        assert text.endswith("; it may be damaged")
        assert caught.value.__cause__ is error

    def test_in_one_line(self, tmp_path):
        with pytest.raises(SourceError, match="first second") as caught, as_source_errors(tmp_path):
            raise ValueError("first\n  second")
        assert "\n" not in str(caught.value)

    def test_too_little_memory(self, tmp_path):
        with (
            pytest.raises(SourceError, match="more memory than there is"),
            as_source_errors(tmp_path),
        ):
            raise MemoryError

    def test_an_error_of_glassplate_is_kept(self, tmp_path):
        with pytest.raises(UsageError, match=r"^--page 7$"), as_source_errors(tmp_path):
            raise UsageError("--page 7")

    def test_a_disk_that_does_not_answer_is_not_a_damaged_file(self, tmp_path):
        with pytest.raises(SourceAwayError) as caught, as_source_errors(tmp_path / "a.fits"):
            raise OSError(errno.EIO, "I/O error")
        assert str(caught.value).endswith("; is the disk or server it lies on there?")
        assert caught.value.passing

    @pytest.mark.parametrize("error", [KeyboardInterrupt, SystemExit])
    def test_an_interruption_is_kept(self, tmp_path, error):
        with pytest.raises(error), as_source_errors(tmp_path):
            raise error


class TestAnsweredWithin:
    def test_returns_the_result(self, tmp_path):
        assert answered_within(60, tmp_path, lambda: "pixels") == "pixels"
        assert answered_within(60, tmp_path, lambda: None) is None

    def test_raises_the_exception(self, tmp_path):
        with pytest.raises(ZeroDivisionError):
            answered_within(60, tmp_path, lambda: 1 / 0)

    @pytest.mark.parametrize(("inner_s", "same_thread"), [(60, True), (90, True), (30, False)])
    def test_a_call_within_another_has_a_thread_of_its_own_if_it_is_to_end_sooner(
        self, tmp_path, inner_s, same_thread
    ):
        def threads():
            return threading.get_ident(), answered_within(inner_s, tmp_path, threading.get_ident)

        outer, inner = answered_within(60, tmp_path, threads)
        assert (outer == inner) == same_thread
        assert threading.get_ident() not in (outer, inner)
        # the limit is over with the call
        assert answered_within(60, tmp_path, threading.get_ident) != threading.get_ident()

    def test_gives_up(self, tmp_path, never):
        with pytest.raises(SourceError, match=r"a.fits: did not answer within 0 s"):
            answered_within(0.05, tmp_path / "a.fits", never.wait)

    def test_an_abandoned_call_does_not_keep_the_process_alive(self, tmp_path, never):
        with pytest.raises(SourceError):
            answered_within(0.05, tmp_path, never.wait)
        left = [thread for thread in threading.enumerate() if thread.name == f"reading {tmp_path}"]
        assert [thread.daemon for thread in left] == [True]


class TestOtherKindsOfFiles:
    def pipe(self, folder):
        os.mkfifo(folder / "a.fits")
        return folder / "a.fits", "is a named pipe, not a file"

    def socket(self, folder):
        with socket.socket(socket.AF_UNIX) as one:
            one.bind(str(folder / "a"))
        return folder / "a", "is a socket, not a file"

    def device(self, folder):
        return "/dev/zero", "is a device, not a file"

    @pytest.mark.parametrize("kind", ["pipe", "socket", "device"])
    def test_are_refused_without_opening(self, tmp_path, kind, monkeypatch):
        monkeypatch.chdir(tmp_path)
        path, why = getattr(self, kind)(tmp_path)
        path = tmp_path.__class__(path)
        for reads in (check_regular, sniff_format, describe, opened):
            with pytest.raises(SourceError, match=why):
                reads(path)

    def test_are_refused_as_companions(self, tmp_path, sky):
        path, why = self.pipe(tmp_path)
        with pytest.raises(SourceError, match=f"^mask .*{why}"):
            open_source.open_source(SourceSpec(sky, mask=path))


class TestNoAnswer:
    def test_before_the_first_bytes(self, sky, never, monkeypatch):
        monkeypatch.setattr(unpack, "FIRST_BYTES_S", 0.05)
        monkeypatch.setattr(unpack, "_packing", lambda path: never.wait())
        for reads in (describe, opened):
            with pytest.raises(SourceError, match=r"sky.fits: did not answer"):
                reads(sky)

    def test_while_it_is_opened(self, sky, never, monkeypatch):
        monkeypatch.setattr(open_image, "OPEN_S", 0.05)
        monkeypatch.setattr(FitsReader, "open", lambda *_, **__: never.wait())
        with pytest.raises(SourceError, match=r"sky.fits: did not answer"):
            opened(sky)

    def test_while_windows_are_sampled(self, sky, never, monkeypatch):
        source = opened(sky)
        monkeypatch.setattr(sampling, "OPEN_S", 0.05)
        monkeypatch.setattr(sampling, "_read_windows", lambda _: never.wait())
        with pytest.raises(SourceError, match=r"sky.fits: did not answer"):
            sample(source)
        source.close()


def test_an_exception_while_reading_becomes_a_source_error(sky, monkeypatch):
    source = opened(sky)
    monkeypatch.setattr(source._source._stored, "read", lambda *_: {}["rows"])
    with pytest.raises(SourceError, match=r"sky.fits: cannot be read: KeyError: 'rows'"):
        source.read(Box(0, 3, 0, 3))
    source.close()


def test_the_limits_are_those_of_the_guide(repository):
    guide = (repository / "docs" / "trouble.md").read_text()
    for limit in (guarded.FIRST_BYTES_S, guarded.OPEN_S):
        assert f"{limit:.0f} s" in guide
