import pytest

from glassplate.flows.jobs.images import find_images
from glassplate.flows.jobs.job import Job, read_job
from glassplate.pipeline.errors import UsageError


def test_a_job_is_the_same_after_json(job_of):
    job = job_of(
        "inputs: [{path: in/a.fits, export: null}, in/b.fits]\noutput: out\nexport: fits\n"
        "recipe: draft\nset: [fit.iterations=3]\n",
    )
    again = Job.model_validate(job.model_dump(mode="json", exclude_unset=True))
    assert find_images(again).images == find_images(job).images
    assert [image.export for image in find_images(again).images] == [None, "fits"]


@pytest.mark.parametrize("inputs", ["a.fits", ["a.fits", {"path": "b.fits"}], {"path": "a.fits"}])
def test_a_deployment_may_give_inputs_as_a_file_does(inputs):
    allowed = Job.model_json_schema()["properties"]["inputs"]["anyOf"]
    kind = {str: "string", list: "array", dict: "object"}[type(inputs)]
    assert kind in [option["type"] for option in allowed]
    assert Job(inputs=inputs, output="out").inputs[0].path == "a.fits"


def test_paths_become_absolute(folder, monkeypatch, job_of):
    (folder / "mine.yaml").write_text("task: identity\n")
    job = job_of(
        "inputs: in/a.fits\noutput: out\nrecipe: mine.yaml\nmask: in/b.fits\npsf: p.fits\n"
    )
    monkeypatch.chdir("/")
    (image,) = find_images(job).images
    assert image.spec.path.is_file()
    assert image.spec.mask == folder / "in" / "b.fits"
    assert image.spec.psf == folder / "p.fits"
    assert image.load_recipe("unused")[1].task == "identity"


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (
            "inputs: a\noutput: o\nrecipes: draft\n",
            r"unknown key 'recipes'; did you mean 'recipe'\?",
        ),
        ("inputs: [{path: a, nam: b}]\noutput: o\n", r"inputs\.0\.nam.*did you mean 'name'\?"),
        ("inputs: a\n", "output is missing"),
        ("output: a\n", "inputs is missing"),
        ("inputs: a\noutputs: o\n", r"unknown key 'outputs'; did you mean 'output'\?"),
        ("inputs: []\noutput: o\n", "inputs is"),
        ("inputs: 3\noutput: o\n", "inputs is 3"),
        ("inputs: a\noutput: o\nworkers: 0\n", "workers is 0"),
        ("inputs: a\noutput: o\nexport: jpg\n", "export is 'jpg'.*'fits'"),
        ("- a\n- b\n", "got list"),
        ("inputs: [a\n", "not YAML"),
        ("", "expected keys"),
    ],
)
def test_an_invalid_job_is_refused_in_one_line(text, message, job_of):
    with pytest.raises(UsageError, match=message) as caught:
        job_of(text)
    assert "\n" not in str(caught.value)


def test_a_missing_job_is_refused(tmp_path):
    with pytest.raises(UsageError, match=r"nowhere\.yaml: No such file"):
        read_job(tmp_path / "nowhere.yaml")


def test_an_output_that_is_a_file_is_refused(tmp_path, job_of):
    (tmp_path / "results").write_text("mine")
    with pytest.raises(UsageError, match=r"results is a file; give a folder for the results"):
        job_of(f"inputs: a.fits\noutput: {tmp_path / 'results'}\n")


def test_a_folder_or_an_image_in_place_of_a_job_is_refused_with_the_lines_to_write(tmp_path):
    with pytest.raises(UsageError, match=r"is a folder; write a job file with lines 'inputs: .+"):
        read_job(tmp_path)
    (tmp_path / "photo.jpg").write_bytes(b"\xff\xd8\xff\xe0")
    with pytest.raises(UsageError, match=r"photo\.jpg: is no text; give a job file"):
        read_job(tmp_path / "photo.jpg")
