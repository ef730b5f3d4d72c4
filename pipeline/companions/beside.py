"""What observatories store beside an image: its mask and its noise, found by name.

They are extensions of the same file, with the EXTVER of the image, or files whose name follows from that of
the image by a rule of the observatory.
"""

from __future__ import annotations

import re
from collections import ChainMap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import takewhile
from pathlib import Path
from typing import Any

from glassplate.pipeline.companions.flag_tables import Header
from glassplate.pipeline.companions.sdss_mask import sdss_mask_of
from glassplate.pipeline.reader_warnings import collected_warnings
from glassplate.pipeline.sources.file_format import sniff_format
from glassplate.pipeline.sources.fits.extensions import Extension
from glassplate.pipeline.sources.guarded_reading import as_source_errors, file_state
from glassplate.pipeline.sources.source import NoiseKind
from glassplate.pipeline.sources.unpack import unpacked_for_a_while

# Names of extensions, in the order in which they are looked for.
MASK_NAMES = ("DQ", "MASK", "BPM", "MSK")
NOISE_NAMES: Mapping[str, NoiseKind] = {
    "ERR": "sigma",
    "ERROR": "sigma",
    "SIGMA": "sigma",
    "VAR": "variance",
    "VARIANCE": "variance",
    "IVM": "weight",
    "IVAR": "weight",
    "WHT": "weight",
    "WT": "weight",
    "WGT": "weight",
    "WEIGHT": "weight",
}
# Names of images of which there is one for each EXTVER. An image of any other name is one of several, and
# only what follows it immediately goes with it.
_IMAGE_NAMES = ("SCI", "SCIENCE", "IMAGE", "PRIMARY", "COMPRESSED_IMAGE", "")
# The noise of astropy's CCDData is named by its kind.
_UNCERTAINTIES: Mapping[str, NoiseKind] = {
    "StdDevUncertainty": "sigma",
    "VarianceUncertainty": "variance",
    "InverseVariance": "weight",
}


@dataclass(frozen=True)
class FileRule:
    """How the files of an observatory's masks and noise are named after those of its images."""

    image: re.Pattern[str]
    """Matches the name of an image's file."""
    mask: str
    """Template of the name of the mask's file."""
    noise: str | None
    """Template of the name of the file of the noise; None if there is none."""
    kind: NoiseKind
    """What that file holds."""
    companion: re.Pattern[str]
    """Matches the name of either."""
    of: str
    """Template of the name of the image's file, from that of either."""


FILE_RULES = (
    # the NOIRLab Community Pipeline: c4d_170916_045042_ooi_r_ls9.fits.fz, _ood_ and _oow_
    FileRule(
        re.compile(r"(.*_o[ops])i(_.*)"),
        r"\1d\2",
        r"\1w\2",
        "weight",
        re.compile(r"(.*_o[ops])[dw](_.*)"),
        r"\1i\2",
    ),
    # ZTF: ztf_20200924431759_000655_zr_c13_o_q3_sciimg.fits, _mskimg.fits
    FileRule(
        re.compile(r"(ztf_.*_)sciimg(\.fits.*)"),
        r"\1mskimg\2",
        None,
        "weight",
        re.compile(r"(ztf_.*_)mskimg(\.fits.*)"),
        r"\1sciimg\2",
    ),
    # PS1: rings.v3.skycell.1234.052.stk.r.unconv.fits, .unconv.mask.fits, .unconv.wt.fits
    FileRule(
        re.compile(r"(.*\.unconv)(\.fits.*)"),
        r"\1.mask\2",
        r"\1.wt\2",
        "variance",
        re.compile(r"(.*\.unconv)\.(?:mask|wt)(\.fits.*)"),
        r"\1\2",
    ),
)


@dataclass(frozen=True)
class Hdu:
    """An image of a FITS file, with its header."""

    path: Path
    extension: Extension
    shape: tuple[int, ...]
    """``(y, x)`` or ``(c, y, x)``."""
    header: Header
    """Its own cards, then those of the primary header."""
    unit: str | None = None

    @property
    def name(self) -> str:
        """EXTNAME, or EXTTYPE, which early files of the Rubin pipelines have in its place."""
        return self.extension.name or str(self.header.get("EXTTYPE", "")).strip()

    def is_called(self, name: str) -> bool:
        """Whether this is its name."""
        return self.name.upper() == name.upper()

    def fits(self, image: Hdu) -> bool:
        """Whether its size is that of an image, or of each plane of it."""
        planes = self.shape[:-2]
        return self.shape[-2:] == image.shape[-2:] and planes in ((), (1,), image.shape[:-2])


@dataclass(frozen=True)
class Beside:
    """A mask or a noise image that was found by its name."""

    named: Path
    """As an option would name it: ``image.fits[DQ,1]``."""
    header: Header
    """Its cards, then those of the primary header of its file."""
    kind: NoiseKind = "variance"
    """What it holds, if it is the noise."""


def hdus_of(path: Path) -> list[Hdu]:
    """The images of a FITS file that can be read, in their order; none for another format.

    Raises
    ------
    SourceError
        If the file cannot be read.
    """
    return list(_hdus_of(path, file_state(path))) if sniff_format(path) == "fits" else []


# A mosaic asks for the same two or three files for each of its chips.
@lru_cache(maxsize=4)
def _hdus_of(path: Path, state: object) -> tuple[Hdu, ...]:
    """The images of a FITS file in the state in which it is."""
    from glassplate.pipeline.sources.fits.file import FitsFile
    from glassplate.pipeline.sources.fits.hdus import hdu_info

    found: list[Hdu] = []
    with (
        unpacked_for_a_while(path) as plain,
        collected_warnings(path),
        as_source_errors(path),
    ):
        file = FitsFile(plain, path)
        try:
            primary = _cards(file[0])
            for index, hdu in file.each():
                info = hdu_info(index, hdu, file)
                if not info.restorable:
                    continue
                own = _cards(hdu)
                version = own.get("EXTVER")
                extension = Extension(
                    index, info.name, version if isinstance(version, int) else None
                )
                found.append(Hdu(path, extension, info.shape, ChainMap(own, primary), info.unit))
        finally:
            file.close()
    return tuple(found)


def find_mask(image: Hdu, hdus: Sequence[Hdu]) -> Beside | None:
    """The mask of an image, in its file or in one beside it; None if there is none.

    Parameters
    ----------
    image
        Must not be a mask or a noise image itself; see `is_companion`.
    hdus
        The images of its file.
    """
    for name in MASK_NAMES:
        if (found := _same_version(image, hdus, name)) is not None:
            return _named(found, hdus)
    runs = sdss_mask_of(image.path, image.shape)
    if runs is not None:
        return Beside(runs, {})
    rule = _rule_of(image.path)
    return None if rule is None else _counterpart(image, rule.image.sub(rule.mask, image.path.name))


def find_noise(image: Hdu, hdus: Sequence[Hdu]) -> Beside | None:
    """The noise of an image, as `find_mask`: standard deviations, else variances, else weights."""
    for name, kind in NOISE_NAMES.items():
        if (found := _same_version(image, hdus, name)) is not None:
            return _named(found, hdus, kind)
    uncertainty = _same_version(image, hdus, "UNCERT")
    if uncertainty is not None:
        known = _UNCERTAINTIES.get(str(uncertainty.header.get("UTYPE", "")).strip())
        return None if known is None else _named(uncertainty, hdus, known)
    rule = _rule_of(image.path)
    if rule is None or rule.noise is None:
        return None
    return _counterpart(image, rule.image.sub(rule.noise, image.path.name), rule.kind)


def is_companion(name: str) -> bool:
    """Whether an EXTNAME is that of a mask or a noise image."""
    return name.upper() in (*MASK_NAMES, *NOISE_NAMES, "UNCERT")


def image_of_companion(path: Path) -> Path | None:
    """The file of the image beside which a file is its mask or noise, by its name; None for other names."""
    for rule in FILE_RULES:
        if rule.companion.fullmatch(path.name):
            return path.with_name(rule.companion.sub(rule.of, path.name))
    return None


def _cards(hdu: Any) -> dict[str, Any]:
    """The cards of a header that can be parsed; none of an HDU that cannot be read."""
    if isinstance(hdu, Exception):
        return {}
    from glassplate.pipeline.sources.fits.text import is_sound

    return {card.keyword: card.value for card in hdu.header.cards if is_sound(card)}


def _same_version(image: Hdu, hdus: Sequence[Hdu], name: str) -> Hdu | None:
    """The only image of a name and size that goes with an image: the one of its EXTVER.

    Where EXTVER does not tell which one, it is the one that follows the image immediately.
    """
    mine = image.extension
    fitting = [
        one
        for one in hdus
        if one.is_called(name)
        and (one.extension.version or 1) == (mine.version or 1)
        and one.fits(image)
    ]
    if len(fitting) > 1 or image.name.upper() not in _IMAGE_NAMES:
        following = _companions_after(image, hdus)
        fitting = [one for one in fitting if one in following]
    return fitting[0] if len(fitting) == 1 else None


def _companions_after(image: Hdu, hdus: Sequence[Hdu]) -> list[Hdu]:
    """The masks and noise images between an image and the next image of another kind."""
    after = (one for one in hdus if one.extension.index > image.extension.index)
    return list(takewhile(lambda one: is_companion(one.name), after))


def _named(found: Hdu, hdus: Sequence[Hdu], kind: NoiseKind = "variance") -> Beside:
    """What was found, named as an option would name it: by its index where its name says too little."""
    label = found.extension.label
    if sum(one.extension.label == label for one in hdus) > 1:
        label = str(found.extension.index)
    path = found.path.with_name(f"{found.path.name}[{label}]") if len(hdus) > 1 else found.path
    return Beside(path, found.header, kind)


def _rule_of(path: Path) -> FileRule | None:
    """The rule by which the file of an image may have others beside it."""
    return next((rule for rule in FILE_RULES if rule.image.fullmatch(path.name)), None)


def _counterpart(image: Hdu, name: str, kind: NoiseKind = "variance") -> Beside | None:
    """The image of a file beside that of an image which goes with it; None if there is none."""
    other, mine = image.path.with_name(name), image.extension
    if not other.is_file():
        return None
    hdus = hdus_of(other)
    fitting = [
        one
        for one in hdus
        if one.fits(image)
        and (
            one.extension.is_called(mine.name) and one.extension.version == mine.version
            if mine.name
            else one.extension.index == mine.index
        )
    ]
    return _named(fitting[0], hdus, kind) if len(fitting) == 1 else None
