"""The picture of a result: the whole image at the size of a screen, as PNG, for a file browser."""

from __future__ import annotations

import io
from pathlib import Path

import numpy as np
from PIL import Image
from PIL.PngImagePlugin import PngInfo

from glassplate.pipeline.export.own_files import is_own_png
from glassplate.pipeline.files import write_atomically
from glassplate.pipeline.pages.drawing import choose_stretch, picture
from glassplate.pipeline.pages.html import check_page_target
from glassplate.pipeline.pages.overview import read_level_of_screen
from glassplate.pipeline.pages.shown_result import ShownResult

SUFFIX = ".png"


def write_result_picture(
    store: Path, target: Path | None = None, *, overwrite: bool = False
) -> Path:
    """Draw a result as its page does, the whole at the size of a screen.

    Parameters
    ----------
    store
        A result whose run has ended.
    target
        Name of the picture; None for ``a.report.png`` beside ``a.zarr``. An earlier picture is replaced.
    overwrite
        Whether a file is replaced that is not a picture of glassplate.

    Returns
    -------
    target

    Raises
    ------
    UsageError
        If the name is not suitable.
    StoreError
        If there is no result, or its run has not ended.
    """
    shown = ShownResult(store)
    name = store.absolute().name.removesuffix(".zarr")
    target = store.absolute().with_name(f"{name}.report{SUFFIX}") if target is None else target
    check_page_target(target, overwrite=overwrite, suffix=SUFFIX, is_own=is_own_png)
    try:
        values, _ = read_level_of_screen(shown)
        drawn = picture(
            shown, values, choose_stretch(shown, values, shown.manifest.final_summary.noise_before)
        )
    finally:
        shown.close()
    text, file = PngInfo(), io.BytesIO()
    version = shown.manifest.identity.versions["glassplate"]
    text.add_text("Software", f"glassplate {version}; run {shown.manifest.run_id}")
    Image.fromarray(np.ascontiguousarray(drawn)).save(file, "PNG", pnginfo=text)
    write_atomically(target, file.getbuffer())
    return target
