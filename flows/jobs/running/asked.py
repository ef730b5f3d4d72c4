"""What a job asks for an image, as two hashes that are compared with those of an earlier run."""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import asdict, dataclass, replace
from functools import lru_cache
from pathlib import Path

from glassplate.flows.accounts.stamps import stamp_of
from glassplate.flows.jobs.image import Image
from glassplate.pipeline.companions.beside import FILE_RULES
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import Recipe, load_recipe
from glassplate.pipeline.sources.source import SourceSpec

# Which of them a file gets follows from its content.
DEFAULT_RECIPES = ("astro-denoise", "archive-denoise")


@dataclass(frozen=True)
class Asked:
    """What a job asks for an image. The same file and the same values give the same pixels."""

    digest: str
    """SHA-256 of what the job says: recipes by name or content, their changes, HDU, page, companions."""
    recipe_sha256: str
    """SHA-256 of the recipes with every value filled in, which a new release may change under one name."""
    files: tuple[Path, ...]
    """The image and the companions that the job names."""

    def of_now(self) -> str:
        """SHA-256 of all this and of the state of the files now."""
        stamps = [(os.path.abspath(path), stamp_of(path)) for path in self.files]
        return _sha256_of([self.digest, self.recipe_sha256, stamps])


def asked_of(image: Image) -> Asked:
    """Describe what a job asks for an image.

    Raises
    ------
    UsageError
        If a recipe is invalid.
    """
    recipes = [(image.recipe, image.overrides, image.scale)]
    if image.steps:
        recipes = [(step.recipe, image.overrides + step.set, step.scale) for step in image.steps]
    spec = asdict(replace(image.spec, path=Path()))
    said = [
        {**spec, "donor": image.donor},
        [(name, _content(name), values, scale) for name, values, scale in recipes],
    ]
    resolved = [_resolved(name, values, scale) for name, values, scale in recipes]
    return Asked(_sha256_of(said), _sha256_of(resolved), image.spec.files)


@lru_cache(maxsize=256)
def recipe_of(name: str, overrides: tuple[str, ...], scale: int | None) -> Recipe:
    """Load a recipe, once for all images of a job.

    Raises
    ------
    UsageError
        If it is invalid.
    """
    return load_recipe(name, overrides, scale=scale)


def companions_beside(spec: SourceSpec) -> tuple[str, ...]:
    """Names of files beside an image that are its mask or its noise by their names."""
    name, found = spec.path.name, []
    for rule in FILE_RULES:
        if rule.image.fullmatch(name):
            names = [rule.image.sub(one, name) for one in (rule.mask, rule.noise) if one]
            found += [one for one in names if spec.path.with_name(one).exists()]
    return tuple(found)


@lru_cache(maxsize=256)
def _resolved(name: str | None, overrides: tuple[str, ...], scale: int | None) -> list[str]:
    """SHA-256 of a recipe; of both defaults if none is named."""
    if name is not None:
        return [recipe_of(name, overrides, scale).sha256()]
    found = []
    for default in DEFAULT_RECIPES:
        try:
            found.append(recipe_of(default, overrides, scale).sha256())
        except UsageError:  # overrides may suit one of them alone
            found.append("")
    return found


@lru_cache(maxsize=256)
def _content(name: str | None) -> str:
    """Content of the file of a recipe; empty for a shipped one."""
    path = Path(name or "")
    return path.read_text("utf-8", "replace") if name and path.is_file() else ""


def _sha256_of(values: Sequence[object]) -> str:
    text = json.dumps(values, sort_keys=True, default=str)
    return hashlib.sha256(text.encode("utf-8", "surrogateescape")).hexdigest()


def forget_recipes() -> None:
    """Read recipes anew: a service lives longer than their files stay as they are."""
    for cached in (recipe_of, _resolved, _content):
        cached.cache_clear()
