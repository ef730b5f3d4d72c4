import pytest

from glassplate.flows.jobs.images import find_images
from glassplate.pipeline.errors import UsageError


def test_a_text_file_has_a_path_on_each_line(folder, job_of):
    (folder / "in" / "night.txt").write_text("# tonight\nb.fits\n\n night1/a.fits \nmissing.fits\n")
    images = find_images(job_of("inputs: {list: in/night.txt, scale: 3}\noutput: out\n")).images
    paths = [image.spec.path for image in images]
    assert paths == [folder / "in" / name for name in ("b.fits", "night1/a.fits", "missing.fits")]
    assert {image.scale for image in images} == {3}


def test_a_csv_file_has_settings_for_each_image(folder, job_of):
    (folder / "in" / "night.csv").write_text(
        "path,recipe,name,fit.iterations,hdu,mask\n"
        "a.fits,draft,first,7,2,m.fits\n"
        'b.fits,,,,"SCI,1",\n'
        f"{folder}/in/c.tif,mine.yaml,,,,{{stem}}-mask.tif\n"
    )
    (folder / "in" / "mine.yaml").write_text("task: identity\n")
    job = job_of(
        "inputs: [{list: in/night.csv, set: {tiles.core: 64}}, in/night1/a.fits]\n"
        "output: out\nrecipe: archive-denoise\nset: {tiles.halo: 8}\n"
    )
    a, b, c, other = find_images(job).images
    assert (a.recipe, b.recipe, other.recipe) == ("draft", "archive-denoise", "archive-denoise")
    assert a.overrides == ("tiles.halo=8", "tiles.core=64", "fit.iterations=7")
    assert b.overrides == ("tiles.halo=8", "tiles.core=64")
    assert other.overrides == ("tiles.halo=8",)
    assert (a.store.name, b.store.name) == ("first.zarr", "b.zarr")
    assert (a.spec.hdu, b.spec.hdu) == (2, "SCI,1")
    assert a.spec.mask == folder / "in" / "m.fits"
    assert c.spec.mask == folder / "in" / "c-mask.tif"
    assert c.recipe == str(folder / "in" / "mine.yaml")


def test_a_list_of_images_of_one_file_tells_them_apart(folder, job_of):
    (folder / "l.csv").write_text("path,hdu\nin/a.fits,1\nin/a.fits,SCI\n")
    images = find_images(job_of("inputs: {list: l.csv}\noutput: out\n")).images
    assert [image.store.name for image in images] == ["a-1.zarr", "a-SCI.zarr"]


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("l.csv", "file,recipe\na.fits,draft\n", "the first line has no column path"),
        ("l.csv", "path,recipee\na.fits,draft\n", r"line 2: unknown key 'recipee'; .*'recipe'\?"),
        ("l.csv", "path,scale\na.fits,much\n", "l.csv, line 2: scale is 'much'"),
        ("l.csv", "path\na.fits,draft\n", "line 2: has more cells than the first line"),
        ("l.csv", "path,recipe\n,draft\n", "an input has either a path or a list"),
        ("none.txt", None, "none.txt: No such file"),
    ],
)
def test_a_wrong_list_is_refused_in_one_line(folder, job_of, name, text, message):
    if text is not None:
        (folder / name).write_text(text)
    with pytest.raises(UsageError, match=message) as caught:
        find_images(job_of(f"inputs: {{list: {name}}}\noutput: out\n"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("entry", ["{list: l.txt, path: a.fits}", "{name: x}"])
def test_an_input_is_a_path_or_a_list(job_of, entry):
    with pytest.raises(UsageError, match="an input has either a path or a list"):
        job_of(f"inputs: [{entry}]\noutput: out\n")
