"""Channels as brightness and differences of colour: orthonormal cosines over the channels."""

from __future__ import annotations

import torch

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.estimate.posterior import COLOURS


def colour_components(planes: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """Rotate up to `COLOURS` channels to brightness and differences of colour, or back; (B, C, h, w).

    More channels are left as they are, because each of them is treated alone.
    """
    channels = planes.shape[1]
    if not 1 < channels <= COLOURS:
        return planes
    matrix = torch.from_numpy(cosine_matrix(channels)).to(planes)
    return torch.einsum("kc,bchw->bkhw", matrix.T if inverse else matrix, planes)


def colour_variance(variance: torch.Tensor, inverse: bool = False) -> torch.Tensor:
    """Variance of the colour components of independent channels, or back; (B, C, h, w)."""
    channels = variance.shape[1]
    if not 1 < channels <= COLOURS:
        return variance
    matrix = torch.from_numpy(cosine_matrix(channels)).to(variance).square()
    return torch.einsum("kc,bchw->bkhw", matrix.T if inverse else matrix, variance)
