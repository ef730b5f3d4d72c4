from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.images import check_recipes, default_recipe, images_of, require_any, stem_of
from glassplate.pipeline.errors import SourceError, UsageError


def stores(job):
    return [str(image.store.relative_to(job.output)) for image in images_of(job)]


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        ("in/a.fits", ["a.zarr"]),
        ("in/*.fits", ["a.zarr", "b.zarr"]),
        ("[in/b.fits, in/c.tif]", ["b.zarr", "c.zarr"]),
        ("in/night*/a.fits", ["night1/a.zarr", "night2/a.zarr"]),
        ("in/**/a.fits", ["a.zarr", "night1/a.zarr", "night2/a.zarr"]),
        ("{path: in/a.fits, name: first}", ["first.zarr"]),
        ("[in/*.fits, {path: in/night1/a.fits, name: again}]", ["a.zarr", "b.zarr", "again.zarr"]),
        ("[in/*.fits, in/a.fits]", ["a.zarr", "b.zarr"]),
        ("none/*.fits", []),
        ("in/missing.fits", ["missing.zarr"]),
    ],
)
def test_inputs_become_results(inputs, expected, job_of):
    assert stores(job_of(f"inputs: {inputs}\noutput: out\n")) == expected


def test_a_name_with_brackets_is_a_name(folder, job_of):
    (folder / "in" / "m[1].fits").write_bytes(b"SIMPLE  = ")
    assert stores(job_of("inputs: in/m[1].fits\noutput: out\n")) == ["m[1].zarr"]


def test_home_is_known(folder, monkeypatch, job_of):
    monkeypatch.setenv("HOME", str(folder))
    job = job_of("inputs: ~/in/a.fits\noutput: ~/out\n")
    (image,) = images_of(job)
    assert image.spec.path == folder / "in" / "a.fits"
    assert image.store == folder / "out" / "a.zarr"


def test_what_an_input_says_goes_before_what_the_job_says(folder, job_of):
    job = job_of(
        """
inputs:
  - {path: in/a.fits, recipe: archive-upscale, scale: 2, set: {fit.iterations: 7}}
  - {path: in/b.fits, export: null}
  - in/c.tif
output: out
recipe: draft
export: auto
hdu: SCI
set: {fit: {iterations: 5, average: 0.5}, tiles.batch: auto}
""",
    )
    a, b, c = images_of(job)
    assert (a.recipe, b.recipe, c.recipe) == ("archive-upscale", "draft", "draft")
    assert (a.scale, b.scale) == (2, None)
    assert (a.export, b.export, c.export) == ("auto", None, "auto")
    assert a.spec.hdu == b.spec.hdu == "SCI"
    assert b.overrides == ("fit.iterations=5", "fit.average=0.5", 'tiles.batch="auto"')
    name, recipe = a.load("unused")
    assert name == "archive-upscale"
    assert recipe.fit.iterations == 7, "the input's override comes last"
    assert recipe.fit.average == 0.5
    assert recipe.tiles.batch == "auto"
    assert a.export_path(is_fits=False) == folder / "out" / "a.tif"
    assert c.export_path(is_fits=True) == folder / "out" / "c.fits"
    assert b.export_path(is_fits=True) is None


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("inputs: [in/a.fits, in/night1/a.fits]\noutput: out\n", r"both become .*a\.zarr; give"),
        ("inputs: in\noutput: out\n", r"is a folder; write .*in/\*\.fits"),
        ("inputs: {path: in/*.fits, name: x}\noutput: out\n", "name 'x' is for 2 images"),
        ("inputs: in/*.fits\noutput: in\nexport: fits\n", "would overwrite an input"),
    ],
)
def test_images_that_collide_are_refused(text, message, job_of):
    with pytest.raises(UsageError, match=message):
        images_of(job_of(text))


def test_an_input_says_in_its_own_way_how_noisy_it_is(folder, job_of):
    a, b = images_of(
        job_of(
            "inputs: [{path: in/a.fits, weight: w.fits}, in/b.fits]\noutput: out\nsigma: s.fits\n"
        )
    )
    assert (a.spec.variance, a.spec.noise_kind) == (folder / "w.fits", "weight")
    assert (b.spec.variance, b.spec.noise_kind) == (folder / "s.fits", "sigma")
    with pytest.raises(
        UsageError, match=r"variance .*v.fits and sigma .*s.fits: .* give one of them"
    ):
        images_of(job_of("inputs: in/a.fits\noutput: out\nsigma: s.fits\nvariance: v.fits\n"))


def test_a_job_without_any_file_is_refused(job_of):
    job = job_of("inputs: [in/x.fits, in/*.png]\noutput: out\n")
    with pytest.raises(UsageError, match="no such file"):
        require_any(job, images_of(job))
    some = job_of("inputs: [in/x.fits, in/a.fits]\noutput: out\n")
    require_any(some, images_of(some))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("recipe: drafft", "did you mean 'draft'"),
        ("set: {fit.iteration: 3}", "did you mean 'fit.iterations'"),
        ("scale: 2", "task superres"),
    ],
)
def test_wrong_recipes_are_refused_before_anything_runs(text, message, job_of):
    job = job_of(f"inputs: in/*.fits\noutput: out\n{text}\n")
    with pytest.raises(UsageError, match=message):
        check_recipes(images_of(job))


def test_the_format_decides_the_recipe(folder):
    assert default_recipe(folder / "in" / "a.fits") == "astro-denoise"
    (folder / "page.fits").write_bytes(b"II*\0 a TIFF under a wrong name")
    assert default_recipe(folder / "page.fits") == "archive-denoise"
    with pytest.raises(SourceError, match="no such file"):
        default_recipe(folder / "none.fits")


@pytest.mark.parametrize(
    ("name", "stem"),
    [
        ("m31.fits", "m31"),
        ("m31.fits.gz", "m31"),
        ("a.b.tif", "a.b"),
        ("x.fits.fz", "x"),
        ("n", "n"),
    ],
)
def test_stems(name, stem):
    assert stem_of(Path("/data", name)) == stem


@given(st.from_regex(r"[a-z0-9_.]{1,12}", fullmatch=True).filter(lambda s: s.strip(".")))
def test_a_stem_is_never_empty(name):
    assert stem_of(Path(f"{name}.fits"))
