"""How a JPEG was rounded: tables of steps, and how sparsely its colours were sampled."""

from __future__ import annotations

from dataclasses import dataclass

# Side of a block, samples.
BLOCK = 8
# Tables of the Independent JPEG Group for quality 50, which are those of annex K of ITU-T T.81, row by row.
LUMA = (
    *(16, 11, 10, 16, 24, 40, 51, 61),
    *(12, 12, 14, 19, 26, 58, 60, 55),
    *(14, 13, 16, 24, 40, 57, 69, 56),
    *(14, 17, 22, 29, 51, 87, 80, 62),
    *(18, 22, 37, 56, 68, 109, 103, 77),
    *(24, 35, 55, 64, 81, 104, 113, 92),
    *(49, 64, 78, 87, 103, 121, 120, 101),
    *(72, 92, 95, 98, 112, 100, 103, 99),
)
CHROMA = (
    *(17, 18, 24, 47, 99, 99, 99, 99),
    *(18, 21, 26, 66, 99, 99, 99, 99),
    *(24, 26, 56, 99, 99, 99, 99, 99),
    *(47, 66, 99, 99, 99, 99, 99, 99),
    *((99,) * 32),
)


@dataclass(frozen=True)
class Quantisation:
    """How a JPEG was rounded: the steps of each component, and how sparsely its colours were sampled."""

    tables: tuple[tuple[int, ...], ...]
    """64 steps, row by row, for each component: one for a grey image, else Y, Cb and Cr."""
    sampling: tuple[int, int] = (1, 1)
    """Pixels for each sample of Cb and Cr, ``(y, x)``: 1 or 2."""

    def __post_init__(self) -> None:
        if len(self.tables) not in (1, 3) or any(len(table) != BLOCK**2 for table in self.tables):
            raise ValueError("quantisation: must have 1 or 3 tables of 64 steps")
        if min(map(min, self.tables)) < 1:
            raise ValueError("quantisation: a step is 0, must be at least 1")
        if not all(factor in (1, 2) for factor in self.sampling):
            raise ValueError(f"quantisation: sampling is {self.sampling}, must be 1 or 2 pixels")


def standard_quantisation(quality: int, channels: int, sampling: tuple[int, int]) -> Quantisation:
    """Quantisation of libjpeg for a quality of 1 to 100: the standard tables, scaled (jcparam.c).

    Parameters
    ----------
    quality
        Quality with which the image was saved.
    channels
        1 or 3.
    sampling
        Pixels for each sample of Cb and Cr, ``(y, x)``.
    """
    scale = 5000 // quality if quality < 50 else 200 - 2 * quality
    luma, chroma = (
        tuple(min(max((step * scale + 50) // 100, 1), 255) for step in table)
        for table in (LUMA, CHROMA)
    )
    return Quantisation((luma, chroma, chroma)[:channels], sampling if channels == 3 else (1, 1))
