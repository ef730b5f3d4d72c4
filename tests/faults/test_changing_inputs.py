"""A run whose input changes does not end with a complete result."""

import os
import shutil

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from runs import COPY, FIT, digest, request

from glassplate.pipeline.errors import SourceError, StoreError
from glassplate.pipeline.events import StageStarted, TileDone
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance import input_watch
from glassplate.pipeline.provenance.identity import file_identity, identify
from glassplate.pipeline.provenance.input_watch import InputWatch, Stamp, stamps_of
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.run.restore import restore
from glassplate.pipeline.sources.source import SourceSpec

SHAPE = (50, 70)


def image(seed):
    return np.random.default_rng(seed).normal(100, 5, SHAPE).astype("f4")


@pytest.fixture
def sky(tmp_path):
    fits.writeto(tmp_path / "sky.fits", image(0))
    fits.writeto(tmp_path / "other.fits", image(1))
    return tmp_path / "sky.fits"


def overwritten(path):
    """In place, the same size."""
    with path.open("r+b") as file:
        file.write(path.with_name(f"other{path.suffix}").read_bytes())


def overwritten_and_its_time_put_back(path):
    status = path.stat()
    overwritten(path)
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns))


def replaced(path):
    """By rename, with the size and the times of before."""
    new = path.with_name("new")
    shutil.copy(path.with_name(f"other{path.suffix}"), new)
    os.utime(new, ns=(path.stat().st_atime_ns, path.stat().st_mtime_ns))
    new.replace(path)


def appended(path):
    with path.open("ab") as file:
        file.write(b"\0" * 2880)


def removed(path):
    path.unlink()


def at(moment, what, path):
    """A listener that does something to a file once, at a moment of the run."""
    done = []

    def listen(event):
        if not done and moment(event):
            done.append(event)
            what(path)

    return listen


def stage(name):
    return lambda event: isinstance(event, StageStarted) and event.stage == name


MOMENTS = {
    "donor": stage("donor"),
    "restore": stage("restore"),
    "first tile": lambda event: isinstance(event, TileDone),
    "stitch": stage("stitch"),
    "pyramid": stage("pyramid"),
}
WAYS = [overwritten_and_its_time_put_back, replaced, appended, removed]
CASES = [*((moment, overwritten) for moment in MOMENTS), *(("first tile", way) for way in WAYS)]


@pytest.mark.slow
@pytest.mark.parametrize(("moment", "way"), CASES)
def test_a_change_of_the_source_ends_the_run(sky, tmp_path, moment, way):
    store, export = tmp_path / "a.zarr", tmp_path / "out.fits"
    wished = request(sky, store, FIT if moment == "donor" else COPY, export=export)
    kept = sky.read_bytes()
    with pytest.raises(SourceError, match=r"sky\.fits: (has changed|cannot be read any more)"):
        restore(wished, InlinePool(), at(MOMENTS[moment], way, sky))
    assert not export.exists()
    assert read_manifest(store).status != "complete"
    assert [c.ok for c in verify(store) if c.name == "complete"] == [False]
    # nothing that was made from the other content counts as done
    sky.write_bytes(kept)
    assert restore(wished, InlinePool()).status == "complete"
    restore(request(sky, tmp_path / "whole.zarr", wished.recipe.model_dump()), InlinePool())
    assert digest(store) == digest(tmp_path / "whole.zarr")


@pytest.mark.parametrize("way", [overwritten, replaced])
def test_so_does_a_change_of_a_tiff(tmp_path, way):
    for name, seed in (("page", 0), ("other", 1)):
        tifffile.imwrite(tmp_path / f"{name}.tif", image(seed).astype("u1"))
    wished = request(tmp_path / "page.tif", tmp_path / "a.zarr", COPY, export=tmp_path / "o.tif")
    with pytest.raises(SourceError, match=r"page\.tif: has changed while it was being restored"):
        restore(wished, InlinePool(), at(MOMENTS["first tile"], way, tmp_path / "page.tif"))
    assert read_manifest(wished.store).status != "complete"
    assert not wished.export.exists()


@pytest.mark.slow
@pytest.mark.parametrize("role", ["mask", "variance", "guide", "psf", "exposures"])
def test_a_change_of_any_other_input_ends_the_run(tmp_path, sky, role):
    path = tmp_path / f"{role}.fits"
    raw = dict(FIT if role in ("guide", "psf") else COPY)
    values = {
        "mask": np.eye(*SHAPE, dtype="u1"),
        "variance": np.full(SHAPE, 25, "f4"),
        "psf": np.outer([1, 2, 1], [1, 2, 1]).astype("f4"),
    }.get(role, image(2))
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values, name="X")]).writeto(path)
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(values * 2, name="X")]).writeto(
        tmp_path / "other.fits", overwrite=True
    )
    if role == "psf":
        raw |= {"task": "deconvolve", "fit": {**FIT["fit"], "input": "noise"}}
    named = tmp_path / f"{role}.fits[X]"
    spec = SourceSpec(sky, **{role: (named,) if role == "exposures" else named})
    with pytest.raises(SourceError, match=rf"{role}\.fits: has changed"):
        restore(
            request(spec, tmp_path / "a.zarr", raw),
            InlinePool(),
            at(MOMENTS["stitch"], overwritten, path),
        )


@pytest.mark.slow
def test_a_file_that_is_touched_linked_or_copied_back_counts_as_unchanged(sky, tmp_path):
    def harmless(path):
        os.utime(path)
        os.link(path, tmp_path / "backup.fits")
        path.chmod(0o600)
        shutil.copy(path, tmp_path / "copy.fits")
        (tmp_path / "copy.fits").replace(path)

    listener = at(MOMENTS["first tile"], harmless, sky)
    assert restore(request(sky, tmp_path / "a.zarr", COPY), InlinePool(), listener).tiles == 6
    assert all(check.ok for check in verify(tmp_path / "a.zarr"))


def test_a_change_without_a_new_stamp_spoils_the_result(sky, tmp_path, monkeypatch):
    # a file system without inodes and with a clock that stands still
    stamp = Stamp(0, 0, sky.stat().st_size, 0, 0, is_fresh=False)
    monkeypatch.setattr(input_watch, "_stamp", lambda path: stamp)
    wished, kept = request(sky, tmp_path / "a.zarr", COPY), sky.read_bytes()
    with pytest.raises(SourceError, match="its time stamps do not show when"):
        restore(wished, InlinePool(), at(MOMENTS["first tile"], overwritten, sky))
    sky.write_bytes(kept)
    with pytest.raises(StoreError, match="an input changed while it was made; remove it"):
        restore(wished, InlinePool())


@pytest.mark.parametrize(
    ("fresh", "small", "reads"), [(False, False, 0), (True, False, 1), (False, True, 1)]
)
def test_content_is_read_again_if_stamps_may_be_wrong_or_the_file_is_small(
    sky, monkeypatch, fresh, small, reads
):
    spec, read = SourceSpec(sky), []
    stamps = {p: Stamp(1, 2, 9999, 3, 4, fresh) for p in stamps_of(spec.files)}
    watch = InputWatch(stamps, identify(spec, parse_recipe(COPY, "test")))
    monkeypatch.setattr(input_watch, "SMALL_BYTES", 10**6 if small else 0)
    monkeypatch.setattr(
        input_watch, "file_identity", lambda path: read.append(path) or file_identity(path)
    )
    watch.check_content()
    assert len(read) == reads


def test_a_new_file_has_a_fresh_stamp(sky):
    [stamp] = stamps_of([sky]).values()
    assert stamp.is_fresh
    assert input_watch.CLOCK_NS >= 2e9, "the clock of FAT"
