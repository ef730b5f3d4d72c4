from dataclasses import dataclass

import pytest
import torch
from hypothesis import given
from hypothesis import strategies as st

from glassplate.models.stacked_state import RandomGenerators, StackedState


@dataclass(frozen=True)
class Inner(StackedState):
    map: torch.Tensor


class Outer(StackedState):
    def __init__(self, number, scale=2):
        self.values = torch.full((1, 2, 3), float(number))
        self.inner = Inner(torch.full((1, 1), 10.0 * number))
        self.generators = RandomGenerators([torch.Generator().manual_seed(number)])
        self.scale, self.nothing = scale, None

    @property
    def numbers(self):
        return self.values[:, 0, 0].tolist()


class TestSlotted:
    @given(numbers=st.lists(st.integers(0, 9), min_size=1, max_size=5))
    def test_joined_holds_each_in_its_slot(self, numbers):
        whole = Outer.joined([Outer(number) for number in numbers])
        assert whole.numbers == numbers
        assert whole.inner.map.flatten().tolist() == [10.0 * number for number in numbers]
        alone = [Outer(number).generators.uniform(4) for number in numbers]
        assert torch.equal(whole.generators.uniform(4), torch.cat(alone))
        assert whole.scale == 2

    @given(numbers=st.lists(st.integers(0, 9), min_size=2, max_size=5), place=st.integers(0, 4))
    def test_what_is_put_into_a_slot_changes_no_other(self, numbers, place):
        slot = place % len(numbers)
        whole = Outer.joined([Outer(number) for number in numbers])
        buffer = whole.values
        whole.put(slot, Outer(77))
        numbers[slot] = 77
        again = Outer.joined([Outer(number) for number in numbers])
        assert whole.values is buffer
        assert whole.numbers == numbers
        assert torch.equal(whole.inner.map, again.inner.map)
        assert torch.equal(whole.generators.uniform(4), again.generators.uniform(4))

    @given(
        numbers=st.lists(st.integers(0, 9), min_size=2, max_size=5),
        random=st.randoms(use_true_random=False),
    )
    def test_kept_slots_are_as_if_joined_alone(self, numbers, random):
        slots = random.sample(range(len(numbers)), random.randint(1, len(numbers)))
        fewer = Outer.joined([Outer(number) for number in numbers]).kept(slots)
        again = Outer.joined([Outer(numbers[slot]) for slot in slots])
        assert fewer.numbers == again.numbers
        assert torch.equal(fewer.inner.map, again.inner.map)
        assert torch.equal(fewer.generators.uniform(4), again.generators.uniform(4))

    def test_parts_are_left_as_they_were(self):
        one, other = Outer(1), Outer(2)
        whole = Outer.joined([one, other])
        whole.values += 1
        whole.put(0, Outer(9))
        assert one.numbers == [1]
        assert other.numbers == [2]

    def test_one_alone_is_itself(self):
        one = Outer(1)
        assert Outer.joined([one]) is one

    def test_attributes_that_are_no_tensors_must_be_equal(self):
        with pytest.raises(ValueError, match=r"Outer\.scale differs .* \[2, 3\]"):
            Outer.joined([Outer(1), Outer(2, scale=3)])


class TestRandomGenerators:
    def test_a_window_draws_the_same_whatever_its_neighbours(self):
        def generators(*seeds):
            return RandomGenerators([torch.Generator().manual_seed(seed) for seed in seeds])

        assert torch.equal(generators(1, 2, 3).uniform(5, 4)[1:2], generators(2).uniform(5, 4))
        assert torch.equal(generators(1, 2, 3).normal(5, 4)[2:], generators(3).normal(5, 4))
        assert generators(1, 2).integers(1000)[1:] == generators(2).integers(1000)

    def test_every_number_below_the_limit_comes(self):
        generators = RandomGenerators([torch.Generator().manual_seed(seed) for seed in (0, 1)])
        drawn = [generators.integers(4) for _ in range(60)]
        assert {one for one, _ in drawn} == {other for _, other in drawn} == {0, 1, 2, 3}
