"""Artificial sources: tiles are restored again as the run did, and sources are where there was nothing."""

import gzip
import json
import tempfile
from dataclasses import asdict, replace
from itertools import combinations

import numpy as np
import pytest
import tifffile
import torch
import zarr
from assessed import starry_sky as sky
from astropy.io import fits
from hypothesis import given
from hypothesis import strategies as st
from PIL import Image
from runs import FIT, digest, level0, request

from glassplate.pipeline.assess.injection.artificial import (
    KINDS,
    SIGNIFICANCES,
    ArtificialSource,
    SourceWithSources,
)
from glassplate.pipeline.assess.injection.inject import inject
from glassplate.pipeline.assess.injection.placing import Reach, find_places, make_sources
from glassplate.pipeline.assess.injection.profile import PointSpread, Profile, moffat
from glassplate.pipeline.assess.injection.recorded_run import recorded_run
from glassplate.pipeline.assess.injection.recovery_figure import LEFT, STAMP, draw_recovery
from glassplate.pipeline.assess.injection.restored_again import (
    RestoredAgain,
    opened_with_sources,
    restore_tiles_again,
    tiles_that_count,
)
from glassplate.pipeline.errors import GlassplateError, SourceError, StoreError, UsageError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

pytestmark = pytest.mark.slow

SHAPE = (180, 220)
SPREAD = PointSpread(Profile(moffat(14, 4.0, 3.0)), 4.0)
RECIPE = {
    **FIT,
    "task": "denoise",
    "tiles": {"core": 120, "halo": 8},
    "output": {"chunk": 64, "shard": 128},
    "donor": {"tiles": 0},
}


def made(folder, image=None, recipe=RECIPE, **changes):
    source, store = folder / "sky.fits", folder / "sky.zarr"
    fits.writeto(source, sky() if image is None else image)
    raw = {**recipe, **{key: {**recipe.get(key, {}), **value} for key, value in changes.items()}}
    restore(request(source, store, raw), InlinePool())
    return store


@pytest.fixture(scope="module")
def unchanged(tmp_path_factory):
    """A result that is its input, since all noise is mixed back."""
    return made(tmp_path_factory.mktemp("unchanged"), output={"grain": 1.0})


@pytest.fixture(scope="module")
def fitted(tmp_path_factory):
    """A result of a few iterations, from a donor."""
    return made(tmp_path_factory.mktemp("fitted"), donor={"tiles": 4})


def run_of(store):
    return recorded_run(store, read_manifest(store))


@pytest.fixture(scope="module")
def placed(fitted):
    """The run, and three sets of places with their sources."""
    run = run_of(fitted)
    with_places = []
    source = open_source(run.plan.spec, run.plan.findings)
    for seed in range(3):
        rng = np.random.default_rng(seed)
        places = find_places(source, run.plan, SPREAD, 20, rng)
        with_places.append((places, make_sources(places, SPREAD, None, rng)))
    source.close()
    return run, with_places


@pytest.fixture(scope="module")
def found(unchanged):
    """30 sources in the result that is its input."""
    return inject(unchanged, 30)


@pytest.fixture(scope="module")
def plane(tmp_path_factory):
    """An empty image."""
    path = tmp_path_factory.mktemp("plane") / "plane.fits"
    fits.writeto(path, np.zeros((60, 80), "f4"))
    return path


class TestRestoringAgain:
    @pytest.mark.parametrize("warm", [False, True])
    @pytest.mark.parametrize("factor", [1.0, 1e-17])
    def test_without_sources_gives_the_same_pixels(self, tmp_path, warm, factor):
        store = made(
            tmp_path,
            (sky() * np.float32(factor)),
            donor={"tiles": 4 if warm else 0},
        )
        run = run_of(store)
        assert (run.donor is not None) == warm
        tiles = list(range(len(run.plan.grid)))
        done = restore_tiles_again(run, [], tiles, tmp_path / "again", InlinePool())
        assert sorted(done) == tiles
        with opened_with_sources(run.plan, []) as source:
            box = Box(0, SHAPE[0], 0, SHAPE[1])
            images = RestoredAgain(run.plan, source, tmp_path / "again", done)
            np.testing.assert_array_equal(images.result(box).astype("f4"), level0(store))
            np.testing.assert_allclose(images.input(box), sky() * np.float32(factor), rtol=1e-6)

    @pytest.mark.skipif(torch.cuda.is_available(), reason="there is a GPU here")
    def test_of_a_run_on_a_gpu_is_done_on_the_cpu_where_there_is_none(self, unchanged):
        manifest = read_manifest(unchanged)
        on_gpu = replace(manifest.plan.numerics, device="cuda", stack=8)
        manifest = replace(manifest, plan=replace(manifest.plan, numerics=on_gpu))
        numerics = recorded_run(unchanged, manifest).plan.numerics
        assert (numerics.device, numerics.stack) == ("cpu", 1)

    def test_of_one_tile_is_known_where_it_counts_alone(self, fitted, tmp_path):
        run = run_of(fitted)
        done = restore_tiles_again(run, [], [0], tmp_path, InlinePool())
        with opened_with_sources(run.plan, []) as source:
            images = RestoredAgain(run.plan, source, tmp_path, done)
            inside, across = Box(0, 60, 0, 60), Box(70, 110, 0, 60)
            np.testing.assert_array_equal(
                images.result(inside).astype("f4"), level0(fitted)[inside.slices]
            )
            assert np.isnan(images.result(across)).any()
        assert tiles_that_count(run.plan, inside) == [0]
        assert tiles_that_count(run.plan, across) == [0, 2]

    def test_the_result_stays_as_it_is_and_no_folder_is_left(self, fitted, tmp_path, monkeypatch):
        monkeypatch.setattr(tempfile, "tempdir", str(tmp_path))
        before = digest(fitted)
        inject(fitted, 8)
        assert digest(fitted) == before
        assert list(tmp_path.iterdir()) == []

    def test_companions_and_packed_files_are_found_again(self, tmp_path, monkeypatch):
        bad = np.zeros(SHAPE, np.uint8)
        bad[120:160, 60:140] = 1
        planes = [
            fits.PrimaryHDU(),
            fits.ImageHDU(sky(), name="SCI"),
            fits.ImageHDU(bad, name="DQ"),
        ]
        fits.HDUList(planes).writeto(tmp_path / "ccd.fits")
        packed = tmp_path / "ccd.fits.gz"
        packed.write_bytes(gzip.compress((tmp_path / "ccd.fits").read_bytes()))
        spec = SourceSpec(packed, hdu="SCI", mask=tmp_path / "ccd.fits[DQ]")
        restore(request(spec, tmp_path / "ccd.zarr", RECIPE), InlinePool())
        run = run_of(tmp_path / "ccd.zarr")
        assert run.plan.spec == spec
        unpacked = tmp_path / "unpacked"
        unpacked.mkdir()
        monkeypatch.setattr(tempfile, "tempdir", str(unpacked))
        found = inject(tmp_path / "ccd.zarr", 20)
        assert found.recovery.sources == 20
        for one in found.pixels:
            row, column = one.source.centre
            assert not bad[row - 8 : row + 9, column - 8 : column + 9].any()
        assert [path for path in unpacked.rglob("*") if path.is_file()] == []

    def test_a_missing_input_is_named(self, tmp_path):
        store = made(tmp_path)
        (tmp_path / "sky.fits").rename(tmp_path / "moved.fits")
        with pytest.raises(SourceError, match=r"sky\.fits: the input of .* put it back"):
            inject(store, 8)

    def test_a_changed_input_is_refused(self, tmp_path):
        store = made(tmp_path)
        fits.writeto(tmp_path / "sky.fits", sky(seed=1), overwrite=True)
        with pytest.raises(SourceError, match="has changed since"):
            inject(store, 8)

    def test_a_damaged_donor_is_refused(self, tmp_path):
        store = made(tmp_path, donor={"tiles": 4})
        (store / "provenance" / "donor.npz").write_bytes(b"nothing")
        with pytest.raises(StoreError, match="weights of its donor are missing or damaged"):
            inject(store, 8)

    def test_where_every_tile_fails_the_reason_is_told(self, unchanged, tmp_path):
        class FailingPool(InlinePool):
            def map(self, work, tasks, on_progress):
                def fail(task, on_progress):
                    raise FloatingPointError("made to fail")

                yield from super().map(fail, tasks, on_progress)

        with pytest.raises(
            GlassplateError, match=r"no tile could be restored again: .*made to fail"
        ):
            inject(unchanged, 8, pool=FailingPool())


class TestPlaces:
    def test_sources_do_not_touch_each_other_holes_or_stars(self, placed):
        _, with_places = placed
        reach, image = Reach(SPREAD.measured_half), sky()
        for places, sources in with_places:
            assert len(places) == len(sources) == 20
            for first, second in combinations(sources, 2):
                distance = np.abs(np.subtract(first.centre, second.centre)).max()
                assert distance > 2 * reach.measured
            for one in sources:
                y, x = one.centre
                m = reach.measured
                square = image[y - m : y + m + 1, x - m : x + m + 1]
                assert square.shape == (2 * m + 1, 2 * m + 1)
                assert np.isfinite(square).all()
                assert square.max() < 300

    def test_kinds_and_significances_are_even(self, placed):
        for places, sources in placed[1]:
            for kind in KINDS:
                for significance in SIGNIFICANCES:
                    of_class = [
                        one
                        for one in sources
                        if (one.kind, one.significance) == (kind, significance)
                    ]
                    assert len(of_class) == 2
            for place, one in zip(places, sources, strict=True):
                assert one.flux == pytest.approx(one.significance * place.error(one.kind))
                assert one.pixels.sum() == pytest.approx(one.flux, rel=0.01)

    def test_the_error_is_that_of_the_noise(self, placed):
        """For white noise, sigma over the root of the sum of squares of the profile less its mean."""
        for places, _ in placed[1]:
            for kind, profile in (("point", SPREAD.star), ("galaxy", SPREAD.galaxy(0.0))):
                light = profile.at(0, 0, SPREAD.measured_half)
                expected = 10 / np.sqrt(((light - light.mean()) ** 2).sum())
                found = np.median([place.error(kind) for place in places])
                assert found == pytest.approx(expected, rel=0.07)

    def test_one_tile_counts_where_it_can(self, fitted):
        run = run_of(fitted)
        source = open_source(run.plan.spec, run.plan.findings)
        places = find_places(source, run.plan, SPREAD, 4, np.random.default_rng(0))
        half = Reach(SPREAD.measured_half).box
        tiles = [
            tiles_that_count(run.plan, Box(p.y - half, p.y + half + 1, p.x - half, p.x + half + 1))
            for p in places
        ]
        source.close()
        assert len(tiles) == 4
        assert {len(one) for one in tiles} == {1}

    def test_photons_of_a_source_have_noise(self, placed):
        from glassplate.models.noise.model import NoiseModel

        places = placed[1][0][0]
        noise = NoiseModel(100.0, 4.0, 0.0, False, "given")
        noisy = make_sources(places, SPREAD, noise, np.random.default_rng(0))
        scatter = []
        for one in noisy:
            profile = SPREAD.star if one.kind == "point" else SPREAD.galaxy(one.angle)
            light = one.flux * profile.at(*one.offset)
            scatter += list(((one.pixels - light) / np.sqrt(4 * light.clip(1e-9)))[light > 1])
        assert np.std(scatter) == pytest.approx(1, abs=0.1)


class TestSourceWithSources:
    @given(row=st.integers(1, 59), column=st.integers(1, 79))
    def test_light_does_not_depend_on_the_boxes(self, plane, row, column):
        source = open_source(SourceSpec(plane))
        light = np.arange(29.0 * 29)
        one = ArtificialSource("point", 20.4, 33.3, 5, 1.0, 0.0, light.tobytes())
        other = ArtificialSource("point", 2.0, 79.0, 5, 1.0, 0.0, light.tobytes())
        image = SourceWithSources(source, [one, other])
        whole = image.read(Box(0, 60, 0, 80)).values
        parts = np.block(
            [
                [
                    image.read(Box(y0, y1, x0, x1)).values[0]
                    for x0, x1 in ((0, column), (column, 80))
                ]
                for y0, y1 in ((0, row), (row, 60))
            ]
        )
        np.testing.assert_array_equal(parts, whole[0])
        added = whole[0] - source.read(Box(0, 60, 0, 80)).values[0]
        np.testing.assert_array_equal(added[6:35, 19:48], light.reshape(29, 29))
        source.close()

    def test_other_planes_are_left_alone(self, tmp_path):
        fits.writeto(tmp_path / "cube.fits", np.zeros((6, 40, 40), "f4"))
        source = open_source(SourceSpec(tmp_path / "cube.fits"))
        one = ArtificialSource("point", 20.0, 20.0, 5, 1.0, 0.0, np.ones(25).tobytes())
        image = SourceWithSources(source, [one])
        assert image.read(Box(0, 40, 0, 40), (0, 1)).values.sum() == 25
        assert image.read(Box(0, 40, 0, 40), (3, 4)).values.sum() == 0
        assert image.read(Box(0, 40, 0, 40)).values.sum((1, 2)).tolist() == [25, 0, 0, 0, 0, 0]
        source.close()


class TestInject:
    def test_an_unchanged_image_keeps_everything(self, found):
        recovery = found.recovery
        assert (recovery.requested, recovery.sources, recovery.failed) == (30, 30, 0)
        assert recovery.psf == "measured"
        assert recovery.fwhm == pytest.approx(1.7 * 2.3548, rel=0.05)
        assert len(recovery.rows) == 10
        for row in recovery.rows:
            assert row.sources == 3
            assert row.before == row.after
            assert row.kept == 1
        assert recovery.causes == ()
        json.dumps(asdict(recovery), allow_nan=False)

    def test_bright_sources_are_as_they_were_put_in(self, found):
        for row in found.recovery.rows:
            if row.significance == 50:
                assert row.before.completeness == 1
                assert row.before.flux_bias == pytest.approx(0, abs=0.05)
                assert row.before.width == pytest.approx(1, abs=0.05)
                assert row.before.shift < 0.2

    def test_the_same_seed_gives_the_same(self, unchanged, found):
        assert inject(unchanged, 30).recovery == found.recovery
        assert inject(unchanged, 30, seed=1).recovery.rows != found.recovery.rows

    def test_sources_are_measured_in_the_restored_image(self, tmp_path):
        """Of a fit of a few iterations, faint sources lose what it removes."""
        store = made(tmp_path)
        recovery = inject(store, 30).recovery
        faint = [row for row in recovery.rows if row.significance in (5, 8)]
        assert all(row.kept < 1 for row in faint)
        assert all(row.before != row.after for row in recovery.rows)

    def test_a_given_psf_is_used(self, unchanged, tmp_path):
        t = np.arange(-9, 10)
        psf = np.exp(-(t[:, None] ** 2 + t**2) / (2 * 1.2**2))
        fits.writeto(tmp_path / "psf.fits", (psf / psf.sum()).astype("f4"))
        recovery = inject(unchanged, 5, psf=tmp_path / "psf.fits").recovery
        assert (recovery.psf, recovery.sources) == ("given", 5)
        assert recovery.fwhm == pytest.approx(1.2 * 2.3548, abs=0.1)

    def test_a_full_image_takes_fewer(self, unchanged):
        recovery = inject(unchanged, 10_000).recovery
        assert 30 < recovery.sources < 200
        assert recovery.requested == 10_000

    def test_is_drawn(self, found, tmp_path):
        target = draw_recovery(found, tmp_path / "found.png")
        first = target.read_bytes()
        with Image.open(target) as picture:
            assert picture.size == (990, 886)
            assert np.asarray(picture).std() > 10
        assert draw_recovery(found, target).read_bytes() == first

    def test_the_first_row_of_fits_is_drawn_at_the_bottom(self, found, tmp_path):
        assert found.from_bottom
        stamps = []
        for from_bottom in (True, False):
            injection = replace(found, from_bottom=from_bottom)
            with Image.open(draw_recovery(injection, tmp_path / "f.png")) as picture:
                stamps.append(
                    np.asarray(picture)[-STAMP - 12 : -12, LEFT + 100 : LEFT + 100 + STAMP]
                )
        assert (stamps[0][::-1] == stamps[1]).all()
        assert (stamps[0] != stamps[1]).any()

    def test_a_figure_replaces_nothing_else(self, found, tmp_path):
        with pytest.raises(UsageError, match=r"found\.jpg: figures are \.png"):
            draw_recovery(found, tmp_path / "found.jpg")
        Image.new("RGB", (3, 3)).save(tmp_path / "photo.png")
        with pytest.raises(UsageError, match="will not be overwritten"):
            draw_recovery(found, tmp_path / "photo.png")


class TestRefusals:
    def test_of_a_photograph(self, tmp_path):
        tifffile.imwrite(tmp_path / "page.tif", np.full((40, 40), 100, np.uint8))
        restore(request(tmp_path / "page.tif", tmp_path / "page.zarr", RECIPE), InlinePool())
        with pytest.raises(UsageError, match="is a photograph of integers"):
            inject(tmp_path / "page.zarr", 5)

    def test_of_a_copy(self, tmp_path):
        store = made(tmp_path, recipe={**RECIPE, "task": "identity"})
        with pytest.raises(UsageError, match="denoised images only, leave --inject out"):
            inject(store, 5)

    def test_of_several_exposures(self, tmp_path):
        fits.writeto(tmp_path / "second.fits", sky(seed=1))
        fits.writeto(tmp_path / "sky.fits", sky())
        spec = SourceSpec(tmp_path / "sky.fits", exposures=(tmp_path / "second.fits",))
        restore(request(spec, tmp_path / "sky.zarr", RECIPE), InlinePool())
        with pytest.raises(UsageError, match="several exposures"):
            inject(tmp_path / "sky.zarr", 5)

    def test_of_planes_that_are_restored_together(self, tmp_path):
        store = made(tmp_path, np.stack([sky(), sky(seed=1)]))
        with pytest.raises(UsageError, match="2 planes that are restored together"):
            inject(store, 5)

    def test_of_an_image_without_stars(self, tmp_path):
        noise = np.random.default_rng(0).normal(100, 10, (90, 90)).astype("f4")
        with pytest.raises(UsageError, match="0 bright single stars"):
            inject(made(tmp_path, noise), 5)

    def test_of_an_image_without_room(self, tmp_path):
        image = sky()
        image[::20] = np.nan
        t = np.arange(-9, 10)
        psf = np.exp(-(t[:, None] ** 2 + t**2) / (2 * 1.7**2)).astype("f4")
        fits.writeto(tmp_path / "psf.fits", psf)
        store = made(tmp_path, image)
        with pytest.raises(UsageError, match=r"no empty place of 24 x 24 valid pixels"):
            inject(store, 5, psf=tmp_path / "psf.fits")

    def test_of_no_source(self, unchanged):
        with pytest.raises(UsageError, match="at least 1 source is needed"):
            inject(unchanged, 0)


def test_cubes_have_sources_in_their_first_plane(tmp_path):
    store = made(tmp_path, np.stack([sky(seed) for seed in range(5)]), output={"grain": 1.0})
    recovery = inject(store, 10).recovery
    assert recovery.sources == 10
    assert recovery.tiles <= 4
    assert all(row.before == row.after for row in recovery.rows)


def test_of_a_decam_exposure_bright_stars_are_kept(real_data, tmp_path):
    """A few iterations are no restoration, but the guard keeps what stands out."""
    folder = real_data / "astro" / "pairs" / "decam_i_2nights"
    image = fits.getdata(folder / "DEC-OBS04a.mini.fits").astype("f4")[:200, :200]
    store = made(tmp_path, image, fit={"iterations": 20, "log_period": 10, "guard": 3.0})
    recovery = inject(store, 24).recovery
    assert recovery.sources == 24
    assert 2.5 < recovery.fwhm < 7
    for row in recovery.rows:
        if row.significance >= 20:
            assert row.before.completeness == row.after.completeness == 1
            assert row.before.flux_bias == pytest.approx(0, abs=0.15)
            assert row.kept == pytest.approx(1, abs=0.1)
    group = zarr.open_group(store, mode="r")
    assert group["0"].shape == image.shape
