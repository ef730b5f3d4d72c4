import inspect
from pathlib import Path
from typing import Annotated

import pytest

from glassplate.flows.cli import options
from glassplate.pipeline.errors import UsageError


def test_a_grouped_command_has_an_option_for_each_field_and_gets_the_groups():
    def command(
        output: Annotated[Path, "an option"],
        recipe: options.RecipeOptions,
        pool: options.PoolOptions,
        quiet: bool = False,
    ) -> tuple[object, ...]:
        return output, recipe, pool, quiet

    expanded = options.grouped(command)
    assert list(inspect.signature(expanded).parameters) == [
        "output", "recipe", "overrides", "scale", "dq_bits", "dq_codes", "donor", "pool", "workers", "device",
        "quiet",
    ]  # fmt: skip
    given = {
        "output": Path("o"),
        "recipe": "draft",
        "overrides": None,
        "scale": None,
        "dq_bits": None,
        "dq_codes": None,
        "donor": None,
    }
    assert expanded(**given, pool="inline", workers=2, device="cpu", quiet=True) == (
        Path("o"),
        options.RecipeOptions(recipe="draft"),
        options.PoolOptions(pool="inline", workers=2, device="cpu"),
        True,
    )


@pytest.mark.parametrize(
    ("hdu", "page", "expected"),
    [
        (None, None, (None, None)),
        ("1", "all", (1, "all")),
        ("-1", "0", (-1, 0)),
        ("SCI", None, ("SCI", None)),
    ],
)
def test_an_image_is_named_by_number_or_name(hdu, page, expected):
    spec = options.ImageOptions(source=Path("a.fits"), hdu=hdu, page=page).spec()
    assert (spec.hdu, spec.page) == expected


@pytest.mark.parametrize("page", ["some", "-1", "1.0", "²"])
def test_an_invalid_page_is_refused(page):
    with pytest.raises(UsageError, match=f"--page {page}: expected a number from 0, or all"):
        options.ImageOptions(source=Path("a.tif"), page=page).spec()
