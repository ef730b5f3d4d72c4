"""Pictures in a terminal that can show them, by the extra ``terminal``."""

from __future__ import annotations

import sys
from pathlib import Path


def show_in_terminal(path: Path) -> bool:
    """Draw a PNG as large as the terminal has room for, by sixels or Kitty's protocol.

    Returns
    -------
    drawn
        Whether it was: not without a terminal on both ends, without the package, nor in a terminal that says
        of neither protocol that it knows it. Characters in place of pixels would hide what was removed.
    """
    if not (sys.stdout.isatty() and sys.stdin.isatty()):
        return False
    try:
        # asks the terminal what it can show
        from textual_image.renderable import Image, SixelImage, TGPImage
    except ImportError:
        return False
    if Image not in (SixelImage, TGPImage):
        return False
    from rich.console import Console

    Console().print(Image(path, width="auto", height="auto"))
    return True
