"""Components, blocks, cosine transform and tables of a JPEG are those of its standards."""

import numpy as np
import pytest
import torch
from jpegs import tensor

from glassplate.models.operators.jpeg import block_cosine_matrix, box_mean, rgb_to_ycbcr
from glassplate.models.operators.quantisation import (
    CHROMA,
    LUMA,
    Quantisation,
    standard_quantisation,
)


def test_the_transform_is_orthonormal_and_begins_with_the_mean():
    basis = block_cosine_matrix(torch.zeros((), dtype=torch.float64))
    torch.testing.assert_close(basis @ basis.T, torch.eye(8, dtype=torch.float64))
    torch.testing.assert_close(basis[0], torch.full((8,), 8**-0.5, dtype=torch.float64))


def test_components_are_those_of_jfif():
    colours = np.array([[[255, 0, 0], [0, 255, 0], [9, 90, 200], [77, 77, 77]]], "u1")
    ours = rgb_to_ycbcr(tensor(colours))[0].permute(1, 2, 0).numpy()
    ours[..., 0] += 128
    theirs = [(76.2, -43.0, 127.5), (149.7, -84.5, -106.8), (78.3, 68.7, -49.4), (77, 0, 0)]
    np.testing.assert_allclose(ours[0], theirs, atol=0.1)


def test_box_means_drop_what_is_left_over():
    x = torch.arange(15.0).view(1, 1, 3, 5)
    torch.testing.assert_close(box_mean(x, (2, 2)), torch.tensor([[[[3.0, 5.0]]]]))


def test_quality_scales_the_standard_tables():
    assert standard_quantisation(50, 3, (2, 2)) == Quantisation((LUMA, CHROMA, CHROMA), (2, 2))
    assert standard_quantisation(100, 1, (2, 2)) == Quantisation(((1,) * 64,), (1, 1))
    assert standard_quantisation(1, 1, (1, 1)).tables[0][0] == 255


@pytest.mark.parametrize(
    ("tables", "sampling", "message"),
    [
        ((LUMA, CHROMA), (1, 1), "must have 1 or 3 tables"),
        (((1,) * 63,), (1, 1), "tables of 64 steps"),
        (((0,) * 64,), (1, 1), "a step is 0"),
        ((LUMA, CHROMA, CHROMA), (1, 4), r"sampling is \(1, 4\)"),
    ],
)
def test_impossible_tables_are_refused(tables, sampling, message):
    with pytest.raises(ValueError, match=message):
        Quantisation(tables, sampling)
