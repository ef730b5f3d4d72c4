"""What was done to sources is what is found: dimmed, moved, widened, removed and invented ones."""

import numpy as np
import pytest

from glassplate.pipeline.assess.injection.artificial import KINDS, SIGNIFICANCES, ArtificialSource
from glassplate.pipeline.assess.injection.placing import Reach
from glassplate.pipeline.assess.injection.profile import PointSpread, Profile, moffat
from glassplate.pipeline.assess.injection.recovery import SourcePixels, measure_recovery
from glassplate.pipeline.assess.injection.recovery_causes import recovery_causes

SPREAD = PointSpread(Profile(moffat(16, 4.0, 3.0)), 4.0)
REACH = Reach(SPREAD.measured_half)
HALF = REACH.cell + REACH.measured
ERROR = 10.0


def place(image, profile, flux, dy, dx):
    light = flux * profile.at(dy, dx)
    half, middle = profile.half, len(image) // 2
    wide = np.pad(image, half)
    wide[middle : middle + 2 * half + 1, middle : middle + 2 * half + 1] += light
    return wide[half:-half, half:-half]


def pixels(change=lambda image, source, profile: image, noise=0.2, count=8):
    """Sources of all kinds in an input with little noise, and a result that `change` makes of the same."""
    rng = np.random.default_rng(0)
    found = []
    for kind in KINDS:
        for significance in SIGNIFICANCES:
            for _ in range(count):
                dy, dx = rng.uniform(-0.5, 0.5, 2)
                source = ArtificialSource(
                    kind, 50 + dy, 60 + dx, significance, significance * ERROR, 0.4, b""
                )
                profile = SPREAD.star if kind == "point" else SPREAD.galaxy(0.4)
                sky = 100 + rng.normal(0, noise, (2 * HALF + 1, 2 * HALF + 1))
                given = place(sky, profile, source.flux, *source.offset)
                restored = change(sky, source, profile)
                if restored is sky:
                    restored = given
                found.append(SourcePixels(source, ERROR, given, restored))
    return found


def measured(change=lambda image, source, profile: image, **more):
    rows, purity = measure_recovery(pixels(change, **more), SPREAD)
    return rows, purity, recovery_causes(rows, purity)


def test_unchanged_sources_are_found_as_they_were_put_in():
    rows, purity, causes = measured()
    assert [(row.kind, row.significance) for row in rows] == [
        (kind, significance) for kind in KINDS for significance in SIGNIFICANCES
    ]
    for row in rows:
        assert row.sources == 8
        assert row.before == row.after
        assert (row.kept, row.kept_error) == (1, 0)
        if row.significance > 8:
            assert row.after.completeness == 1
            assert row.after.flux_bias == pytest.approx(0, abs=0.05)
            assert row.after.flux_scatter < 0.05
            assert row.after.shift < 0.4
            assert row.after.width == pytest.approx(1, abs=0.06)
    assert all(row.before in (None, 1.0) for row in purity)
    assert sum(row.detections_before for row in purity) >= 64
    assert causes == ()


def test_dimmed_sources_keep_a_share_of_their_flux():
    rows, _, causes = measured(
        lambda sky, source, profile: place(sky, profile, 0.6 * source.flux, *source.offset)
    )
    for row in rows:
        assert row.kept == pytest.approx(0.6, abs=0.03)
        assert row.kept_error < 0.02
        assert row.after.flux_bias - row.before.flux_bias == pytest.approx(-0.4, abs=0.03)
        assert row.after.width == pytest.approx(row.before.width, abs=0.1)
    assert sum("keep 0.60 of their flux" in cause for cause in causes) >= 5
    points = {row.significance: row for row in rows if row.kind == "point"}
    assert (points[5].before.completeness, points[5].after.completeness) == (1, 0)
    assert any("100% of the points of signal to noise 5 are found" in cause for cause in causes)


def test_moved_sources_are_moved():
    rows, _, _ = measured(
        lambda sky, source, profile: place(
            sky, profile, source.flux, source.offset[0] + 0.3, source.offset[1] - 0.4
        ),
        noise=0.05,
    )
    for row in rows:
        if row.significance >= 12:
            assert row.before.shift < 0.12
            assert row.after.shift == pytest.approx(0.5, abs=0.1)


def test_widened_sources_are_wider():
    wide = Profile(moffat(16, 4.0 * 1.15, 3.0))
    rows, _, causes = measured(
        lambda sky, source, profile: (
            place(sky, wide, source.flux, *source.offset) if profile is SPREAD.star else sky
        )
    )
    for row in rows:
        if row.significance >= 12:
            expected = 1.15 if row.kind == "point" else row.before.width
            assert row.after.width == pytest.approx(expected, abs=0.04)
    assert any(
        "points of signal to noise 50 became" in cause and "softened" in cause for cause in causes
    )


def test_removed_sources_are_incomplete():
    rows, purity, causes = measured(lambda sky, source, profile: sky.copy())
    for row in rows:
        assert row.after.completeness == 0
        assert row.after.shift is None
        assert row.kept == pytest.approx(0, abs=0.05)
    assert sum(row.detections_after for row in purity) == 0
    assert {row.after for row in purity} == {None}
    assert any("faint sources were removed" in cause for cause in causes)


def test_invented_sources_are_impure():
    other = Profile(moffat(16, 4.0, 3.0))

    def invent(sky, source, profile):
        image = place(sky, profile, source.flux, *source.offset)
        light = 8 * ERROR * other.at(0, 0, 5)
        middle = len(image) // 2 + 9
        image[middle - 5 : middle + 6, middle - 5 : middle + 6] += light
        return image

    _, purity, causes = measured(invent)
    by_significance = {row.significance: row for row in purity}
    assert by_significance[8].before == 1.0
    assert by_significance[8].after < 0.4
    assert by_significance[50].after == 1.0
    assert any("noise was made into sources" in cause for cause in causes)


def test_few_sources_name_no_cause():
    _, _, causes = measured(lambda sky, source, profile: sky.copy(), count=2)
    assert causes == ()


def test_one_source_has_no_scatter():
    rows, _, _ = measured(count=1)
    assert {row.before.flux_scatter for row in rows} == {None}
    assert {row.kept_error for row in rows} == {None}
