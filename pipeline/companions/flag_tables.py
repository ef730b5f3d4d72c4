"""The tables of flags of observatories: which of them make a pixel bad, saturated, or neither.

A flag that marks a detected object never makes a pixel bad. The sources of each table, and the reasons where
they leave a choice, are in docs/design/020-found-by-name.md.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from glassplate.pipeline.sources.flags import Flags

Header = Mapping[str, Any]


@dataclass(frozen=True)
class FlagTable:
    """The flags of one kind of mask by their names."""

    name: str
    values: Mapping[str, int]
    """Each flag, a power of two, or each code."""
    bad: frozenset[str]
    saturated: frozenset[str] = frozenset()
    coded: bool = False

    def flags(self) -> Flags:
        """How a mask of this table is read."""
        return Flags(
            self.name,
            bad=self._numbers(self.bad),
            saturated=self._numbers(self.saturated),
            harmless=self._numbers(frozenset(self.values) - self.bad - self.saturated),
            coded=self.coded,
        )

    def _numbers(self, names: frozenset[str]) -> tuple[int, ...]:
        return tuple(sorted({self.values[name] for name in names if name in self.values}))


def _bits(*names: str) -> dict[str, int]:
    """Flags by their names, the lowest bit first."""
    return {name: 1 << bit for bit, name in enumerate(names)}


def _table(name: str, values: Mapping[str, int], good: str, saturated: str) -> FlagTable:
    """A table in which all flags are bad but those in `good`."""
    bad = frozenset(values) - frozenset(good.split())
    return FlagTable(name, values, bad, frozenset(saturated.split()))


_ACS = _bits(
    *("LOST", "FILLED", "BADPIX", "MASKED", "HOT", "UNSTABLE", "WARM", "BADCOL", "SATURATED"),
    *("BADREF", "TRAP", "ATODSAT", "CRDRIZ", "CR", "USER"),
)
_UVIS = _bits(
    *("LOST", "FILLED", "BADPIX", "MASKED", "HOT", "CTETAIL", "WARM", "BADBIAS", "SATURATED"),
    *("BADFLAT", "TRAP", "ATODSAT", "CRDRIZ", "CR", "CROSSTALK", "USER"),
)
_IR = _bits(
    *("LOST", "FILLED", "BADPIX", "BADZERO", "HOT", "UNSTABLE", "WARM", "BADBIAS", "SATURATED"),
    *("BLOB", "SPIKE", "ZEROSIG", "CRDRIZ", "CRRAMP", "HIGHCURVATURE", "USER"),
)
_STIS = _bits(
    *("LOST", "FILLED", "BADPIX", "MASKED", "HOT", "LARGEBLEMISH", "BIT6", "OVERSCAN", "SATURATED"),
    *("BADREF", "SMALLBLEMISH", "BADBACKGROUND", "DISCARDED", "CR", "NOTCTICORR"),
)
_NICMOS = _bits(
    *("LOST", "BADLIN", "BADDARK", "BADFLAT", "GROT", "DEFECTIVE", "SATURATED", "MISSING"),
    *("BADPIX", "CR", "SOURCE", "ZEROSIG", "USER1", "USER2", "HIGHCURVATURE"),
)
_WFPC2 = _bits(
    *("LOST", "CALDEFECT", "PERMDEFECT", "ATODSAT", "MISSING", "BADPIX", "BIT6", "TRAP"),
    *("QUESTIONABLE", "WARM", "REPAIRED", "CHIPMASKED", "CRDRIZ"),
)
_JWST = _bits(
    *("DO_NOT_USE", "SATURATED", "JUMP_DET", "DROPOUT", "OUTLIER", "PERSISTENCE", "AD_FLOOR"),
    *("CHARGELOSS", "UNRELIABLE_ERROR", "NON_SCIENCE", "DEAD", "HOT", "WARM", "LOW_QE", "RC"),
    *("TELEGRAPH", "NONLINEAR", "BAD_REF_PIXEL", "NO_FLAT_FIELD", "NO_GAIN_VALUE", "NO_LIN_CORR"),
    *("NO_SAT_CHECK", "UNRELIABLE_BIAS", "UNRELIABLE_DARK", "UNRELIABLE_SLOPE", "UNRELIABLE_FLAT"),
    *("OPEN", "ADJ_OPEN", "FLUX_ESTIMATED", "MSA_FAILED_OPEN", "OTHER_BAD_PIXEL"),
    "REFERENCE_PIXEL",
)
_GEMINI = _bits(
    *("BADPIX", "NONLINEAR", "SATURATED", "CR", "NODATA", "OVERLAP", "UNILLUMINATED"),
)
_DES = _bits(
    *("BPM", "SATURATE", "INTERP", "LOW", "CRAY", "STAR", "TRAIL", "EDGEBLEED", "SSXTALK", "EDGE"),
    *("STREAK", "FIX"),
)
_SDSS = _bits(
    *("INTERP", "SATUR", "NOTCHECKED", "OBJECT", "BRIGHTOBJECT", "BINOBJECT", "CATOBJECT"),
    *("SUBTRACTED", "GHOST", "CR"),
)
_ZTF = _bits(
    *("TRACK", "OBJECT", "LOWRESP", "HIGHRESP", "NOISY", "GHOST", "BLEED", "SPIKE", "SATURATED"),
    *("DEAD", "NAN", "PSFSOURCE", "HALO"),
)
_PS1 = _bits(
    *("DETECTOR", "FLAT", "DARK", "BLANK", "CTE", "SAT", "LOW", "SUSPECT", "CR", "SPIKE", "GHOST"),
    *("STREAK", "STARCORE", "CONV.BAD", "CONV.POOR"),
)
# Codes of the NOIRLab Community Pipeline, and its flags before version 3.5.0.
_CP_CODES = dict(
    zip(
        ["BAD", "NODATA", "SATURATED", "BLEED", "CR", "LOWWEIGHT", "DIFFDETECT", "STREAK"],
        range(1, 9),
        strict=True,
    )
)
_CP_BITS = {"BAD": 1, "SATURATED": 2, "INTERP": 4, "CR": 16, "BLEED": 64, "TRANSIENT": 128}
# Version of the pipeline from which DECam's masks hold codes.
_CP_CODES_FROM = (3, 5, 0)

HST_CCD_GOOD = "HOT WARM"
TABLES: Mapping[str, FlagTable] = {
    "acs": _table("HST ACS", _ACS, HST_CCD_GOOD, "SATURATED ATODSAT"),
    "uvis": _table("HST WFC3 UVIS", _UVIS, HST_CCD_GOOD, "SATURATED ATODSAT"),
    # a ray in the ramp of reads is fitted without the reads that it hit
    "ir": _table("HST WFC3 IR", _IR, "WARM BLOB ZEROSIG CRRAMP", "SATURATED"),
    "stis": _table("HST STIS", _STIS, "HOT BIT6 SMALLBLEMISH NOTCTICORR", "SATURATED"),
    "nicmos": _table("HST NICMOS", _NICMOS, "SOURCE ZEROSIG", "SATURATED"),
    "wfpc2": _table("HST WFPC2", _WFPC2, "BIT6 REPAIRED", "ATODSAT"),
    "jwst": FlagTable("JWST", _JWST, frozenset({"DO_NOT_USE"}), frozenset({"SATURATED"})),
    "cp-codes": FlagTable(
        "NOIRLab pipeline",
        _CP_CODES,
        frozenset(_CP_CODES) - {"DIFFDETECT", "STREAK"},
        frozenset({"SATURATED", "BLEED"}),
        coded=True,
    ),
    "cp-bits": _table("NOIRLab pipeline before 3.5", _CP_BITS, "TRANSIENT", "SATURATED BLEED"),
    "des": _table("DES", _DES, "STAR SSXTALK STREAK FIX", "SATURATE TRAIL"),
    "gemini": _table("Gemini", _GEMINI, "NONLINEAR OVERLAP UNILLUMINATED", "SATURATED"),
    "sdss": _table(
        "SDSS",
        _SDSS,
        "NOTCHECKED OBJECT BRIGHTOBJECT BINOBJECT CATOBJECT SUBTRACTED",
        "SATUR",
    ),
    "ztf": _table("ZTF", _ZTF, "OBJECT PSFSOURCE", "SATURATED"),
    "ps1": _table("PS1", _PS1, "SUSPECT SPIKE GHOST STREAK STARCORE CONV.POOR", "SAT"),
}
"""The tables of observatories whose masks do not list their flags themselves."""

# Named planes of the Rubin pipelines, under the names of both generations, that make a pixel bad. Planes of
# other names, such as DETECTED, INEXACT_PSF or REJECTED, say something else about a pixel that was measured.
_BAD_PLANES = frozenset(
    [
        *(
            "BAD",
            "SAT",
            "SATURATED",
            "INTRP",
            "INTERPOLATED",
            "CR",
            "COSMIC_RAY",
            "EDGE",
            "NO_DATA",
        ),
        *("UNMASKEDNAN", "VIGNETTED"),
    ]
)
_SATURATED_PLANES = frozenset({"SAT", "SATURATED"})

# NOIRLab's pipeline writes codes for all cameras but an early DECam.
_CP_CAMERAS = ("decam", "mosaic3", "mosaic-1.1", "90prime", "newfirm")
_HST_INSTRUMENTS = ("acs", "wfc3", "wfpc2", "stis", "nicmos")
_JWST_INSTRUMENTS = ("nircam", "niriss", "nirspec", "miri")


def table_of(headers: Header) -> FlagTable | None:
    """The table of the observatory that made a mask; None for an unknown one.

    Parameters
    ----------
    headers
        Cards of the mask, of its primary header and of the image, the first of them first.
    """
    planes = named_planes(headers)
    if planes:
        return FlagTable("named planes", planes, _BAD_PLANES, _SATURATED_PLANES)
    key = _key_of(headers)
    return None if key is None else TABLES[key]


def named_planes(header: Header) -> dict[str, int]:
    """Flags by name where the header of the mask lists them, as those of LSST do; else empty.

    ``MP_name`` is the number of a bit, ``MSKMnnnn`` the flag of the name in ``MSKNnnnn``.
    """
    found: dict[str, int] = {}
    for key, value in header.items():
        if key.startswith("MP_") and _is_whole(value) and 0 <= value < 63:
            found[key[3:]] = 1 << int(value)
        elif re.fullmatch(r"MSKN\d+", key) and isinstance(value, str):
            flag = header.get(f"MSKM{key[4:]}", 1 << min(int(key[4:]), 62))
            if _is_whole(flag):
                found[value.strip()] = int(flag)
    return found


def _key_of(headers: Header) -> str | None:
    """Key in `TABLES` of the table of an observatory."""
    telescope, instrument, detector = (
        _text(headers, key) for key in ("TELESCOP", "INSTRUME", "DETECTOR")
    )
    if telescope == "hst" or (not telescope and instrument in _HST_INSTRUMENTS):
        if instrument == "wfc3":
            return "ir" if detector == "ir" else "uvis"
        return instrument if instrument in _HST_INSTRUMENTS else None
    if telescope == "jwst" or (not telescope and instrument in _JWST_INSTRUMENTS):
        return "jwst"
    # NOIRLab's pipeline states its version, and writes the DES_EXT of that of DES as well
    if instrument in _CP_CAMERAS and "PLVER" in headers:
        early = instrument == "decam" and _version(headers["PLVER"]) < _CP_CODES_FROM
        return "cp-bits" if early else "cp-codes"
    if "DES_EXT" in headers:
        return "des"
    if instrument == "decam":
        return "cp-codes"
    return next(_by_words(telescope, instrument, headers), None)


def _by_words(telescope: str, instrument: str, headers: Header) -> Iterator[str]:
    if _text(headers, "ORIGIN") == "sdss" or "sdss" in telescope:
        yield "sdss"
    if telescope.startswith("gemini"):
        yield "gemini"
    if instrument.startswith("ztf") or "ztf" in telescope:
        yield "ztf"
    if telescope.startswith("ps1") or "gpc1" in instrument:
        yield "ps1"


def _version(value: object) -> tuple[int, ...]:
    """Numbers of a version such as ``V4.8.2a``; a very early one without any."""
    numbers = tuple(int(part) for part in re.findall(r"\d+", str(value))[:3])
    return (*numbers, 0, 0)[:3] if numbers else (0, 0, 0)


def _text(headers: Header, key: str) -> str:
    return str(headers.get(key, "")).strip().lower()


def _is_whole(value: object) -> bool:
    return isinstance(value, int) and not isinstance(value, bool)
