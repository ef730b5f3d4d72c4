"""The manifest in two standard vocabularies: W3C PROV (prov.json) and RO-Crate (ro-crate-metadata.json)."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from glassplate.pipeline.provenance.folder import MANIFEST, provenance_path, write_json
from glassplate.pipeline.provenance.manifest import Manifest, now

HOMEPAGE = "https://pypi.org/project/glassplate/"
PROFILE = "https://w3id.org/ro/wfrun/process/0.5"


def prov_document(manifest: Manifest, store: Path) -> dict[str, Any]:
    """Describe the run as W3C PROV-JSON: it used the input and the recipe, and generated the result."""
    run, source, sessions = f"gp:run-{manifest.run_id}", manifest.identity.source, manifest.sessions
    return {
        "prefix": {"gp": HOMEPAGE, "schema": "https://schema.org/"},
        "entity": {
            "gp:input": {
                "prov:label": Path(source.path).name,
                "schema:sha256": source.sha256,
                "schema:contentSize": str(source.bytes),
            },
            "gp:recipe": {
                "prov:label": manifest.recipe_name,
                "schema:sha256": manifest.identity.recipe_sha256,
            },
            "gp:result": {"prov:label": store.name},
        },
        "activity": {
            run: {
                "prov:label": f"glassplate restore, task {manifest.recipe['task']}",
                "prov:startTime": sessions[0].started,
                "prov:endTime": sessions[-1].ended or now(),
            }
        },
        "agent": {
            "gp:software": {
                "prov:type": {"$": "prov:SoftwareAgent", "type": "prov:QUALIFIED_NAME"},
                "prov:label": f"glassplate {manifest.identity.versions['glassplate']}",
            }
        },
        "used": {
            "_:u1": {"prov:activity": run, "prov:entity": "gp:input"},
            "_:u2": {"prov:activity": run, "prov:entity": "gp:recipe"},
        },
        "wasGeneratedBy": {"_:g1": {"prov:entity": "gp:result", "prov:activity": run}},
        "wasDerivedFrom": {
            "_:d1": {"prov:generatedEntity": "gp:result", "prov:usedEntity": "gp:input"}
        },
        "wasAssociatedWith": {"_:a1": {"prov:activity": run, "prov:agent": "gp:software"}},
    }


def crate_document(manifest: Manifest, store: Path, parts: Iterable[str]) -> dict[str, Any]:
    """Describe the result as an RO-Crate that follows the Process Run Crate profile."""
    files = [{"@id": part, "@type": "File", "name": part} for part in parts]
    descriptor = {
        "@id": "ro-crate-metadata.json",
        "@type": "CreativeWork",
        "conformsTo": {"@id": "https://w3id.org/ro/crate/1.1"},
        "about": {"@id": "./"},
    }
    dataset = {
        **_dataset(manifest, store),
        "hasPart": [{"@id": part["@id"]} for part in files],
        "mentions": {"@id": f"#run-{manifest.run_id}"},
    }
    profile = {"@id": PROFILE, "@type": "CreativeWork", "name": "Process Run Crate"}
    graph = [descriptor, dataset, _action(manifest), _software(manifest), _input(manifest), profile]
    return {"@context": "https://w3id.org/ro/crate/1.1/context", "@graph": [*graph, *files]}


def _dataset(manifest: Manifest, store: Path) -> dict[str, Any]:
    return {
        "@id": "./",
        "@type": "Dataset",
        "name": store.name,
        "description": f"{Path(manifest.identity.source.path).name} restored by glassplate",
        "datePublished": manifest.sessions[-1].ended or now(),
        "license": "as the input's",
        "conformsTo": {"@id": PROFILE},
    }


def _action(manifest: Manifest) -> dict[str, Any]:
    """Describe the run, which used the input and made the dataset."""
    return {
        "@id": f"#run-{manifest.run_id}",
        "@type": "CreateAction",
        "name": f"glassplate restore with recipe {manifest.recipe_name}",
        "instrument": {"@id": "#glassplate"},
        "object": [{"@id": "#input"}],
        "result": [{"@id": "./"}],
        "startTime": manifest.sessions[0].started,
        "endTime": manifest.sessions[-1].ended or now(),
    }


def _software(manifest: Manifest) -> dict[str, Any]:
    return {
        "@id": "#glassplate",
        "@type": "SoftwareApplication",
        "name": "glassplate",
        "softwareVersion": manifest.identity.versions["glassplate"],
        "url": HOMEPAGE,
    }


def _input(manifest: Manifest) -> dict[str, Any]:
    source = manifest.identity.source
    return {
        "@id": "#input",
        "@type": "CreativeWork",
        "name": Path(source.path).name,
        "sha256": source.sha256,
        "size": str(source.bytes),
    }


def write_standards(store: Path, manifest: Manifest) -> None:
    """Write prov.json and ro-crate-metadata.json."""
    parts = [MANIFEST, "recipe.yaml", "tiles.jsonl", "environment.txt", "prov.json"]
    parts += [
        part
        for part in ("donor.jsonl", "donor.npz", "donor-before.npz")
        if provenance_path(store, part).is_file()
    ]
    write_json(provenance_path(store, "prov.json"), prov_document(manifest, store))
    write_json(
        provenance_path(store, "ro-crate-metadata.json"), crate_document(manifest, store, parts)
    )
