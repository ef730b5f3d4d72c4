"""A picture is drawn in a terminal that said it can show it, and in no other.

What a terminal answers comes within a tenth of a second or not at all, so that no test waits for it here: the
package has asked when it is imported.
"""

import io
import sys

import numpy as np
import pytest
from PIL import Image

from glassplate.flows.cli.terminal_picture import show_in_terminal

renderable = pytest.importorskip("textual_image.renderable")
CellSize = pytest.importorskip("textual_image._terminal").CellSize

# How a picture in sixels begins, and one by Kitty's protocol.
SIXELS, KITTY = "\x1bP", "\x1b_G"


class Terminal(io.StringIO):
    """Both ends of a terminal."""

    def isatty(self):
        return True


@pytest.fixture
def png(tmp_path):
    values = np.random.default_rng(0).integers(0, 255, (30, 40, 3), np.uint8)
    Image.fromarray(values).save(tmp_path / "a.png")
    return tmp_path / "a.png"


def written_to_terminal(path, monkeypatch):
    """Whether the picture was drawn, and what a terminal got, also what Kitty's protocol writes past stdout.

    No fixture, because pytest sets `sys.stdout` between the setup of a test and its call.
    """
    terminal = Terminal()
    for end in ("stdout", "__stdout__", "stdin"):
        monkeypatch.setattr(sys, end, terminal)
    monkeypatch.setattr(
        "textual_image._terminal.get_cell_size._result", CellSize(10, 20), raising=False
    )
    drawn = show_in_terminal(path)
    monkeypatch.undo()
    return drawn, terminal.getvalue()


@pytest.mark.parametrize(("kind", "start"), [("SixelImage", SIXELS), ("TGPImage", KITTY)])
def test_where_the_terminal_shows_pixels(png, monkeypatch, kind, start):
    monkeypatch.setattr(renderable, "Image", getattr(renderable, kind))
    drawn, written = written_to_terminal(png, monkeypatch)
    assert drawn
    assert start in written


@pytest.mark.parametrize("kind", ["HalfcellImage", "UnicodeImage"])
def test_where_it_does_not(png, monkeypatch, kind):
    monkeypatch.setattr(renderable, "Image", getattr(renderable, kind))
    assert written_to_terminal(png, monkeypatch) == (False, "")


def test_without_the_package(png, monkeypatch):
    monkeypatch.setitem(sys.modules, "textual_image.renderable", None)
    assert written_to_terminal(png, monkeypatch) == (False, "")


def test_without_a_terminal(png, capsys):
    assert not show_in_terminal(png)
    assert capsys.readouterr() == ("", "")
