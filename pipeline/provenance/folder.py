"""The folder ``provenance`` of a result: its file names, and how they are written."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import yaml

from glassplate.pipeline.files import sha256_of, write_atomically
from glassplate.pipeline.provenance.machine import installed_distributions

FOLDER = "provenance"
MANIFEST = "manifest.json"
CHECKSUMS = "checksums.sha256"


def provenance_path(store: Path, name: str) -> Path:
    """Path of a file in the provenance folder of a result."""
    return store / FOLDER / name


def write_json(path: Path, document: Mapping[str, Any]) -> None:
    """Write a JSON document atomically.

    A document with the name of a file that is no UTF-8 is written in ASCII: its bytes have escapes, from
    which Python's reader makes the same name.
    """
    text = json.dumps(document, indent=2, ensure_ascii=False)
    if not text.isascii() and re.search(r"[\ud800-\udfff]", text):
        text = json.dumps(document, indent=2)
    write_atomically(path, text + "\n")


def write_static(store: Path, recipe: Mapping[str, Any]) -> None:
    """Write the files that do not change during a run: the resolved recipe and the environment."""
    recipe_text = yaml.safe_dump(dict(recipe), sort_keys=False)
    provenance_path(store, "recipe.yaml").write_text(recipe_text, "utf-8")
    provenance_path(store, "environment.txt").write_text(installed_distributions(), "utf-8")


def provenance_digests(store: Path) -> dict[str, str]:
    """SHA-256 of each file of the provenance folder by name, except the manifest, which holds them."""
    return {
        path.name: sha256_of(path)
        for path in sorted((store / FOLDER).glob("*.*"))
        if path.name != MANIFEST and path.suffix != ".partial"
    }
