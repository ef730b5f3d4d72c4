"""The plan of a job: as text for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

from glassplate.flows.report.text import amount, duration, plural

Action: TypeAlias = Literal["restore", "resume", "look", "skip", "quarantined", "pending"]
"""What a job would do with an image; "look": a result is there, and its files are read to compare them."""

# Images for each action of which the plan has a line; of more it has their number.
MOST_LINES = 20


_WORDS: Mapping[Action, str] = {
    "restore": "to restore",
    "resume": "to resume",
    "look": "to compare with their results",
    "skip": "to skip",
    "quarantined": "quarantined",
    "pending": "left to a later run",
}


@dataclass(frozen=True)
class ImagePlan:
    """What a job would do with an image."""

    source: str
    store: str
    action: Action
    reason: str = ""
    """Why it is not restored, on one line."""
    recipe: str = ""
    """Recipe, or recipes of the steps."""
    seconds: float | None = None
    """Projected time of one worker; None if nothing is to be done or the image cannot be planned."""
    disk_bytes: int | None = None
    """Projected disk, as `glassplate plan` says it."""
    sampled: bool = False
    """Whether the image itself was planned, and not one of similar size."""

    def text(self) -> str:
        """Return a line for the terminal."""
        parts = [f"{Path(self.source).name}: {self.action}"]
        if self.recipe:
            parts.append(self.recipe)
        if self.seconds is not None:
            parts.append(duration(self.seconds))
        if self.disk_bytes is not None:
            parts.append(amount(self.disk_bytes))
        line = ", ".join(parts)
        if self.recipe:
            line += f" -> {self.store}"
        return f"{line}: {self.reason}" if self.reason else line


@dataclass(frozen=True)
class JobPlan:
    """What a job would do."""

    images: tuple[ImagePlan, ...]
    workers: int
    seconds: float
    """Projected time of the job."""
    disk_bytes: int
    """Projected disk of all results together."""
    free_bytes: int
    """Free on the disk of the output folder."""
    unknown: int
    """Images of which the time and the disk are not known."""
    sampled: int
    """Images that were planned; the figures of the others follow from the size of their files."""

    def text(self) -> str:
        """Return the plan for the terminal."""
        shown: dict[Action, int] = {}
        lines: list[str] = []
        for image in self.images:
            shown[image.action] = shown.get(image.action, 0) + 1
            if shown[image.action] <= MOST_LINES:
                lines.append(image.text())
        for action, count in shown.items():
            if count > MOST_LINES:
                lines.append(f"{plural(count - MOST_LINES, 'further image')} {_WORDS[action]}")
        counts = ", ".join(f"{count} {_WORDS[action]}" for action, count in shown.items())
        lines.append(f"{plural(len(self.images), 'image')}: {counts or 'nothing to do'}")
        lines.append(
            f"time    {duration(self.seconds)} with {plural(self.workers, 'worker')}"
            f"{f', without {self.unknown} that cannot be planned' if self.unknown else ''}"
        )
        lines.append(
            f"disk    {amount(self.disk_bytes)} at most, {amount(self.free_bytes)} are free"
        )
        if self.sampled:
            lines.append(f"both follow from the plans of {plural(self.sampled, 'image')}")
        return "\n".join(lines)
