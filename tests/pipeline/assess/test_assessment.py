"""A result assessed by itself: what it shows is what was done to its pixels, whatever the cells."""

import dataclasses
import json
import re

import numpy as np
import pytest
import zarr
from assessed import edit_manifest, made_result
from astropy.io import fits
from runs import FIT, request

from glassplate.pipeline.assess import blocks
from glassplate.pipeline.assess.assessment import assess_result
from glassplate.pipeline.assess.result import AssessedResult
from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

SIGMA = 5.0
SHAPE = (192, 256)


def scene(shape=SHAPE):
    """A flat sky with 30 stars of up to 40 times the noise."""
    rng = np.random.default_rng(1)
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = np.full(shape, 100.0)
    for place in rng.uniform((10, 10), np.array(shape) - 10, (30, 2)):
        square = (y - place[0]) ** 2 + (x - place[1]) ** 2
        image += rng.uniform(5, 40) * SIGMA * np.exp(-square / (2 * 1.8**2))
    return image


def noisy(seed=0):
    return scene() + np.random.default_rng(seed).normal(0, SIGMA, SHAPE)


def made(folder, estimate, given=None, **more):
    given = noisy() if given is None else given
    return made_result(folder, given.astype("f4"), estimate.astype("f4"), noise=SIGMA, **more)


@pytest.fixture(scope="module")
def perfect(tmp_path_factory):
    """A result that is the truth."""
    return made(tmp_path_factory.mktemp("perfect"), scene())


def test_of_the_truth_nothing_is_far_from_expected(perfect):
    found = assess_result(perfect)
    residual, sky = found.residual, found.background
    assert found.causes == ()
    assert residual.pixels == scene().size
    assert residual.chi2 == pytest.approx(1, abs=0.03)
    assert residual.rms == pytest.approx(SIGMA, rel=0.02)
    assert abs(residual.lag1_rows) < 0.02
    assert abs(residual.lag1_columns) < 0.02
    assert abs(residual.with_estimate) < 0.02
    assert abs(sky.shift) < 0.02
    assert sky.level_after == pytest.approx(100, abs=0.2)
    assert sky.noise_before == pytest.approx(SIGMA, rel=0.05)
    assert sky.noise_after < 0.5 * SIGMA
    assert found.seams is None
    assert found.photograph is None
    assert found.fadgi == ()
    assert json.loads(json.dumps(dataclasses.asdict(found), allow_nan=False))["store"] == str(
        perfect
    )


@pytest.mark.parametrize("side", [64, 128])
def test_figures_do_not_depend_on_the_cells(perfect, monkeypatch, side):
    whole = dataclasses.asdict(assess_result(perfect))
    monkeypatch.setattr(blocks, "CELL", side)
    in_cells = dataclasses.asdict(assess_result(perfect))
    for part in ("background", "residual"):
        for key, value in whole[part].items():
            if isinstance(value, float):
                assert in_cells[part][key] == pytest.approx(value, rel=1e-3, abs=1e-6), key
    assert in_cells["residual"]["by_place"] == whole["residual"]["by_place"]


def test_no_more_than_a_cell_is_read_at_once(perfect, monkeypatch):
    monkeypatch.setattr(blocks, "CELL", 64)
    sizes, read = [], AssessedResult.read

    def watched(self, box):
        sizes.append(max(box.shape))
        return read(self, box)

    monkeypatch.setattr(AssessedResult, "read", watched)
    assess_result(perfect)
    assert max(sizes) == 64


def test_levels_and_places_count_every_pixel(perfect):
    residual = assess_result(perfect).residual
    assert sum(level.pixels for level in residual.by_level) == residual.pixels
    assert [level.high for level in residual.by_level[:-1]] == [
        level.low for level in residual.by_level[1:]
    ]
    parts = np.array(residual.by_place.parts)
    assert parts.shape == (8, 8)
    # equal parts of this image, so that their mean is that of the pixels
    assert parts.mean() == pytest.approx(residual.chi2, rel=1e-3)
    assert residual.by_place.high == parts.max()
    row, column = np.argwhere(parts == parts.max())[0]
    assert residual.by_place.highest_at == (row * 24, column * 32)


def blurred_noise():
    noise = np.random.default_rng(3).normal(0, 1, SHAPE)
    smooth = sum(np.roll(noise, (i, j), (0, 1)) for i in (0, 1) for j in (0, 1))
    return SIGMA * smooth / smooth.std()


def uneven_noise():
    noise = np.random.default_rng(4).normal(0, SIGMA, SHAPE)
    noise[24:48, 64:96] *= 3
    return noise


FAULTS = {
    "stars are dimmed": (lambda: 100 + 0.5 * (scene() - 100), None, "structure was removed"),
    "stars are made brighter": (
        lambda: 100 + 1.5 * (scene() - 100),
        None,
        "made stronger than it was measured",
    ),
    "the sky is moved": (lambda: scene() + 0.3 * SIGMA, None, r"moved by \+0\.3\d? standard"),
    "the residual is smooth": (
        scene,
        lambda: scene() + blurred_noise(),
        r"are alike \(correlation 0\.[45]",
    ),
    "coarse noise is left": (
        lambda: scene() + blurred_noise(),
        lambda: scene() + blurred_noise() + SIGMA * (-1.0) ** np.indices(SHAPE).sum(0),
        "are unlike",
    ),
    "the noise is three times as strong": (
        scene,
        lambda: scene() + 3 * (noisy() - scene()),
        "is 3 times the noise",
    ),
    "nothing is removed": (lambda: noisy() - 0.1 * (noisy() - scene()), None, "hardly anything"),
    "one part is noisier": (
        scene,
        lambda: scene() + uneven_noise(),
        "in the part from row 24, column 64,",
    ),
    "faint pixels lose light": (
        lambda: np.where(scene() > 110, scene() - 0.6 * SIGMA, scene()),
        None,
        r"lost 0\.[56]\d standard deviations",
    ),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_is_named_with_its_cause(tmp_path, fault):
    estimate, given, sentence = FAULTS[fault]
    store = made(tmp_path, estimate(), None if given is None else given())
    causes = assess_result(store).causes

    assert any(re.search(sentence, cause) for cause in causes), causes
    assert all("\n" not in cause for cause in causes)


def test_where_no_noise_was_found_none_is_missed(tmp_path):
    store = made(tmp_path, noisy() - 0.1 * (noisy() - scene()))
    assert any("hardly anything" in cause for cause in assess_result(store).causes)
    edit_manifest(store, lambda manifest: manifest["plan"].update(removes_nothing=True))
    assert assess_result(store).causes == ()


def test_the_correlation_is_that_of_residual_and_detail(tmp_path):
    detail = np.random.default_rng(5).normal(0, SIGMA, SHAPE)
    store = made(tmp_path, 100 + detail, 100 + 1.5 * detail + 0.5 * (noisy() - scene()))
    # residual 0.5 detail + 0.5 noise: half of its variance is detail, of which a 256th is the block's mean
    assert assess_result(store).residual.with_estimate == pytest.approx(2**-0.5, abs=0.01)


def test_invalid_and_filled_pixels_count_for_nothing(tmp_path, perfect):
    given = noisy()
    given[40:60, 50:90] = np.nan
    store = made(tmp_path, np.where(np.isnan(given), np.nan, scene()), given)
    found = assess_result(store)
    assert found.residual.pixels == scene().size - 800
    assert found.residual.chi2 == pytest.approx(1, abs=0.03)
    assert found.causes == ()


def test_pixels_that_were_filled_do_not_count(tmp_path):
    given = noisy()
    given[40:50, 50:60] += 1e6
    store = made(tmp_path, scene(), given)
    assert assess_result(store).residual.chi2 > 1e6
    filled = np.zeros(SHAPE, np.uint8)
    filled[40:50, 50:60] = 1
    zarr.open_group(store, mode="r+").create_array("filled", data=filled)
    edit_manifest(store, lambda manifest: manifest["plan"]["layout"].update(fills=True))
    residual = assess_result(store).residual
    assert residual.pixels == scene().size - 100
    assert residual.chi2 == pytest.approx(1, abs=0.03)


def test_without_a_noise_model_there_is_no_chi2(tmp_path):
    store = made_result(tmp_path, noisy().astype("f4"), scene().astype("f4"), task="identity")
    residual = assess_result(store).residual
    assert residual.chi2 is None
    assert residual.by_place is None
    assert residual.by_level == ()
    assert residual.lag1_expected is None
    assert abs(residual.lag1_rows) < 0.02


def test_a_copy_has_no_residual_to_judge(tmp_path):
    store = made_result(tmp_path, noisy().astype("f4"), noisy().astype("f4"), task="identity")
    found = assess_result(store)
    assert found.residual.rms == 0
    assert found.residual.with_estimate is None
    assert found.residual.lag1_rows is None
    assert found.causes == ()


def test_the_seam_score_is_that_of_the_map(perfect, tmp_path):
    store = made(tmp_path, scene())
    seam = zarr.open_array(store / "quality" / "seam", mode="r+")
    _, rows, columns = seam.shape
    scores = np.full(seam.shape, 1.0)
    scores[0, 1, 2] = 9.0
    scores[0, -1, -1] = np.nan
    seam[...] = scores
    seams = assess_result(store).seams
    assert (seams.tiles, seams.median, seams.highest) == (rows * columns - 1, 1.0, 9.0)
    assert seams.highest_at == (SHAPE[0] // rows, 2 * SHAPE[1] // columns)
    assert seams.share_of_noise == pytest.approx(1 / SIGMA, rel=0.01)
    seam[...] = 3 * scores
    assert any("neighbouring tiles differ by 0.60" in line for line in assess_result(store).causes)


@pytest.mark.slow
def test_an_enlarged_result_has_a_residual_but_no_background(tmp_path):
    fits.writeto(tmp_path / "small.fits", noisy()[:48, :40].astype("f4"))
    recipe = {**FIT, "task": "superres", "operator": {"scale": 2, "kernel": "box"}}
    restore(request(tmp_path / "small.fits", tmp_path / "large.zarr", recipe), InlinePool())
    found = assess_result(tmp_path / "large.zarr")
    assert found.background is None
    assert found.residual.pixels == 48 * 40
    stored = zarr.open_array(tmp_path / "large.zarr" / "residual", mode="r")[...]
    assert found.residual.rms == pytest.approx(np.sqrt(np.mean(stored.astype("f8") ** 2)), rel=1e-3)
    image = zarr.open_array(tmp_path / "large.zarr" / "0", mode="r")[...].astype("f8")
    region = AssessedResult(tmp_path / "large.zarr").read(blocks.Box(0, 8, 0, 8))
    means = image[:16, :16].reshape(8, 2, 8, 2).mean((1, 3))
    np.testing.assert_allclose(region.estimate[0], means, rtol=1e-6)


def test_a_run_that_has_not_ended_is_refused(tmp_path):
    store = made(tmp_path, scene())
    edit_manifest(store, lambda manifest: manifest.update(status="running"))
    with pytest.raises(StoreError, match="has status running and has not ended"):
        assess_result(store)
    with pytest.raises(StoreError, match="not a glassplate result"):
        assess_result(tmp_path)


def test_figures_are_frozen(perfect):
    with pytest.raises(dataclasses.FrozenInstanceError):
        assess_result(perfect).residual.chi2 = 1.0
