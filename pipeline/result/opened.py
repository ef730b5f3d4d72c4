"""A result whose run has ended, opened for reading as arrays."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
import numpy.typing as npt
import zarr

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.provenance.manifest import Manifest, read_manifest
from glassplate.pipeline.store.ome_zarr import read_attributes

if TYPE_CHECKING:
    import dask.array
    from astropy.io.fits import Header
    from astropy.nddata import CCDData, NDData

ArrayName = Literal["image", "residual", "uncertainty", "footprint", "filled"]
"""The arrays of a result; ``image`` is the restored image, which has levels."""
EXTRA: tuple[ArrayName, ...] = ("residual", "uncertainty", "footprint", "filled")


class Result:
    """A result on disk. Nothing of its pixels is read before it is asked for.

    Pixels are ``(y, x)``, or ``(c, y, x)`` with channels first, in `unit`; NaN is invalid. ``str`` and
    ``repr`` say what it is in one line.
    """

    def __init__(self, path: str | Path) -> None:
        """Open the result at a path.

        Raises
        ------
        StoreError
            If the path holds no result, or its run has not ended.
        """
        self.path = Path(path)
        self.attributes: dict[str, Any] = read_attributes(self.path)
        """Attributes of the Zarr group: ``ome``, ``glassplate``, and the header or tags of the source."""
        self.manifest: Manifest = read_manifest(self.path)
        if not self.manifest.has_ended:
            raise StoreError(
                f"{self.path}: its run has status {self.manifest.status} and has not ended; give the command "
                "of the restoration again to finish it"
            )
        layout = self.manifest.plan.layout
        self.shape: tuple[int, ...] = layout.stored_shape
        """Of level 0."""
        self.dtype: np.dtype[Any] = np.dtype(layout.dtype)
        self.scale: int = layout.scale
        """Pixels of the result for each pixel of the input, along an axis."""
        self.levels: int = layout.levels
        self.unit: str | None = self.attributes["glassplate"].get("unit")
        """Unit of the pixels as the source states it; None without one."""
        self.status: str = self.manifest.status
        """``complete``, or ``partial`` if some tiles could not be restored."""
        self.recipe: str = self.manifest.recipe_name

    @property
    def arrays(self) -> tuple[ArrayName, ...]:
        """Names of the arrays that the result has."""
        return ("image", *(name for name in EXTRA if (self.path / name / "zarr.json").is_file()))

    def zarr(self, name: ArrayName = "image", level: int = 0) -> zarr.Array[Any]:
        """Open an array for reading. ``[rows, columns]`` of it reads only the chunks that it needs.

        Parameters
        ----------
        name
            One of `arrays`. ``residual`` is on the grid of the input, all others on that of the result.
        level
            Level of the pyramid, each half as fine as the one before. Only ``image`` has levels beyond 0.

        Raises
        ------
        UsageError
            If the result has no such array or level.
        StoreError
            If the array is missing though the result should have it.
        """
        if name not in self.arrays:
            raise UsageError(
                f"{self.path}: has no array {name!r}; it has {', '.join(self.arrays)}"
                + _why_without(name)
            )
        most = self.levels - 1 if name == "image" else 0
        if not 0 <= level <= most:
            raise UsageError(f"{self.path}: {name} has levels 0 to {most}, and not {level}")
        try:
            return zarr.open_array(self.path / (str(level) if name == "image" else name), mode="r")
        except (FileNotFoundError, ValueError) as error:
            raise StoreError(f"{self.path}: an array is missing; `glassplate verify` it") from error

    def numpy(self, name: ArrayName = "image", level: int = 0) -> npt.NDArray[Any]:
        """Read an array into memory; parameters and errors as of `zarr`."""
        return np.asarray(self.zarr(name, level)[...])

    def dask(self, name: ArrayName = "image", level: int = 0) -> dask.array.Array:
        """Open an array lazily, one block for each file of the result; parameters and errors as of `zarr`."""
        import dask.array

        array = self.zarr(name, level)
        return dask.array.from_array(array, chunks=array.shards or array.chunks, name=False)

    def header(self, level: int = 0) -> Header | None:
        """FITS header of a level, with the cards of the input's and a WCS that fits the level.

        It is that of a FITS export. None if the source was no FITS file.
        """
        from glassplate.pipeline.result.as_nddata import header_of

        return header_of(self, level)

    def nddata(self, level: int = 0) -> NDData:
        """Read a level as astropy's NDData.

        Returns
        -------
        image
            ``data`` in ``unit``, which is dimensionless if the source states none; ``mask``, True where a
            pixel is invalid; ``uncertainty``, a standard deviation, if the result has one and `level` is 0;
            ``wcs``, None if there is no celestial one; ``meta``, the FITS header, or the attributes of the
            group for other sources.

        Raises
        ------
        UsageError, StoreError
            As of `zarr`.
        """
        from astropy.nddata import NDData

        from glassplate.pipeline.result.as_nddata import parts_of

        return NDData(**parts_of(self, level))

    def ccddata(self, level: int = 0) -> CCDData:
        """Read a level as astropy's CCDData, as ccdproc and photutils take it; else as `nddata`."""
        from astropy.nddata import CCDData

        from glassplate.pipeline.result.as_nddata import parts_of

        return CCDData(**parts_of(self, level))

    def __repr__(self) -> str:
        axes = " x ".join(str(length) for length in self.shape)
        unit = f" in {self.unit}" if self.unit else ""
        return f"<Result {self.path}: {axes} {self.dtype}{unit}, {self.recipe}, {self.status}>"


def _why_without(name: str) -> str:
    """What makes an array that a result lacks."""
    causes = {
        "uncertainty": "; restore it with fit.uncertainty=true",
        "filled": "; only recipes that fill pixels or look for defects make it",
    }
    return causes.get(name, "")
