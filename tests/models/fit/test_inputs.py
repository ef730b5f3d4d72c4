import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st
from windows import measurement, problem, sky

from glassplate.models.fit.inputs import (
    BlindSpot,
    NoiseCode,
    PixelSplit,
    Scene,
    Whole,
    moved,
    split_pixels,
    squares,
)
from glassplate.models.fit.settings import MORE_SQUARES
from glassplate.models.fit.window import Window
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.stacked_state import RandomGenerators


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def everything(shape):
    valid = torch.ones((1, *shape), dtype=torch.bool)
    return PixelSplit(valid, ~valid, valid)


def scene(values, split=None, scale=1, size=None):
    values = torch.as_tensor(values, dtype=torch.float32)[None]
    split = split or everything(values.shape[1:])
    size = size or tuple(n * scale for n in values.shape[-2:])
    return Scene(values, split, scale, size, scale > 1, RandomGenerators([generator()]))


class TestSplit:
    @given(
        h=st.integers(1, 40),
        w=st.integers(1, 40),
        share=st.floats(0, 0.5),
        correlated=st.booleans(),
        seed=st.integers(0, 1000),
    )
    def test_the_split_of_any_window_is_consistent(self, h, w, share, correlated, seed):
        valid = torch.from_numpy(np.random.default_rng(seed).random((1, 2, h, w)) > 0.3)
        split = split_pixels(valid, share, correlated, generator(seed))
        assert torch.equal(split.valid, valid)
        assert not (split.heldout & ~valid).any()
        assert not (split.usable & ~valid).any()
        assert not (split.usable & split.heldout).any()
        if not correlated:
            assert torch.equal(split.usable | split.heldout, valid)
        else:
            near = squares(split.heldout.any(1, keepdim=True))
            assert not (split.usable & near).any()

    def test_holds_out_the_given_share(self):
        split = split_pixels(everything((3, 100, 100)).valid, 0.02, False, generator())
        assert split.heldout.sum() == 3 * 200
        assert torch.equal(split.heldout[:, 0], split.heldout[:, 2])

    def test_a_small_window_holds_out_enough_pixels(self):
        assert (
            split_pixels(everything((1, 10, 10)).valid, 0.02, False, generator()).heldout.sum()
            == 16
        )
        assert (
            split_pixels(everything((1, 4, 5)).valid, 0.02, False, generator()).heldout.sum() == 5
        )
        assert (
            split_pixels(everything((1, 1, 1)).valid, 0.02, False, generator()).heldout.sum() == 0
        )

    def test_no_share_holds_out_nothing(self):
        assert not split_pixels(
            everything((1, 10, 10)).valid, 0.0, False, generator()
        ).heldout.any()


class TestBlindSpot:
    """The contract of decision 5: a pixel's own value never reaches the input from which it is predicted."""

    @pytest.mark.parametrize("correlated", [False, True])
    def test_a_pixel_of_the_loss_mask_is_not_in_the_input(self, correlated):
        values = torch.zeros(1, 30, 30)
        values[0, 14, 15] = 1000.0
        source = BlindSpot(scene(values), 0.3, correlated)
        reach = 1 if correlated else 0
        counted = 0
        for _ in range(200):
            z, question, _ = source.draw()
            around = question[0, 0, 14 - reach : 15 + reach, 15 - reach : 16 + reach]
            if around.any():
                counted += 1
                assert z[0, 0].abs().max() == 0
        assert counted > 20

    def test_the_dropped_share_is_the_setting(self):
        for correlated in (False, True):
            source = BlindSpot(scene(torch.rand(2, 200, 200)), 0.3, correlated)
            kept = torch.stack([source.draw().z[:, -1] for _ in range(10)]).round().mean()
            expected = 0.7**MORE_SQUARES if correlated else 0.7
            assert abs(kept - expected) < 0.02, correlated

    def test_invalid_and_heldout_pixels_are_never_in_the_input_and_always_averaged(self):
        rng = np.random.default_rng(0)
        valid = torch.from_numpy(rng.random((1, 1, 30, 30)) > 0.2)
        split = split_pixels(valid, 0.1, False, generator())
        clean = torch.rand(1, 30, 30, generator=generator())
        spoilt = torch.where(split.usable[0], clean, torch.inf)
        a, b = (BlindSpot(scene(v, split), 0.3, False) for v in (clean, spoilt))
        for _ in range(5):
            one, two = a.draw(), b.draw()
            assert torch.equal(one.z, two.z)
            assert not (one.loss_mask & ~split.usable).any()
            assert one.averaging_mask[~split.usable].all()

    def test_holes_of_the_same_shape_are_dropped_and_in_the_loss_mask(self):
        valid = torch.ones(1, 1, 40, 50, dtype=torch.bool)
        valid[..., 5:9, 7:30] = False
        split = PixelSplit(valid, torch.zeros_like(valid), valid)
        source = BlindSpot(
            scene(torch.rand(1, 40, 50), split), 0.047, False, RandomGenerators([generator()])
        )
        places = set()
        for _ in range(20):
            z, loss_mask, averaging_mask = source.draw()
            dropped = z[:, -1:].round() == 0  # (1, 1, 40, 50)
            assert torch.equal(dropped & valid, loss_mask)
            assert torch.equal(averaging_mask[~valid], torch.ones_like(averaging_mask[~valid]))
            assert loss_mask.sum() < 4 * 23 + 20
            places.add(tuple(loss_mask.flatten().nonzero().flatten().tolist()))
        assert len(places) > 15
        for correlated, generators in (
            (False, None),
            (True, RandomGenerators([generator()])),
            (False, RandomGenerators([generator()])),
        ):
            plain = BlindSpot(scene(torch.rand(1, 40, 50), split), 0.0, correlated, generators)
            assert not plain.draw().loss_mask.any()

    def test_with_holes_the_share_dropped_stays(self):
        valid = torch.rand(1, 1, 100, 100, generator=generator()) > 0.1
        split = PixelSplit(valid, torch.zeros_like(valid), valid)
        source = BlindSpot(
            scene(torch.rand(1, 100, 100), split), 0.3, False, RandomGenerators([generator()])
        )
        loss_mask = torch.stack([source.draw().loss_mask for _ in range(10)]).sum() / 10
        assert abs(loss_mask / valid.sum() - 0.3) < 0.02

    def test_a_moved_pattern_keeps_its_pixels(self):
        pattern = torch.rand(1, 1, 11, 7, generator=generator()) < 0.3
        for seed in range(20):
            assert moved(pattern, RandomGenerators([generator(seed)])).sum() == pattern.sum()

    def test_a_single_dropped_pixel_is_no_constant_input(self):
        source = BlindSpot(scene(torch.rand(1, 1, 1), size=(8, 8)), 0.5, False)
        assert all(source.draw().z.std() > 0 for _ in range(10))

    def test_upscaling_feeds_the_finer_grid_and_averages_all_of_it(self):
        source = BlindSpot(scene(torch.rand(3, 5, 6), scale=2, size=(16, 16)), 0.3, False)
        z, loss_mask, averaging_mask = source.draw()
        assert z.shape == (1, 4, 16, 16)
        assert loss_mask.shape == (1, 3, 5, 6)
        assert averaging_mask.shape == (1, 3, 10, 12)
        assert averaging_mask.all()


class TestNoiseCode:
    def test_is_one_code_with_fresh_noise(self):
        source = NoiseCode(scene(torch.rand(3, 20, 20), size=(32, 32)), 8, 0.1)
        one, two = source.draw(), source.draw()
        assert one.z.shape == (1, 8, 32, 32)
        assert abs((one.z - two.z).std() - 0.1 * 2**0.5) < 0.01
        assert ((one.z + two.z) / 2 - 0.05).abs().max() < 0.5
        assert one.loss_mask.all()
        assert one.averaging_mask.all()

    def test_the_loss_mask_has_usable_pixels_only(self):
        split = split_pixels(everything((1, 20, 20)).valid, 0.1, False, generator())
        source = NoiseCode(scene(torch.rand(1, 20, 20), split), 4, 0.0)
        assert torch.equal(source.draw().loss_mask, split.usable)


class TestDecoder:
    def test_a_decoders_code_is_small_and_stays(self):
        network = NetworkSettings("decoder", channels=4, scales=2)
        source = Window(measurement(sky(13, 22)[1]), problem(network=network)).input()
        one, other = source.draw().z, source.draw().z
        assert one.shape == (1, 32, 4, 6)
        assert torch.equal(one, other)


class TestWhole:
    def test_is_the_measurement_without_heldout_pixels(self):
        valid = torch.ones((1, 2, 20, 20), dtype=torch.bool)
        split = split_pixels(valid, 0.1, False, generator())
        clean = torch.rand(2, 20, 20, generator=generator())
        spoilt = torch.where(split.usable[0], clean, torch.inf)
        one, two = (Whole(scene(v, split, scale=2, size=(48, 40))).draw() for v in (clean, spoilt))
        assert torch.equal(one.z, two.z)
        assert one.z.shape == (1, 3, 48, 40)
        assert torch.equal(one.loss_mask, split.usable)
        assert one.averaging_mask.shape == (1, 2, 40, 40)
        assert one.averaging_mask.all()

    def test_the_last_channel_marks_missing_pixels_and_padding(self):
        valid = torch.ones((1, 1, 8, 8), dtype=torch.bool)
        split = split_pixels(valid, 0.1, False, generator())
        z = Whole(scene(torch.rand(1, 8, 8), split, size=(16, 8))).draw().z
        share = z[:, -1:].round()
        assert torch.equal(share[..., :8, :].bool(), split.usable)
        assert not share[..., 8:, :].any()
