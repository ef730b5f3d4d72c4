"""What benchmarks/speed.py calls the default and the reference are the recipes of these names."""

import sys
from pathlib import Path

import numpy as np
import pytest
import torch

from glassplate.pipeline.recipe import load_recipe

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.fixture
def speed(monkeypatch):
    monkeypatch.setattr(sys, "path", [str(FOLDER), *sys.path])
    return pytest.importorskip("speed")


def test_speed_measures_the_shipped_recipes(speed):
    default, reference = load_recipe("archive-denoise"), load_recipe("reference")
    assert default.network == speed.DEFAULT_NETWORK
    assert default.fit == speed.DEFAULT_FIT
    assert default.donor == speed.DEFAULT_DONOR
    assert default.stopping == speed.DEFAULT_STOPPING
    assert reference.network == speed.REFERENCE_NETWORK
    assert reference.fit == speed.REFERENCE_FIT
    assert reference.stopping.rule == "fixed"


def test_first_point_near_a_target(speed):
    points = [speed.Point(n, n / 10, psnr) for n, psnr in ((5, 20.0), (10, 25.0), (15, 24.0))]
    assert speed.first(points, 24.5) == points[1]
    assert speed.first(points, 26) is None


class TestZeroShotNoise2Noise:
    def test_pair_halves_the_pixels_between_two_images(self, speed):
        image = torch.rand(1, 3, 8, 6)
        one, two = sys.modules["zsn2n"].pair(image)
        assert one.shape == two.shape == (1, 3, 4, 3)
        torch.testing.assert_close(
            (one + two) / 2, torch.nn.functional.avg_pool2d(image, 2), rtol=1e-6, atol=1e-6
        )
        assert one[0, 0, 0, 0] == (image[0, 0, 0, 1] + image[0, 0, 1, 0]) / 2

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
