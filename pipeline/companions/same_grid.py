"""Whether an image can go with another pixel by pixel: their sizes, and their numbers of channels."""

from __future__ import annotations

from collections.abc import Container

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.alpha import has_alpha
from glassplate.pipeline.sources.source import MOST_JOINT_PLANES, Source


def check_same_grid(image: Source, companion: Source, label: str) -> None:
    """Refuse a mask or noise image of another size than the image, or with other channels.

    Raises
    ------
    SourceError
        Also if it has an alpha channel.
    """
    _check(image, companion, label, (1, image.shape[0]))


def check_guide(image: Source, guide: Source, label: str) -> None:
    """Refuse a guide of another size than the image, or of more than four channels.

    Raises
    ------
    SourceError
        Also if it has an alpha channel.
    """
    _check(image, guide, label, range(1, MOST_JOINT_PLANES + 1))


def _check(image: Source, companion: Source, label: str, channels: Container[int]) -> None:
    if has_alpha(companion):
        raise SourceError(f"{label}: has an alpha channel; save it without")
    if companion.shape[0] not in channels or companion.shape[1:] != image.shape[1:]:
        raise SourceError(
            f"{label}: shape {companion.shape} does not fit that of {image.spec.path}, {image.shape}; "
            "it must be on the same grid"
        )


def channels_of(companion: Source, channels: tuple[int, int] | None) -> tuple[int, int] | None:
    """Which channels of a companion go with those of its image: its only one with each."""
    return None if companion.shape[0] == 1 else channels
