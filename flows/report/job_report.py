"""The report of a job: as text for people, as JSON for programs, as a page for Prefect."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from glassplate.flows.report.reports import ImageReport
from glassplate.flows.report.status import Status
from glassplate.flows.report.text import duration, plural
from glassplate.pipeline.pages.job_account import STATES

# Images of one status of which the report has a text each; of others it gives the number.
MOST_TEXTS = 20

# Rows of the table that Prefect keeps for a job, in its database.
MOST_ROWS = 200

_WORDS: Sequence[tuple[Status, str]] = (
    ("restored", "restored"),
    ("done before", "done before"),
    ("changed", "skipped"),
    ("partial", "restored in part"),
    ("quarantined", "quarantined"),
    ("pending", "pending"),
)


@dataclass(frozen=True)
class JobReport:
    """The result of a job."""

    images: tuple[ImageReport, ...]
    seconds: float
    left_out: tuple[str, ...] = ()
    """Files that patterns of the job match and glassplate has written."""
    companions: tuple[str, ...] = ()
    """Files that patterns match and that are the masks or the noise of other images."""
    others: tuple[str, ...] = ()
    """Files in folders of the inputs that are no images by their suffixes."""
    account: str = ""
    """File with a line for each image."""
    log: str = ""
    """File with the log of all runs of the job."""
    page: str = ""
    """Page with a table of the images."""

    def count(self, *statuses: Status) -> int:
        """Return the number of images with one of these statuses."""
        return sum(image.status in statuses for image in self.images)

    @property
    def exit_code(self) -> int:
        """0 if every image is done or skipped, 1 if no image could be restored, else 3."""
        if self.count("restored", "done before", "changed") == len(self.images):
            return 0
        return 1 if self.count("quarantined", "pending") == len(self.images) else 3

    def sums(self) -> dict[str, int]:
        """Return the number of images in each state; they add up to the number of inputs."""
        states = [image.state for image in self.images]
        return {state: states.count(state) for state in STATES}

    def account_line(self) -> str:
        """Return the sums of the account on one line."""
        sums = " + ".join(f"{count} {state}" for state, count in self.sums().items())
        return f"{plural(len(self.images), 'input')} = {sums}"

    def headline(self) -> str:
        """Return the summary on one line."""
        if not self.images:
            return "no images: nothing to do"
        counts = [f"{self.count(status)} {word}" for status, word in _WORDS if self.count(status)]
        return f"{plural(len(self.images), 'image')}: {', '.join(counts)}; {duration(self.seconds)}"

    def text(self, *, brief: bool = False) -> str:
        """Return the reports of the images and the summary, for the terminal.

        Parameters
        ----------
        brief
            Leave out the images that are done or were done before.
        """
        lines = [*self._texts(brief=brief)]
        if self.images:
            lines.append(self.account_line())
        files = (("account", self.account), ("log", self.log), ("page", self.page))
        lines += [f"{name:<8}{path}" for name, path in files if path]
        return "\n".join([*lines, *self._left_out(), self.headline()])

    def _texts(self, *, brief: bool) -> Iterator[str]:
        """The texts of the images; of a status that many have, the first ones and their number."""
        shown = dict.fromkeys((status for status, _ in _WORDS), MOST_TEXTS)
        if brief:
            shown |= {"restored": 0, "done before": 0}
        else:
            shown["restored"] = len(self.images)
        for image in self.images:
            shown[image.status] -= 1
            if shown[image.status] >= 0:
                yield image.text()
        for status, word in () if brief else _WORDS:
            if shown[status] < 0:
                yield f"{plural(-shown[status], 'further image')} {word}"

    def _left_out(self) -> list[str]:
        """Return a line about each kind of inputs that were left out, if there are any."""
        kinds = (
            (self.left_out, "that glassplate made left out"),
            (self.companions, "left out that belong to other images by their names"),
            (self.others, "left out that are no images by their suffixes"),
        )
        return [
            f"{plural(len(files), 'input')} {why}, such as {files[0]}"
            for files, why in kinds
            if files
        ]

    def markdown(self) -> str:
        """Return the report as the page that Prefect shows: what was worked on, and what is not restored."""
        if not self.images:
            return "\n\n".join([*self._left_out(), self.headline()])
        shown = [image for image in self.images if image.status != "done before"]
        shown = sorted(shown, key=lambda image: image.status == "restored")[:MOST_ROWS]
        below = [f"\n{line}" for line in self._left_out()]
        if len(shown) < len(self.images):
            where = f"; {self.account} has a line for each" if self.account else ""
            below.append(f"\n{plural(len(self.images) - len(shown), 'further image')}{where}")
        return "\n".join([f"{self.headline()}\n\n{self.account_line()}\n", *_table(shown), *below])


def _table(images: Sequence[ImageReport]) -> list[str]:
    """The rows of images as a table in Markdown."""
    if not images:
        return []
    rows = [image.row() for image in images]
    cells = [list(rows[0]), ["---"] * len(rows[0]), *(list(row.values()) for row in rows)]
    return ["| " + " | ".join(cell.replace("|", "\\|") for cell in row) + " |" for row in cells]
