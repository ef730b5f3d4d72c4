"""How a JPEG stores an image: colour components, blocks of 8x8 samples, their cosine transform, rounding."""

from __future__ import annotations

from functools import lru_cache

import torch

from glassplate.models.cosine_transform import cosine_matrix
from glassplate.models.operators.quantisation import BLOCK


def rgb_to_ycbcr(x: torch.Tensor) -> torch.Tensor:
    """RGB to the Y - 128, Cb, Cr of JFIF, all about 0; grey to grey - 128.

    `x` is (B, 1 or 3, h, w), 0 to 255; the result has the same shape.
    """
    if x.shape[1] == 1:
        return x - 128
    r, g, b = x.unbind(1)  # (B, h, w) each
    luma = 0.299 * r + 0.587 * g + 0.114 * b
    return torch.stack([luma - 128, (b - luma) / 1.772, (r - luma) / 1.402], 1)


def ycbcr_to_rgb(components: torch.Tensor) -> torch.Tensor:
    """Invert `rgb_to_ycbcr`; (B, 1 or 3, h, w) to the same."""
    if components.shape[1] == 1:
        return components + 128
    luma, blue, red = components.unbind(1)  # (B, h, w) each
    luma = luma + 128
    r, b = luma + 1.402 * red, luma + 1.772 * blue
    return torch.stack([r, (luma - 0.299 * r - 0.114 * b) / 0.587, b], 1)


def box_mean(x: torch.Tensor, sampling: tuple[int, int]) -> torch.Tensor:
    """Mean over boxes of `sampling` pixels; (..., h, w) to (..., h // down, w // right), the rest dropped."""
    down, right = sampling
    h, w = (n // m for n, m in zip(x.shape[-2:], sampling, strict=True))
    x = x[..., : h * down, : w * right]
    return x.reshape(*x.shape[:-2], h, down, w, right).mean((-3, -1))


def split_blocks(planes: torch.Tensor) -> torch.Tensor:
    """Whole blocks of (..., h, w), row by row: (..., blocks, 8, 8); what is left over is dropped."""
    down, right = (n // BLOCK for n in planes.shape[-2:])
    inner = planes[..., : down * BLOCK, : right * BLOCK]
    inner = inner.reshape(*planes.shape[:-2], down, BLOCK, right, BLOCK)
    return inner.transpose(-3, -2).flatten(-4, -3)


def join_blocks(blocks: torch.Tensor, shape: tuple[int, int]) -> torch.Tensor:
    """Invert `split_blocks` for planes of ``(h, w)``, multiples of 8; (..., blocks, 8, 8) to (..., h, w)."""
    down, right = (n // BLOCK for n in shape)
    apart = blocks.reshape(*blocks.shape[:-3], down, right, BLOCK, BLOCK).transpose(-3, -2)
    return apart.reshape(*blocks.shape[:-3], down * BLOCK, right * BLOCK)


def block_cosine_matrix(like: torch.Tensor) -> torch.Tensor:
    """Orthonormal cosine transform of the 8 samples of a block, (8, 8); dtype and device of `like`."""
    return _block_cosine_matrix(like.dtype, like.device)


# Cached on the device: sending it there at each iteration would make the program wait for it.
@lru_cache(maxsize=4)
def _block_cosine_matrix(dtype: torch.dtype, device: torch.device) -> torch.Tensor:
    return torch.from_numpy(cosine_matrix(BLOCK)).to(device, dtype)
