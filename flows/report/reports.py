"""The report of an image: as text for people, as JSON for programs."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from glassplate.flows.report.status import Status
from glassplate.flows.report.text import duration, number, plural
from glassplate.pipeline.pages.job_account import State
from glassplate.pipeline.text import printable

if TYPE_CHECKING:
    from glassplate.pipeline.run.request import RunResult

_STATES: Mapping[Status, State] = {
    "restored": "done",
    "done before": "skipped",
    "changed": "skipped",
    "quarantined": "quarantined",
    "pending": "pending",
}
_NOT_RESTORED: Mapping[Status, str] = {
    "changed": "skipped, its result is of other settings",
    "quarantined": "quarantined",
    "pending": "pending",
}


@dataclass(frozen=True)
class ImageReport:
    """The result of one image."""

    source: str
    store: str
    status: Status
    reason: str = ""
    """Why the image is not restored, or not in all its tiles, on one line."""
    remedy: str = ""
    """What has to be done about it, on one line."""
    passing: bool = False
    """Whether tiles are missing for a reason of the moment."""
    tiles: int = 0
    quarantined: int = 0
    """Tiles that could not be restored."""
    noise_before: float | None = None
    """Standard deviation of the noise in the flattest places of the input, in source units."""
    noise_after: float | None = None
    """The same there in the result."""
    unit: str | None = None
    companions: tuple[str, ...] = ()
    """The mask and the noise that came with the image, one line each."""
    filled_pixels: int = 0
    """Invalid pixels that were filled with the network's estimate, counted in each channel."""
    iterations: float | None = None
    """Mean over the tiles."""
    stop_reasons: dict[str, int] = field(default_factory=dict)
    """Tiles for each reason why a fit stopped."""
    seconds: float = 0.0
    exports: tuple[str, ...] = ()
    part: str = ""
    """The HDU or page that the job names; empty if it names none."""

    @classmethod
    def from_result(cls, source: Path, result: RunResult, part: str = "") -> ImageReport:
        """Make the report of a run that has ended."""
        summary = result.summary
        status: Status = "partial" if result.status == "partial" else "restored"
        if result.already_complete and status == "restored":
            status = "done before"
        return cls(
            source=printable(str(source)),
            store=printable(str(result.store)),
            part=printable(part),
            status=status,
            tiles=result.tiles,
            quarantined=result.quarantined,
            noise_before=summary.noise_before,
            noise_after=summary.noise_after,
            unit=summary.unit,
            companions=tuple(printable(line) for line in summary.companions),
            filled_pixels=summary.filled_pixels,
            iterations=summary.iterations,
            stop_reasons=dict(summary.stop_reasons),
            seconds=result.seconds,
            exports=tuple(printable(str(path)) for path in [result.export] if path is not None),
        )

    @property
    def label(self) -> str:
        """The file's name with the image in it: ``m31.fits`` or ``m31.fits[SCI]``."""
        return Path(self.source).name + (f"[{self.part}]" if self.part else "")

    @property
    def state(self) -> State:
        """What the image counts as in the account of a job."""
        if self.status == "partial":
            return "pending" if self.passing else "quarantined"
        return _STATES[self.status]

    def text(self) -> str:
        """Return a few lines for the terminal."""
        name = self.label
        if self.status in _NOT_RESTORED:
            lines = [f"{name}: {_NOT_RESTORED[self.status]}", f"  reason      {self.reason}"]
            return "\n".join([*lines, *([f"  remedy      {self.remedy}"] if self.remedy else [])])
        head = f"{name}: {self.status}, {plural(self.tiles, 'tile')}"
        if self.quarantined:
            head += f", {self.quarantined} of them quarantined"
        head += f", {duration(self.seconds)}"
        lines = [head]
        if self.noise_before is not None or self.noise_after is not None:
            before, after = number(self.noise_before), number(self.noise_after, self.unit)
            lines.append(f"  noise       {before} before, {after} after")
        lines += [f"  with        {companion}" for companion in self.companions]
        if self.filled_pixels:
            lines.append(f"  filled      {plural(self.filled_pixels, 'pixel')}")
        if self.iterations:
            lines.append(f"  iterations  {self.iterations:.0f} a tile; stopped by {self._reasons}")
        lines.append(f"  zarr        {self.store}")
        lines += [f"  export      {path}" for path in self.exports]
        return "\n".join(lines)

    @property
    def _reasons(self) -> str:
        parts = [
            f"{reason} ({plural(count, 'tile')})" for reason, count in self.stop_reasons.items()
        ]
        return ", ".join(parts) or "nothing recorded"

    def row(self) -> dict[str, str]:
        """Return the row of the image in the table of a job."""
        return {
            "image": self.label,
            "status": self.status,
            "noise before": number(self.noise_before, self.unit),
            "noise after": number(self.noise_after, self.unit),
            "iterations": f"{self.iterations:.0f}" if self.iterations else "",
            "stopped by": self._reasons if self.stop_reasons else "",
            "seconds": f"{self.seconds:.1f}",
            "result": self.store,
            "exports": ", ".join(self.exports),
            "reason": self.reason,
            "remedy": self.remedy,
        }
