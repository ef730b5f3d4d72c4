"""Benchmarks: they measure what they say, and what they compute about it is right."""

import argparse
import importlib
import json
import sys
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.tile_grid import TileGrid

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return pytest.importorskip("speed")


@pytest.fixture
def gpu(speed):
    return importlib.import_module("gpu")


@pytest.fixture
def ablation(speed):
    return pytest.importorskip("ablation")


@pytest.fixture
def stopping(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return pytest.importorskip("stopping")


@pytest.fixture
def archive(tmp_path):
    """A small image as benchmarks/images.py would cut it."""
    rng = np.random.default_rng(0)
    y, x = np.mgrid[:20, :20] / 19
    clean = np.stack([y, x, (x + y) / 2]).astype("f4")
    noisy = np.clip(clean + rng.normal(0, 0.1, clean.shape), 0, 1).astype("f4")
    noise = {"floor": 0.01, "slope": 0.0, "lag1": 0.0, "correlated": False, "origin": "given"}
    transform = {"kind": "linear", "offset": 0.0, "scale": 1.0, "softening": 1.0}
    path = tmp_path / "tiny.npz"
    np.savez(
        path,
        clean=clean,
        noisy=noisy,
        donors=noisy[None],
        noise=json.dumps(noise),
        transform=json.dumps(transform),
        range=json.dumps(transform),
    )
    return path


def options(folder, **changes):
    given = {
        "kinds": ("pixels", "tv", "skip", "decoder"),
        "scales": (2,),
        "weights": (1.0,),
        "iterations": 50,
        "side": 16,
        "device": "cpu",
        "threads": 1,
        "output": folder,
    }
    return argparse.Namespace(**{**given, **changes})


def test_quality_makes_the_problem_of_an_image_in_memory(speed):
    # a source needed one more attribute than the benchmark's had, and no set could be run
    quality = pytest.importorskip("quality")
    image = np.random.default_rng(0).normal(100, 5, (3, 128, 128))
    problem = quality.problem_for(load_recipe("archive-denoise"), image, 1)
    assert problem.noise.floor == pytest.approx(25, rel=0.2)


def test_speed_measures_the_shipped_recipes(speed):
    default, reference = load_recipe("archive-denoise"), load_recipe("reference")
    assert default.network == speed.DEFAULT_NETWORK
    assert default.fit == speed.DEFAULT_FIT
    assert default.donor.for_tiles(4) == speed.DEFAULT_DONOR
    assert default.stopping == speed.DEFAULT_STOPPING
    assert reference.network == speed.REFERENCE_NETWORK
    assert reference.fit == speed.REFERENCE_FIT
    assert reference.stopping.rule == "fixed"


def on_cpu():
    return argparse.Namespace(device="cpu", threads=1, quick=True, images=None, seconds=0.05)


class TestGpu:
    def test_measures_the_shipped_recipe(self, gpu):
        recipe = load_recipe("astro-denoise")
        assert recipe.network == gpu.DEFAULT_NETWORK
        assert recipe.fit == gpu.SKY_FIT
        assert recipe.donor == gpu.SKY_DONOR
        assert recipe.stopping == gpu.StoppingSettings()
        assert (recipe.tiles.core, recipe.tiles.halo) == (gpu.CORE, gpu.HALO)

    @pytest.mark.parametrize("side", [40, 90, 131])
    def test_cuts_a_frame_as_the_pipeline_does(self, gpu, side):
        image, grid = gpu.frame(side), TileGrid((1, side, side), True, 32, 5)
        windows = list(gpu.cut(image, 32, 5, side))
        assert len(windows) == len(grid)
        for index, window in enumerate(windows):
            box = grid.tile(index).window
            assert np.array_equal(window, image[:, box.y0 : box.y1, box.x0 : box.x1])

    def test_all_forms_of_a_layer_are_one_layer(self, gpu):
        dice = torch.Generator().manual_seed(0)
        x = torch.randn(3, 4, 10, 12, generator=dice)
        weight = torch.randn(3, 5, 4, 3, 3, generator=dice)
        expected = gpu.joint_forms.one_by_one(x, weight)
        assert expected.shape == (3, 5, 8, 10)
        for name, form in gpu.joint_forms.FORMS.items():
            found = form(x.view(1, 12, 10, 12) if name.startswith("grouped") else x, weight)
            torch.testing.assert_close(found.view_as(expected), expected, msg=name)

    @settings(max_examples=30, suppress_health_check=[HealthCheck.function_scoped_fixture])
    @given(
        b=st.integers(1, 3),
        inputs=st.integers(1, 4),
        outputs=st.integers(1, 4),
        size=st.sampled_from([1, 3, 5]),
        height=st.integers(1, 6),
        width=st.integers(1, 6),
    )
    def test_tap_products_are_the_convolution_of_each_window(
        self, gpu, b, inputs, outputs, size, height, width
    ):
        generator = torch.Generator().manual_seed(0)
        x = torch.randn(b, inputs, height + size - 1, width + size - 1, generator=generator)
        weight = torch.randn(b, outputs, inputs, size, size, generator=generator)
        found = gpu.joint_forms.TapProducts.apply(x, weight)
        expected = gpu.joint_forms.one_by_one(x, weight)
        torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-4)

    @pytest.mark.slow
    @pytest.mark.parametrize("size", [1, 3])
    def test_the_gradient_of_tap_products_is_the_adjoint(self, gpu, size):
        generator = torch.Generator().manual_seed(0)
        shapes = ((2, 3, 4 + size - 1, 5 + size - 1), (2, 2, 3, size, size))
        x, weight = (
            torch.randn(shape, dtype=torch.float64, generator=generator).requires_grad_()
            for shape in shapes
        )
        assert torch.autograd.gradcheck(gpu.joint_forms.TapProducts.apply, (x, weight))

    @pytest.mark.slow
    def test_matrix_products_are_used_by_whole_stacks(self, gpu):
        problem, windows = gpu.short_fits(on_cpu(), gpu.SMALL, "fp32", 3)
        grouped = gpu.values_of(windows, gpu.stacked(problem, 3, "grouped"))
        with gpu.stack_form("gemm"):
            products = gpu.values_of(windows, gpu.stacked(problem, 3, "gemm"))
        assert not gpu.same_bytes(grouped, products)
        for one, other in zip(grouped, products, strict=True):
            assert np.abs(one - other).mean() < 0.1 * (gpu.SKY + gpu.READ_NOISE**2) ** 0.5

    @pytest.mark.slow
    def test_runs_where_there_is_no_gpu(self, gpu, monkeypatch):
        rates = gpu.measure_device(replace(gpu.resolve("cpu"), threads=1))
        monkeypatch.setattr(gpu, "measure_device", lambda numerics: rates)
        for name in ("DEFAULT_NETWORK", "REFERENCE_NETWORK"):
            small = replace(getattr(gpu, name), channels=8, skip_channels=4, scales=2)
            monkeypatch.setattr(gpu, name, small)
        monkeypatch.setattr(gpu.joint_forms, "DEFAULT_NETWORK", gpu.DEFAULT_NETWORK)
        monkeypatch.setattr(gpu, "SMALL", replace(gpu.SMALL, frame=32, crop=24))
        # a third of the time, on the CPU on any machine
        after_the_fit = {"collaborative": False, "guard": None}
        monkeypatch.setattr(gpu, "SKY_FIT", replace(gpu.SKY_FIT, **after_the_fit))
        document = json.loads(json.dumps(gpu.run(on_cpu(), len)))
        assert not gpu.errors(document)
        assert [row["together"] for row in document["checks"] if row["same_bytes_twice"]] == [
            *gpu.STACK_FORMS
        ]
        assert all(row["mean_gap_to_alone_sigma"] < 0.1 for row in document["checks"])
        assert document["check_best"]["same_bytes_twice"]
        frame = document["frame"]
        assert frame["tiles_restored"] == frame["tiles"]
        assert (frame["tiles_diverged"], frame["slots"]) == (0, frame["width"])
        assert all(
            abs(row["stack_psnr_db"] - row["alone_psnr_db"]) < 0.3 for row in document["precisions"]
        )
        assert "-" not in [line.split()[-1] for line in gpu.table(document).splitlines()[5:]]

    @pytest.mark.slow
    def test_a_part_that_fails_ends_no_other(self, gpu, monkeypatch, tmp_path, capsys):
        def broken(*given):
            raise ValueError("no such kernel")

        stack = {"precision": "fp32", "width": 1, "together": "separate"}
        step = {**stack, "seconds": 1.0, "megapixel_iterations_per_s": 1.0, "flop_per_s": 1e11}
        compared = {**stack, "alone_psnr_db": 30.0, "stack_psnr_db": 30.5}
        quick = {
            "rates": {"copy_bytes_per_s": 1e12, "bf16_flop_per_s": 1e12},
            "steps": [step],
            "unordered": {**stack, "seconds": 0.5},
            "check_best": {**stack, "same_bytes_twice": True},
            "paper": {"fp32": {"seconds": 1.0}},
            "precisions": [compared],
        }
        for name, found in quick.items():
            monkeypatch.setattr(gpu, name, lambda *given, found=found: found)
        monkeypatch.setattr(gpu, "checks", broken)
        path = tmp_path / "gpu.json"
        given = f"gpu.py --device cpu --quick --seconds 0.05 --output {path}"
        monkeypatch.setattr(sys, "argv", given.split())
        with pytest.raises(SystemExit) as end:
            gpu.main()
        assert end.value.code == 1
        document = json.loads(path.read_text("utf-8"))
        assert gpu.errors(document) == {"checks": "ValueError: no such kernel"}
        assert document["frame"]["tiles_restored"] == 1
        assert {name: document[name] for name in quick} == quick
        printed = capsys.readouterr().out
        assert gpu.table(document) in printed
        assert "same bytes twice, fp32                        all   -" in printed

    def test_table_of_nothing(self, gpu):
        failed = {"error": "RuntimeError: no device"}
        names = ("rates", "checks", "layers", "steps", "unordered", "frame", "paper", "precisions")
        for document in ({}, dict.fromkeys(names, failed)):
            lines = gpu.table(document).splitlines()
            assert all(line.endswith(" -") for line in lines[1:])

    def test_fastest_is_none_that_failed(self, gpu):
        fp32, bf16 = ({"precision": p, "width": 1} for p in ("fp32", "bf16"))
        slow = {**fp32, "megapixel_iterations_per_s": 1.0}
        broken = {**bf16, "error": "no kernel"}
        assert gpu.fastest([], "bf16") is None
        assert gpu.fastest([broken], "bf16") is None
        assert gpu.fastest([slow, broken], "bf16") is slow
        fast = {**bf16, "together": "gemm", "megapixel_iterations_per_s": 3.0}
        assert gpu.many_words(fast, [slow, broken]) == "- (gemm), 3.00 times fp32"

    def test_a_tile_that_diverged_is_not_restored(self, gpu, monkeypatch):
        def diverging(windows, problem, start=None):
            for place, _ in windows:
                yield place, FloatingPointError("data term nan")

        monkeypatch.setattr(gpu, "fit_donor", lambda *given: {})
        monkeypatch.setattr(gpu, "fit_each", diverging)
        given = {"precision": "fp32", "width": 2, "together": "separate"}
        frame = gpu.whole_frame(on_cpu(), gpu.SMALL, given, 0.0)
        assert (frame["tiles_restored"], frame["tiles_diverged"]) == (0, frame["tiles"])
        assert frame["slots"] is None
        assert frame["megapixels_per_hour"] == 0
        assert "0.0 (0 of 1 tiles restored, 1 diverged" in gpu.table({"frame": frame})


def test_first_point_near_a_target(speed):
    points = [speed.Point(n, n / 10, psnr) for n, psnr in ((5, 20.0), (10, 25.0), (15, 24.0))]
    assert speed.first(points, 24.5) == points[1]
    assert speed.first(points, 26) is None


class TestAblation:
    def test_every_kind_is_a_network_of_its_name(self, ablation):
        assert all(kind == network.kind for kind, network in ablation.NETWORKS.items())

    @pytest.mark.slow
    def test_writes_after_each_and_goes_on_where_it_was(
        self, ablation, speed, archive, tmp_path, monkeypatch
    ):
        image = speed.Image(archive).corner(16)
        first = ablation.run(image, options(tmp_path, kinds=("pixels", "skip")))
        assert [row["name"] for row in first] == ["pixels", "skip 2"]
        asked = []
        fitted = ablation.fitted
        monkeypatch.setattr(
            ablation, "fitted", lambda case, *rest: asked.append(case.name) or fitted(case, *rest)
        )
        rows = ablation.run(image, options(tmp_path))
        assert asked == ["tv 1", "decoder 2"]
        assert [row["name"] for row in rows] == ["pixels", "skip 2", *asked]
        assert len(ablation.table(rows).splitlines()) == 2 + 4
        document = json.loads((tmp_path / "ablation-tiny.json").read_text("utf-8"))
        assert [row["name"] for row in document["rows"]] == [row["name"] for row in rows]
        assert [point[0] for point in document["rows"][0]["curve"]] == [25, 50]
        ablation.run(image, options(tmp_path, kinds=("pixels",), iterations=25))
        assert asked[2:] == ["pixels"]

    @pytest.mark.slow
    def test_pixels_without_a_prior_end_at_the_measurement(
        self, ablation, speed, archive, tmp_path
    ):
        image = speed.Image(archive).corner(16)
        chosen = options(tmp_path, kinds=("pixels", "tv"), iterations=500)
        pixels, tv = (ablation.fitted(case, image, chosen) for case in ablation.cases(chosen))
        measured = image.psnr(image.noisy)
        assert pixels["end"].psnr_db == pytest.approx(measured, abs=0.3)
        assert tv["end"].psnr_db > measured + 1


class TestZeroShotNoise2Noise:
    def test_pair_halves_the_pixels_between_two_images(self, speed):
        image = torch.rand(1, 3, 8, 6)
        one, two = sys.modules["zsn2n"].pair(image)
        assert one.shape == two.shape == (1, 3, 4, 3)
        torch.testing.assert_close(
            (one + two) / 2, torch.nn.functional.avg_pool2d(image, 2), rtol=1e-6, atol=1e-6
        )
        assert one[0, 0, 0, 0] == (image[0, 0, 0, 1] + image[0, 0, 1, 0]) / 2

    @pytest.mark.slow
    def test_takes_noise_away(self, speed):
        rng = np.random.default_rng(0)
        y, x = np.mgrid[:32, :32] / 31
        clean = np.stack([y, x, (x + y) / 2]).astype("f4")
        noisy = clean + rng.normal(0, 0.1, clean.shape).astype("f4")
        fit = sys.modules["zsn2n"].ZeroShotNoise2Noise(noisy)
        for _ in range(150):
            fit.step()
        after = np.mean((fit.values() - clean) ** 2)
        assert after < 0.5 * np.mean((noisy - clean) ** 2)


class TestStopping:
    @pytest.mark.parametrize("kind", ["gaussian", "poisson", "poisson-gaussian"])
    @pytest.mark.parametrize("sigma", [0.05, 0.1])
    def test_every_kind_of_noise_has_the_strength_that_is_asked_for(self, stopping, kind, sigma):
        clean = np.random.default_rng(1).uniform(0.4, 0.6, (3, 100, 100))
        noise = stopping.noisy(clean, kind, sigma) - clean
        assert np.sqrt(np.mean(noise**2)) == pytest.approx(sigma, rel=0.03)
        assert abs(noise.mean()) < 3 * sigma / np.sqrt(clean.size)

    # PSNR of 10 at the third record: held-out pixels choose the second, chi2 is below 1 at the third
    @pytest.mark.parametrize(
        ("rule", "lost"), [("heldout", 1.0), ("chi2", 0.0), ("variance", 0.0), ("fixed", 3.0)]
    )
    def test_a_rule_loses_what_the_record_it_chose_lacks(self, stopping, rule, lost):
        curves = (
            (5.0, 2.0, 9.0),
            (2.0, 1.5, 8.0),
            (3.0, 0.9, 1.0),
            (4.0, 0.8, 2.0),
            (5.0, 0.7, 3.0),
        )
        log = [
            stopping.Watched(10 * n, 0.0, heldout, chi2, float(n), variance)
            for n, (heldout, chi2, variance) in enumerate(curves, 1)
        ]
        settings = stopping.StoppingSettings(patience=20, minimum=10)
        assert stopping.loss(log, [5, 9, 10, 6, 7], settings, rule, 50) == lost


class TestNoise:
    @pytest.fixture
    def noise(self, speed):
        return pytest.importorskip("noise")

    @pytest.mark.parametrize(
        ("kind", "sigma"),
        [
            ("white, 5", 5),
            ("photons, 8 at white", 8 * (128 / 255) ** 0.5),
            ("grain 0.8, 4", 4),
            ("grain 2, 6", 6),
        ],
    )
    def test_every_kind_has_the_strength_of_its_name(self, noise, kind, sigma):
        grey = np.full((3, 96, 96), 128.0)
        added = noise.KINDS[kind](grey, np.random.default_rng(0)) - grey
        assert added.std() == pytest.approx(sigma, rel=0.05)

    def test_the_ratio_of_well_known_noise_is_one(self, noise):
        clean = np.full((3, 96, 96), 128.0)
        found = noise.measured(noise.white(10)(clean, np.random.default_rng(0)), clean)
        assert found["ratio"] == pytest.approx([1, 1, 1], rel=0.05)
        assert noise.summary([found, {"ratio": [2.0]}])["share_within_0.8_and_1.25"] == 0.75


class TestStars:
    @pytest.fixture
    def made(self, monkeypatch):
        monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
        fields = pytest.importorskip("star_fields")
        figures = importlib.import_module("star_figures")
        return figures.star_figures, fields.made("white", 1, 192)

    def test_of_the_input_itself_nothing_is_lost(self, made):
        figures, field = made
        found = figures(field, field.image, np.full(field.image.shape, 10.0))
        kept = [found[name] for name in found if name.startswith("kept")]
        assert kept == [1.0] * 5
        assert (found["sky"], found["shift"], found["width"]) == (1.0, 0.0, 0.0)
        assert found["complete_after"] == found["complete_before"] > 0.5
        assert found["inside_1_sky"] == pytest.approx(0.683, abs=0.03)
        assert found["inside_2_sky"] == pytest.approx(0.954, abs=0.02)

    def test_a_blurred_and_shifted_result_is_measured_as_that(self, made):
        figures, field = made
        moved = (field.truth + np.roll(field.truth, 1, 0)) / 2
        found = figures(field, moved, None)
        assert found["shift"] == pytest.approx(0.5, abs=0.08)
        assert found["width"] > 0.01
        assert found["sky"] < 0.1
        assert found["false_after"] == 0


class TestFitShare:
    @pytest.fixture
    def share(self, monkeypatch):
        monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
        return importlib.import_module("fit_share")

    @pytest.mark.parametrize(
        ("fits", "expected", "seconds_with"),
        [
            ([(0, 4), (0, 4)], 1.0, {"2": 4}),
            ([(0, 4), (2, 4)], 0.75, {"1": 2, "2": 2}),
            ([(0, 1), (0, 1), (3, 4), (3, 4)], 0.5, {"0": 2, "2": 2}),
            # a clock that is a little off makes three of two workers
            ([(0, 2), (0, 3), (1, 3)], 1.0, {"2": 2, "3": 1}),
        ],
    )
    def test_of_made_fits(self, share, fits, expected, seconds_with):
        found = share.share_of([share.Fit(*fit) for fit in fits], workers=2)
        assert (found["share"], found["seconds_with"]) == (expected, seconds_with)

    def test_fits_are_found_by_journals_and_log(self, share, tmp_path):
        output = tmp_path / "out"
        provenance = output / "a.zarr" / "provenance"
        provenance.mkdir(parents=True)

        def write(path, *documents):
            path.write_text("".join(json.dumps(one) + "\n" for one in documents))

        def line(second, message, **more):
            time = f"2026-01-01T00:00:{second:02}.000+00:00"
            return {"time": time, "level": "debug", "image": "a.fits", "message": message, **more}

        write(output / "job.jsonl", {"image": "/in/a.fits", "result": "a.zarr"})
        write(provenance / "donor.jsonl", {"ok": True, "seconds": 3.0})
        write(provenance / "tiles.jsonl", {"ok": True, "tile": 0, "seconds": 2.0})
        write(
            output / "out.log",
            {"time": "2026-01-01T00:00:00.000+00:00", "message": "out: 1 inputs"},
            line(5, "restore"),
            line(8, "tile 0: fixed after 10 iterations", tile=0),
        )
        lengths = [(fit.end - fit.start) for fit in share.fits_of_job(output)]
        assert lengths == [3.0, 2.0]


class TestManyImages:
    @pytest.fixture
    def many(self, monkeypatch):
        monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
        return importlib.import_module("many_images")

    def test_every_bad_image_is_refused(self, many, tmp_path):
        from glassplate.pipeline.errors import GlassplateError
        from glassplate.pipeline.pools.pool import InlinePool
        from glassplate.pipeline.run.restore import RestoreRequest, restore
        from glassplate.pipeline.sources.source import SourceSpec

        recipe = load_recipe("identity")
        assert len(many.BAD) == 10
        for way, (suffix, write) in many.BAD.items():
            path, store = tmp_path / f"{way}{suffix}", tmp_path / f"{way}.zarr"
            write(path, 64)
            with pytest.raises(GlassplateError):
                restore(RestoreRequest(SourceSpec(path), store, recipe, "identity"), InlinePool())

    def test_there_are_as_many_as_are_asked_for(self, many, tmp_path):
        kinds = many.make_inputs(tmp_path / "in", 40, 10, 16, tmp_path / "none")
        assert sum(kinds.values()) == 40
        assert sum(count for kind, count in kinds.items() if kind.startswith("bad")) == 10
        assert len(list((tmp_path / "in").iterdir())) == 40
