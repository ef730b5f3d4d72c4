"""WebP: its size, profile, EXIF and XMP by Pillow; imagecodecs decodes it (an animation: its first frame)."""

from __future__ import annotations

import base64
from pathlib import Path

from PIL import Image

from glassplate.pipeline.sources.raster.header import UNASSOCIATED, RasterHeader, interpretation
from glassplate.pipeline.sources.tiff.tags import described


def header_of(path: Path) -> RasterHeader:
    """Read the header and the metadata of a file.

    Raises
    ------
    ValueError
        If they are damaged.
    """
    try:
        with Image.open(path, formats=["WEBP"]) as image:
            (width, height), mode, found = image.size, image.mode, dict(image.info)
            frames = getattr(image, "n_frames", 1)
    except OSError as error:
        raise ValueError(f"Pillow says: {error}") from error
    channels = 4 if mode == "RGBA" else 3
    metadata = described(_without_name(found.get("exif")), found.get("xmp"))
    if found.get("icc_profile"):
        metadata["icc"] = base64.b64encode(found["icc_profile"]).decode()
    metadata |= interpretation(channels, alpha=UNASSOCIATED if channels == 4 else None)
    note = f"an animation of {frames} frames, of which the first is read" if frames > 1 else None
    return RasterHeader(width, height, channels, 8, metadata, note=note)


def _without_name(exif: bytes | None) -> bytes | None:
    return None if exif is None else exif.removeprefix(b"Exif\0\0")
