import pytest

from glassplate.pipeline.planning.timing.recipe_rates import RecipeRate
from glassplate.pipeline.recipes.recipe import recipe_names


class TestRecipes:
    def test_each_is_listed_with_its_purpose(self, gp):
        lines = gp("recipes").out.splitlines()
        assert [line.split()[0] for line in lines] == recipe_names()
        assert all(len(line.split()) > 3 for line in lines)

    @pytest.mark.parametrize("name", recipe_names())
    def test_each_is_printed_with_its_comments(self, gp, name):
        run = gp("recipes", name)
        assert run.code == 0
        assert run.out.startswith("#")
        assert "task:" in run.out

    def test_the_table_has_the_rate_here_and_what_was_measured(self, gp, monkeypatch):
        rates = [
            RecipeRate(
                name, rate, 18, 1, 12000, (320, 320), (256, 256), 0.1, (64, 64), 0.01, 1, "separate"
            )
            for name, rate in (("archive-denoise", 62.53), ("reference", 0.00123))
        ]
        monkeypatch.setattr(
            "glassplate.pipeline.planning.timing.recipe_rates.recipe_rates", lambda: rates
        )
        first, denoise, reference = gp("recipes", "--table").out.splitlines()
        assert "Megapixels an hour" in first
        assert denoise.startswith("archive-denoise      62.5  ")
        assert " dB" in denoise
        assert reference.split()[:2] == ["reference", "0.00123"]

    def test_the_table_is_of_all(self, gp):
        run = gp("recipes", "draft", "--table")
        assert run.code == 2
        assert "--table lists all recipes; drop it, or draft" in run.err
