import json

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits

from glassplate.models import metrics
from glassplate.pipeline.assess import compare as module
from glassplate.pipeline.assess.compare import assess
from glassplate.pipeline.errors import SourceError, StoreError, UsageError
from glassplate.pipeline.pools.open_pool import open_pool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec


def sky(shape=(45, 61), seed=0):
    y, x = np.mgrid[: shape[0], : shape[1]]
    noise = np.random.default_rng(seed).normal(0, 5, shape)
    return (100 + 40 * np.sin(y / 7) * np.cos(x / 5) + noise).astype("f4")


def copy(source, store):
    """A result whose pixels are those of the source."""
    request = RestoreRequest(SourceSpec(source), store, load_recipe("identity"), "identity")
    with open_pool("inline") as pool:
        restore(request, pool)
    return store


@pytest.fixture(scope="module")
def result(tmp_path_factory):
    """An identity result of a sky with a hole, and its source."""
    folder = tmp_path_factory.mktemp("assess")
    image = sky()
    image[4:7, 50:60] = np.nan
    fits.writeto(folder / "sky.fits", image)
    return copy(folder / "sky.fits", folder / "sky.zarr"), folder / "sky.fits", image


def test_an_image_compared_with_itself_is_perfect(result):
    store, source, image = result
    figures = assess(store, source)
    assert figures["mse"] == 0
    assert figures["psnr_db"] is None
    assert figures["ssim"] == pytest.approx(1)
    assert figures["flux_ratio"] == 1
    assert figures["pixels"] == np.isfinite(image).sum()
    json.dumps(figures, allow_nan=False)


@pytest.mark.slow
@pytest.mark.parametrize("cell", [7, 16, 45, 1024])
def test_figures_do_not_depend_on_the_cells(result, tmp_path, monkeypatch, cell):
    store, _, image = result
    other = sky(seed=1)
    other[30:33, :9] = np.nan
    fits.writeto(tmp_path / "other.fits", other)
    monkeypatch.setattr(module, "CELL", cell)
    figures = assess(store, tmp_path / "other.fits")
    both = np.isfinite(image) & np.isfinite(other)
    data_range = np.ptp(other[both].astype("f8"))
    assert figures["data_range"] == pytest.approx(data_range)
    assert figures["mse"] == pytest.approx(metrics.mse(image, other))
    assert figures["psnr_db"] == pytest.approx(metrics.psnr(image, other, data_range))
    assert figures["ssim"] == pytest.approx(metrics.ssim(image, other, data_range))
    assert figures["flux_ratio"] == pytest.approx(metrics.flux_ratio(image, other))
    assert figures["bias"] == pytest.approx(np.mean((image - other)[both], dtype="f8"))
    assert figures["pixels"] == both.sum()


def test_chi2_is_the_error_in_units_of_the_noise(result, tmp_path):
    store, source, _ = result
    assert assess(store, source)["chi2"] is None, "identity measures no noise"
    path = store / "provenance" / "manifest.json"
    manifest = json.loads(path.read_text())
    before = path.read_text()
    manifest["plan"]["noise"] |= {"floor": 25.0, "slope": 0.0}
    fits.writeto(tmp_path / "other.fits", sky(seed=1))
    try:
        path.write_text(json.dumps(manifest))
        figures = assess(store, tmp_path / "other.fits")
    finally:
        path.write_text(before)
    assert figures["chi2"] == pytest.approx(figures["mse"] / 25)
    assert figures["chi2"] == pytest.approx(2, rel=0.1), "noise of two exposures"


@pytest.mark.parametrize("kind", ["png", "tif", "array", "group", "result", "extension"])
def test_a_reference_may_have_any_format(result, tmp_path, kind):
    store, _, image = result
    filled = np.nan_to_num(image, nan=90).astype("f4")
    if kind == "png":
        import imagecodecs

        reference = tmp_path / "ref.png"
        reference.write_bytes(imagecodecs.png_encode(filled.round().astype("u1")))
    elif kind == "tif":
        reference = tmp_path / "ref.tif"
        tifffile.imwrite(reference, filled)
    elif kind == "array":
        reference = tmp_path / "ref.zarr"
        zarr.create_array(reference, data=filled)
    elif kind == "group":
        reference = tmp_path / "ref.zarr"
        group = zarr.open_group(reference, mode="w")
        group.create_array("full", data=filled)
        group.attrs["multiscales"] = [{"datasets": [{"path": "full"}]}]
    elif kind == "result":
        reference = store
    else:
        reference = tmp_path / "ref.fits"
        extra = fits.ImageHDU(filled, name="SCI")
        fits.HDUList([fits.PrimaryHDU(np.zeros((3, 3), "f4")), extra]).writeto(reference)
        reference = tmp_path / "ref.fits[SCI]"
    figures = assess(store, reference)
    assert figures["mse"] <= (0.25 if kind == "png" else 0)
    assert figures["data_range"] == (255 if kind == "png" else np.ptp(image[np.isfinite(image)]))


def test_colours_are_compared_in_the_range_of_their_type(tmp_path):
    page = np.random.default_rng(0).integers(0, 60000, (20, 30, 3), "u2")
    tifffile.imwrite(tmp_path / "page.tif", page, photometric="rgb")
    store = copy(tmp_path / "page.tif", tmp_path / "page.zarr")
    tifffile.imwrite(tmp_path / "ref.tif", page + 10, photometric="rgb")
    figures = assess(store, tmp_path / "ref.tif")
    assert figures["mse"] == 100
    assert figures["psnr_db"] == pytest.approx(20 * np.log10(65535 / 10))
    assert figures["pixels"] == page.size


def test_a_reference_of_another_shape_is_refused(result, tmp_path):
    fits.writeto(tmp_path / "small.fits", np.zeros((10, 12), "f4"))
    with pytest.raises(UsageError, match=r"10 x 12 is not that of .*, 45 x 61"):
        assess(result[0], tmp_path / "small.fits")


def test_a_reference_without_common_valid_pixels_is_refused(result, tmp_path):
    image = np.full((45, 61), np.nan, "f4")
    image[5, 55] = 1  # only where the result is invalid
    fits.writeto(tmp_path / "hole.fits", image)
    with pytest.raises(UsageError, match="no pixel is valid"):
        assess(result[0], tmp_path / "hole.fits")


def test_paths_without_a_result_or_a_reference_are_refused(result, tmp_path):
    with pytest.raises(StoreError, match="not a glassplate result"):
        assess(tmp_path, result[1])
    with pytest.raises(SourceError, match="no such file"):
        assess(result[0], tmp_path / "none.fits")
    with pytest.raises(SourceError, match="neither a Zarr array nor"):
        assess(result[0], tmp_path)
