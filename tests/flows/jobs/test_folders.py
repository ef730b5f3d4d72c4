"""A folder as it comes from one place, restored by one job without an option for any file of it.

The images are restored as the job says, but without Prefect.
"""

import shutil

import numpy as np
import pytest
import tifffile
import zarr
from astropy.io import fits
from astropy.wcs import WCS

from glassplate.flows.jobs.images import default_recipe, find_images
from glassplate.flows.jobs.job import read_job
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import RestoreRequest, restore

# As in the guide, but for what makes it fast.
JOB = """
inputs: [{inputs}]
output: restored
export: auto
pool: inline
set: {{fit.iterations: 2, fit.collaborative: false, stopping.rule: fixed, donor.iterations: 2,
       donor.tile_iterations: 2}}
"""
# Files of the data folder by the place that such come from: with the bits and the samples of their exports.
PLACES = {
    "scanner": {
        "misc/rgb-3c-8b.tiff": (8, 3),
        "pillow/hopper.iccprofile_binary.tif": (8, 3),
        "pillow/hopper.Lab.tif": (8, 3),
        "misc/cantaloupe_tif-xmp.tif": (8, 4),
        "imagetiff/cantaloupe_tif-exif.tif": (8, 4),
    },
    "microfilm": {
        "pillow/g4_orientation_3.tif": (8, 1),
        "imagetiff/miniswhite-1c-1b.tiff": (8, 1),
        "pillow/multipage.tiff": (8, 3),
    },
    "museum": {
        "misc/cantaloupe_tif-rgb-3res-64x56x16-tiled-uncompressed.tif": (16, 3),
        "pillow/tiff_tiled_cmyk_jpeg.tif": (8, 4),
        "imagetiff/palette-1c-4b.tiff": (16, 3),
        "imagecodecs/rgba.u1.tif": (8, 4),
    },
}


def done(path):
    """Results of the images of a job, by the stems of their names."""
    job = read_job(path)
    job.output.mkdir()
    results = {}
    for image in find_images(job).images:
        assert not image.fault
        name, recipe = image.load_recipe(default_recipe(image.spec.path))
        export = image.export_path(is_fits=name.startswith("astro"))
        run = RestoreRequest(image.spec, image.store, recipe, name, export=export)
        results[image.store.stem] = restore(run, InlinePool())
    assert {result.status for result in results.values()} == {"complete"}
    return results


@pytest.mark.slow
def test_a_scanner_a_microfilm_reader_and_a_museum(real_data, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    expected = {}
    for place, files in PLACES.items():
        (tmp_path / place).mkdir()
        for name, form in files.items():
            (path,) = real_data.glob(f"tiff_variants/*/{name.split('/')[1]}")
            shutil.copy(path, tmp_path / place)
            expected[path.stem] = path, form
    (tmp_path / "job.yaml").write_text(JOB.format(inputs=", ".join(f"{one}/*" for one in PLACES)))
    assert done(tmp_path / "job.yaml").keys() == expected.keys()
    for stem, (given, (bits, samples)) in expected.items():
        with tifffile.TiffFile(given) as before:
            size = before.pages.first.shaped[2:4]
        with tifffile.TiffFile(tmp_path / "restored" / f"{stem}.tif") as out:
            page = out.pages.first
            assert (page.dtype.itemsize * 8, page.samplesperpixel) == (bits, samples), stem
            assert page.shaped[2:4] == size, stem
            page.asarray()


def test_a_night_of_webb_and_roman(tmp_path, monkeypatch):
    webb_roman = pytest.importorskip("webb_roman", reason="the extra asdf is not installed")
    monkeypatch.chdir(tmp_path)
    (tmp_path / "night").mkdir()
    webb_roman.write_webb(tmp_path / "night" / "jw01_nrca1_cal.fits")
    roman = tmp_path / "night" / "r01_wfi01_cal.asdf"
    webb_roman.write_roman(roman, wcs=webb_roman.make_wcs())
    (tmp_path / "job.yaml").write_text(JOB.format(inputs="night/*"))
    results = done(tmp_path / "job.yaml")
    bad = webb_roman.DQ == 1
    for stem in ("jw01_nrca1_cal", "r01_wfi01_cal"):
        pixels = zarr.open_group(tmp_path / "restored" / f"{stem}.zarr", mode="r")["0"][...]
        np.testing.assert_array_equal(np.isnan(pixels), bad)
    found = " ".join(results["jw01_nrca1_cal"].summary.companions)
    assert "DQ,1], found by name; flags of JWST: bad 1; saturated if 2" in found
    assert "ERR,1], found by name; as sigma" in found

    with (
        fits.open(tmp_path / "restored" / "jw01_nrca1_cal.fits") as out,
        fits.open(tmp_path / "night" / "jw01_nrca1_cal.fits") as given,
    ):
        assert [(hdu.name, hdu.ver) for hdu in out] == [(hdu.name, hdu.ver) for hdu in given]
        assert out["SCI"].header["BUNIT"] == "MJy/sr"
        for name in ("ERR", "DQ", "ASDF"):
            assert (out[name].data == given[name].data).all()
    header = fits.getheader(tmp_path / "restored" / "r01_wfi01_cal.fits")
    assert WCS(header).has_celestial
