"""What a command prints with --json is one document, and its schema describes it."""

import json
from typing import get_args

import jsonschema
import pytest
from typer.main import get_command

from glassplate.flows.cli import schema
from glassplate.flows.cli.documents import TYPES
from glassplate.flows.cli.main import app
from glassplate.pipeline.recipes.recipe import recipe_names

# Ends when it is stopped, so that it has no document; prints a schema, which is one.
WITHOUT = {"serve", "schema"}


@pytest.fixture
def printed(gp):
    """Run a command with --json; return its document, which its schema takes and knows the keys of."""

    def run(command, *words, code=0, kind=None):
        done = gp(command, *words, "--json")
        assert done.code == code, done
        document = json.loads(done.out)
        described = json.loads(gp("schema", kind or command).out)
        jsonschema.Draft202012Validator.check_schema(described)
        jsonschema.validate(document, described)
        parts = [described, *described.get("$defs", {}).values()]
        assert any(set(document) <= set(part.get("properties", {})) for part in parts), document
        return document

    return run


def test_every_command_has_a_document_and_every_document_a_schema():
    commands = get_command(app).commands
    with_json = {
        name
        for name, command in commands.items()
        if any("--json" in option.opts for option in command.params)
    }
    assert set(commands) - with_json == WITHOUT
    assert set(TYPES) == with_json
    assert set(get_args(schema.Kind)) == {*get_args(schema.FileKind), *TYPES}


@pytest.mark.parametrize("kind", TYPES)
def test_schemas_explain_their_keys(kind, gp):
    described = json.loads(gp("schema", kind).out)
    jsonschema.Draft202012Validator.check_schema(described)
    assert described["title"] == f"glassplate {kind} --json"
    parts = [described, *described.get("$defs", {}).values()]
    assert any(
        "description" in key for part in parts for key in part.get("properties", {}).values()
    )


def test_of_an_image(printed, sky, tmp_path):
    planned = printed("plan", sky, "--recipe", "identity", "--pool", "inline")
    assert planned["tiles"] == 1
    words = (sky, "-o", tmp_path / "a.zarr", "--recipe", "identity", "--pool", "inline")
    (report,) = printed("restore", *words)["images"]
    assert report["status"] == "restored"
    assert printed("inspect", sky)["look"]["recipe"] == "astro-denoise"
    assert printed("inspect", sky, "--no-pixels")["look"] is None


def test_of_a_result(printed, done, sky, tmp_path):
    assert printed("inspect", done)["status"] == "complete"
    assert printed("verify", done)["ok"]
    assert printed("assess", done)["causes"] is not None
    assert printed("assess", done, "--reference", sky)["mse"] == 0
    page = printed("report", done)["written"]
    assert page == [str(tmp_path / "done.report.html")]
    assert printed("report", tmp_path, "--pages")["written"] == [str(tmp_path / "report.html")]
    target = tmp_path / "out.fits"
    assert printed("export", done, target) == {"written": [str(target)], "messages": []}


@pytest.mark.slow
def test_of_a_plan_of_a_job(printed, sky, tmp_path):
    job = tmp_path / "job.yaml"
    job.write_text(f"inputs: {sky}\noutput: {tmp_path}/out\nrecipe: identity\npool: inline\n")
    assert len(printed("batch", job, "--dry-run")["images"]) == 1


def test_of_recipes(printed):
    listed = printed("recipes")["recipes"]
    assert [one["name"] for one in listed] == recipe_names()
    assert all(one["summary"] for one in listed)
    assert printed("recipes", "draft", kind="recipe")["fit"]["iterations"] == 300


def test_a_job_report_is_described(gp):
    from dataclasses import asdict

    from glassplate.flows.report.job_report import JobReport
    from glassplate.flows.report.reports import ImageReport

    image = ImageReport("a.fits", "a.zarr", "pending", reason="not begun yet")
    document = json.loads(json.dumps(asdict(JobReport((image,), 1.0, page="report.html"))))
    jsonschema.validate(document, json.loads(gp("schema", "batch").out))


def test_an_error_prints_no_document(gp, tmp_path):
    done = gp("verify", tmp_path / "none.zarr", "--json")
    assert done.code != 0
    assert done.out == ""
