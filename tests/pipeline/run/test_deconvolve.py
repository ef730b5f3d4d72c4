"""A run with a PSF, from its file to the result, and any whole scale."""

from pathlib import Path

import numpy as np
import pytest
import tifffile
import torch
import zarr
from astropy.io import fits

from glassplate.models.operators.blur import Blur
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Composition
from glassplate.models.operators.psf import Psf
from glassplate.pipeline.errors import SourceError, StoreError, UsageError
from glassplate.pipeline.events import Warned
from glassplate.pipeline.failures import Failure
from glassplate.pipeline.files import sha256_of
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.summary import summarise
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

FIT = {
    "task": "deconvolve",
    "fit": {"iterations": 4, "log_period": 2},
    "network": {"channels": 4, "skip_channels": 4, "scales": 2},
    "tiles": {"core": 30, "halo": 6},
    "output": {"chunk": 16, "shard": 32},
}


def gaussian(height=7, width=5, sigma=1.2):
    y, x = np.mgrid[:height, :width]
    psf = np.exp(-((y - height // 2) ** 2 + (x - width // 2) ** 2) / 2 / sigma**2)
    return psf / psf.sum()


def request(spec, store, raw):
    return RestoreRequest(spec, store, parse_recipe(raw, "test"), "test", device="cpu")


def image_of(height, width):
    y, x = np.mgrid[:height, :width]
    image = 100 + 500 * np.exp(-((y - 20) ** 2 + (x - 33) ** 2) / 8)
    return image + np.random.default_rng(0).normal(0, 5, image.shape)


@pytest.fixture
def blurred(tmp_path) -> SourceSpec:
    """A FITS of 50 x 70 pixels with a star, noise and NaN, and a lopsided PSF."""
    image = image_of(50, 70)
    image[4:6, 7:10] = np.nan
    fits.writeto(tmp_path / "sky.fits", image.astype("f4"))
    psf = gaussian()
    psf[2, 3] += 0.1
    fits.writeto(tmp_path / "psf.fits", psf / psf.sum())
    return SourceSpec(tmp_path / "sky.fits", psf=tmp_path / "psf.fits")


def arrays(store: Path):
    group = zarr.open_group(str(store), mode="r")
    return group["0"][...], group["residual"][...]


def through(operator, image):
    return operator.forward(torch.from_numpy(image.astype("f8"))[None, None])[0, 0].numpy()


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [16, 32])
def test_the_residual_is_the_input_minus_the_blurred_result(blurred, tmp_path, chunk):
    raw = {**FIT, "output": {"chunk": chunk, "shard": 32, "invalid": "fill"}}
    result = restore(request(blurred, tmp_path / "a.zarr", raw), InlinePool())
    assert result.status == "complete"
    restored, residual = arrays(tmp_path / "a.zarr")
    image = fits.getdata(blurred.path)
    assert restored.shape == image.shape
    blur = Blur(Psf.of(fits.getdata(blurred.psf)))
    np.testing.assert_allclose(residual, image - through(blur, restored), rtol=0, atol=2e-3)
    assert np.isnan(residual).sum() == 6


@pytest.mark.slow
@pytest.mark.parametrize("scale", [2, 3, 5])
@pytest.mark.parametrize("kernel", ["box", "pick", "bicubic"])
def test_the_residual_holds_for_a_psf_and_any_scale(blurred, tmp_path, scale, kernel):
    operator = {"scale": scale, "kernel": kernel}
    raw = {**FIT, "task": "superres", "operator": operator, "output": {"invalid": "fill"}}
    restore(request(blurred, tmp_path / "a.zarr", raw), InlinePool())
    restored, residual = arrays(tmp_path / "a.zarr")
    image = fits.getdata(blurred.path)
    assert restored.shape == tuple(scale * n for n in image.shape)
    blur = Blur(Psf.of(fits.getdata(blurred.psf)))
    seen = through(Composition(blur, Downsample(scale, kernel)), restored)
    np.testing.assert_allclose(residual, image - seen, rtol=0, atol=2e-3)


@pytest.mark.slow
@pytest.mark.parametrize("scale", [3, 7])
def test_the_scale_need_not_divide_the_chunk(tmp_path, scale):
    page = image_of(40, 44).clip(0, 255).astype("u1")
    tifffile.imwrite(tmp_path / "a.tif", page)
    output = {"chunk": 100, "shard": 200}
    raw = {**FIT, "task": "superres", "operator": {"scale": scale}, "output": output}
    restore(request(SourceSpec(tmp_path / "a.tif"), tmp_path / "a.zarr", raw), InlinePool())
    restored, residual = arrays(tmp_path / "a.zarr")
    assert restored.shape == (40 * scale, 44 * scale)
    assert residual.shape == page.shape
    chunk = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")["0"].chunks[0]
    assert chunk == {3: 102, 7: 105}[scale]


@pytest.mark.slow
def test_the_residual_of_integers_is_not_rounded(blurred, tmp_path):
    tifffile.imwrite(tmp_path / "a.tif", image_of(40, 44).clip(0, 255).astype("u1"))
    spec = SourceSpec(tmp_path / "a.tif", psf=blurred.psf)
    restore(request(spec, tmp_path / "a.zarr", FIT), InlinePool())
    restored, residual = arrays(tmp_path / "a.zarr")
    assert (restored.dtype, residual.dtype) == (np.uint8, np.float32)
    assert np.isfinite(residual).all()


@pytest.mark.slow
def test_a_missing_tile_leaves_the_rest_of_the_residual(blurred, tmp_path):
    class Failing(InlinePool):
        def map(self, work, tasks, on_progress):
            for task in tasks:
                if getattr(task, "tiles", None) == (0,):
                    yield task, Failure.of(FloatingPointError("made to fail"))
                else:
                    yield task, work(task, on_progress)

    raw = {**FIT, "output": {"chunk": 64, "shard": 64, "invalid": "fill"}}
    result = restore(request(blurred, tmp_path / "a.zarr", raw), Failing())
    assert result.status == "partial"
    restored, residual = arrays(tmp_path / "a.zarr")
    assert np.isnan(restored[0, 0])
    missing = np.isnan(restored)
    reached = np.zeros_like(missing)
    for y, x in zip(*np.nonzero(missing), strict=True):
        reached[max(0, y - 3) : y + 4, max(0, x - 3) : x + 4] = True
    reached |= np.isnan(fits.getdata(blurred.path))
    np.testing.assert_array_equal(np.isnan(residual), reached)


class TestTheRecord:
    @pytest.mark.slow
    def test_names_the_psf_by_its_content(self, blurred, tmp_path):
        store = tmp_path / "a.zarr"
        restore(request(blurred, store, FIT), InlinePool())
        manifest = read_manifest(store)
        assert manifest.identity.psf.sha256 == sha256_of(blurred.psf)
        assert manifest.plan.psf_shape == (7, 5)
        assert [(c.name, c.ok) for c in verify(store) if c.name == "psf"] == [("psf", True)]
        assert restore(request(blurred, store, FIT), InlinePool()).already_complete

    @pytest.mark.slow
    def test_another_psf_is_another_run(self, blurred, tmp_path):
        store = tmp_path / "a.zarr"
        restore(request(blurred, store, FIT), InlinePool())
        fits.writeto(blurred.psf, gaussian(sigma=0.8), overwrite=True)
        with pytest.raises(StoreError, match=r"made from another psf than .*psf\.fits; choose"):
            restore(request(blurred, store, FIT), InlinePool())
        assert [c.name for c in verify(store) if not c.ok] == ["psf"]

    def test_an_early_manifest_without_a_psf_is_read(self, blurred, tmp_path):
        store, spec = tmp_path / "a.zarr", SourceSpec(blurred.path)
        raw = {**FIT, "task": "identity"}
        restore(request(spec, store, raw), InlinePool())
        path = store / "provenance" / "manifest.json"
        text = path.read_text()
        assert text.count('"psf": null,') == 1
        path.write_text(text.replace('"psf": null,', ""))
        assert restore(request(spec, store, raw), InlinePool()).already_complete
        assert not [c for c in verify(store) if not c.ok]

    @pytest.mark.slow
    def test_a_psf_whose_sum_is_not_one_causes_a_warning(self, blurred, tmp_path):
        fits.writeto(blurred.psf, 3 * gaussian(), overwrite=True)
        events = []
        restore(request(blurred, tmp_path / "a.zarr", FIT), InlinePool(), events.append)
        warned = [event.message for event in events if isinstance(event, Warned)]
        assert warned == [f"psf {blurred.psf}: its sum is 3, not 1; it is divided by it"]
        made = make_plan(blurred, parse_recipe(FIT, "test"), recipe_name="test", device="cpu")
        assert list(summarise(made, workers=1).warnings) == warned
        assert summarise(made, workers=1).psf_shape == (7, 5)


class TestRefuses:
    @pytest.mark.parametrize(
        ("raw", "psf", "error", "message"),
        [
            (FIT, None, UsageError, "task deconvolve needs a PSF; add --psf FILE"),
            ({**FIT, "task": "denoise"}, "psf.fits", UsageError, "task denoise uses no PSF"),
            (FIT, "no.fits", SourceError, "psf .*no.fits: no such file"),
            (FIT, "sky.fits", SourceError, "both sides must be odd"),
            (
                {**FIT, "tiles": {"core": 24, "halo": 2}},
                "psf.fits",
                UsageError,
                "tiles.halo 2: less than the 3 pixels",
            ),
        ],
    )
    def test_before_anything_is_written(self, blurred, tmp_path, raw, psf, error, message):
        spec = SourceSpec(blurred.path, psf=None if psf is None else tmp_path / psf)
        with pytest.raises(error, match=message):
            restore(request(spec, tmp_path / "a.zarr", raw), InlinePool())
        assert not (tmp_path / "a.zarr").exists()
