import math
from dataclasses import dataclass

import pytest

from glassplate.models.fit.stopping import Decision, StoppingSettings, decide


@dataclass(frozen=True)
class Line:
    iteration: int
    heldout_loss: float = math.nan
    chi2: float = math.nan


def log(*values, period=10, of="heldout_loss"):
    return [Line(period * (n + 1), **{of: value}) for n, value in enumerate(values)]


NAN = math.nan
RULE = StoppingSettings("heldout", heldout=0.02, patience=30, minimum=20)


@pytest.mark.parametrize(
    ("losses", "cap", "expected"),
    [
        # improving: go on; the latest is the best
        ((5, 4, 3), 1000, Decision(2, None)),
        # worse, but not for long enough
        ((5, 4, 4.1, 4.2), 1000, Decision(1, None)),
        # worse for the patience
        ((5, 4, 4.1, 4.2, 4.3), 1000, Decision(1, "held-out minimum")),
        # an equal loss is no better one
        ((4, 4, 4, 4), 1000, Decision(0, "held-out minimum")),
        # the cap, with the best before it
        ((5, 3, 4), 30, Decision(1, "iteration cap")),
        # no held-out pixels: the last one, at the cap
        ((NAN, NAN), 1000, Decision(1, None)),
        ((NAN, NAN), 20, Decision(1, "iteration cap")),
    ],
)
def test_heldout_rule(losses, cap, expected):
    assert decide(log(*losses), RULE, cap) == expected


@pytest.mark.parametrize(
    ("losses", "best"),
    [
        ((5, 4, 3.97, 3.95), 1),  # no step is large enough, and nor are they together
        ((5, 4, 3.97, 3.93), 3),  # together they are
        ((5, 4, 4.5, 3.5), 3),
        ((5, NAN, 4, 3.99), 2),
        # the least has too few iterations to be an answer
        ((3, 5, 4, 4.1), 2),
        ((3,), 0),
    ],
)
def test_with_correlated_noise_a_loss_must_fall_by_a_share_to_count(losses, best):
    assert decide(log(*losses), RULE, 1000, correlated=True).best == best


def test_another_exposure_is_independent_of_correlated_noise():
    rule = StoppingSettings("exposure", patience=30, minimum=20)
    assert decide(log(3, 5, 4, 2.999), rule, 1000, correlated=True) == Decision(3, None)


def test_no_fit_ends_before_the_minimum():
    early = StoppingSettings("heldout", patience=10, minimum=50)
    assert decide(log(1, 2, 3, 4), early, 1000).reason is None
    assert decide(log(1, 2, 3, 4, 5), early, 1000) == Decision(0, "held-out minimum")


def test_fixed_rule_takes_the_last_whatever_the_loss():
    fixed = StoppingSettings("fixed")
    assert decide(log(1, 2, 3), fixed, 1000) == Decision(2, None)
    assert decide(log(1, 2, 3), fixed, 30) == Decision(2, "iteration cap")


@pytest.mark.parametrize(
    ("values", "cap", "expected"),
    [
        ((3, 2, 1.5), 1000, Decision(2, None)),
        ((3, 2, 0.99), 1000, Decision(2, "chi2 reached")),
        ((3, 2, 1.5), 30, Decision(2, "iteration cap")),
        # reached before the minimum: on to it
        ((0.9,), 1000, Decision(0, None)),
        # no noise to speak of: the last one, at the cap
        ((NAN, NAN, NAN), 30, Decision(2, "iteration cap")),
    ],
)
def test_chi2_rule_ends_where_the_residual_is_noise(values, cap, expected):
    rule = StoppingSettings("chi2", minimum=20)
    assert decide(log(*values, of="chi2"), rule, cap) == expected
