"""The joint exports of a job: files of which several HDUs are restored, each exported to one file."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from glassplate.flows.jobs.image import Image
from glassplate.pipeline.events import Listener
from glassplate.pipeline.run.joint_export import export_jointly


class JointExports:
    """Writes each joint export as soon as the last of its images has ended; threads may share it."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._guard = threading.Lock()
        self._left: defaultdict[Path, int] = defaultdict(int)
        self._restored: defaultdict[Path, list[Path]] = defaultdict(list)
        self._as_recorded: defaultdict[Path, bool] = defaultdict(lambda: True)
        for image in images:
            if image.joint is not None:
                self._left[image.joint] += 1

    def image_ended(
        self, image: Image, listener: Listener, *, restored: bool, as_recorded: bool = False
    ) -> Path | None:
        """Count an image, and write the export if it was the last one of its file.

        An image that could not be restored is in the export as it is in the input.

        Parameters
        ----------
        image
            Of the job.
        listener
            Receives the events of the export.
        restored
            Whether the image has a result.
        as_recorded
            Whether its result, and the export if it was recorded with this image, are as they were after the
            last run. If that is so for all images of a file, nothing is to do.

        Returns
        -------
        export
            The file that was written or looked at; None where none was.

        Raises
        ------
        GlassplateError
            If the export cannot be written.
        """
        if image.joint is None:
            return None
        with self._guard:
            self._left[image.joint] -= 1
            self._as_recorded[image.joint] &= as_recorded
            if restored:
                self._restored[image.joint].append(image.store)
            stores = [] if self._left[image.joint] else self._restored[image.joint]
            needed = not self._as_recorded[image.joint]
        if not stores or not needed:
            return None
        export_jointly(sorted(stores), image.joint, listener)
        return image.joint

    def stores_of(self, joint: Path) -> list[Path]:
        """The results that a joint export holds."""
        return list(self._restored[joint])
