"""Restoration of very large FITS and TIFF images with Deep Image Prior.

`restore` restores one image: a file, an array, or NDData and CCDData of astropy. `open` opens a result as
arrays of Zarr, numpy or dask, and as NDData and CCDData. Everything else lies in ``glassplate.models``,
``glassplate.pipeline`` and ``glassplate.flows``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    import numpy as np
    import numpy.typing as npt

    from glassplate.pipeline.result.opened import Result

__all__ = ["open", "restore"]

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


def restore(
    image: Any,
    recipe: str | None = None,
    settings: Sequence[str] = (),
    *,
    mask: npt.NDArray[np.bool_] | None = None,
    output: str | Path | None = None,
    progress: bool = True,
) -> Any:
    """Restore one image in this process.

    Parameters
    ----------
    image
        The path of a file; or an array of numpy, ``(y, x)``, ``(c, y, x)``, or ``(y, x, c)`` with three or
        four colours; or a masked array, or NDData or CCDData of astropy, whose mask, uncertainty, unit and
        WCS are used; or a DataArray of xarray, whose coordinates are kept. NaN is invalid. Arrays of uint8
        and uint16 are taken for pictures, all others for measurements.
    recipe
        Name of a shipped recipe, or path of a YAML file. None: ``astro-denoise`` for measurements and
        ``archive-denoise`` for pictures.
    settings
        Changes to the recipe, such as ``"fit.uncertainty=true"`` or ``"operator.scale=2"``.
    mask
        True where a pixel is invalid, of the shape of the image. For arrays only.
    output
        Where the result is written, and resumed if the same call was interrupted. None for arrays: a
        temporary folder, which is removed.
    progress
        Whether to show the progress on standard error.

    Returns
    -------
    restored
        For a path, a `Result`, as `open` gives it. For an array the same kind as was given, with the
        attributes ``residual`` (input minus restored image), ``uncertainty`` (None unless it is asked for)
        and ``report()`` (a few lines about the restoration). Measurements are float32 and NaN where there is
        no estimate, pictures have the type of the input.

    Raises
    ------
    GlassplateError
        With one line that says what to do.

    Examples
    --------
    >>> import glassplate
    >>> clean = glassplate.restore(ccd, recipe="astro-denoise")  # doctest: +SKIP
    >>> print(clean.report(), clean.residual.std())  # doctest: +SKIP
    """
    from glassplate.restoring import restore_array, restore_file

    if isinstance(image, str) or hasattr(image, "__fspath__"):
        return restore_file(image, recipe, settings, output, mask=mask, progress=progress)
    return restore_array(image, recipe, settings, output, mask=mask, progress=progress)


def __getattr__(name: str) -> Any:
    if name == "__version__":
        from importlib.metadata import version

        return version("glassplate")
    raise AttributeError(f"module 'glassplate' has no attribute {name!r}")
