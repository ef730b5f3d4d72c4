"""A membrane over holes: exact where it is known, harmonic where not."""

import torch

from glassplate.models.estimate.hole_edges import membrane


def known(h=30, w=40, hole=(slice(10, 16), slice(12, 20))):
    mask = torch.ones(1, 1, h, w, dtype=torch.bool)
    mask[0, 0][hole] = False
    return mask


def test_what_is_known_stays_and_what_is_not_does_not_matter():
    values = torch.randn(1, 1, 30, 40, generator=torch.Generator().manual_seed(0))
    there = known()
    film = membrane(values, there)
    assert torch.equal(film[there], values[there])
    assert torch.equal(film, membrane(torch.where(there, values, 1e9), there))


def test_a_plane_is_continued():
    y, x = torch.meshgrid(torch.arange(30.0), torch.arange(40.0), indexing="ij")
    plane = (3 + 2 * x - y)[None, None]
    torch.testing.assert_close(membrane(plane, known()), plane, atol=0.05, rtol=0)


def test_it_stays_within_what_surrounds_it():
    values = torch.rand(1, 2, 30, 40, generator=torch.Generator().manual_seed(1))
    film = membrane(values, known().expand(1, 2, 30, 40))
    assert film.min() >= values.min()
    assert film.max() <= values.max()


def test_without_holes_or_without_anything_known():
    values = torch.rand(1, 1, 8, 9, generator=torch.Generator().manual_seed(2))
    everywhere = torch.ones(1, 1, 8, 9, dtype=torch.bool)
    assert torch.equal(membrane(values, everywhere), values)
    assert torch.equal(membrane(values, ~everywhere), torch.zeros_like(values))
