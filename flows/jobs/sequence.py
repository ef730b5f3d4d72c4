"""A sequence: which donor each of its images starts from."""

from __future__ import annotations

from pathlib import Path

from glassplate.flows.jobs.images import Image
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.planning.donor_reuse import begun_with, find_donor, is_begun
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.recipe import Recipe


class Chain:
    """The results of a sequence so far. Its images are done one after the other."""

    def __init__(self) -> None:
        self._last: Path | None = None

    def add(self, store: Path) -> None:
        """Take note of a result that is good, as far as it has a donor to hand on."""
        try:
            find_donor(store)
        except UsageError:
            return
        self._last = store

    def donor_for(self, image: Image, recipe: Recipe) -> Path | None:
        """The earlier result from whose donor an image starts; None where it fits one of its own.

        An image that is begun goes on with what it began with, whatever has become of the others since:
        one that failed then may be good now.
        """
        if is_begun(image.store):
            return begun_with(image.store)
        if self._last is None:
            return image.donor
        try:
            make_plan(image.spec, recipe, recipe_name="", donor=find_donor(self._last))
        except UsageError:
            return None
        return self._last
