import torch
from hypothesis import given
from hypothesis import strategies as st

from glassplate.models.fit.average import Average


def maps(*values):
    return [torch.full((1, 1, 2, 2), float(value)) for value in values]


EVERYWHERE = torch.ones((1, 1, 2, 2), dtype=torch.bool)


def average(values, masks=None, decay=0.9, warm_start=False):
    mean = Average((1, 1, 2, 2), "cpu", decay, warm_start=warm_start)
    for place, x in enumerate(maps(*values)):
        mean.add(x, EVERYWHERE if masks is None else masks[place])
    return mean.value()


@given(
    value=st.floats(-1e3, 1e3, width=32),
    count=st.integers(1, 40),
    decay=st.floats(0, 0.999),
    warm_start=st.booleans(),
)
def test_a_constant_is_its_own_average(value, count, decay, warm_start):
    torch.testing.assert_close(average([value] * count, None, decay, warm_start), maps(value)[0])


@given(values=st.lists(st.floats(-100, 100, width=32), min_size=1, max_size=30))
def test_lies_between_its_extremes(values):
    for warm_start in (True, False):
        mean = average(values, warm_start=warm_start)
        assert min(values) - 1e-4 <= mean.min() <= mean.max() <= max(values) + 1e-4


def test_a_warm_start_is_averaged_by_the_formula():
    torch.testing.assert_close(
        average([1, 2, 3], decay=0.5, warm_start=True), maps((0.25 + 0.5 * 2 + 3) / 1.75)[0]
    )


def test_a_bad_beginning_is_forgotten():
    values = [1000.0] + [1.0] * 100
    assert average(values, decay=0.99).max() < 1.001
    assert average(values, decay=0.99, warm_start=True).min() > 5


def test_each_pixel_is_averaged_over_its_own_masks():
    here = torch.tensor([[[[True, False], [True, False]]]])
    mean = average([1, 5], [here, ~here])
    assert mean[0, 0, :, 0].tolist() == [1, 1]
    assert mean[0, 0, :, 1].tolist() == [5, 5]


def test_a_pixel_that_no_mask_had_is_the_latest_estimate():
    nowhere = torch.zeros_like(EVERYWHERE)
    assert (average([1, 7], [nowhere, nowhere]) == 7).all()
