"""Finds parts of a result that another run wrote than the one of its manifest."""

from __future__ import annotations

import json
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import yaml

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.provenance.folder import provenance_digests, provenance_path
from glassplate.pipeline.provenance.journal import runs_in_journal
from glassplate.pipeline.provenance.manifest import Manifest
from glassplate.pipeline.recipes.recipe import sha256_of_recipe

JOURNALS = ("tiles.jsonl", "donor.jsonl", "shards.jsonl")


def foreign_parts(store: Path, manifest: Manifest, attributes: Mapping[str, Any]) -> list[str]:
    """Describe each part of a result that does not belong to the run of its manifest.

    Parameters
    ----------
    store
        The result.
    manifest
        Its manifest.
    attributes
        The ``glassplate`` attributes of its group.

    Returns
    -------
    parts
        A few words for each; empty if all parts are of one run.
    """
    found = [*_attributes(manifest, attributes), *_recipe(store, manifest)]
    found += _journals(store, manifest.run_id)
    if manifest.has_ended:
        found += [*_standards(store, manifest), *_provenance(store, manifest)]
    return found


def _attributes(manifest: Manifest, attributes: Mapping[str, Any]) -> Iterator[str]:
    identity = manifest.identity
    expected = {
        "run_id": manifest.run_id,
        "recipe": manifest.recipe_name,
        "recipe_sha256": identity.recipe_sha256,
        "version": identity.versions["glassplate"],
    }
    for key, value in expected.items():
        if attributes.get(key) != value:
            yield f"{key} is {attributes.get(key)} in the attributes, {value} in the manifest"
    if attributes.get("source", {}).get("sha256") != identity.source.sha256:
        yield "the attributes name another source"


def _recipe(store: Path, manifest: Manifest) -> Iterator[str]:
    if sha256_of_recipe(manifest.recipe) != manifest.identity.recipe_sha256:
        yield "the manifest's recipe is not that of its hash"
    try:
        text = provenance_path(store, "recipe.yaml").read_text("utf-8")
        same = yaml.safe_load(text) == manifest.recipe
    except (OSError, ValueError, yaml.YAMLError):
        same = False
    if not same:
        yield "recipe.yaml is missing, damaged or another than the manifest's"


def _journals(store: Path, run_id: str) -> Iterator[str]:
    for name in JOURNALS:
        try:
            others = runs_in_journal(provenance_path(store, name)) - {run_id}
        except StoreError:
            yield f"{name} is damaged"
            continue
        if others:
            yield f"{name} has lines of run {min(others)}"


def _standards(store: Path, manifest: Manifest) -> Iterator[str]:
    run_id, identity = manifest.run_id, manifest.identity
    prov = _document(provenance_path(store, "prov.json"))
    recipe = prov.get("entity", {}).get("gp:recipe", {}).get("schema:sha256")
    if f"gp:run-{run_id}" not in prov.get("activity", {}) or recipe != identity.recipe_sha256:
        yield "prov.json is missing, damaged or of another run"
    crate = _document(provenance_path(store, "ro-crate-metadata.json"))
    entities = {entity.get("@id"): entity for entity in crate.get("@graph", ())}
    software = entities.get("#glassplate", {}).get("softwareVersion")
    if f"#run-{run_id}" not in entities or software != identity.versions["glassplate"]:
        yield "ro-crate-metadata.json is missing, damaged or of another run"


def _document(path: Path) -> dict[str, Any]:
    """Read a JSON document; an empty one if it is missing or damaged."""
    try:
        document = json.loads(path.read_text("utf-8"))
    except (OSError, ValueError):
        return {}
    return document if isinstance(document, dict) else {}


def _provenance(store: Path, manifest: Manifest) -> Iterator[str]:
    """Compare the files of the provenance folder with the checksums in the manifest, if it has any."""
    there = provenance_digests(store)
    for name, digest in manifest.provenance.items():
        if there.get(name) != digest:
            yield f"{name} is not as the run wrote it" if name in there else f"{name} is missing"
