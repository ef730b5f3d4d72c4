import numpy as np
import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassplate.models.batching.slots import Dice
from glassplate.models.fit.inputs import (
    BlindSpot,
    NoiseCode,
    Scene,
    Split,
    Whole,
    moved,
    split,
    squares,
)


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def everything(shape):
    valid = torch.ones((1, *shape), dtype=torch.bool)
    return Split(valid, ~valid, valid)


def scene(values, parts=None, scale=1, size=None):
    values = torch.as_tensor(values, dtype=torch.float32)[None]
    parts = parts or everything(values.shape[1:])
    size = size or tuple(n * scale for n in values.shape[-2:])
    return Scene(values, parts, scale, size, scale > 1, Dice([dice()]))


class TestSplit:
    @given(
        h=st.integers(1, 40),
        w=st.integers(1, 40),
        share=st.floats(0, 0.5),
        correlated=st.booleans(),
        seed=st.integers(0, 1000),
    )
    def test_parts_of_any_window_are_consistent(self, h, w, share, correlated, seed):
        valid = torch.from_numpy(np.random.default_rng(seed).random((1, 2, h, w)) > 0.3)
        parts = split(valid, share, correlated, dice(seed))
        assert torch.equal(parts.valid, valid)
        assert not (parts.heldout & ~valid).any()
        assert not (parts.usable & ~valid).any()
        assert not (parts.usable & parts.heldout).any()
        if not correlated:
            assert torch.equal(parts.usable | parts.heldout, valid)
        else:
            near = squares(parts.heldout.any(1, keepdim=True))
            assert not (parts.usable & near).any()

    def test_holds_out_the_share_asked_for(self):
        parts = split(everything((3, 100, 100)).valid, 0.02, False, dice())
        assert parts.heldout.sum() == 3 * 200
        assert torch.equal(parts.heldout[:, 0], parts.heldout[:, 2])

    def test_a_small_window_holds_out_enough_to_judge(self):
        assert split(everything((1, 10, 10)).valid, 0.02, False, dice()).heldout.sum() == 16
        assert split(everything((1, 4, 5)).valid, 0.02, False, dice()).heldout.sum() == 5
        assert split(everything((1, 1, 1)).valid, 0.02, False, dice()).heldout.sum() == 0

    def test_no_share_holds_out_nothing(self):
        assert not split(everything((1, 10, 10)).valid, 0.0, False, dice()).heldout.any()


class TestBlindSpot:
    """The contract of decision 5: a pixel's own value never reaches the input that is asked about it."""

    @pytest.mark.parametrize("correlated", [False, True])
    def test_an_asked_pixel_is_not_in_the_input(self, correlated):
        values = torch.zeros(1, 30, 30)
        values[0, 14, 15] = 1000.0
        source = BlindSpot(scene(values), 0.3, correlated)
        reach = 1 if correlated else 0
        asked = 0
        for _ in range(200):
            z, question, _ = source.draw()
            around = question[0, 0, 14 - reach : 15 + reach, 15 - reach : 16 + reach]
            if around.any():
                asked += 1
                assert z[0, 0].abs().max() == 0
        assert asked > 20

    def test_share_dropped_is_what_was_asked_for(self):
        for correlated in (False, True):
            source = BlindSpot(scene(torch.rand(2, 200, 200)), 0.3, correlated)
            kept = torch.stack([source.draw().z[:, -1] for _ in range(10)]).round().mean()
            assert abs(kept - 0.7) < 0.02, correlated

    def test_invalid_and_heldout_pixels_are_never_in_the_input_and_always_answered(self):
        rng = np.random.default_rng(0)
        valid = torch.from_numpy(rng.random((1, 1, 30, 30)) > 0.2)
        parts = split(valid, 0.1, False, dice())
        clean = torch.rand(1, 30, 30, generator=dice())
        spoilt = torch.where(parts.usable[0], clean, torch.inf)
        a, b = (BlindSpot(scene(v, parts), 0.3, False) for v in (clean, spoilt))
        for _ in range(5):
            one, two = a.draw(), b.draw()
            assert torch.equal(one.z, two.z)
            assert not (one.asked & ~parts.usable).any()
            assert one.answered[~parts.usable].all()

    def test_holes_of_the_same_kind_are_dropped_and_asked_about(self):
        valid = torch.ones(1, 1, 40, 50, dtype=torch.bool)
        valid[..., 5:9, 7:30] = False
        parts = Split(valid, torch.zeros_like(valid), valid)
        source = BlindSpot(scene(torch.rand(1, 40, 50), parts), 0.047, False, Dice([dice()]))
        places = set()
        for _ in range(20):
            z, asked, answered = source.draw()
            dropped = z[:, -1:].round() == 0  # (1, 1, 40, 50)
            assert torch.equal(dropped & valid, asked)
            assert torch.equal(answered[~valid], torch.ones_like(answered[~valid]))
            assert asked.sum() < 4 * 23 + 20
            places.add(tuple(asked.flatten().nonzero().flatten().tolist()))
        assert len(places) > 15
        for correlated, thrown in ((False, None), (True, Dice([dice()])), (False, Dice([dice()]))):
            plain = BlindSpot(scene(torch.rand(1, 40, 50), parts), 0.0, correlated, thrown)
            assert not plain.draw().asked.any()

    def test_with_holes_the_share_dropped_stays(self):
        valid = torch.rand(1, 1, 100, 100, generator=dice()) > 0.1
        parts = Split(valid, torch.zeros_like(valid), valid)
        source = BlindSpot(scene(torch.rand(1, 100, 100), parts), 0.3, False, Dice([dice()]))
        asked = torch.stack([source.draw().asked for _ in range(10)]).sum() / 10
        assert abs(asked / valid.sum() - 0.3) < 0.02

    def test_a_moved_pattern_keeps_its_pixels(self):
        pattern = torch.rand(1, 1, 11, 7, generator=dice()) < 0.3
        for seed in range(20):
            assert moved(pattern, Dice([dice(seed)])).sum() == pattern.sum()

    def test_a_single_dropped_pixel_is_no_constant_input(self):
        source = BlindSpot(scene(torch.rand(1, 1, 1), size=(8, 8)), 0.5, False)
        assert all(source.draw().z.std() > 0 for _ in range(10))

    def test_upscaling_feeds_the_finer_grid_and_averages_all_of_it(self):
        source = BlindSpot(scene(torch.rand(3, 5, 6), scale=2, size=(16, 16)), 0.3, False)
        z, asked, answered = source.draw()
        assert z.shape == (1, 4, 16, 16)
        assert asked.shape == (1, 3, 5, 6)
        assert answered.shape == (1, 3, 10, 12)
        assert answered.all()


class TestNoiseCode:
    def test_is_one_code_with_fresh_noise(self):
        source = NoiseCode(scene(torch.rand(3, 20, 20), size=(32, 32)), 8, 0.1)
        one, two = source.draw(), source.draw()
        assert one.z.shape == (1, 8, 32, 32)
        assert abs((one.z - two.z).std() - 0.1 * 2**0.5) < 0.01
        assert ((one.z + two.z) / 2 - 0.05).abs().max() < 0.5
        assert one.asked.all()
        assert one.answered.all()

    def test_asks_about_usable_pixels_only(self):
        parts = split(everything((1, 20, 20)).valid, 0.1, False, dice())
        source = NoiseCode(scene(torch.rand(1, 20, 20), parts), 4, 0.0)
        assert torch.equal(source.draw().asked, parts.usable)


class TestWhole:
    def test_gives_the_measurement_but_never_what_is_held_out(self):
        valid = torch.ones((1, 2, 20, 20), dtype=torch.bool)
        parts = split(valid, 0.1, False, dice())
        clean = torch.rand(2, 20, 20, generator=dice())
        spoilt = torch.where(parts.usable[0], clean, torch.inf)
        one, two = (Whole(scene(v, parts, scale=2, size=(48, 40))).draw() for v in (clean, spoilt))
        assert torch.equal(one.z, two.z)
        assert one.z.shape == (1, 3, 48, 40)
        assert torch.equal(one.asked, parts.usable)
        assert one.answered.shape == (1, 2, 40, 40)
        assert one.answered.all()

    def test_tells_what_is_missing_and_what_is_padding(self):
        valid = torch.ones((1, 1, 8, 8), dtype=torch.bool)
        parts = split(valid, 0.1, False, dice())
        z = Whole(scene(torch.rand(1, 8, 8), parts, size=(16, 8))).draw().z
        share = z[:, -1:].round()
        assert torch.equal(share[..., :8, :].bool(), parts.usable)
        assert not share[..., 8:, :].any()
