"""The low-pass filters by which an image is made smaller."""

from __future__ import annotations

from typing import Literal, TypeAlias, get_args

Kernel: TypeAlias = Literal["lanczos2", "lanczos3", "bicubic", "box", "pick"]
KERNELS: tuple[Kernel, ...] = get_args(Kernel)
