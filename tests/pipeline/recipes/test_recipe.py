"""Recipes are checked when they are read; an error names the key, and the nearest one that exists."""

import pytest

from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import (
    known_keys,
    load_recipe,
    parse_recipe,
    recipe_names,
    recipe_text,
)

SHIPPED = [
    "archive-best",
    "archive-colorize",
    "archive-deartifact",
    "archive-denoise",
    "archive-fill",
    "archive-impulse",
    "archive-repair",
    "archive-upscale",
    "astro-deconvolve",
    "astro-denoise",
    "astro-repair",
    "astro-upscale",
    "draft",
    "guided-denoise",
    "identity",
    "reference",
]
ENLARGING = {
    "task": "superres",
    "operator": {"scale": 2},
    "network": {"kind": "enlarging"},
    "stopping": {"rule": "fixed"},
}


def test_the_shipped_recipes_are_there():
    assert recipe_names() == SHIPPED


def test_the_best_differs_from_the_default_in_its_time_alone():
    best, default = load_recipe("archive-best"), load_recipe("archive-denoise")
    more = ["fit.members=3", "donor.iterations=24000", "donor.windows=576", "donor.tile_least=50"]
    assert best != default
    assert best == load_recipe("archive-denoise", more)


@pytest.mark.parametrize("name", SHIPPED)
def test_every_line_of_a_shipped_recipe_is_explained(name):
    load_recipe(name)
    for line in recipe_text(name).splitlines():
        assert not line.strip() or "#" in line or line.rstrip().endswith(":"), line


@pytest.mark.parametrize(
    ("raw", "message"),
    [
        ({"fit": {"iteration": 3}}, "unknown key 'fit.iteration'; did you mean 'fit.iterations'?"),
        ({"tile": {}}, "unknown key 'tile'"),
        ({"tiles": {"core": -5}}, "tiles.core is -5: Input should be greater than or equal to 16"),
        (
            {"fit": {"iterations": "many"}},
            "fit.iterations is 'many': Input should be a valid integer",
        ),
        (
            {"operator": {"scale": 17}},
            "operator.scale is 17: Input should be less than or equal to",
        ),
        ({"operator": {"scale": 2.5}}, "operator.scale is 2.5: Input should be a valid integer"),
        ({"operator": {"kernel": "psf"}}, "operator.kernel is 'psf': Input should be 'lanczos2'"),
        (
            {"task": "deconvolve", "operator": {"scale": 2}},
            "scale 2 is for task superres, not deconvolve",
        ),
        ({"operator": {"scale": 2}}, "scale 2 is for task superres, not denoise; drop --scale"),
        ({"task": "superres"}, "task superres needs a scale of 2 or more; add --scale 2"),
        ({"task": "paint"}, "task is 'paint'"),
        ({"seed": -1}, "seed is -1"),
        (
            {"scaling": {"softening": 5}},
            "scaling.softening is 5, which this version fixes at 10; drop it",
        ),
        (
            {"network": {"kind": "enlarging"}},
            "network.kind enlarging is for task superres, not denoise; set network.kind=lean",
        ),
        (
            {**ENLARGING, "fit": {"input": "noise"}},
            "fit.input is noise, must be auto for network.kind enlarging",
        ),
        (
            {**ENLARGING, "fit": {"members": 2}},
            "fit.members 2: network.kind enlarging has one donor and no other fit; drop it or take",
        ),
        (
            {"network": {"kind": "decoder"}, "fit": {"input": "blindspot"}},
            "fit.input is blindspot, must be noise (or auto) for network.kind decoder",
        ),
        ({"network": {"scales": 0}}, "network: scales is 0, must be at least 1"),
        (
            {"network": {"kind": "unit"}},
            "network.kind is 'unit': Input should be 'lean', 'unshuffled'",
        ),
        ({"fit": {"tv": -0.5}}, "fit: tv is -0.5, must be at least 0"),
    ],
)
def test_an_error_names_the_key_and_the_value(raw, message):
    with pytest.raises(UsageError) as error:
        parse_recipe(raw, "test")
    assert message in str(error.value)
    assert "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("fit.iterations", "expected KEY=VALUE"),
        ("fit.iteration=10", "unknown key 'fit.iteration'; did you mean 'fit.iterations'?"),
        ("fit.iterations=[1", "--set fit.iterations=[1"),
        ("nonsense=1", "unknown key 'nonsense'"),
    ],
)
def test_an_error_names_the_override(override, message):
    with pytest.raises(UsageError) as error:
        load_recipe("draft", [override])
    assert message in str(error.value)


def test_overrides_replace_values_and_take_any_notation_of_numbers():
    recipe = load_recipe("draft", ["fit.iterations=7", "fit.learning_rate=1e-3", "seed=5"])
    assert (recipe.fit.iterations, recipe.fit.learning_rate, recipe.seed) == (7, 1e-3, 5)


@pytest.mark.slow
@pytest.mark.parametrize(
    "kind", ["lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder"]
)
@pytest.mark.parametrize("name", SHIPPED)
def test_every_shipped_recipe_takes_every_network(name, kind):
    # astro-deconvolve says which input it wants, which a decoder cannot take
    wishes = [f"network.kind={kind}", "fit.input=auto"]
    assert load_recipe(name, wishes).network.kind == kind


@pytest.mark.parametrize("name", ["archive-upscale", "astro-upscale"])
def test_a_recipe_that_enlarges_takes_the_enlarging_network(name):
    wishes = ["network.kind=enlarging", "fit.input=auto"]
    assert load_recipe(name, wishes).network.kind == "enlarging"


def test_scale_is_short_for_operator_scale():
    recipe = load_recipe("draft", ["task=superres"], scale=4)
    assert (recipe.task, recipe.operator.scale) == ("superres", 4)


def test_a_file_is_a_recipe(tmp_path):
    (tmp_path / "mine.yaml").write_text("fit: {iterations: 3}\n")
    assert load_recipe(str(tmp_path / "mine.yaml")).fit.iterations == 3
    (tmp_path / "bad.yaml").write_text("fit: [\n")
    with pytest.raises(UsageError, match="not YAML"):
        load_recipe(str(tmp_path / "bad.yaml"))
    (tmp_path / "list.yaml").write_text("- a\n")
    with pytest.raises(UsageError, match="expected sections, got list"):
        load_recipe(str(tmp_path / "list.yaml"))
    with pytest.raises(UsageError, match="no such file"):
        load_recipe(str(tmp_path / "gone.yaml"))


def test_an_unknown_recipe_names_the_nearest():
    with pytest.raises(UsageError, match="did you mean 'draft'"):
        load_recipe("daft")


def test_the_hash_depends_on_the_values_alone():
    assert load_recipe("draft").sha256() == load_recipe("draft").sha256()
    assert load_recipe("draft").sha256() != load_recipe("draft", ["seed=1"]).sha256()
    assert parse_recipe({"fit": {"drop": 0.3}}, "a").sha256() == parse_recipe({}, "b").sha256()


def test_a_recipe_of_an_earlier_version_is_read_if_it_means_the_same():
    earlier = {"scaling": {"kind": "asinh", "softening": 10.0}, "stopping": {"chi2": 1}}
    earlier["tiles"] = {"outliers": None}
    assert parse_recipe(earlier, "test") == parse_recipe({"scaling": {"kind": "asinh"}}, "test")
    with pytest.raises(UsageError, match=r"stopping.chi2 is 2, which this version fixes at 1"):
        parse_recipe({"stopping": {"chi2": 2}}, "test")


def test_known_keys_are_all_settable():
    assert "fit.iterations" in known_keys()
    assert "task" in known_keys()
    for key in known_keys():
        assert key.count(".") <= 1
