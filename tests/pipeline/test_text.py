"""Any error becomes one line that a terminal can show."""

import pytest

from glassplate.pipeline.text import MOST_CHARACTERS, one_line, one_line_with_type, printable


@pytest.mark.parametrize(
    ("error", "line", "with_type"),
    [
        (ValueError("two\n  lines"), "two lines", "ValueError: two lines"),
        (KeyError(), "KeyError", "KeyError"),
        (OSError("a\x1b[31m"), "a\\x1b[31m", "OSError: a\\x1b[31m"),
    ],
)
def test_an_error_becomes_one_line(error, line, with_type):
    assert one_line(error) == line
    assert one_line_with_type(error) == with_type


def test_a_long_message_is_cut():
    assert one_line(ValueError("x" * 9999)) == "x" * MOST_CHARACTERS + "..."


def test_a_file_name_that_is_not_utf8_can_be_printed():
    assert printable("a\udcff\né") == "a\\udcff\\né"
