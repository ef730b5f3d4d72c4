"""Restoration of very large FITS and TIFF images with Deep Image Prior.

`open` opens a result as arrays of Zarr, numpy or dask, and as astropy's NDData and CCDData. Everything else
lies in ``glassplate.models``, ``glassplate.pipeline`` and ``glassplate.flows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from pathlib import Path

    from glassplate.pipeline.result.opened import Result

__all__ = ["open"]

# Nothing is imported here that takes long: torch, astropy and zarr are imported by the first call that needs
# them.


def open(path: str | Path) -> Result:
    """Open a result of ``glassplate restore``.

    Parameters
    ----------
    path
        Folder of the result.

    Returns
    -------
    Result
        ``numpy()``, ``dask()`` and ``zarr()`` of it give the arrays, ``ccddata()`` and ``nddata()`` the image
        with mask, uncertainty, unit, WCS and header.

    Raises
    ------
    StoreError
        If the path holds no result, or its run has not ended.

    Examples
    --------
    >>> import glassplate
    >>> result = glassplate.open("m31.zarr")  # doctest: +SKIP
    >>> image = result.ccddata()  # doctest: +SKIP
    """
    from glassplate.pipeline.result.opened import Result

    return Result(path)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("glassplate")
    raise AttributeError(f"module 'glassplate' has no attribute {name!r}")
