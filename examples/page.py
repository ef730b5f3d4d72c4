"""The picture of a page: `python examples/page.py FILE.jpg`, with Chromium.

A photograph by NASA that scikit-image carries gets white noise of 25, and is restored; then Chromium takes a
picture of the upper part of its page, without a window.
"""

from __future__ import annotations

import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import numpy as np
from PIL import Image
from skimage import data as photographs

import glassplate
from glassplate.pipeline.pages.result_page import write_result_page

BROWSERS = ("chromium", "chromium-browser", "google-chrome")
# Pixels of the picture, which show the viewer and nothing below it.
SIZE = (1000, 760)
# Of the JPEG: a fifth of the bytes of a PNG, and no block is seen.
QUALITY = 88


def main() -> None:
    """Restore the photograph, and take the picture."""
    (target,) = sys.argv[1:]
    browser = next((found for name in BROWSERS if (found := shutil.which(name))), None)
    if browser is None:
        sys.exit(f"no browser: install one of {', '.join(BROWSERS)}")
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        noise = np.random.default_rng(0).normal(0, 25, (512, 512, 3))
        noisy = np.clip(np.rint(photographs.astronaut() + noise), 0, 255).astype(np.uint8)
        Image.fromarray(noisy).save(folder / "portrait.png")
        store = folder / "portrait.zarr"
        settings = ["tiles.core=128", "donor.tile_iterations=50"]
        glassplate.restore(folder / "portrait.png", "archive-denoise", settings, output=store)
        page = write_result_page(store)
        picture_of(browser, page, Path(target).absolute(), folder / "profile")


def picture_of(browser: str, page: Path, target: Path, profile: Path) -> None:
    """Take a picture of what a window of `SIZE` shows of a page, as JPEG."""
    width, height = SIZE
    words = [browser, "--headless=new", "--no-sandbox", "--disable-gpu", "--hide-scrollbars"]
    words += [f"--user-data-dir={profile}", f"--window-size={width},{height}"]
    shot = page.with_suffix(".png")
    subprocess.run([*words, f"--screenshot={shot}", page.as_uri()], check=True)
    Image.open(shot).convert("RGB").save(target, quality=QUALITY)


if __name__ == "__main__":
    main()
