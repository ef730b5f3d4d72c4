import numpy as np
import pytest
import torch

from glassplate.models.estimate.block_matching import Nearest, Search, nearest_blocks

SEARCH = Search(side=6, reach=16, most=32)


def picture(shape, seed=0):
    return torch.rand(shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)


def by_hand(image, search) -> Nearest:
    """Compare each block of the grid with every block in reach, one by one."""
    side, step, reach = search.side, search.step, search.reach
    planes = image.numpy()
    b, _, h, w = planes.shape
    corners, distances = [], []
    for n in range(b):
        for y in range(0, h - side + 1, step):
            for x in range(0, w - side + 1, step):
                own = planes[n, :, y : y + side, x : x + side]
                found = []
                for v in range(max(0, y - reach), min(h - side, y + reach) + 1):
                    for u in range(max(0, x - reach), min(w - side, x + reach) + 1):
                        there = planes[n, :, v : v + side, u : u + side]
                        apart = -1.0 if (v, u) == (y, x) else np.mean((there - own) ** 2)
                        found.append((apart, n * h * w + v * w + u))
                nearest = sorted(found)[: search.most]
                distances.append([apart for apart, _ in nearest])
                corners.append([corner for _, corner in nearest])
    fewest = min(map(len, corners))
    return Nearest(
        torch.tensor([some[:fewest] for some in corners]),
        torch.tensor([some[:fewest] for some in distances], dtype=torch.float64),
    )


@pytest.mark.parametrize(
    ("shape", "search"),
    [
        ((1, 1, 6, 6), SEARCH),
        ((1, 3, 6, 33), SEARCH),
        ((1, 3, 9, 12), SEARCH),
        ((2, 1, 30, 36), SEARCH),
        ((1, 3, 27, 63), SEARCH),
        ((1, 2, 20, 24), Search(side=4, reach=5, most=7)),
        ((2, 1, 16, 40), Search(side=8, reach=3, most=50)),
    ],
)
def test_it_finds_what_a_search_one_by_one_finds(shape, search):
    image = picture(shape)
    found, expected = nearest_blocks(image, search, 0.1), by_hand(image, search)
    assert found.corners.shape == expected.corners.shape
    assert torch.equal(found.corners, expected.corners)
    torch.testing.assert_close(found.distances.double(), expected.distances, rtol=1e-5, atol=1e-6)


def test_each_block_is_its_own_nearest_even_where_all_are_equal():
    image = torch.full((1, 3, 30, 30), 7.0)
    found = nearest_blocks(image, SEARCH, 0.1)
    rows, columns = torch.meshgrid(torch.arange(0, 25, 3), torch.arange(0, 25, 3), indexing="ij")
    assert torch.equal(found.corners[:, 0], (rows * 30 + columns).flatten())
    assert (found.distances[:, 0] == -1).all()


@pytest.mark.parametrize("peak", [1e2, 1e5, 1e9])
def test_the_light_of_a_star_does_not_round_what_is_similar_beside_it(peak):
    """As differences of squares, 1e5 would leave errors of a thousand in single precision."""
    image = 0.3 * picture((1, 1, 36, 36)).float()
    image[..., 18, 18] = peak
    found = nearest_blocks(image, SEARCH, 0.1)
    # (rows of corners, columns, 6, 6)
    blocks = image[0, 0].unfold(0, 6, 1).unfold(1, 6, 1)
    of_corners = blocks[found.corners // 36, found.corners % 36]  # (n, most, 6, 6)
    expected = (of_corners - of_corners[:, :1]).square().mean((2, 3))
    near = found.distances[:, 1:] < 1
    assert near.any()
    torch.testing.assert_close(
        found.distances[:, 1:][near], expected[:, 1:][near], rtol=0, atol=1e-3
    )


@pytest.mark.parametrize("shape", [(6, 6), (9, 30), (27, 33), (24, 24)])
def test_every_other_block_still_reaches_each_pixel(shape):
    image = picture((2, 1, *shape))
    every = nearest_blocks(image, SEARCH, 0.1)
    some = nearest_blocks(image, SEARCH._replace(every_other=True), 0.1)
    found = {tuple(row.tolist()) for row in every.corners}
    assert {tuple(row.tolist()) for row in some.corners} <= found
    h, w = shape
    covered = torch.zeros(2 * h * w, dtype=torch.bool)
    block = (torch.arange(6)[:, None] * w + torch.arange(6)).flatten()
    covered[(some.corners[:, :1] + block).flatten()] = True
    assert covered.all()
    if min(shape) >= 24:
        assert len(some.corners) < 0.8 * len(every.corners)
