"""Each image has the warnings of its own file, however many are read at once."""

import contextvars
import logging
import threading
import warnings
from concurrent.futures import ThreadPoolExecutor

import pytest

from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.guarded_reading import answered_within


def test_each_thread_collects_its_own():
    both_are_in, one_is_out = threading.Barrier(2), threading.Event()

    def read(name):
        with collected_warnings(name) as messages:
            both_are_in.wait(10)
            warnings.warn(f"{name} is odd", stacklevel=1)
            if name == "b":
                assert one_is_out.wait(10)
            logging.getLogger("tifffile").warning("%s is cut", name)
        one_is_out.set()
        return messages

    shown = warnings.showwarning
    with ThreadPoolExecutor(2) as threads:
        found = list(threads.map(read, "ab"))
    assert found == [[f"{name} is odd", f"{name} is cut"] for name in "ab"]
    assert warnings.showwarning is shown
    with pytest.warns(UserWarning, match="later"):
        warnings.warn("later", stacklevel=1)


def test_a_body_within_another_has_its_own_and_repeats_nothing():
    with collected_warnings("outer") as outer:
        warnings.warn("one", stacklevel=1)
        with collected_warnings("inner") as inner:
            warnings.warn("two", stacklevel=1)
            warnings.warn("two", stacklevel=1)
        warnings.warn("three", stacklevel=1)
    assert (outer, inner) == (["one", "three"], ["two"])


def test_a_guarded_read_belongs_to_the_image(tmp_path):
    with collected_warnings("image") as messages:
        answered_within(60.0, tmp_path, lambda: warnings.warn("slow disk", stacklevel=1))
    assert messages == ["slow disk"]


def test_other_code_is_not_collected():
    with collected_warnings("image") as messages, ThreadPoolExecutor(1) as threads:
        empty = contextvars.Context()
        threads.submit(empty.run, warnings.warn, "not of the image").result()
    assert messages == []
