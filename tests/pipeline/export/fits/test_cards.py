"""Sentences become lines of HISTORY."""

from glassplate.pipeline.export.fits.cards import history_lines


def test_history_lines_have_at_most_72_characters():
    lines = history_lines(["word " * 40, "x" * 200, "déjà vu"])
    assert all(0 < len(line) <= 72 and line.isascii() for line in lines)
    assert "".join(lines).count("word") == 40
    assert "".join(lines).count("x") == 200
