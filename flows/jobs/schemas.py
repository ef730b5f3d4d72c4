"""JSON schemas: of recipes and jobs, by which an editor completes and checks them, and of any type."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_type_hints

from pydantic import BaseModel, TypeAdapter

from glassplate.flows.jobs.job import Job, JobInput
from glassplate.pipeline.recipes.field_texts import field_texts
from glassplate.pipeline.recipes.recipe import Recipe, recipe_names

DRAFT = "https://json-schema.org/draft/2020-12/schema"
# What a job file may give for `set`: a text, a list of texts, or keys with their values, nested or dotted.
OVERRIDES = {
    "anyOf": [
        {"type": "string"},
        {"type": "array", "items": {"type": "string"}},
        {"type": "object"},
        {"type": "null"},
    ],
}

FileKind = Literal["recipe", "job"]


def json_schema(kind: FileKind) -> dict[str, Any]:
    """Return the JSON schema of a recipe or a job file, with the explanation of each key."""
    if kind == "recipe":
        schema = described(Recipe)
        return {"$schema": DRAFT, **schema, "title": "recipe of glassplate"}
    schema, entry = described(Job), described(JobInput)
    definitions = {**schema.pop("$defs", {}), **entry.pop("$defs", {}), "JobInput": entry}
    for properties in (schema["properties"], entry["properties"]):
        properties["set"] = {**properties["set"], **OVERRIDES}
        properties["set"].pop("items", None)
        properties["set"].pop("type", None)
        # a shipped recipe is completed, any other name is a file
        properties["recipe"]["anyOf"].insert(0, {"enum": recipe_names()})
    for name in ("Rule", "Step"):
        given = definitions[name]["properties"]["set"]
        given |= OVERRIDES
        given.pop("items", None)
        given.pop("type", None)
    one = {"anyOf": [{"type": "string"}, {"$ref": "#/$defs/JobInput"}]}
    inputs = schema["properties"]["inputs"]
    told = {key: inputs[key] for key in ("title", "description") if key in inputs}
    schema["properties"]["inputs"] = {
        **told,
        "anyOf": [*one["anyOf"], {"type": "array", "items": one, "minItems": 1}],
    }
    return {"$schema": DRAFT, **schema, "$defs": definitions, "title": "job of glassplate"}


def described(
    model: Any, mode: Literal["validation", "serialization"] = "validation"
) -> dict[str, Any]:
    """Return the schema of a model, dataclass or union, with the texts below fields as descriptions.

    Parameters
    ----------
    model
        The type.
    mode
        Whether a document is read or written: what has a default may be missing in one that is read.
    """
    schema = TypeAdapter(model).json_schema(mode=mode)
    parts = {**schema.get("$defs", {}), getattr(model, "__name__", ""): schema}
    for settings in _settings(model):
        texts: dict[str, str] = {}
        for one in reversed(settings.__mro__):
            if issubclass(one, BaseModel) or is_dataclass(one):
                texts |= field_texts(one) if one is not BaseModel else {}
        for name, described in parts.get(settings.__name__, {}).get("properties", {}).items():
            if name in texts:
                described["description"] = texts[name]
    return schema


def _settings(model: Any) -> Iterator[type]:
    """A class of settings, and those of its sections; of a union, those of its parts."""
    if not isinstance(model, type):
        for part in get_args(model):
            yield from _settings(part)
    elif is_dataclass(model) or issubclass(model, BaseModel):
        yield model
        for hint in get_type_hints(model).values():
            yield from _settings(hint)
