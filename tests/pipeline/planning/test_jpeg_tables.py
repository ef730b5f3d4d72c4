"""Task deartifact: the tables are those of the file, tiles align with its blocks, bad input is refused."""

import imagecodecs
import numpy as np
import pytest
import tifffile
from runs import FIT, UntidyPool, digest, level0, request

from glassplate.models.metrics import psnr
from glassplate.models.operators.quantisation import LUMA, standard_quantisation
from glassplate.pipeline.errors import SourceError, UsageError
from glassplate.pipeline.planning.jpeg_tables import SAMPLING, read_quantisation
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe, parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec

UNBLOCK = {**FIT, "task": "deartifact", "stopping": {"rule": "fixed"}}


def scene(height=50, width=70, channels=3):
    y, x = np.mgrid[:height, :width]
    planes = [110 + 60 * np.sin(x / (5 + c) + y / 11) + 30 * (x > y) for c in range(channels)]
    return np.stack(planes, -1).clip(0, 255).astype("u1").squeeze()


def save(path, image, quality=10, **more):
    path.write_bytes(imagecodecs.jpeg_encode(image, level=quality, **more))
    return path


class TestTables:
    @pytest.mark.parametrize("quality", [3, 10, 50, 75, 100])
    @pytest.mark.parametrize("subsampling", ["444", "422", "440", "420"])
    def test_are_those_of_libjpeg(self, tmp_path, quality, subsampling):
        path = save(tmp_path / "a.jpg", scene(), quality, subsampling=subsampling)
        sampling = SAMPLING[":".join(subsampling)]
        assert read_quantisation(path) == standard_quantisation(quality, 3, sampling)

    def test_a_grey_image_has_one(self, tmp_path):
        path = save(tmp_path / "a.jpg", scene(channels=1), 30)
        assert read_quantisation(path) == standard_quantisation(30, 1, (1, 1))

    def test_tables_of_16_bits_are_read(self, tmp_path):
        raw = imagecodecs.jpeg_encode(scene(channels=1), level=50)
        at = raw.index(b"\xff\xdb")
        wide = b"".join(b"\0" + raw[n : n + 1] for n in range(at + 5, at + 69))
        (tmp_path / "a.jpg").write_bytes(raw[:at] + b"\xff\xdb\0\x83\x10" + wide + raw[at + 69 :])
        assert read_quantisation(tmp_path / "a.jpg").tables == (LUMA,)


def rewritten(raw, *changes):
    for old, new in changes:
        assert old in raw
        raw = raw.replace(old, new, 1)
    return raw


FRAME = b"\xff\xc0\0\x11\x08\0\x32\0\x46\x03"


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ([(FRAME, FRAME[:4] + b"\x0c" + FRAME[5:])], "12 bits a sample, must be 8"),
        ([(b"\x01\x22\0", b"\x01\x41\0")], r"colours are sampled as \[\(1, 4\), .* must be 4:4:4"),
        ([(b"\x01\x22\0", b"\x01\x22\x03")], "quantisation table 3 is missing"),
        (
            [(b"\x01\x22\0\x02", b"R\x22\0G"), (b"G\x11\x01\x03", b"G\x11\x01B")],
            "3 components, must be grey or Y'CbCr",
        ),
    ],
)
def test_a_jpeg_of_another_kind_is_refused(tmp_path, changes, message):
    raw = imagecodecs.jpeg_encode(scene(), level=10, subsampling="420")
    (tmp_path / "a.jpg").write_bytes(rewritten(raw, *changes))
    with pytest.raises(SourceError, match=message):
        read_quantisation(tmp_path / "a.jpg")


class TestPlan:
    def plan(self, path, **operator):
        recipe = parse_recipe({**UNBLOCK, "operator": operator}, "t")
        return make_plan(SourceSpec(path), recipe, recipe_name="t", device="cpu")

    def test_has_the_tables_of_the_file(self, tmp_path):
        plan = self.plan(save(tmp_path / "a.jpg", scene(), 25, subsampling="420"))
        assert plan.problem.quantisation == standard_quantisation(25, 3, (2, 2))
        assert plan.problem.input == "requantised"
        assert plan.recorded().quantisation.sampling == (2, 2)
        plain = make_plan(plan.spec, parse_recipe(FIT, "t"), recipe_name="t", device="cpu")
        assert plain.quantisation is None
        assert project(plan, workers=1).host_bytes > 0

    def test_a_given_quality_takes_precedence_over_the_file(self, tmp_path):
        path = save(tmp_path / "a.jpg", scene(), 95, subsampling="444")
        plan = self.plan(path, jpeg_quality=20, jpeg_sampling="4:2:2")
        assert plan.quantisation == standard_quantisation(20, 3, (1, 2))

    @pytest.mark.parametrize("name", ["a.png", "a.tif"])
    def test_a_converted_jpeg_needs_its_quality(self, tmp_path, name):
        decoded = imagecodecs.jpeg_decode(imagecodecs.jpeg_encode(scene(), level=30))
        if name == "a.png":
            (tmp_path / name).write_bytes(imagecodecs.png_encode(decoded))
        else:
            tifffile.imwrite(tmp_path / name, decoded, photometric="rgb")
        with pytest.raises(UsageError, match=r"add --set operator\.jpeg_quality=N"):
            self.plan(tmp_path / name)
        plan = self.plan(tmp_path / name, jpeg_quality=30)
        assert plan.quantisation.tables == (
            standard_quantisation(30, 1, (1, 1)).tables
            + standard_quantisation(30, 3, (1, 1)).tables[1:]
        )

    def test_other_pixel_types_are_refused(self, tmp_path):
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(scene().astype("u2")))
        with pytest.raises(UsageError, match="a JPEG has 8 bits in grey or RGB; convert it"):
            self.plan(tmp_path / "a.png", jpeg_quality=30)

    def test_alpha_is_not_restored(self, tmp_path):
        (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(scene(channels=4)))
        plan = self.plan(tmp_path / "a.png", jpeg_quality=30)
        assert plan.grid.shape[0] == 3
        assert plan.layout.source_shape[0] == 4


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"operator": {"jpeg_quality": 0}}, "operator.jpeg_quality is 0: Input should be greater"),
        ({"operator": {"jpeg_sampling": "4:1:1"}}, "operator.jpeg_sampling is '4:1:1'"),
        (
            {"stopping": {"rule": "heldout"}},
            "stopping.rule heldout holds pixels out, of which a JPEG",
        ),
        ({"fit": {"input": "blindspot"}}, "fit.input blindspot asks about single pixels"),
        (
            {"task": "denoise", "operator": {"jpeg_quality": 9}},
            "jpeg_quality is for task deartifact",
        ),
        ({"operator": {"scale": 2}}, "scale 2 is for task superres, not deartifact"),
        (
            {"task": "denoise", "fit": {"input": "requantised"}},
            "requantised is for task deartifact",
        ),
        ({"output": {"grain": 0.1}}, r"output\.grain 0\.1 is for task denoise"),
        ({"fit": {"uncertainty": True}}, r"needs 2 fit\.members or more for deartifact"),
    ],
)
def test_settings_that_make_no_sense_are_refused(raw, message):
    with pytest.raises(UsageError, match=message):
        parse_recipe({"task": "deartifact", "stopping": {"rule": "fixed"}, **raw}, "t")


@pytest.mark.slow
@pytest.mark.parametrize("channels", [1, 3])
def test_order_and_interruptions_do_not_matter(tmp_path, channels):
    path = save(tmp_path / "a.jpg", scene(channels=channels))
    restore(request(path, tmp_path / "a.zarr", UNBLOCK), InlinePool())
    with pytest.raises(KeyboardInterrupt):
        restore(request(path, tmp_path / "b.zarr", UNBLOCK), UntidyPool(3, interrupt_after=3))
    restore(request(path, tmp_path / "b.zarr", UNBLOCK), UntidyPool(4))
    assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")
    assert level0(tmp_path / "a.zarr").dtype == "u1"


@pytest.mark.slow
def test_the_jpeg_saved_as_png_gives_the_same_result(tmp_path):
    path = save(tmp_path / "a.jpg", scene(), 15, subsampling="420")
    decoded = imagecodecs.jpeg_decode(path.read_bytes())
    (tmp_path / "a.png").write_bytes(imagecodecs.png_encode(decoded))
    named = {**UNBLOCK, "operator": {"jpeg_quality": 15}}
    restore(request(path, tmp_path / "a.zarr", UNBLOCK), InlinePool())
    restore(request(tmp_path / "a.png", tmp_path / "b.zarr", named), InlinePool())
    np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), level0(tmp_path / "b.zarr"))


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["noise", "measurement"])
def test_other_inputs_may_be_chosen(tmp_path, kind):
    path = save(tmp_path / "a.jpg", scene(24, 24))
    raw = {**UNBLOCK, "fit": {**FIT["fit"], "input": kind}}
    restore(request(path, tmp_path / "a.zarr", raw), InlinePool())
    assert level0(tmp_path / "a.zarr").shape == (3, 24, 24)


@pytest.mark.slow
def test_a_photograph_comes_closer_to_the_original(real_data, tmp_path):
    clean = imagecodecs.png_decode((real_data / "std/set9/lena.png").read_bytes())[160:256, 160:256]
    path = save(tmp_path / "a.jpg", clean)
    recipe = load_recipe("archive-deartifact", ["fit.iterations=60"])
    wish = RestoreRequest(SourceSpec(path), tmp_path / "a.zarr", recipe, "t", device="cpu")
    restore(wish, InlinePool())
    truth, jpeg = np.moveaxis(clean, -1, 0), imagecodecs.jpeg_decode(path.read_bytes())
    before = psnr(np.moveaxis(jpeg, -1, 0).astype("f8"), truth.astype("f8"), 255.0)
    after = psnr(level0(tmp_path / "a.zarr").astype("f8"), truth.astype("f8"), 255.0)
    assert after > before + 0.6
