"""The schemas take what the program takes, refuse misspelt keys, and explain the others."""

import importlib.resources

import jsonschema
import pytest
import yaml
from doc_pages import GUIDE, blocks

from glassplate.flows.jobs.job import Job, JobInput
from glassplate.flows.jobs.schemas import json_schema
from glassplate.pipeline.recipes.recipe import Recipe, recipe_names

RECIPE, JOB = json_schema("recipe"), json_schema("job")
DOCUMENTS = [yaml.safe_load(text) for page in GUIDE for text in blocks(page, "yaml")]


def faults(document, schema):
    validator = jsonschema.Draft202012Validator(schema)
    validator.check_schema(schema)
    return [error.message for error in validator.iter_errors(document)]


@pytest.mark.parametrize("name", recipe_names())
def test_every_shipped_recipe_is_valid(name):
    text = importlib.resources.files("glassplate.configs").joinpath(f"{name}.yaml").read_text()
    assert faults(yaml.safe_load(text), RECIPE) == []


def test_the_examples_of_the_guide_are_valid():
    jobs = [document for document in DOCUMENTS if "inputs" in document]
    recipes = [document for document in DOCUMENTS if "inputs" not in document]
    assert len(jobs) > 3
    assert recipes
    assert [faults(job, JOB) for job in jobs if faults(job, JOB)] == []
    assert [faults(recipe, RECIPE) for recipe in recipes if faults(recipe, RECIPE)] == []


@pytest.mark.parametrize(
    ("document", "schema"),
    [
        ({"task": "denoize"}, RECIPE),
        ({"fit": {"iteration": 5}}, RECIPE),
        ({"tiles": {"core": 8}}, RECIPE),
        ({"inputs": "a.fits"}, JOB),
        ({"inputs": [], "output": "out"}, JOB),
        ({"inputs": [{"path": "a.fits", "recipes": "draft"}], "output": "out"}, JOB),
        ({"inputs": "a.fits", "output": "out", "devise": "cpu"}, JOB),
        ({"inputs": "a.fits", "output": "out", "set": 5}, JOB),
    ],
)
def test_mistakes_are_marked(document, schema):
    assert faults(document, schema)


@pytest.mark.parametrize(
    "settings", [{"fit.iterations": 3}, {"fit": {"iterations": 3}}, ["fit.iterations=3"], "seed=1"]
)
def test_settings_of_a_job_may_have_any_of_their_forms(settings):
    job = {"inputs": [{"path": "a.fits", "set": settings}], "output": "out", "set": settings}
    assert faults(job, JOB) == []
    Job.model_validate(job)


def test_all_keys_are_known_and_most_are_explained():
    assert set(RECIPE["properties"]) == set(Recipe.model_fields)
    assert set(JOB["properties"]) == set(Job.model_fields)
    assert set(JOB["$defs"]["JobInput"]["properties"]) == set(JobInput.model_fields)
    fit = RECIPE["$defs"]["FitSettings"]["properties"]
    assert all(key.get("description") for key in fit.values())
    assert "STEM.zarr" in JOB["properties"]["output"]["description"]


def test_shipped_recipes_are_completed():
    (names,) = [one["enum"] for one in JOB["properties"]["recipe"]["anyOf"] if "enum" in one]
    assert names == recipe_names()
