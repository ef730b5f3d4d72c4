"""The level of an estimate is that of its measurement."""

from __future__ import annotations

import pytest
import torch

from glassplate.models.estimate.level import MOST, with_measured_level

SHAPE = (1, 3, 160, 160)
SIGMA = 5.0


def noisy(level: float) -> torch.Tensor:
    return level + SIGMA * torch.randn(SHAPE, generator=torch.Generator().manual_seed(0))


def levelled(x: torch.Tensor, y: torch.Tensor, valid: torch.Tensor | None = None) -> torch.Tensor:
    valid = torch.ones_like(y, dtype=torch.bool) if valid is None else valid
    return with_measured_level(x, y, torch.full_like(y, SIGMA**2), valid)


def test_an_estimate_that_is_off_gets_the_level_of_the_measurement() -> None:
    y = noisy(100)
    x = torch.full_like(y, 98)
    error = levelled(x, y) - 100
    assert (
        error.abs().max() < 0.6
    )  # sigma / (2 sqrt(pi) 16) is 0.09; half of the pixels are at a border
    assert error.mean().abs() < 0.1


def test_fine_structure_of_the_estimate_stays() -> None:
    y = noisy(100)
    checkerboard = 3 * (-1.0) ** (torch.arange(160)[:, None] + torch.arange(160))
    x = torch.full_like(y, 98) + checkerboard
    change = levelled(x, y) - x
    assert change.diff(dim=-1).abs().max() < 0.1


def test_pixels_that_do_not_count_move_nothing() -> None:
    y, valid = noisy(100), torch.ones(SHAPE, dtype=torch.bool)
    x = torch.full_like(y, 100)
    expected = levelled(x, y, valid.clone().index_fill_(3, torch.arange(20, 40), False))
    valid[..., 20:40] = False
    y[..., 20:40] = 1e6
    assert torch.equal(levelled(x, y, valid), expected)


def test_a_bright_source_is_not_spread_over_its_surroundings() -> None:
    y = torch.full(SHAPE, 100.0)
    y[..., 80, 80] = 1e5
    change = levelled(torch.full_like(y, 100), y) - 100
    assert 0 < change.max() <= MOST * SIGMA / (2 * 3.14159 * 16**2) * 1.01


@pytest.mark.parametrize("lag1", [-0.3, 0.0, 0.5, 0.99])
def test_without_noise_nothing_changes(lag1: float) -> None:
    y = noisy(100)
    x, valid = torch.zeros_like(y), torch.ones(SHAPE, dtype=torch.bool)
    assert torch.equal(with_measured_level(x, y, torch.zeros_like(y), valid, lag1), x)
    assert torch.equal(with_measured_level(x, y, torch.ones_like(y), ~valid, lag1), x)


def test_the_mean_of_correlated_noise_is_taken_over_more_pixels() -> None:
    y, valid = noisy(100), torch.ones(SHAPE, dtype=torch.bool)
    x = torch.full_like(y, 100)
    variance = torch.full_like(y, SIGMA**2)
    spread = [
        float((with_measured_level(x, y, variance, valid, lag1) - x).std())
        for lag1 in (0, 0.4, 0.8)
    ]
    assert spread[0] > 1.3 * spread[1] > 1.3 * spread[2]
