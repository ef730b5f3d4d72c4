"""What rules and names need to know of an image: its size and some keywords of its header."""

from __future__ import annotations

import math
from collections.abc import Mapping, Set
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any, TypeAlias

from glassplate.flows.accounts.stamps import FileStamp, stamp_of
from glassplate.pipeline.companions.beside import hdus_of
from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.fits.extensions import hdu_index

Value: TypeAlias = str | int | float | bool


@dataclass(frozen=True)
class Facts:
    """What is known of an image without its pixels."""

    megapixels: float
    """Rows times columns, in millions."""
    header: Mapping[str, Value] = field(default_factory=dict)
    """Values of the keywords that were asked for and that the image has, by keyword in capitals."""
    asked: tuple[str, ...] = ()
    """The keywords that were asked for, sorted."""
    stamp: FileStamp | None = None
    """State of the file from which the facts are."""
    key: str = ""
    """The image, as `key_of` names it."""

    def to_json(self) -> dict[str, Any]:
        """Return the facts as a line of the account holds them."""
        return {
            "key": self.key,
            "megapixels": self.megapixels,
            "header": dict(self.header),
            "asked": list(self.asked),
            "stamp": None if self.stamp is None else list(self.stamp),
        }

    @classmethod
    def from_json(cls, document: Mapping[str, Any]) -> Facts:
        """Read the facts of a line of the account.

        Raises
        ------
        LookupError, TypeError
            If the document is not that of facts.
        """
        stamp = document["stamp"]
        return cls(
            float(document["megapixels"]),
            dict(document["header"]),
            tuple(document["asked"]),
            None if stamp is None else FileStamp(*stamp),
            str(document["key"]),
        )


class KnownFacts:
    """Facts of the images of a job; those that an earlier run has recorded are not read again.

    Parameters
    ----------
    recorded
        Facts by the image, as `key_of` names it.
    """

    def __init__(self, recorded: Mapping[str, Facts] | None = None) -> None:
        self._known = dict(recorded or {})

    def known(self, path: Path, hdu: int | str | None, page: int | str | None) -> Facts | None:
        """Return the facts that are known of an image; None if there are none."""
        return self._known.get(key_of(path, hdu, page))

    def of(
        self, path: Path, hdu: int | str | None, page: int | str | None, keywords: Set[str]
    ) -> Facts:
        """Return the facts of an image, from its file if that has changed since they were recorded.

        Raises
        ------
        SourceError
            If the file cannot be read or has no such image.
        """
        key, stamp = key_of(path, hdu, page), stamp_of(path)
        known = self._known.get(key)
        fresh = known is not None and known.stamp == stamp and set(known.asked) >= keywords
        if known is None or not fresh:
            read = read_facts(path, hdu, page, keywords)
            self._known[key] = known = replace(read, stamp=stamp, key=key)
        return known


def key_of(path: Path, hdu: int | str | None, page: int | str | None) -> str:
    """Name of one image of a file."""
    return f"{path}|{hdu}|{page}"


def read_facts(
    path: Path,
    hdu: int | str | None,
    page: int | str | None,
    keywords: Set[str],
) -> Facts:
    """Read the facts of an image from its file, without its pixels.

    Raises
    ------
    SourceError
        If the file cannot be read or has no such image.
    """
    asked = tuple(sorted(keywords))
    if planes := hdus_of(path):
        index = hdu_index(path, hdu) if isinstance(hdu, str) else hdu
        for plane in planes:
            if index in (None, plane.extension.index):
                values = {key: plane.header[key] for key in asked if key in plane.header}
                header = {key: _plain(value) for key, value in values.items()}
                return Facts(_megapixels(plane.shape), header, asked)
        raise SourceError(f"{path}: has no image {hdu}; glassplate inspect {path} lists them")
    for image in describe(path)["images"]:
        if image["index"] == page or (page in (None, "all") and image["restorable"]):
            return Facts(_megapixels(image["shape"]), {}, asked)
    raise SourceError(f"{path}: has no image that can be restored")


def _megapixels(shape: tuple[int, ...]) -> float:
    return math.prod(shape[-2:]) / 1e6


def _plain(value: object) -> Value:
    return value if isinstance(value, str | int | float | bool) else str(value)
