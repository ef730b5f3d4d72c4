"""The donors of a sequence of frames: each frame starts from the donor of the last good frame."""

from __future__ import annotations

from pathlib import Path

from glassplate.flows.jobs.images import Image
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.donor_reuse import begun_with, find_donor, is_begun
from glassplate.pipeline.recipes.recipe import Recipe


class DonorSequence:
    """Chooses the donor of each image of a sequence, whose images are restored one after the other."""

    def __init__(self) -> None:
        self._last: Path | None = None

    def add(self, store: Path) -> None:
        """Add a good result; one without a donor is not handed on."""
        try:
            find_donor(store)
        except UsageError:
            return
        self._last = store

    def donor_for(self, image: Image, recipe: Recipe) -> Path | None:
        """Return the earlier result from whose donor an image starts; None if it fits its own donor.

        A result that exists in part keeps the donor that it started with. Otherwise a frame that failed
        in an earlier run, and is good now, would change the donor of the frames after it.
        """
        if is_begun(image.store):
            return begun_with(image.store)
        if self._last is None:
            return image.donor
        from glassplate.pipeline.planning.make_plan import make_plan  # imports torch

        try:
            make_plan(image.spec, recipe, recipe_name="", donor=find_donor(self._last))
        except UsageError:
            return None
        return self._last
