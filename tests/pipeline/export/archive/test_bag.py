"""Bags: complete and valid, and the original can be made from what is in them."""

import hashlib
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from astropy.io import fits
from runs import COPY, FIT, request

from glassplate.pipeline.errors import StoreError, UsageError
from glassplate.pipeline.export.archive.bag import export_bag
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

PREMIS = "{http://www.loc.gov/premis/v3}"
# The children that the schema of PREMIS 3.0 allows, in its order, of the elements that are written. Those
# with a plus must be there. Documents were found valid against the schema itself, which is not shipped.
CHILDREN = {
    "premis": "object event agent rights",
    "object": "objectIdentifier+ preservationLevel significantProperties objectCharacteristics+ originalName"
    " storage signatureInformation relationship linkingEventIdentifier linkingRightsStatementIdentifier",
    "objectCharacteristics": "compositionLevel fixity size format+ creatingApplication inhibitors",
    "fixity": "messageDigestAlgorithm+ messageDigest+ messageDigestOriginator",
    "format": "formatDesignation formatRegistry formatNote",
    "formatDesignation": "formatName+ formatVersion",
    "relationship": "relationshipType+ relationshipSubType+ relatedObjectIdentifier relatedEventIdentifier",
    "relatedObjectIdentifier": "relatedObjectIdentifierType+ relatedObjectIdentifierValue+",
    "relatedEventIdentifier": "relatedEventIdentifierType+ relatedEventIdentifierValue+",
    "event": "eventIdentifier+ eventType+ eventDateTime+ eventDetailInformation eventOutcomeInformation"
    " linkingAgentIdentifier linkingObjectIdentifier",
    "eventDetailInformation": "eventDetail eventDetailExtension",
    "eventOutcomeInformation": "eventOutcome eventOutcomeDetail",
    "eventOutcomeDetail": "eventOutcomeDetailNote eventOutcomeDetailExtension",
    "linkingAgentIdentifier": "linkingAgentIdentifierType+ linkingAgentIdentifierValue+ linkingAgentRole",
    "linkingObjectIdentifier": "linkingObjectIdentifierType+ linkingObjectIdentifierValue+ linkingObjectRole",
    "agent": "agentIdentifier+ agentName agentType agentVersion agentNote",
    **{
        f"{n}Identifier": f"{n}IdentifierType+ {n}IdentifierValue+"
        for n in ("object", "event", "agent")
    },
}


def noisy(dtype="u1", channels=1, most=250):
    rng = np.random.default_rng(0)
    data = rng.integers(0, most, (50, 70, channels)).astype(dtype)
    return data[..., 0] if channels == 1 else data


def bagged(tmp_path, path, raw=FIT, **more):
    restore(request(path, tmp_path / "a.zarr", raw), InlinePool())
    return export_bag(tmp_path / "a.zarr", tmp_path / "bag", **more)


def check_manifests(bag):
    """Every file of the bag is in a manifest, with its digest."""
    seen = set()
    for name, prefix in (("manifest-sha256.txt", "data/"), ("tagmanifest-sha256.txt", "")):
        for line in (bag / name).read_text().splitlines():
            digest, path = line.split("  ", 1)
            assert path.startswith(prefix)
            assert hashlib.sha256((bag / path).read_bytes()).hexdigest() == digest
            seen.add(path)
    files = {p.relative_to(bag).as_posix() for p in bag.rglob("*") if p.is_file()}
    assert files == seen | {"tagmanifest-sha256.txt"}


def check_premis(element):
    """An element has the children that the schema allows, in its order."""
    name = element.tag.removeprefix(PREMIS)
    if name not in CHILDREN:
        assert not len(element), name
        assert element.text.strip(), name
        return
    allowed = [child.removesuffix("+") for child in CHILDREN[name].split()]
    there = [child.tag.removeprefix(PREMIS) for child in element]
    assert [allowed.index(child) for child in there] == sorted(map(allowed.index, there)), name
    needed = {child.removesuffix("+") for child in CHILDREN[name].split() if child.endswith("+")}
    assert needed <= {*there}, name
    for child in element:
        check_premis(child)


@pytest.mark.slow
class TestBag:
    def test_is_a_bag(self, tmp_path):
        tifffile.imwrite(tmp_path / "page 1%.tif", noisy())
        bag = bagged(tmp_path, tmp_path / "page 1%.tif", COPY, pyramid=True)
        assert (bag / "bagit.txt").read_text() == (
            "BagIt-Version: 1.0\nTag-File-Character-Encoding: UTF-8\n"
        )
        assert "data/page 1%25-restored.tif" in (bag / "manifest-sha256.txt").read_text()
        payload = [p for p in (bag / "data").rglob("*") if p.is_file()]
        oxum = f"Payload-Oxum: {sum(p.stat().st_size for p in payload)}.{len(payload)}\n"
        assert oxum in (bag / "bag-info.txt").read_text()
        assert (bag / "data" / "provenance" / "manifest.json").is_file()
        with tifffile.TiffFile(bag / "data" / "page 1%-restored.tif") as tiff:
            assert len(tiff.pages) > 1

    def test_the_bagit_package_finds_it_valid(self, tmp_path):
        bagit = pytest.importorskip("bagit")
        tifffile.imwrite(tmp_path / "a.tif", noisy())
        bag = bagged(tmp_path, tmp_path / "a.tif", COPY)
        check_manifests(bag)
        bagit.Bag(str(bag)).validate()
        (bag / "data" / "a-residual.tif").write_bytes(b"changed")
        with pytest.raises(bagit.BagValidationError):
            bagit.Bag(str(bag)).validate()

    @pytest.mark.parametrize("photometric", ["minisblack", "miniswhite"])
    @pytest.mark.parametrize(("dtype", "most"), [("u1", 256), ("u2", 65536), ("i2", 30000)])
    def test_restored_plus_residual_is_the_original(self, tmp_path, dtype, most, photometric):
        if photometric == "miniswhite" and dtype == "i2":
            pytest.skip("not defined for signed numbers")
        data = noisy(dtype, most=most)
        tifffile.imwrite(tmp_path / "a.tif", data, photometric=photometric)
        bag = bagged(tmp_path, tmp_path / "a.tif")
        image = tifffile.imread(bag / "data" / "a-restored.tif").astype(np.int64)
        residual = tifffile.imread(bag / "data" / "a-residual.tif")
        assert residual.any()
        np.testing.assert_array_equal(image + residual, data)
        assert image.max() <= np.iinfo(dtype).max

    @pytest.mark.parametrize("task", ["denoise", "inpaint"])
    def test_also_of_colours_with_damage(self, tmp_path, task):
        data = noisy(channels=3)
        data[10:14, 20:24] = 255
        mask = np.zeros((50, 70), "u1")
        mask[10:14, 20:24] = 255
        tifffile.imwrite(tmp_path / "a.tif", data, photometric="rgb")
        tifffile.imwrite(tmp_path / "mask.tif", mask)
        from glassplate.pipeline.sources.source import SourceSpec

        spec = SourceSpec(tmp_path / "a.tif", mask=tmp_path / "mask.tif")
        bag = bagged(tmp_path, spec, {**FIT, "task": task})
        image = tifffile.imread(bag / "data" / "a-restored.tif").astype(np.int64)
        np.testing.assert_array_equal(
            image + tifffile.imread(bag / "data" / "a-residual.tif"), data
        )
        events = ElementTree.parse(bag / "data" / "premis.xml").findall(f"{PREMIS}event")
        roles = [link.findtext(f"{PREMIS}linkingObjectRole") for link in events[0]]
        assert roles.count("source") == 2

    def test_what_was_read_in_another_form_is_said(self, tmp_path):
        bits = np.random.default_rng(0).integers(0, 2, (50, 70)).astype(bool)
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            tiff.write(bits, metadata=None)
            tiff.write(bits, metadata=None)
        bag = bagged(tmp_path, tmp_path / "a.tif", COPY)
        text = (bag / "data" / "premis.xml").read_text()
        assert "Of the original, 1 bit per pixel is read as grey of 8 bits." in text
        assert "--page" not in text

    def test_of_fits_it_is_fits(self, tmp_path):
        data = np.random.default_rng(0).normal(100, 5, (50, 70)).astype("f4")
        fits.writeto(tmp_path / "a.fits", data)
        bag = bagged(tmp_path, tmp_path / "a.fits")
        total = sum(fits.getdata(bag / "data" / f"a-{n}.fits") for n in ("restored", "residual"))
        np.testing.assert_allclose(total, data, rtol=1e-6)

    def test_an_enlarged_image_has_no_residual_of_its_own(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", noisy())
        raw = {**FIT, "task": "superres", "operator": {"scale": 2}}
        bag = bagged(tmp_path, tmp_path / "a.tif", raw)
        assert sorted(p.name for p in (bag / "data").iterdir()) == [
            "a-restored.tif",
            "premis.xml",
            "provenance",
        ]
        assert "must be kept" in (bag / "data" / "premis.xml").read_text()

    def test_premis(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", noisy())
        bag = bagged(tmp_path, tmp_path / "a.tif")
        root = ElementTree.parse(bag / "data" / "premis.xml").getroot()
        assert [child.tag.removeprefix(PREMIS) for child in root] == [
            *["object"] * 3,
            "event",
            "agent",
        ]
        names = [o.findtext(f".//{PREMIS}objectIdentifierValue") for o in root][:3]
        assert names == ["a.tif", "data/a-restored.tif", "data/a-residual.tif"]
        for name, path in zip(
            names, (tmp_path / "a.tif", bag / names[1], bag / names[2]), strict=True
        ):
            found = root[names.index(name)]
            digest = hashlib.sha256(path.read_bytes()).hexdigest()
            assert found.findtext(f".//{PREMIS}messageDigest") == digest
            assert found.findtext(f".//{PREMIS}size") == str(path.stat().st_size)
            assert found.findtext(f".//{PREMIS}formatName") == "TIFF"
        event = root[3]
        assert event.findtext(f"{PREMIS}eventType") == "modification"
        assert event.findtext(f".//{PREMIS}eventOutcome") == "success"
        check_premis(root)

    def test_refusals(self, tmp_path):
        tifffile.imwrite(tmp_path / "a.tif", noisy())
        bagged(tmp_path, tmp_path / "a.tif")
        with pytest.raises(UsageError, match="exists; a bag is a new folder"):
            export_bag(tmp_path / "a.zarr", tmp_path / "bag")
        with pytest.raises(UsageError, match="there is no folder"):
            export_bag(tmp_path / "a.zarr", tmp_path / "no" / "bag")
        chunk = next(p for p in (tmp_path / "a.zarr" / "residual" / "c").rglob("*") if p.is_file())
        chunk.write_bytes(b"damaged")
        with pytest.raises(StoreError):
            export_bag(tmp_path / "a.zarr", tmp_path / "bag2")
        assert not (tmp_path / "bag2").exists()
        assert not list(tmp_path.glob(".*partial"))
