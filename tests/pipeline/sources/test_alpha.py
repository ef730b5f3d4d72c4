"""Alpha is copied and not restored; hidden pixels have no influence and do not change."""

import io
from contextlib import closing

import imagecodecs
import numpy as np
import pytest
import tifffile
import zarr
from PIL import Image
from runs import FIT, level0, request

from glassplate.pipeline.errors import SourceError
from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec
from glassplate.pipeline.tile_grid import Box

ENLARGE = {**FIT, "task": "superres", "operator": {"scale": 2}}
FILL = {**FIT, "task": "inpaint"}


def scene(colours=3, seed=0):
    """A noisy picture ``(48, 56, colours)`` in 8 bits."""
    y, x = np.mgrid[:48, :56]
    planes = [100 + x + y * (n + 1) / 2 for n in range(colours)]
    noise = np.random.default_rng(seed).normal(0, 4, (48, 56, colours))
    return np.clip(np.stack(planes, axis=2) + noise, 1, 255).astype("u1")


def cut_out():
    """An alpha of 8 bits that fades in, nothing in the left quarter."""
    x = np.arange(56)
    return np.broadcast_to(np.clip((x - 13) * 20, 0, 255), (48, 56)).astype("u1")


def with_alpha(path, colours, alpha, dtype="u1", **tiff):
    """Write colours and alpha; give them as planes."""
    data = np.dstack([colours, alpha]).astype(dtype)
    if path.suffix == ".png":
        path.write_bytes(imagecodecs.png_encode(data))
    else:
        photometric = {1: "minisblack", 3: "rgb", 4: "separated"}[colours.shape[2]]
        stored = {"photometric": photometric, "extrasamples": [2], **tiff}
        apart = stored.get("planarconfig") == "separate"
        tifffile.imwrite(path, np.moveaxis(data, 2, 0) if apart else data, **stored)
    return np.moveaxis(data, 2, 0)


FILES = {
    "rgba.png": (3, "u1", {}),
    "grey.png": (1, "u1", {}),
    "rgba.tif": (3, "u1", {}),
    "deep.tif": (3, "u2", {"compression": "zlib", "tile": (16, 16)}),
    "float.tif": (3, "f4", {}),
    "apart.tif": (3, "u1", {"planarconfig": "separate", "rowsperstrip": 5}),
    "associated.tif": (3, "u1", {"extrasamples": [1]}),
    "inks.tif": (4, "u1", {}),
    "grey.tif": (1, "u2", {}),
}


@pytest.mark.slow
@pytest.mark.parametrize("name", FILES)
def test_alpha_and_hidden_pixels_are_copied(tmp_path, name):
    colours, dtype, tiff = FILES[name]
    stored = with_alpha(tmp_path / name, scene(colours), cut_out(), dtype, **tiff)
    target = tmp_path / "o.tif"
    result = restore(
        request(tmp_path / name, tmp_path / "a.zarr", FIT, export=target), InlinePool()
    )
    assert result.status == "complete"
    final = level0(tmp_path / "a.zarr")
    assert final.shape == stored.shape
    np.testing.assert_array_equal(final[-1], stored[-1])
    hidden = stored[-1] == 0
    np.testing.assert_array_equal(final[:, hidden], stored[:, hidden])
    assert np.any(final[:-1, ~hidden] != stored[:-1, ~hidden])
    group = zarr.open_group(str(tmp_path / "a.zarr"), mode="r")
    assert np.all(group["residual"][-1] == 0)
    with (
        tifffile.TiffFile(target) as written,
        closing(open_source(SourceSpec(tmp_path / name))) as source,
    ):
        page = written.pages[0]
        assert source.joint
        assert [int(kind) for kind in page.extrasamples] == tiff.get("extrasamples", [2])
        np.testing.assert_array_equal(np.moveaxis(page.asarray(), -1, 0), final)


@pytest.mark.slow
@pytest.mark.parametrize("alpha", ["opaque", "constant"])
def test_a_constant_alpha_does_not_change_the_colours(tmp_path, alpha):
    """Alpha was once restored, and as a plane without noise it halved the noise estimate."""
    colours = scene()
    tifffile.imwrite(tmp_path / "plain.tif", colours, photometric="rgb")
    value = np.full((48, 56), 255 if alpha == "opaque" else 90)
    with_alpha(tmp_path / "rgba.tif", colours, value)
    for name in ("plain", "rgba"):
        restore(request(tmp_path / f"{name}.tif", tmp_path / f"{name}.zarr", FIT), InlinePool())
    np.testing.assert_array_equal(
        level0(tmp_path / "rgba.zarr")[:3], level0(tmp_path / "plain.zarr")
    )


@pytest.mark.slow
def test_hidden_colours_have_no_influence(tmp_path):
    """The plan and the rest of the image do not depend on the hidden values."""
    plans = []
    for name, value in (("a", 0), ("b", 255)):
        colours = scene()
        colours[cut_out() == 0] = value
        with_alpha(tmp_path / f"{name}.png", colours, cut_out())
        recipe = parse_recipe(FIT, "test")
        plans.append(make_plan(SourceSpec(tmp_path / f"{name}.png"), recipe, recipe_name="t"))
        restore(request(tmp_path / f"{name}.png", tmp_path / f"{name}.zarr", FIT), InlinePool())
    assert plans[0].noise == plans[1].noise
    assert plans[0].transform == plans[1].transform
    seen = cut_out() > 0
    one, other = (level0(tmp_path / f"{name}.zarr") for name in "ab")
    np.testing.assert_array_equal(one[:, seen], other[:, seen])


@pytest.mark.slow
def test_enlarged_by_repetition(tmp_path):
    """An interpolated edge would show hidden colours."""
    stored = with_alpha(tmp_path / "a.png", scene(), cut_out())
    restore(request(tmp_path / "a.png", tmp_path / "a.zarr", ENLARGE), InlinePool())
    final = level0(tmp_path / "a.zarr")
    assert final.shape == (4, 96, 112)
    np.testing.assert_array_equal(final[-1], stored[-1].repeat(2, 0).repeat(2, 1))
    hidden = final[-1] == 0
    np.testing.assert_array_equal(final[:, hidden], stored.repeat(2, 1).repeat(2, 2)[:, hidden])


@pytest.mark.slow
def test_hidden_pixels_are_not_filled(tmp_path):
    stored = with_alpha(tmp_path / "a.png", scene(), cut_out())
    mask = np.zeros((48, 56), "u1")
    mask[10:13, 5:30] = 255
    (tmp_path / "mask.png").write_bytes(imagecodecs.png_encode(mask))
    spec = SourceSpec(tmp_path / "a.png", mask=tmp_path / "mask.png")
    result = restore(request(spec, tmp_path / "a.zarr", FILL), InlinePool())
    final = level0(tmp_path / "a.zarr")
    filled = (mask > 0) & (cut_out() > 0)
    np.testing.assert_array_equal(final[:, ~filled], stored[:, ~filled])
    assert np.any(final[:3, filled] != stored[:3, filled])
    assert result.summary.filled_pixels == 3 * filled.sum()


@pytest.mark.slow
def test_each_plane_of_a_cube_is_restored_except_alpha(tmp_path):
    """Five spectral planes and alpha: no network of five, and none for alpha."""
    data = np.dstack([scene(5), np.full((48, 56), 200)]).astype("u1")
    tifffile.imwrite(
        tmp_path / "a.tif", data, photometric="minisblack", planarconfig="contig",
        extrasamples=[0, 0, 0, 0, 2],
    )  # fmt: skip
    result = restore(request(tmp_path / "a.tif", tmp_path / "a.zarr", FIT), InlinePool())
    final = level0(tmp_path / "a.zarr")
    assert result.tiles % 5 == 0
    np.testing.assert_array_equal(final[-1], data[..., -1])
    assert all(np.any(final[n] != data[..., n]) for n in range(5))


def test_a_transparent_colour_of_a_png_hides_pixels(tmp_path):
    image = Image.fromarray(scene())
    stream = io.BytesIO()
    image.save(stream, "png", transparency=tuple(int(n) for n in scene()[3, 4]))
    (tmp_path / "a.png").write_bytes(stream.getvalue())
    with closing(open_source(SourceSpec(tmp_path / "a.png"))) as source:
        pixels = source.read(Box(0, 48, 0, 56))
        assert source.shape == (3, 48, 56)
        assert pixels.hidden[3, 4]
        assert pixels.hidden.sum() == np.all(scene() == scene()[3, 4], axis=2).sum()


def test_unspecified_samples_are_not_alpha(tmp_path):
    data = np.dstack([scene(), scene(1)])
    tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb", extrasamples=[0])
    with closing(open_source(SourceSpec(tmp_path / "a.tif"))) as source:
        assert source.shape == (4, 48, 56)
        assert source.alpha is None


@pytest.mark.parametrize("role", ["mask", "variance"])
def test_a_mask_with_alpha_is_refused(tmp_path, role):
    """A transparent pixel of a mask may mean either."""
    with_alpha(tmp_path / "a.png", scene(), cut_out())
    with pytest.raises(
        SourceError, match=rf"{role} .*a.png: has an alpha channel; save it without"
    ):
        open_source(SourceSpec(tmp_path / "a.png", **{role: tmp_path / "a.png"}))


@pytest.mark.parametrize("colours", [1, 3])
def test_a_guide_is_used_without_its_alpha(tmp_path, colours):
    planes = with_alpha(tmp_path / "a.png", scene(colours), cut_out())
    spec = SourceSpec(tmp_path / "a.png", guide=tmp_path / "a.png")
    with closing(open_source(spec)) as source:
        guide = source.read(Box(0, 48, 0, 56)).guide
    np.testing.assert_array_equal(guide[:, :, 20:], planes[:-1, :, 20:])
    assert np.isnan(guide[:, :, :10]).all()


def test_a_transparent_image_is_refused(tmp_path):
    with_alpha(tmp_path / "a.png", scene(), np.zeros((48, 56)))
    with pytest.raises(SourceError, match="masked or transparent"):
        make_plan(SourceSpec(tmp_path / "a.png"), parse_recipe(FIT, "test"), recipe_name="t")
