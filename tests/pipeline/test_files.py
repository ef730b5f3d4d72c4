"""A file that is written appears whole or not at all."""

import hashlib

import pytest

from glassplate.pipeline.files import replacing, sha256_of, write_atomically


@pytest.mark.parametrize("content", ["é\n", "é\n".encode(), memoryview("é\n".encode())])
def test_content_replaces_what_was_there(tmp_path, content):
    path = tmp_path / "a.txt"
    path.write_text("old")
    write_atomically(path, content)
    assert path.read_bytes() == "é\n".encode()
    assert sha256_of(path) == hashlib.sha256("é\n".encode()).hexdigest()
    assert list(tmp_path.iterdir()) == [path]


def test_a_failure_leaves_the_old_file_and_nothing_else(tmp_path):
    path = tmp_path / "a.txt"
    path.write_text("old")
    with pytest.raises(OSError, match="full"), replacing(path, tmp_path / "part") as partial:  # noqa: PT012
        partial.write_text("half")
        raise OSError("the disk is full")
    assert path.read_text() == "old"
    assert list(tmp_path.iterdir()) == [path]
