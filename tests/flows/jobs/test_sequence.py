"""Which result each frame of a sequence takes its donor from, also after failures and in a second run."""

import json
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits

from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import Job, read_job
from glassplate.flows.jobs.sequence import DonorSequence
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import RestoreRequest, restore

SMALL = (
    "fit.iterations=2", "fit.log_period=1", "network.channels=4", "network.skip_channels=4",
    "network.scales=2", "tiles.core=24", "tiles.halo=6", "donor.refine=2",
)  # fmt: skip


@pytest.fixture
def job(tmp_path):
    """Four frames of one field, the third of which is no image."""
    scene = 100 + np.random.default_rng(0).normal(0, 5, (50, 50)).cumsum(1)
    for seed, name in enumerate("abcd"):
        noise = np.random.default_rng(seed).normal(0, 3, scene.shape)
        fits.writeto(tmp_path / f"{name}.fits", (scene + noise).astype("f4"))
    (tmp_path / "good.fits").write_bytes((tmp_path / "c.fits").read_bytes())
    (tmp_path / "c.fits").write_text("this is no FITS file\n" * 50)
    return Job(
        inputs=str(tmp_path / "[a-d].fits"),
        output=tmp_path / "out",
        set=SMALL,
        recipe="astro-denoise",
        sequence=True,
    )


def run(job, names="abcd"):
    """Run a job without Prefect; return the donor that each image took, by its name."""
    donors, taken = DonorSequence(), {}
    for image in find_images(job).images:
        name = image.spec.path.stem
        if name not in names:
            continue
        try:
            recipe_name, recipe = image.load_recipe("")
            donor = donors.donor_for(image, recipe)
            request = RestoreRequest(image.spec, image.store, recipe, recipe_name, donor=donor)
            taken[name] = donor and donor.stem
            restore(request, InlinePool())
            donors.add(image.store)
        except OSError:
            taken[name] = "failed"
    return taken


def donor_of(job, name):
    return (job.output / f"{name}.zarr" / "provenance" / "donor.npz").read_bytes()


@pytest.mark.slow
def test_each_starts_from_the_last_good_one_and_resumes_from_the_same(job):
    assert run(job) == {"a": None, "b": "a", "c": "failed", "d": "b"}
    donors = {name: donor_of(job, name) for name in "abd"}
    assert len(set(donors.values())) == 3
    folder = Path(job.output).parent
    (folder / "c.fits").write_bytes((folder / "good.fits").read_bytes())
    assert run(job) == {"a": None, "b": "a", "c": "b", "d": "b"}
    assert {name: donor_of(job, name) for name in "abd"} == donors


@pytest.mark.slow
def test_a_frame_that_does_not_fit_the_donor_has_its_own(job):
    other = job.model_copy(update={"set": (*SMALL, "network.channels=5")})
    run(job, "a")
    [a, b, *_] = find_images(other).images
    donors = DonorSequence()
    donors.add(a.store)
    assert donors.donor_for(b, b.load_recipe("")[1]) is None
    assert (
        donors.donor_for(*((image := find_images(job).images[1]), image.load_recipe("")[1]))
        == a.store
    )


def test_the_first_frame_starts_from_the_donor_of_the_job(job):
    given = job.model_copy(update={"donor": job.output / "z.zarr"})
    [a, *_] = find_images(given).images
    assert DonorSequence().donor_for(a, a.load_recipe("")[1]) == job.output / "z.zarr"


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_a_job_of_frames(job, gp, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    (tmp_path / "job.yaml").write_text(
        f"inputs: '[a-d].fits'\noutput: out\nrecipe: astro-denoise\nset: {json.dumps(SMALL)}\n"
        "sequence: true\npool: inline\n"
    )
    ran = gp("batch", tmp_path / "job.yaml")
    assert ran.code == 3, ran
    manifests = {
        name: json.loads((tmp_path / "out" / f"{name}.zarr/provenance/manifest.json").read_text())
        for name in "abd"
    }
    donors = {name: manifest["plan"]["donor"] for name, manifest in manifests.items()}
    stores = {name: donor and donor["store"] for name, donor in donors.items()}
    out = tmp_path / "out"
    assert stores == {"a": None, "b": str(out / "a.zarr"), "d": str(out / "b.zarr")}
    again = gp("batch", tmp_path / "job.yaml")
    assert again.code == 3, again
    assert "4 images: 3 done before, 1 quarantined" in again.out, again


@pytest.mark.slow
def test_exposures_and_a_donor_on_the_command_line(gp, job, tmp_path):
    options = [part for pair in SMALL for part in ("--set", pair)]
    common = ("--recipe", "astro-denoise", *options, "--pool", "inline", "--progress", "none")
    both = ("restore", tmp_path / "a.fits", "--exposure", tmp_path / "b.fits")
    assert gp(*both, "-o", tmp_path / "ab.zarr", *common).code == 0
    more = (*common[:-4], "--exposure", tmp_path / "b.fits", "--donor", tmp_path / "ab.zarr")
    planned = gp("plan", tmp_path / "d.fits", *more)
    assert planned.code == 0
    assert "of       2 exposures" in planned.out
    assert f"donor    from {tmp_path / 'ab.zarr'}, fitted on for 2 iterations" in planned.out
    rule = ("--set", "stopping.rule=exposure")
    planned = gp("plan", tmp_path / "d.fits", *more, *rule)
    assert "of       2 exposures, the last one judges" in planned.out
    taken = ("--donor", tmp_path / "ab.zarr", "-o", tmp_path / "d.zarr")
    assert gp("restore", tmp_path / "d.fits", *common, *taken).code == 0
    assert f"donor    from {tmp_path / 'ab.zarr'}" in gp("inspect", tmp_path / "d.zarr").out


def test_all_pages_on_the_command_line_and_in_a_job(gp, tmp_path):
    tifffile.imwrite(tmp_path / "p.tif", np.zeros((3, 40, 50), "u1"), photometric="minisblack")
    planned = gp("plan", tmp_path / "p.tif", "--page", "all", "--recipe", "identity")
    assert planned.code == 0
    assert "3 x 40 x 50" in planned.out
    refused = gp("plan", tmp_path / "p.tif", "--page", "some", "--recipe", "identity")
    assert refused.code == 2
    assert "--page some: expected a number from 0, or all" in refused.err
    (tmp_path / "job.yaml").write_text("inputs: p.tif\noutput: o\npage: all\n")
    [image] = find_images(read_job(tmp_path / "job.yaml")).images
    assert image.spec.page == "all"


def test_exposures_of_a_job(tmp_path):
    masks = {"exposure_masks": ["b.dq.fits", "c.dq.fits"]}
    given = {"path": "a.fits", "exposures": ["b.fits", "c.fits"], **masks}
    (tmp_path / "job.yaml").write_text(json.dumps({"inputs": [given, "d.fits"], "output": "o"}))
    a, d = find_images(read_job(tmp_path / "job.yaml")).images
    assert a.spec.exposures == (Path("b.fits").absolute(), Path("c.fits").absolute())
    assert a.spec.exposure_masks == (
        Path("b.dq.fits").absolute(),
        Path("c.dq.fits").absolute(),
    )
    assert d.spec.exposures == d.spec.exposure_masks == ()
