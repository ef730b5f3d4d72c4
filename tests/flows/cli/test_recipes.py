import pytest

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
