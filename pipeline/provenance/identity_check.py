"""Whether a result has the identity of the run that is to resume or skip it."""

from __future__ import annotations

import contextlib
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from glassplate.pipeline.errors import ChangedError, UsageError
from glassplate.pipeline.provenance.identity import COMPANIONS, FileIdentity, RunIdentity
from glassplate.pipeline.provenance.manifest import Manifest
from glassplate.pipeline.recipes.recipe import Recipe, parse_recipe
from glassplate.pipeline.recipes.removed_keys import without_removed_keys


def check_same(
    store: Path,
    manifest: Manifest,
    identity: RunIdentity,
    recipe: Recipe,
    *,
    any_version: bool = False,
) -> None:
    """Refuse to mix two runs in one store.

    Parameters
    ----------
    store
        A result.
    manifest
        Its manifest.
    identity
        Of the run that is to resume or skip it.
    recipe
        Of that run.
    any_version
        Whether the result may have been made by other software.

    Raises
    ------
    ChangedError
        Naming the first difference and the way out.
    """
    difference = _difference(manifest.identity, identity)
    if difference is None and manifest.identity.recipe_sha256 != identity.recipe_sha256:
        there = _with_new_keys(manifest.recipe) if any_version else manifest.recipe
        difference = _recipe_difference(there, recipe.model_dump(mode="json"))
    if difference is None and not any_version:
        difference = _version_difference(manifest.identity, identity)
    if difference is not None:
        raise ChangedError(store, difference, ended=manifest.has_ended)


def _difference(there: RunIdentity, here: RunIdentity) -> str | None:
    """Describe the first difference between the identity of a result and that of a run."""
    for role in ("source", *COMPANIONS):
        was, now = there.file(role), here.file(role)
        if _content(was) != _content(now):
            file = now or was
            return f"made from another {role} than {file and file.path}"
    if there.noise_kind != here.noise_kind and here.variance is not None:
        return (
            f"made with {there.noise_kind} {here.variance.path}, not with it as {here.noise_kind}"
        )
    if there.flags != here.flags and here.mask is not None:
        return f"made with another reading of the mask {here.mask.path}"
    exposures = [[_content(file) for file in run.exposures] for run in (there, here)]
    if exposures[0] != exposures[1]:
        counts = [len(files) for files in exposures]
        return f"made from {counts[0]} further exposures, not from the same {counts[1]}"
    masks = [
        (*(_content(file) for file in run.exposure_masks), run.exposure_flags)
        for run in (there, here)
    ]
    if masks[0] != masks[1]:
        return "made with other masks of the further exposures, or with another reading of them"
    for what, selected in (("hdu", here.hdu), ("page", here.page)):
        was_selected = getattr(there, what)
        if was_selected != selected:
            return f"made from {what} {was_selected}, not {selected}"
    return None


def _version_difference(there: RunIdentity, here: RunIdentity) -> str | None:
    for name, version in here.versions.items():
        was_version = there.versions.get(name)
        if was_version != version:
            return f"made with {name} {was_version}, this is {version}"
    return None


def _with_new_keys(there: Mapping[str, Any]) -> Mapping[str, Any]:
    """The recipe of an earlier version with the keys that it did not have, at their defaults."""
    with contextlib.suppress(UsageError):
        return parse_recipe(there, "of the result").model_dump(mode="json")
    return there


def _recipe_difference(there: Mapping[str, Any], here: Mapping[str, Any]) -> str | None:
    """Describe the first difference between two recipes; None if only removed keys differ."""
    # a removed key with another value than the fixed one is a difference like any other
    with contextlib.suppress(UsageError):
        there = without_removed_keys(there, "of the result")
    if there == here:
        return None
    key, was, now = _first_difference(there, here)
    return f"made with another recipe ({key} was {was}, is now {now})"


def _content(file: FileIdentity | None) -> tuple[str, int | str | None] | None:
    return (file.sha256, file.extension) if file else None


def _first_difference(was: Any, now: Any, key: str = "") -> tuple[str, Any, Any]:
    """Return the dotted key of the first different value of two recipes, and both values."""
    if isinstance(was, Mapping) and isinstance(now, Mapping):
        for name in sorted(set(was) | set(now)):
            if was.get(name) != now.get(name):
                place = f"{key}.{name}" if key else name
                return _first_difference(was.get(name), now.get(name), place)
    return key, was, now
