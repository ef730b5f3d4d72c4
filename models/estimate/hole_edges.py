"""Continue into holes what is known around them."""

from __future__ import annotations

import torch
import torch.nn.functional as F

from glassplate.models.filters import fill_unknown

# Relaxations, which start from the means of surrounding squares. PSNR of F16 under text, dB: 37.13 with none,
# 38.01 with 20, 38.03 with 200 (37.34 without a membrane).
STEPS = 200


def membrane(values: torch.Tensor, known: torch.Tensor) -> torch.Tensor:
    """Interpolate harmonically: each unknown pixel is the mean of its four neighbours.

    Poisson blending (Perez, Gangnet & Blake 2003) adds such a membrane of the difference along the border.
    Jacobi's method solves it. In the middle of holes wider than some twenty pixels it has not converged, and
    the result is about as smooth as the means it starts from.

    Parameters
    ----------
    values
        (B, C, h, w); ignored where not known.
    known
        (B, C, h, w) bool.

    Returns
    -------
    (B, C, h, w): `values` where known; 0 everywhere if nothing is known.
    """
    known_values = torch.where(known, values, 0)
    film = fill_unknown(known_values, known)
    for _ in range(STEPS):
        wide = F.pad(film, (1, 1, 1, 1), mode="replicate")
        rows = wide[..., 2:, 1:-1] + wide[..., :-2, 1:-1]
        film = torch.where(
            known, known_values, (rows + wide[..., 1:-1, 2:] + wide[..., 1:-1, :-2]) / 4
        )
    return film
