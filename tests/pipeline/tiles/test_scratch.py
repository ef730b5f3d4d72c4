"""Windows are read as they were written, and damage is detected."""

import numpy as np

from glassplate.pipeline.tiles.scratch import Scratch


def test_a_window_is_read_as_written(tmp_path):
    scratch = Scratch(tmp_path)
    values = np.random.default_rng(0).normal(size=(3, 5, 7)).astype("f4")
    crc32 = scratch.write_window(12345, values)
    np.testing.assert_array_equal(scratch.read_window(12345), values)
    assert scratch.window_is(12345, crc32)
    assert not scratch.window_is(12346, crc32)


def test_the_same_window_has_the_same_checksum(tmp_path):
    scratch, values = Scratch(tmp_path), np.arange(6.0).reshape(1, 2, 3)
    assert scratch.write_window(1, values) == scratch.write_window(2, values)


def test_a_damaged_window_is_detected(tmp_path):
    scratch = Scratch(tmp_path)
    crc32 = scratch.write_window(0, np.zeros((1, 4, 4), "f4"))
    path = scratch.window_path(0)
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    assert not scratch.window_is(0, crc32)


def test_a_log_of_an_earlier_version_is_read_without_its_variance(tmp_path):
    # such a run could not be resumed: its logs have six columns
    scratch = Scratch(tmp_path)
    scratch.write_log(0, np.arange(12.0).reshape(2, 6))
    np.testing.assert_array_equal(scratch.read_log(0), [[0, 1, 2, 3, 5], [6, 7, 8, 9, 11]])


def test_no_partial_file_remains(tmp_path):
    scratch = Scratch(tmp_path)
    scratch.write_window(0, np.zeros((1, 4, 4), "f4"))
    scratch.write_log(0, np.zeros((2, 5)))
    assert scratch.read_log(0).shape == (2, 5)
    assert sorted(p.name for p in tmp_path.rglob("*.npy*")) == [
        "log-00000000.npy",
        "window-00000000.npy",
    ]
