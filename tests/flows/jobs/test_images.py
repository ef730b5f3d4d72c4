import re
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.jobs import joint_exports
from glassplate.flows.jobs.images import (
    check_recipes,
    default_recipe,
    find_images,
    refuse_empty_job,
    refuse_faulty_job,
)
from glassplate.flows.jobs.result_names import stem_of
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.events import ignore_event


def stores(job):
    return [str(image.store.relative_to(job.output)) for image in find_images(job).images]


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


def test_an_existing_path_with_brackets_is_literal(folder, job_of):
    (folder / "in" / "m[1].fits").write_bytes(b"SIMPLE  = ")
    assert stores(job_of("inputs: in/m[1].fits\noutput: out\n")) == ["m[1].zarr"]


def test_a_tilde_is_the_home_folder(folder, monkeypatch, job_of):
    monkeypatch.setenv("HOME", str(folder))
    job = job_of("inputs: ~/in/a.fits\noutput: ~/out\n")
    (image,) = find_images(job).images
    assert image.spec.path == folder / "in" / "a.fits"
    assert image.store == folder / "out" / "a.zarr"


def test_settings_of_an_input_override_those_of_the_job(folder, job_of):
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
    a, b, c = find_images(job).images
    assert (a.recipe, b.recipe, c.recipe) == ("archive-upscale", "draft", "draft")
    assert (a.scale, b.scale) == (2, None)
    assert (a.export, b.export, c.export) == ("auto", None, "auto")
    assert a.spec.hdu == b.spec.hdu == "SCI"
    assert b.overrides == ("fit.iterations=5", "fit.average=0.5", 'tiles.batch="auto"')
    name, recipe = a.load_recipe("unused")
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
        ("inputs: {path: in/*.fits, name: x}\noutput: out\n", "name 'x' is for one image"),
        ("inputs: in/*.fits\noutput: in\nexport: fits\n", "would overwrite an input"),
        (
            "inputs: [{path: in/a.fits, scale: 2}, {path: in/a.fits, scale: 3}]\noutput: out\n",
            "is given twice with different settings, and would both become",
        ),
    ],
)
def test_images_that_collide_are_all_named_and_a_job_of_no_others_is_refused(text, message, job_of):
    job = job_of(text)
    found = find_images(job)
    assert len(found.images) == 2
    for image in found.images:
        assert re.search(message, image.fault)
        assert "\n" not in image.fault
    with pytest.raises(UsageError, match=message):
        refuse_empty_job(job, found)
    with pytest.raises(UsageError, match=message):
        refuse_faulty_job(found)


def test_images_that_collide_name_each_other_and_leave_the_rest_alone(folder, job_of):
    # f001.tif beside f001.fits once failed a whole night
    (folder / "in" / "b.tif").write_bytes(b"II*")
    job = job_of("inputs: 'in/*.*'\noutput: out\n")
    found = find_images(job)
    faults = {image.spec.path.name: image.fault for image in found.images}
    assert faults["a.fits"] == faults["c.tif"] == ""
    assert re.search(
        r"in/b\.fits and .*in/b\.tif would both become .*out/b\.zarr", faults["b.fits"]
    )
    assert re.search(r"in/b\.tif and .*in/b\.fits would both become .*name: ", faults["b.tif"])
    refuse_empty_job(job, found)


def test_a_result_is_refused(folder, job_of):
    (folder / "a.zarr").mkdir()
    with pytest.raises(UsageError, match=r"inputs .*a\.zarr: is a result; name the file"):
        find_images(job_of("inputs: a.zarr\noutput: out\n"))


@pytest.mark.parametrize(
    ("inputs", "expected"),
    [
        # only the last of two entries of one file was restored
        ("[{path: in/a.fits, hdu: 1}, {path: in/a.fits, hdu: 2}]", ["a-1.zarr", "a-2.zarr"]),
        ("[{path: in/a.fits, hdu: A/B}, {path: in/a.fits, hdu: '2'}]", ["a-A_B.zarr", "a-2.zarr"]),
        ("[in/a.fits, {path: in/./a.fits, hdu: SCI}]", ["a.zarr", "a-SCI.zarr"]),
        (
            "[{path: in/c.tif, page: 0}, {path: in/c.tif, page: all}]",
            ["c-page0.zarr", "c-pageall.zarr"],
        ),
        (
            "[{path: in/a.fits, hdu: 1, name: x}, {path: in/a.fits, hdu: 2, name: y}]",
            ["x.zarr", "y.zarr"],
        ),
        (
            "[{path: 'in/*.fits', hdu: 1}, {path: 'in/*.fits', hdu: 2}]",
            ["a-1.zarr", "a-2.zarr", "b-1.zarr", "b-2.zarr"],
        ),
        # the path of one entry alone has no suffix
        ("[{path: in/a.fits, hdu: 1}, in/b.fits]", ["a.zarr", "b.zarr"]),
        ("[{path: in/a.fits, name: x}, {path: in/a.fits, name: y}]", ["x.zarr", "y.zarr"]),
    ],
)
def test_each_image_of_a_file_has_a_result(inputs, expected, job_of):
    job = job_of(f"inputs: {inputs}\noutput: out\n")
    assert stores(job) == expected
    assert [image.fault for image in find_images(job).images] == [""] * len(expected)


@pytest.mark.parametrize(
    ("inputs", "scales"),
    [
        # a later pattern overrode the entry of a file
        ("[{path: in/a.fits, scale: 3}, 'in/*.fits']", {"a": 3, "b": None}),
        ("['in/*.fits', {path: in/a.fits, scale: 3}]", {"a": 3, "b": None}),
        ("[{path: in/../in/a.fits, scale: 3}, 'in/*.fits']", {"a": 3, "b": None}),
        ("[{path: 'in/*.fits', scale: 2}, {path: 'in/a*.fits', scale: 3}]", {"a": 3, "b": 2}),
        ("[{path: 'in/a*.fits', scale: 3}, {path: 'in/*.fits', scale: 2}]", {"a": 2, "b": 2}),
        ("['in/*.fits', {path: in/a.fits, name: first}]", {"first": None, "b": None}),
    ],
)
def test_a_literal_entry_overrides_patterns_and_a_later_pattern_an_earlier_one(
    inputs, scales, job_of
):
    images = find_images(job_of(f"inputs: {inputs}\noutput: out\n")).images
    assert {image.store.stem: image.scale for image in images} == scales


def test_an_entry_of_its_own_does_not_move_a_frame(job_of):
    images = find_images(
        job_of("inputs: ['in/*.*', {path: in/b.fits, scale: 3}]\noutput: out\n")
    ).images
    assert [image.spec.path.name for image in images] == ["a.fits", "b.fits", "c.tif"]


class TestBrackets:
    @pytest.mark.parametrize("pattern", ["in/[OIII]/*.fits", "i?/[OIII]/*.fits", "*/[OIII]/d.fits"])
    def test_of_a_folder_that_is_there_are_part_of_its_name(self, pattern, folder, job_of):
        (folder / "in" / "[OIII]").mkdir()
        (folder / "in" / "[OIII]" / "d.fits").write_bytes(b"SIMPLE  = ")
        (image,) = find_images(job_of(f"inputs: '{pattern}'\noutput: out\n")).images
        assert image.spec.path == folder / "in" / "[OIII]" / "d.fits"

    def test_are_a_pattern_elsewhere(self, job_of):
        assert stores(job_of("inputs: 'in/[ac].*'\noutput: out\n")) == ["a.zarr", "c.zarr"]

    def test_that_find_nothing_are_explained(self, job_of):
        job = job_of("inputs: 'in/[xy].fits'\noutput: out\n")
        with pytest.raises(UsageError, match=r"no such file; \[ \] in a path stand for one"):
            refuse_empty_job(job, find_images(job))


class TestOwnFiles:
    """Patterns leave out files that glassplate has written; a second night once restored them."""

    @pytest.fixture
    def nights(self, folder):
        """Raw images, an export in the output folder, an export beside a result, and files within results."""
        for path in ("in/out/a.fits", "in/x.fits"):
            (folder / path).parent.mkdir(exist_ok=True)
            header = fits.Header({"GPRUNID": "0123"})
            fits.writeto(folder / path, np.zeros((4, 4), "f4"), header)
        for path in ("in/out/a.zarr/0/c.fits", "in/x.zarr/provenance/a.fits"):
            (folder / path).parent.mkdir(parents=True)
            (folder / path).write_bytes(b"SIMPLE  = ")
        return folder

    @pytest.mark.parametrize("pattern", ["in/**/*.fits", "**/*.fits"])
    def test_are_left_out(self, pattern, nights, job_of):
        found = find_images(job_of(f"inputs: '{pattern}'\noutput: in/out\nexport: auto\n"))
        names = sorted(str(image.spec.path.relative_to(nights)) for image in found.images)
        assert names == ["in/a.fits", "in/b.fits", "in/night1/a.fits", "in/night2/a.fits"]
        assert [image.fault for image in found.images] == [""] * 4
        left = sorted(str(path.relative_to(nights)) for path in found.left_out)
        assert left == [
            "in/out/a.fits",
            "in/out/a.zarr/0/c.fits",
            "in/x.fits",
            "in/x.zarr/provenance/a.fits",
        ]

    def test_are_inputs_where_their_path_is_literal(self, nights, job_of):
        found = find_images(job_of("inputs: ['in/*.fits', in/x.fits]\noutput: out\n"))
        assert [image.spec.path.name for image in found.images] == ["a.fits", "b.fits", "x.fits"]
        assert found.left_out == ()

    def test_are_inputs_of_a_pattern_that_matches_nothing_else(self, nights, job_of):
        found = find_images(job_of("inputs: 'in/x*.fits'\noutput: second\n"))
        assert [image.spec.path.name for image in found.images] == ["x.fits"]

    def test_are_not_reported_as_missing(self, nights, job_of):
        job = job_of("inputs: 'in/out/*.fits'\noutput: in/out\n")
        with pytest.raises(UsageError, match=r"nothing but 1 file that glassplate made, such as"):
            refuse_empty_job(job, find_images(job))

    def test_do_not_include_a_raw_image_in_the_output(self, nights, job_of):
        (nights / "in" / "out" / "raw.fits").write_bytes((nights / "in" / "a.fits").read_bytes())
        found = find_images(job_of("inputs: 'in/out/*.fits'\noutput: in/out\n"))
        assert [image.spec.path.name for image in found.images] == ["raw.fits"]


def test_an_input_gives_its_noise_in_its_own_way(folder, job_of):
    a, b = find_images(
        job_of(
            "inputs: [{path: in/a.fits, weight: w.fits}, in/b.fits]\noutput: out\nsigma: s.fits\n"
        )
    ).images
    assert (a.spec.variance, a.spec.noise_kind) == (folder / "w.fits", "weight")
    assert (b.spec.variance, b.spec.noise_kind) == (folder / "s.fits", "sigma")
    with pytest.raises(
        UsageError, match=r"variance .*v.fits and sigma .*s.fits: .* give one of them"
    ):
        find_images(job_of("inputs: in/a.fits\noutput: out\nsigma: s.fits\nvariance: v.fits\n"))


def test_a_job_without_any_file_is_refused(job_of):
    job = job_of("inputs: [in/x.fits, in/*.png]\noutput: out\n")
    with pytest.raises(UsageError, match="no such file"):
        refuse_empty_job(job, find_images(job))
    some = job_of("inputs: [in/x.fits, in/a.fits]\noutput: out\n")
    refuse_empty_job(some, find_images(some))


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
        check_recipes(find_images(job).images)


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


@pytest.mark.slow
@given(st.from_regex(r"[a-z0-9_.]{1,12}", fullmatch=True).filter(lambda s: s.strip(".")))
def test_a_stem_is_never_empty(name):
    assert stem_of(Path(f"{name}.fits"))


class TestCompanionsOfEachImage:
    @pytest.fixture
    def nights(self, folder):
        """Two nights of images, the mask of one of them with it, the weights in a folder."""
        for name in (
            "night1/a.fits",
            "night2/b.fits.gz",
            "night1/a.weight.fits",
            "weights/b.fits.gz",
        ):
            (folder / "own" / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / "own" / name).write_bytes(b"SIMPLE  = ")
        return folder / "own"

    @pytest.mark.parametrize(
        ("pattern", "expected"),
        [
            ("{stem}[DQ]", ["night1/a.fits[DQ]", "night2/b.fits.gz[DQ]"]),
            ("{name}[DQ,2]", ["night1/a.fits[DQ,2]", "night2/b.fits.gz[DQ,2]"]),
            ("{dir}/{stem}.weight.fits", ["night1/a.weight.fits", "night2/b.weight.fits"]),
            ("{stem}.weight.fits", ["night1/a.weight.fits", "night2/b.weight.fits"]),
            ("own/weights/{name}", ["weights/a.fits", "weights/b.fits.gz"]),
            ("own/weights/one.fits", ["weights/one.fits"] * 2),
        ],
    )
    def test_are_named_by_a_pattern(self, pattern, expected, nights, job_of):
        inputs = "[own/night1/a.fits, own/night2/*.gz]"
        for key in ("mask", "weight", "sigma", "variance", "guide"):
            job = job_of(f'inputs: {inputs}\noutput: out\n{key}: "{pattern}"\n')
            specs = [image.spec for image in find_images(job).images]
            role = key if key in ("mask", "guide") else "variance"
            assert [getattr(spec, role) for spec in specs] == [nights / name for name in expected]
            if role == "variance":
                assert {spec.noise_kind for spec in specs} == {key}

    def test_have_no_other_placeholders(self, folder, job_of):
        with pytest.raises(
            UsageError, match=r"mask .*\{night\}.*: \{night\} is unknown; known are \{dir\}"
        ):
            job_of('inputs: in/a.fits\noutput: out\nmask: "{night}.fits"\n')

    def test_have_flags_that_an_entry_may_change(self, job_of):
        text = """
            inputs: [in/a.fits, {path: in/b.fits, dq_codes: [1, 5]}]
            output: out
            dq_bits: 4+16
        """
        first, second = find_images(job_of(text)).images
        assert first.overrides == ("companions.dq_bits=4+16",)
        assert second.overrides == ("companions.dq_codes=[1, 5]",)
        assert second.load_recipe("draft")[1].companions.dq_codes == (1, 5)

    def test_are_no_images_themselves(self, folder, job_of):
        names = ["c4d_1_ooi_r.fits", "c4d_1_ood_r.fits", "c4d_1_oow_r.fits", "c4d_2_ood_r.fits"]
        for name in names:
            (folder / "in" / name).write_bytes(b"SIMPLE  = ")
        found = find_images(job_of("inputs: in/c4d_*.fits\noutput: out\n"))
        assert [image.spec.path.name for image in found.images] == [names[0], names[3]]
        assert [path.name for path in found.companions] == names[1:3]
        literal = find_images(job_of(f"inputs: [in/c4d_*.fits, in/{names[1]}]\noutput: out\n"))
        assert names[1] in [image.spec.path.name for image in literal.images]


@pytest.fixture
def mosaic(folder):
    planes = [
        fits.ImageHDU(np.ones((4, 5), "f4"), name=name, ver=version)
        for version in (1, 2)
        for name in ("SCI", "DQ")
    ]
    fits.HDUList([fits.PrimaryHDU(), *planes]).writeto(folder / "in" / "m.fits")
    return folder / "in" / "m.fits"


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{path: in/m.fits, hdu: all}", ["m-SCI,1", "m-SCI,2"]),
        ("{path: in/m.fits, hdu: 'SCI,*', name: x}", ["x-SCI,1", "x-SCI,2"]),
        ("{path: in/m*.fits, hdu: [3, 'SCI,1']}", ["m-SCI,1", "m-SCI,2"]),
        ("'in/m.fits[*,2]'", ["m-SCI,2", "m-DQ,2"]),
        ("'in/m*.fits[SCI,2]'", ["m"]),
        ("['in/m.fits[1]', 'in/m.fits[SCI,2]']", ["m-1", "m-SCI,2"]),
    ],
)
def test_several_images_of_a_file(mosaic, job_of, entry, expected):
    job = job_of(f"inputs: {entry}\noutput: out\nexport: auto\n")
    images = find_images(job).images
    assert [image.store.stem for image in images] == expected
    assert {image.spec.path for image in images} == {mosaic}
    assert not any(image.fault for image in images)
    several = len(expected) > 1 and not entry.startswith("[")
    for image in images:
        stem = "x" if "name" in entry else "m"
        own = image.store.with_suffix(".fits")
        assert image.joint == (job.output / f"{stem}.fits" if several else None)
        assert image.export_path(is_fits=True) == (None if several else own)


@pytest.mark.parametrize(
    ("entry", "expected"),
    [
        ("{path: in/one.fits, hdu: all}", "one"),
        ("{path: in/one.fits, hdu: all, name: x}", "x"),
        ("[{path: in/one.fits, hdu: all, set: {fit.iterations: 2}}]", "one"),
        ("{path: in/one.fits, hdu: 'P*'}", "one-PRIMARY"),
        ("{path: in/one.fits, hdu: [0]}", "one-PRIMARY"),
    ],
)
def test_all_of_a_file_of_one_image_has_the_name_of_the_file(folder, job_of, entry, expected):
    """It was one-PRIMARY, by a name that nobody had given."""
    noise = fits.ImageHDU(np.ones((4, 5), "f4"), name="ERR")
    fits.HDUList([fits.PrimaryHDU(np.ones((4, 5), "f4")), noise]).writeto(folder / "in/one.fits")
    job = job_of(f"inputs: {entry}\noutput: out\nexport: auto\n")
    (image,) = find_images(job).images
    assert image.store == job.output / f"{expected}.zarr"
    if "all" in entry:
        assert (image.joint, image.export_path(is_fits=True)) == (
            None,
            job.output / f"{expected}.fits",
        )


def test_all_beside_another_entry_of_the_file(folder, job_of):
    fits.writeto(folder / "in/one.fits", np.ones((4, 5), "f4"))
    entries = "[{path: in/one.fits, hdu: all}, {path: in/one.fits, hdu: 0}]"
    images = find_images(job_of(f"inputs: {entries}\noutput: out\n")).images
    assert [image.store.stem for image in images] == ["one", "one-0"]


def test_a_result_that_an_earlier_version_named_after_its_hdu_is_kept(folder, job_of):
    fits.writeto(folder / "in/one.fits", np.ones((4, 5), "f4"))
    (folder / "out/one-PRIMARY.zarr").mkdir(parents=True)
    job = job_of("inputs: {path: in/one.fits, hdu: all}\noutput: out\nexport: auto\n")
    (image,) = find_images(job).images
    assert image.store == job.output / "one-PRIMARY.zarr"
    assert image.joint == job.output / "one.fits"


@pytest.mark.parametrize(
    ("entry", "why"),
    [
        ("{path: in/m.fits, hdu: 'AMP*'}", r"no image AMP\*; there are SCI,1, DQ,1, SCI,2, DQ,2"),
        ("{path: in/none.fits, hdu: all}", "no such file"),
    ],
)
@pytest.mark.usefixtures("mosaic")
def test_a_choice_that_means_nothing_is_reported(job_of, entry, why):
    (image,) = find_images(job_of(f"inputs: {entry}\noutput: out\n")).images
    assert re.search(why, image.fault)


def test_an_image_named_twice_is_refused(job_of):
    with pytest.raises(UsageError, match="names an image in brackets already; drop hdu"):
        job_of("inputs: {path: 'in/m.fits[SCI]', hdu: 2}\noutput: out\n")


@pytest.mark.parametrize("restored", [(True, True), (True, False), (False, False)])
def test_a_joint_export_is_written_when_all_its_images_have_ended(
    mosaic, job_of, monkeypatch, restored
):
    written = []
    monkeypatch.setattr(
        joint_exports, "export_jointly", lambda stores, target, _: written.append((stores, target))
    )
    job = job_of("inputs: {path: in/m.fits, hdu: all}\noutput: out\nexport: fits\n")
    images = find_images(job).images
    joint = joint_exports.JointExports(images)
    for image, good in zip(images, restored, strict=True):
        assert not written
        joint.image_ended(image, ignore_event, restored=good)
    stores = [image.store for image, good in zip(images, restored, strict=True) if good]
    assert written == ([(stores, job.output / "m.fits")] if stores else [])
