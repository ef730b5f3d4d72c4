"""The joint exports of a job: files of which several HDUs are restored, each exported to one file."""

from __future__ import annotations

import threading
from collections import defaultdict
from collections.abc import Iterable
from pathlib import Path

from glassplate.flows.jobs.images import Image
from glassplate.pipeline.events import Listener
from glassplate.pipeline.run.joint_export import export_jointly


class JointExports:
    """Writes each joint export as soon as the last of its images has ended; threads may share it."""

    def __init__(self, images: Iterable[Image]) -> None:
        self._guard = threading.Lock()
        self._left: defaultdict[Path, int] = defaultdict(int)
        self._restored: defaultdict[Path, list[Path]] = defaultdict(list)
        for image in images:
            if image.joint is not None:
                self._left[image.joint] += 1

    def image_ended(self, image: Image, listener: Listener, *, restored: bool) -> Path | None:
        """Count an image, and write the export if it was the last one of its file.

        An image that could not be restored is in the export as it is in the input.

        Returns
        -------
        export
            The file that was written; None where none was.

        Raises
        ------
        GlassplateError
            If the export cannot be written.
        """
        if image.joint is None:
            return None
        with self._guard:
            self._left[image.joint] -= 1
            if restored:
                self._restored[image.joint].append(image.store)
            stores = [] if self._left[image.joint] else self._restored[image.joint]
        if not stores:
            return None
        export_jointly(sorted(stores), image.joint, listener)
        return image.joint
