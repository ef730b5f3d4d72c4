"""Recipe keys of earlier versions, whose values are fixed now."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from glassplate.pipeline.errors import UsageError

REMOVED_KEYS: Mapping[str, Any] = {
    "fit.flips": False,
    "tiles.outliers": None,
    "stopping.chi2": 1,
    "scaling.softening": 10,
}
"""The fixed value of each key (docs/design/015-fewer-keys.md)."""


def without_removed_keys(raw: Mapping[str, Any], origin: str) -> dict[str, Any]:
    """Leave out removed keys that have their fixed value, as in the `recipe.yaml` of an earlier result.

    Raises
    ------
    UsageError
        If a removed key has another value: the recipe would not mean the same.
    """
    kept = {name: dict(part) if isinstance(part, Mapping) else part for name, part in raw.items()}
    for key, fixed in REMOVED_KEYS.items():
        section, leaf = key.split(".")
        part = kept.get(section)
        if not isinstance(part, dict) or leaf not in part:
            continue
        value = part.pop(leaf)
        if value != fixed:
            raise UsageError(
                f"recipe {origin}: {key} is {value}, which this version fixes at {fixed}; drop it"
            )
    return kept
