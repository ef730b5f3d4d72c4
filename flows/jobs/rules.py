"""Rules of a job: which settings the images of a suffix, a header keyword or a size have."""

from __future__ import annotations

import fnmatch
import operator
import re
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Annotated, Any

from pydantic import BaseModel, ConfigDict, WithJsonSchema, field_validator, model_validator

from glassplate.flows.jobs.image_settings import ImageSettings
from glassplate.flows.jobs.inputs.facts import Facts, Value

_COMPARISONS = {
    "<=": operator.le,
    ">=": operator.ge,
    "<": operator.lt,
    ">": operator.gt,
}
_COMPARISON = re.compile(r"(<=|>=|<|>)\s*([-+]?(?:\d+\.?\d*|\.\d+)(?:[eE][-+]?\d+)?)")
# A scan of 100 MB that is packed has two suffixes, of which the first is that of its format.
_PACKED = (".gz", ".bz2", ".z", ".fz")


# Where a file may have one text or several.
TEXTS_SCHEMA = {"anyOf": [{"type": "string"}, {"type": "array", "items": {"type": "string"}}]}


class Condition(BaseModel):
    """Which images a rule is about: those for which all given conditions hold."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    suffix: Annotated[tuple[str, ...], WithJsonSchema(TEXTS_SCHEMA)] = ()
    """Suffixes, in any case; a packed file has the suffix of what is packed."""
    header: Annotated[Mapping[str, tuple[Value, ...]], WithJsonSchema({"type": "object"})] = {}
    """For each keyword the values of which one must be there. A text may be a pattern such as ``H*``, or
    comparisons such as ``> 60`` or ``> 60, <= 300``."""
    megapixels: str | None = None
    """Comparisons, of which all must hold."""

    @field_validator("suffix", mode="before")
    @classmethod
    def _one_or_more(cls, value: Any) -> Any:
        return (value,) if isinstance(value, str) else value

    @field_validator("suffix")
    @classmethod
    def _with_a_dot(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        return tuple(f".{suffix.lower().removeprefix('.')}" for suffix in value)

    @field_validator("header", mode="before")
    @classmethod
    def _values_as_tuples(cls, value: Any) -> Any:
        if not isinstance(value, Mapping):
            return value
        return {
            str(key).upper(): tuple(one) if isinstance(one, list | tuple) else (one,)
            for key, one in value.items()
        }

    @field_validator("megapixels", mode="before")
    @classmethod
    def _is_a_comparison(cls, value: Any) -> Any:
        if value is not None and comparisons(str(value)) is None:
            raise ValueError('expected comparisons such as "> 20" or "> 4, <= 20"')
        return value

    @model_validator(mode="after")
    def _is_not_empty(self) -> Condition:
        if not (self.suffix or self.header or self.megapixels):
            raise ValueError("needs at least one of suffix, header and megapixels")
        return self

    @property
    def needs_facts(self) -> bool:
        """Whether the name of a file does not decide it."""
        return bool(self.header or self.megapixels)

    def suits_name(self, path: Path) -> bool:
        """Whether the name of a file meets it."""
        return not self.suffix or suffix_of_format(path) in self.suffix

    def suits(self, facts: Facts) -> bool:
        """Whether the facts of an image meet it."""
        if self.megapixels is not None and not _compares(facts.megapixels, self.megapixels):
            return False
        return all(
            key in facts.header and any(_is(facts.header[key], one) for one in wanted)
            for key, wanted in self.header.items()
        )


class Rule(ImageSettings):
    """Settings of the images that meet a condition."""

    when: Condition


def suffix_of_format(path: Path) -> str:
    """Suffix of a file in lower case, without that of its packing."""
    name = path.name.lower()
    for packed in _PACKED:
        name = name.removesuffix(packed)
    return Path(name).suffix or path.suffix.lower()


def keywords_of(rules: Sequence[Rule]) -> set[str]:
    """Keywords of the header that rules ask for."""
    return {key for rule in rules for key in rule.when.header}


def comparisons(text: str) -> list[tuple[str, float]] | None:
    """Read comparisons such as ``> 4, <= 20``; None if the text is none."""
    found = [_COMPARISON.fullmatch(part.strip()) for part in text.split(",")]
    if None in found:
        return None
    return [(one[1], float(one[2])) for one in found if one is not None]


def _compares(value: float, text: str) -> bool:
    return all(_COMPARISONS[sign](value, limit) for sign, limit in comparisons(text) or ())


def _is(value: Value, wanted: Value) -> bool:
    """Whether the value of a keyword is the wanted one."""
    if isinstance(wanted, bool) or isinstance(value, bool):
        return value is wanted
    if not isinstance(wanted, str):
        return value == wanted
    if comparisons(wanted) is not None:
        return not isinstance(value, str) and _compares(value, wanted)
    return fnmatch.fnmatchcase(str(value).strip().lower(), wanted.strip().lower())
