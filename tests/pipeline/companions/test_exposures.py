"""Several exposures as one measurement, which does not depend on the box and is part of the identity."""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from astropy.wcs import WCS
from runs import COPY, FIT, UntidyPool, digest, level0, request

from glassplate.pipeline.cached_source import cached_source
from glassplate.pipeline.errors import SourceError, StoreError, UsageError
from glassplate.pipeline.export.export import export
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import project
from glassplate.pipeline.planning.summary import summarise
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import load_recipe, parse_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

SIGMA = 5.0


def header(dy=0.0, dx=0.0):
    wcs = WCS(naxis=2)
    wcs.wcs.ctype = ["RA---TAN", "DEC--TAN"]
    wcs.wcs.crval, wcs.wcs.crpix = [150.0, 2.0], [30 + dx, 20 + dy]
    wcs.wcs.cdelt = [-1e-4, 1e-4]
    return wcs.to_header()


def scene(rows, columns):
    y, x = np.meshgrid(rows, columns, indexing="ij")
    stars = ((20, 33), (8, 50), (40, 12))
    return 100 + sum(500 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 8) for cy, cx in stars)


def exposure(path, seed, *, dy=0, dx=0, shape=(50, 70), leftover=0.0, wcs=True, gain=1.0):
    """Write an exposure whose pixel (y + dy, x + dx) shows the same place as (y, x) of the first."""
    rows, columns = np.arange(shape[0]) - dy, np.arange(shape[1]) - dx
    noise = np.random.default_rng(seed).normal(0, SIGMA, shape)
    image = gain * (scene(rows, columns) + noise)
    fits.writeto(path, image.astype("f4"), header(dy, dx + leftover) if wcs else None)
    return path


@pytest.fixture
def three(tmp_path):
    """Three exposures of one field, the second shifted by (3, -5) pixels, the third with a ray."""
    paths = [
        exposure(tmp_path / "a.fits", 1),
        exposure(tmp_path / "b.fits", 2, dy=3, dx=-5),
        exposure(tmp_path / "c.fits", 3),
    ]
    with fits.open(paths[2], mode="update") as hdus:
        hdus[0].data[30, 20:26] += 300
    return SourceSpec(paths[0], exposures=tuple(paths[1:]))


def plan_of(spec, raw=FIT):
    return make_plan(spec, parse_recipe(raw, "t"), recipe_name="t", device="cpu")


def whole(spec, raw=FIT):
    plan = plan_of(spec, raw)
    source = open_source(plan.spec, plan.findings)
    pixels = source.read(Box(0, source.shape[1], 0, source.shape[2]))
    source.close()
    return pixels


class TestReading:
    def test_the_mean_is_nearer_to_the_scene(self, three):
        pixels = whole(three)
        truth = scene(np.arange(50), np.arange(70))
        inside = (slice(0, 47), slice(5, 70))
        alone = fits.getdata(three.path) - truth
        assert np.std((pixels.values[0] - truth)[inside]) < 0.65 * alone.std()
        assert np.sqrt(np.median(pixels.variance)) == pytest.approx(SIGMA / np.sqrt(3), rel=0.15)

    def test_a_cosmic_ray_has_no_weight(self, three):
        truth = scene(np.arange(50), np.arange(70))
        ray = (whole(three).values[0] - truth)[30, 20:26]
        assert np.abs(ray).max() < 4 * SIGMA

    def test_outside_one_exposure_the_others_have_weight(self, three):
        variance = whole(three).variance[0]
        # rows 47 and up and columns up to 4 are not on the second
        assert variance[48, 30] > 1.3 * variance[20, 30]
        assert variance[20, 2] > 1.3 * variance[20, 30]

    def test_every_box_is_part_of_the_whole(self, three):
        plan, pixels = plan_of(three), whole(three)
        source = open_source(plan.spec, plan.findings)
        for box in (Box(0, 50, 0, 70), Box(7, 33, 11, 64), Box(49, 50, 69, 70), Box(0, 1, 0, 1)):
            part = source.read(box)
            for name in ("values", "valid", "variance"):
                np.testing.assert_array_equal(
                    getattr(part, name), getattr(pixels, name)[(slice(None), *box.slices)]
                )
        source.close()

    def test_a_pixel_is_invalid_where_no_exposure_has_weight(self, three):
        for path, place in (
            (three.path, (9, 9)),
            *zip(three.exposures, ((12, 4), (9, 9)), strict=True),
        ):
            with fits.open(path, mode="update") as hdus:
                hdus[0].data[place] = np.nan
        pixels = whole(three)
        assert not pixels.valid[0, 9, 9]
        assert pixels.valid.sum() == pixels.valid.size - 1

    def test_flux_scale_and_level_are_those_of_the_first(self, three, tmp_path):
        bright = exposure(tmp_path / "d.fits", 4, gain=2.5)
        plan = plan_of(replace(three, exposures=(bright,)))
        [_, second] = plan.findings.combination.alignments
        assert second.match.scale == pytest.approx(1 / 2.5, rel=0.05)
        level = np.median(whole(replace(three, exposures=(bright,))).values)
        assert level == pytest.approx(100, abs=2)

    def test_the_mask_and_the_variance_are_those_of_the_first(self, three, tmp_path):
        damage = np.zeros((50, 70), "u1")
        damage[10:12, 20:30] = 1
        fits.writeto(tmp_path / "mask.fits", damage)
        fits.writeto(tmp_path / "variance.fits", np.full((50, 70), 9.0, "f4"))
        given = replace(three, mask=tmp_path / "mask.fits", variance=tmp_path / "variance.fits")
        pixels = whole(given)
        assert pixels.valid.all()
        assert pixels.variance[0, 11, 25] > 2 * pixels.variance[0, 20, 40]
        assert np.median(pixels.variance) < 9

    def test_without_a_wcs_they_are_on_the_same_grid(self, tmp_path):
        paths = [exposure(tmp_path / f"{n}.fits", n, wcs=False) for n in range(2)]
        pixels = whole(SourceSpec(paths[0], exposures=(paths[1],)))
        expected = np.mean([fits.getdata(path) for path in paths], axis=0)
        np.testing.assert_allclose(pixels.values[0], expected, atol=3)

    def test_the_exposures_have_the_same_extension(self, tmp_path):
        for name in "ab":
            hdus = [fits.PrimaryHDU(), fits.ImageHDU(np.zeros((9, 9), "f4"), name="DQ")]
            hdus.append(fits.ImageHDU(np.full((40, 40), 7, "f4"), name="SCI"))
            fits.HDUList(hdus).writeto(tmp_path / f"{name}.fits")
        spec = SourceSpec(tmp_path / "a.fits", hdu="SCI", exposures=(tmp_path / "b.fits",))
        assert (whole(spec).values == 7).all()
        named = Path(f"{tmp_path / 'b.fits'}[SCI]")
        assert (whole(replace(spec, exposures=(named,))).values == 7).all()

    def test_a_changed_exposure_is_opened_again(self, three):
        plan = plan_of(three)
        before = cached_source(plan.spec, plan.findings)
        assert cached_source(plan.spec, plan.findings) is before
        exposure_again = fits.getdata(three.exposures[1]) + 1
        three.exposures[1].unlink()
        fits.writeto(three.exposures[1], np.pad(exposure_again, 2), header())
        assert cached_source(plan.spec, plan.findings) is not before

    def test_another_scene_causes_a_warning(self, three, tmp_path):
        other = exposure(tmp_path / "d.fits", 4, dy=9, dx=9, wcs=False)
        plan = plan_of(replace(three, exposures=(other,)))
        [warning] = plan.warnings
        assert "of its pixels differ from those of" in warning
        assert plan_of(three).warnings == ()


class TestRun:
    @pytest.mark.slow
    def test_a_copy_is_the_mean(self, three, tmp_path):
        restore(request(three, tmp_path / "a.zarr", COPY), InlinePool())
        np.testing.assert_array_equal(level0(tmp_path / "a.zarr"), whole(three).values[0])

    @pytest.mark.slow
    @pytest.mark.parametrize("rule", ["heldout", "exposure"])
    def test_order_and_interruptions_do_not_matter(self, three, tmp_path, rule):
        raw = {**FIT, "stopping": {"rule": rule}}
        restore(request(three, tmp_path / "a.zarr", raw), InlinePool())
        with pytest.raises(KeyboardInterrupt):
            restore(request(three, tmp_path / "b.zarr", raw), UntidyPool(3, interrupt_after=3))
        restore(request(three, tmp_path / "b.zarr", raw), UntidyPool(4))
        assert digest(tmp_path / "a.zarr") == digest(tmp_path / "b.zarr")

    def test_a_resumed_run_combines_them_as_it_began(self, three):
        plan = plan_of(three)
        recorded = plan.recorded()
        first, second, *others = recorded.exposures.alignments
        second = replace(second, noise=replace(second.noise, floor=9.0))
        exposures = replace(recorded.exposures, alignments=(first, second, *others))
        again = plan.as_recorded(replace(recorded, exposures=exposures))
        assert again.findings.combination.alignments[1].noise.floor == 9.0

    @pytest.mark.slow
    def test_they_are_recorded(self, three, tmp_path):
        store = tmp_path / "a.zarr"
        restore(request(three, store, COPY), InlinePool())
        checks = [check for check in verify(store) if check.name == "exposure"]
        assert len(checks) == 2
        assert all(check.ok for check in verify(store))
        export(store, tmp_path / "out.fits")
        history = " ".join(fits.getheader(tmp_path / "out.fits")["HISTORY"])
        assert "b.fits" in history
        assert "c.fits" in history
        with three.exposures[0].open("ab") as file:
            file.write(b" ")
        assert [check.ok for check in verify(store) if check.name == "exposure"] == [False, True]

    @pytest.mark.slow
    def test_a_run_does_not_resume_with_other_exposures(self, three, tmp_path):
        store = tmp_path / "a.zarr"
        restore(request(three, store, COPY), InlinePool())
        fewer = replace(three, exposures=three.exposures[:1])
        with pytest.raises(StoreError, match="made from 2 further exposures, not from the same 1"):
            restore(request(fewer, store, COPY), InlinePool())
        with pytest.raises(StoreError, match="made from 2 further exposures, not from the same 0"):
            restore(request(three.path, store, COPY), InlinePool())

    def test_integers_stay_integers_and_reversible(self, tmp_path):
        rng = np.random.default_rng(0)
        page = np.add.outer(np.arange(40), np.arange(50)) + 60
        for name in "abc":
            scan = np.rint(page + rng.normal(0, 4, page.shape)).astype("u1")
            tifffile.imwrite(tmp_path / f"{name}.tif", scan)
        spec = SourceSpec(tmp_path / "a.tif", exposures=(tmp_path / "b.tif", tmp_path / "c.tif"))
        restore(request(spec, tmp_path / "a.zarr", COPY), InlinePool())
        copied = level0(tmp_path / "a.zarr")
        assert copied.dtype == np.uint8
        assert np.std(copied - page) < 0.7 * 4

    def test_memory_and_plan_count_the_exposures(self, three):
        alone = plan_of(SourceSpec(three.path))
        plan = plan_of(three)
        stages = [project(one, workers=1).stages for one in (alone, plan)]
        for stage in ("restore", "stitch"):
            assert stages[1][stage] > stages[0][stage]
        told = summarise(plan, workers=1)
        assert [alignment.dy for alignment in told.exposures.alignments] == [0, 3, 0]
        assert summarise(alone, workers=1).exposures is None


class TestMasks:
    """Each exposure has a mask of its own, found by name in its file or given."""

    BAD = (12, 34)
    OFF = 400.0

    @pytest.fixture
    def masked(self, tmp_path):
        """Two exposures as of HST; the second has a pixel that is off, which its DQ marks."""
        paths = []
        for seed, name in enumerate("ab"):
            rng = np.random.default_rng(seed)
            image = (scene(np.arange(50), np.arange(70)) + rng.normal(0, SIGMA, (50, 70))).astype(
                "f4"
            )
            dq = np.zeros((50, 70), "i2")
            if name == "b":
                image[self.BAD] += self.OFF
                dq[self.BAD], dq[1, 1] = 4, 16
            hdus = fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(image, header(), name="SCI")])
            hdus.append(fits.ImageHDU(dq, name="DQ"))
            hdus[0].header.update(TELESCOP="HST", INSTRUME="ACS")
            hdus.writeto(tmp_path / f"{name}.fits")
            paths.append(tmp_path / f"{name}.fits")
        return SourceSpec(paths[0], exposures=(paths[1],))

    def first(self, spec):
        return fits.getdata(spec.path, 1)

    def test_found_by_name_it_leaves_its_bad_pixels_out(self, masked):
        pixels = whole(masked)
        assert pixels.values[0][self.BAD] == pytest.approx(self.first(masked)[self.BAD], abs=0.01)
        # a hot pixel is good by the table of HST
        both = [fits.getdata(path, 1)[1, 1] for path in (masked.path, *masked.exposures)]
        assert pixels.values[0, 1, 1] == pytest.approx(np.mean(both), abs=0.3)
        (told,) = [one for one in plan_of(masked).companions if one.role == "mask of exposure 1"]
        assert told.words.startswith("b.fits[DQ,1], found by name; flags of HST ACS: bad 1 2 4")

    def test_without_it_the_pixel_is_in_the_mean(self, masked):
        pixels = whole(masked, {**FIT, "companions": {"find": "none"}})
        assert pixels.values[0][self.BAD] > self.first(masked)[self.BAD] + 0.4 * self.OFF

    def test_one_that_is_read_in_the_wrong_sense_is_not_used(self, masked):
        with fits.open(masked.exposures[0], mode="update") as hdus:
            hdus["DQ"].data[:] = 4 - hdus["DQ"].data.clip(0, 4)
        plan = plan_of(masked)
        (warning,) = [line for line in plan.warnings if "mask of exposure 1" in line]
        assert "is not used; give --exposure-mask to use it" in warning
        source = open_source(plan.spec, plan.findings)
        assert source.read(Box(0, 50, 0, 70)).values[0][self.BAD] > 200
        source.close()

    def test_given_it_takes_the_place_of_the_one_in_the_file(self, masked, tmp_path):
        own = np.zeros((50, 70), "u1")
        own[5, 6] = 1
        fits.writeto(tmp_path / "own.fits", own)
        given = replace(masked, exposure_masks=(tmp_path / "own.fits",))
        pixels = whole(given)
        assert pixels.values[0, 5, 6] == pytest.approx(self.first(masked)[5, 6], abs=0.01)
        assert pixels.values[0][self.BAD] > self.first(masked)[self.BAD] + 0.4 * self.OFF

    def test_it_is_part_of_the_result(self, masked, tmp_path):
        store = tmp_path / "a.zarr"
        run = request(masked, store, FIT)
        restore(run, InlinePool())
        identity = read_manifest(store).identity
        assert identity.exposure_masks[0].path == str(masked.exposures[0])
        assert identity.exposure_flags[0].table == "HST ACS"
        assert identity.found == ("exposure_masks", "mask")
        assert all(check.ok for check in verify(store))
        assert restore(run, InlinePool()).already_complete
        fits.writeto(tmp_path / "own.fits", np.zeros((50, 70), "u1"))
        other = replace(masked, exposure_masks=(tmp_path / "own.fits",))
        with pytest.raises(StoreError, match="other masks of the further exposures"):
            restore(request(other, store, FIT), InlinePool())

    @pytest.mark.parametrize(
        ("masks", "message"),
        [
            (("a.fits[DQ]", "b.fits[DQ]"), "2 masks for 1 further exposures; give one for each"),
            (("small.fits",), "exposure mask .*small.fits: shape .* does not fit that of .*b.fits"),
        ],
    )
    def test_masks_that_do_not_go_with_the_exposures(self, masked, tmp_path, masks, message):
        fits.writeto(tmp_path / "small.fits", np.zeros((5, 7), "u1"))
        given = tuple(tmp_path / name for name in masks)
        with pytest.raises((UsageError, SourceError), match=message):
            plan_of(replace(masked, exposure_masks=given))


class TestValidation:
    RULE = {**FIT, "stopping": {"rule": "exposure"}}

    def test_the_last_exposure_validates_and_is_not_fitted(self, three):
        pixels = whole(three, self.RULE)
        fewer = whole(replace(three, exposures=three.exposures[:1]))
        np.testing.assert_allclose(pixels.values[0, :47, 5:], fewer.values[0, :47, 5:], atol=0.5)
        ray = np.isnan(pixels.validation[0, 30, 20:26])
        assert ray.all()
        assert np.isfinite(pixels.validation).sum() == pixels.validation.size - 6
        assert whole(three).validation is None

    def test_of_two_exposures_neither_is_used_where_they_disagree(self, three):
        pair = replace(three, exposures=three.exposures[1:])
        pixels = whole(pair, self.RULE)
        np.testing.assert_array_equal(pixels.values[0], fits.getdata(three.path))
        assert np.isnan(pixels.validation[0, 30, 20:26]).all()
        np.testing.assert_allclose(
            pixels.validation[0, 10, :5], fits.getdata(three.exposures[1])[10, :5], atol=2
        )

    @pytest.mark.slow
    def test_the_validation_loss_is_that_of_the_last_exposure(self, three, tmp_path):
        raw = {**self.RULE, "fit": {"iterations": 4, "log_period": 2}}
        restore(request(three, tmp_path / "a.zarr", raw), InlinePool())
        spoilt = fits.getdata(three.exposures[1]).copy()
        assert np.isfinite(level0(tmp_path / "a.zarr")).all()
        three.exposures[1].unlink()
        more = spoilt + np.random.default_rng(9).normal(0, 3 * SIGMA, spoilt.shape)
        fits.writeto(three.exposures[1], more.astype("f4"), header())
        restore(request(three, tmp_path / "b.zarr", raw), InlinePool())
        losses = [np.asarray(quality_of(tmp_path / name)) for name in ("a.zarr", "b.zarr")]
        assert (losses[1] > 2 * losses[0]).all()

    def test_it_needs_a_second_exposure(self, three, tmp_path):
        with pytest.raises(UsageError, match="judges by a second exposure; add --exposure FILE"):
            restore(request(three.path, tmp_path / "a.zarr", self.RULE), InlinePool())


@pytest.mark.slow
def test_three_decam_exposures_are_better_than_their_mean(real_data, tmp_path):
    """Against the mean of the other two, which are independent; the first one has no rays here."""
    folder = real_data / "astro" / "pairs" / "decam_i_2nights"
    crop = (slice(70, 142), slice(100, 172))
    images = [fits.getdata(folder / f"DEC-OBS04{name}.mini.fits")[crop] for name in "abcde"]
    for name, image in zip("abc", images, strict=False):
        fits.writeto(tmp_path / f"{name}.fits", image.astype("f4"))
    spec = SourceSpec(tmp_path / "a.fits", exposures=(tmp_path / "b.fits", tmp_path / "c.fits"))
    recipe = load_recipe("astro-denoise", ["fit.iterations=60"])
    asked = RestoreRequest(spec, tmp_path / "abc.zarr", recipe, "astro-denoise", device="cpu")
    restore(asked, InlinePool())
    truth = (images[3] + images[4]) / 2
    agree = np.abs(images[3] - images[4]) < 250
    noise = np.mean((images[3] - images[4])[agree] ** 2) / 4

    def error(x):
        return float(np.mean((x - truth)[agree] ** 2)) - noise

    gain = 10 * np.log10(error(np.mean(images[:3], axis=0)) / error(level0(tmp_path / "abc.zarr")))
    assert gain > 3


def quality_of(store):
    import zarr

    return zarr.open_group(str(store), mode="r")["quality"]["heldout_loss"][...]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("fault", "error", "message"),
    [
        ("between pixels", UsageError, r"0\.40 columns from .*up to 0\.40 pixels off whole ones"),
        ("elsewhere", UsageError, "has no valid pixel in common with"),
        ("no WCS", UsageError, r"40 x 70 pixels, .*a\.fits has 50 x 70, and no WCS in both"),
        ("colours", SourceError, r"3 channels, .*a\.fits has 1; all exposures must have the same"),
        ("a negative", UsageError, r"flux scale -1.* must be positive; is it of the same scene"),
        ("no image", SourceError, r"exposure .*d\.fits: is no FITS"),
        ("not there", SourceError, "exposure .*d\\.fits: no such file"),
    ],
)
def test_exposures_that_cannot_be_combined_are_refused(three, tmp_path, fault, error, message):
    path = tmp_path / "d.fits"
    if fault == "between pixels":
        exposure(path, 4, leftover=0.4)
    elif fault == "elsewhere":
        exposure(path, 4, dy=500)
    elif fault == "no WCS":
        exposure(path, 4, shape=(40, 70), wcs=False)
    elif fault == "colours":
        fits.writeto(path, np.ones((3, 50, 70), "f4"))
    elif fault == "a negative":
        fits.writeto(path, -fits.getdata(three.path), header())
    elif fault == "no image":
        path.write_text("nothing of the kind " * 9)
    spec = replace(three, exposures=(*three.exposures, path))
    with pytest.raises(error, match=message) as caught:
        restore(request(spec, tmp_path / "a.zarr", FIT), InlinePool())
    assert "\n" not in str(caught.value)
    assert not (tmp_path / "a.zarr").exists()
