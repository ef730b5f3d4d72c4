import inspect
from dataclasses import replace
from pathlib import Path
from typing import Annotated

import numpy as np
import pytest
from astropy.io import fits

from glassplate.flows.cli import options
from glassplate.flows.cli.image_options import ImageOptions
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
        (["1"], "all", (1, "all")),
        (["-1"], "0", (-1, 0)),
        (["SCI"], None, ("SCI", None)),
    ],
)
def test_an_image_is_named_by_number_or_name(hdu, page, expected):
    (spec,) = ImageOptions(source=Path("a.fits"), hdu=hdu, page=page).specs()
    assert (spec.hdu, spec.page) == expected


@pytest.mark.parametrize(
    ("inside", "suffix", "expected"),
    [("SCI,2", "fits", ("SCI,2", None)), ("3", "fits", (3, None)), ("3", "tif", (None, 3))],
)
def test_an_image_is_named_in_brackets(tmp_path, inside, suffix, expected):
    path = tmp_path / f"a.{suffix}"
    path.write_bytes(b"SIMPLE  =" if suffix == "fits" else b"II*\0")
    image = ImageOptions(source=tmp_path / f"a.{suffix}[{inside}]")
    (spec,) = image.specs()
    assert (spec.path, spec.hdu, spec.page) == (path, *expected)
    with pytest.raises(UsageError, match="names an image in brackets already; drop --hdu"):
        replace(image, hdu=["1"]).specs()


def test_several_images_are_named(tmp_path):
    images = [fits.ImageHDU(np.ones((4, 4)), name="SCI", ver=n) for n in (1, 2)]
    fits.HDUList([fits.PrimaryHDU(), *images]).writeto(tmp_path / "a.fits")
    for more in ({"hdu": ["all"]}, {"hdu": ["SCI,1", "2"]}, {"hdu": ["sci,*"]}):
        image = ImageOptions(source=tmp_path / "a.fits", **more)
        assert [spec.hdu for spec in image.specs()] == ["SCI,1", "SCI,2"]


@pytest.mark.parametrize("page", ["some", "-1", "1.0", "²"])
def test_an_invalid_page_is_refused(page):
    with pytest.raises(UsageError, match=f"--page {page}: expected a number from 0, or all"):
        ImageOptions(source=Path("a.tif"), page=page).specs()
