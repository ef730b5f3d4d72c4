"""JSON schemas of recipes and jobs, by which an editor completes and checks them."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import is_dataclass
from typing import Any, Literal, get_args, get_type_hints

from pydantic import BaseModel

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

Kind = Literal["recipe", "job"]


def json_schema(kind: Kind) -> dict[str, Any]:
    """Return the JSON schema of a recipe or a job file, with the explanation of each key."""
    if kind == "recipe":
        schema = _described(Recipe)
        return {"$schema": DRAFT, **schema, "title": "recipe of glassplate"}
    schema, entry = _described(Job), _described(JobInput)
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


def _described(model: type[BaseModel]) -> dict[str, Any]:
    """The schema of a model, with the texts below its fields as descriptions."""
    schema = model.model_json_schema()
    parts = {**schema.get("$defs", {}), model.__name__: schema}
    for settings in _settings(model):
        texts: dict[str, str] = {}
        for one in reversed(settings.__mro__):
            if issubclass(one, BaseModel) or is_dataclass(one):
                texts |= field_texts(one) if one is not BaseModel else {}
        for name, described in parts.get(settings.__name__, {}).get("properties", {}).items():
            if name in texts:
                described["description"] = texts[name]
    return schema


def _settings(model: type) -> Iterator[type]:
    """A class of settings, and those of its sections."""
    yield model
    for hint in get_type_hints(model).values():
        for one in (hint, *get_args(hint)):
            if isinstance(one, type) and (is_dataclass(one) or issubclass(one, BaseModel)):
                yield from _settings(one)
