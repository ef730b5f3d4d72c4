"""Settings of a recipe for what is found by name beside an image, and for how a mask is read."""

from __future__ import annotations

import re
from typing import Any, Literal

from pydantic import BaseModel, ConfigDict, field_validator, model_validator

from glassplate.pipeline.companions.flag_tables import FlagTable
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.sources.flags import Flags

Flag = int | str
"""A flag or a code: its number, or its name in the table of the observatory."""


class CompanionSettings(BaseModel):
    """What is found by name beside an image, and how a mask of flags is read."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    find: Literal["all", "mask", "noise", "none"] = "all"
    """What is looked for by name where no option gives it: the mask (DQ and the like, and the infrared plane
    of a scan), the noise (ERR, variances, weights, gain and read noise), both, or none of these."""
    dq_bits: tuple[Flag, ...] | None = None
    """Flags of the mask that make a pixel bad, such as `4+16` or `[CR, NO_DATA]`: powers of two, or names in
    the table of the observatory; null: as that table says."""
    dq_codes: tuple[Flag, ...] | None = None
    """The same for a mask that holds one code for each pixel instead of a sum of flags."""

    @field_validator("dq_bits", mode="before")
    @classmethod
    def _listed_bits(cls, value: Any) -> Any:
        listed = _listed(value)
        if listed is not None and len(listed) == 1 and isinstance(listed[0], int):
            return _powers(listed[0])
        return listed

    @field_validator("dq_codes", mode="before")
    @classmethod
    def _listed_codes(cls, value: Any) -> Any:
        return _listed(value)

    @field_validator("dq_bits")
    @classmethod
    def _are_powers(cls, value: tuple[Flag, ...] | None) -> tuple[Flag, ...] | None:
        for one in value or ():
            if isinstance(one, int) and (one < 1 or one & (one - 1)):
                raise ValueError(
                    f"{one} is no flag: flags are 1, 2, 4, 8, ... and bit n is 2**n; for codes give dq_codes"
                )
        return value

    @field_validator("dq_codes")
    @classmethod
    def _are_codes(cls, value: tuple[Flag, ...] | None) -> tuple[Flag, ...] | None:
        for one in value or ():
            if isinstance(one, int) and one < 1:
                raise ValueError(
                    f"{one} is no code of a bad pixel: 0 means good, codes are above it"
                )
        return value

    @model_validator(mode="after")
    def _one_reading(self) -> CompanionSettings:
        if self.dq_bits is not None and self.dq_codes is not None:
            raise ValueError("dq_bits and dq_codes are two ways to read one mask; give one of them")
        return self

    @property
    def reads_flags(self) -> bool:
        """Whether the recipe itself says which flags are bad."""
        return self.dq_bits is not None or self.dq_codes is not None

    def flags(self, table: FlagTable | None) -> Flags:
        """How a mask is read, if `reads_flags`, that has a table of flags or, with None, an unknown one.

        Raises
        ------
        UsageError
            If the mask holds codes instead of flags or the reverse, or does not have a flag that is named.
        """
        coded = self.dq_codes is not None
        key, given = ("dq_codes", self.dq_codes) if coded else ("dq_bits", self.dq_bits)
        if table is not None and table.coded != coded:
            holds, other = ("codes", "dq_codes") if table.coded else ("sums of flags", "dq_bits")
            raise UsageError(
                f"companions.{key}: the mask holds {holds} by the table of {table.name}; give "
                f"companions.{other}"
            )
        bad = tuple(sorted({_number(one, key, table) for one in given or ()}))
        known = None if table is None else table.flags()
        return Flags(
            f"companions.{key}",
            bad=bad,
            saturated=() if known is None else known.saturated,
            harmless=None if table is None else tuple(sorted({*table.values.values()} - {*bad})),
            coded=coded,
        )


def _listed(value: Any) -> Any:
    """A list of flags, from one number or from text such as ``4+16``, ``4,16`` or ``CR``."""
    if isinstance(value, bool) or not isinstance(value, int | str | list | tuple):
        return value
    if isinstance(value, str):
        value = [part for part in re.split(r"[+,\s]+", value.strip()) if part]
    items = [value] if isinstance(value, int) else list(value)
    if not items:
        raise ValueError("no flag is given; leave it out to take those of the table")
    return tuple(_parsed(one) for one in items)


def _parsed(one: Any) -> Any:
    """A number where text is one, also in hexadecimal."""
    if isinstance(one, str) and re.fullmatch(r"\d+|0x[0-9a-fA-F]+", one):
        return int(one, 0) if one.startswith("0x") else int(one)
    return one


def _powers(total: int) -> tuple[int, ...]:
    """The flags of which a number is the sum; the number itself where it is none."""
    if total < 1:
        return (total,)
    return tuple(1 << bit for bit in range(total.bit_length()) if total >> bit & 1)


def _number(flag: Flag, key: str, table: FlagTable | None) -> int:
    """The number of a flag that may be given by its name."""
    if isinstance(flag, int):
        return flag
    values = {} if table is None else {name.upper(): n for name, n in table.values.items()}
    if flag.upper() not in values:
        there = "has no table of flags" if table is None else f"has {', '.join(table.values)}"
        raise UsageError(f"companions.{key}: {flag!r} is no flag of the mask, which {there}")
    return values[flag.upper()]
