"""Results keep their bytes while the code around them is rearranged.

Identity, which only moves pixels, has the same bytes everywhere. What a fit gives depends on how a processor
and its libraries sum: those checksums hold for the processor and the torch that they name; others skip.
Where a result is meant to change: ``python tests/test_same_bytes.py`` writes ``same_bytes.json`` anew.
"""

import hashlib
import json
import sys
import tempfile
from pathlib import Path

import numpy as np
import pytest
import torch
import zarr
from astropy.io import fits
from PIL import Image
from tifffile import imwrite
from typer.testing import CliRunner

FILE = Path(__file__).with_name("same_bytes.json")
SHORT = (
    "fit.iterations=30",
    "fit.log_period=10",
    "stopping.minimum=10",
    "tiles.core=32",
    "tiles.halo=8",
    "tiles.stack=1",
    "network.channels=8",
    "network.fine_channels=8",
    "network.skip_channels=4",
    "network.scales=2",
    "donor.iterations=20",
    "donor.windows=2",
    "donor.tile_iterations=20",
)

# The network keeps its channels, and an iteration takes ten times as long.
SHORT_OF_WIDE = (
    "fit.iterations=15",
    "fit.log_period=5",
    "stopping.minimum=5",
    *(one for one in SHORT if one.startswith(("tiles.", "network.scales"))),
)


def scene(shape=(40, 56), seed=0):
    """A bright disc, two stars and an edge, noise of 4; ``(y, x)`` float64, 0 to 255."""
    y, x = np.mgrid[: shape[0], : shape[1]]
    image = 60 + 90.0 * ((y - 18) ** 2 + (x - 34) ** 2 < 90) + 40 * (x > 44)
    for cy, cx in ((9, 11), (30, 16)):
        image += 80 * np.exp(-((y - cy) ** 2 + (x - cx) ** 2) / 5)
    return np.clip(image + np.random.default_rng(seed).normal(0, 4, shape), 0, 255)


def write_inputs(folder):
    """Write every input that a case names."""
    sky = scene().astype("f4")
    sky[3:5, 7:9] = np.nan
    fits.writeto(folder / "sky.fits", sky, fits.Header({"BUNIT": "adu"}))
    cube = np.stack([scene(seed=k) for k in range(5)]).astype("i2")
    fits.writeto(folder / "cube.fits", cube)
    colours = np.stack([scene(seed=k) for k in range(3)], axis=-1).astype("u1")
    imwrite(folder / "colours.tif", colours, photometric="rgb")
    imwrite(folder / "grey.tif", scene().astype("u1"))
    Image.fromarray(colours).save(folder / "photo.jpg", quality=40)
    hints = np.zeros((40, 56, 4), "u1")
    hints[10:14, 10:14] = (200, 60, 60, 255)
    hints[20:24, 30:34] = (60, 60, 200, 255)
    Image.fromarray(hints).save(folder / "hints.png")
    mask = np.zeros((40, 56), "u1")
    mask[12:16, 20:30] = 1
    imwrite(folder / "mask.tif", mask)
    y, x = np.mgrid[-4:5, -4:5]
    fits.writeto(folder / "psf.fits", np.exp(-(y**2 + x**2) / 3.0).astype("f4"))
    fits.writeto(folder / "guide.fits", scene(seed=9).astype("f4"))
    fits.writeto(folder / "second.fits", scene(seed=7).astype("f4"))
    fits.writeto(folder / "sigma.fits", np.full((40, 56), 4, "f4"))


CASES = {
    "identity of FITS": ("sky.fits", "identity", ()),
    "identity of TIFF": ("colours.tif", "identity", ()),
    "identity of a cube": ("cube.fits", "identity", ()),
    "denoise, sky": ("sky.fits", "astro-denoise", ("--sigma", "sigma.fits")),
    "denoise, two exposures": ("sky.fits", "astro-denoise", ("--exposure", "second.fits")),
    "denoise, photograph": ("colours.tif", "archive-denoise", ("--set", "fit.uncertainty=true")),
    "denoise, two members": ("grey.tif", "archive-denoise", ("--set", "fit.members=2")),
    "denoise, impulses": ("grey.tif", "archive-impulse", ()),
    "denoise, draft": ("grey.tif", "draft", ()),
    "denoise, reference": ("grey.tif", "reference", ()),
    "guided": ("sky.fits", "guided-denoise", ("--guide", "guide.fits")),
    "superres": ("colours.tif", "archive-upscale", ("--scale", "2")),
    "superres, sky": ("sky.fits", "astro-upscale", ("--scale", "2")),
    "deconvolve": ("sky.fits", "astro-deconvolve", ("--psf", "psf.fits")),
    "inpaint, mask": ("grey.tif", "archive-fill", ("--mask", "mask.tif")),
    "inpaint, defects of a sky": ("sky.fits", "astro-repair", ("--mask", "mask.tif")),
    "inpaint, defects of a print": ("grey.tif", "archive-repair", ()),
    "deartifact": ("photo.jpg", "archive-deartifact", ()),
    "colorize": ("grey.tif", "archive-colorize", ("--hints", "hints.png")),
}


def machine():
    """Processor, its instructions and torch: what sums depend on."""
    lines = [line.partition(":") for line in Path("/proc/cpuinfo").read_text().splitlines()]
    fields = {key.strip(): value.strip() for key, _, value in lines}
    # the name of a virtual processor says too little: oneDNN chooses its kernels by these
    flags = [flag for flag in fields.get("flags", "").split() if flag.startswith(("avx", "amx"))]
    name = fields.get("model name", "unknown")
    return f"{name} ({' '.join(sorted(flags))}), torch {torch.__version__}"


def restored(folder, name):
    """SHA-256 of each image array of the result of a case, by its path in the store."""
    from glassplate.flows.cli.main import app

    source, recipe, more = CASES[name]
    store = folder / f"{name}.zarr"
    words = ["restore", str(folder / source), "--output", str(store), "--recipe", recipe]
    words += ["--pool", "inline", "--device", "cpu", "--progress", "none"]
    words += [str(folder / word) if (folder / word).is_file() else word for word in more]
    if recipe != "identity":
        short = SHORT_OF_WIDE if recipe == "reference" else SHORT
        words += [word for one in short for word in ("--set", one)]
        words += ["--set", "noise.model=gaussian", "--set", "noise.sigma=4"]
    done = CliRunner().invoke(app, words)
    assert done.exit_code == 0, (name, done.output, done.exception)
    found = {}
    for array in sorted(file.parent for file in store.rglob("zarr.json")):
        path = array.relative_to(store).as_posix()
        if json.loads((array / "zarr.json").read_text())["node_type"] == "group":
            continue
        if not path.endswith("seconds"):  # the one thing that differs from run to run
            pixels = np.ascontiguousarray(zarr.open_array(array, mode="r")[...])
            digest = hashlib.sha256(f"{pixels.dtype.str} {pixels.shape} ".encode())
            digest.update(pixels.tobytes())
            found[path] = digest.hexdigest()[:16]
    return found


@pytest.fixture(scope="module")
def inputs(tmp_path_factory):
    folder = tmp_path_factory.mktemp("same_bytes")
    write_inputs(folder)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_results_keep_their_bytes(name, inputs):
    pinned = json.loads(FILE.read_text())
    if not name.startswith("identity") and machine() != pinned["machine"]:
        pytest.skip(f"fits were pinned on {pinned['machine']}")
    assert restored(inputs, name) == pinned["arrays"][name]


def main():
    """Write the checksums of this machine."""
    folder = Path(tempfile.mkdtemp())
    write_inputs(folder)
    arrays = {}
    for name in CASES:
        arrays[name] = restored(folder, name)
        print(name, arrays[name])
    FILE.write_text(json.dumps({"machine": machine(), "arrays": arrays}, indent=1) + "\n")


if __name__ == "__main__":
    sys.exit(main())
