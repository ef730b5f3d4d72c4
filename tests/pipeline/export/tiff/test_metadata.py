"""Descriptions, XMP, image resources and tags of pages follow what is written."""

import struct
from xml.etree import ElementTree

import numpy as np
import pytest
import tifffile
from exported import ended, make_store, restored
from hypothesis import given, settings
from hypothesis import strategies as st
from PIL import Image

from glassplate.pipeline.export.export import export
from glassplate.pipeline.export.tiff.description import (
    Written,
    adapted_description,
    without_statistics,
)
from glassplate.pipeline.export.tiff.resources import adapted_resources
from glassplate.pipeline.export.tiff.xmp import SOURCE_TYPE, with_source_type
from glassplate.pipeline.sources.tiff.tag_table import why_dropped

TYPE = "{http://iptc.org/std/Iptc4xmpExt/2008-02-29/}DigitalSourceType"
RDF = "{http://www.w3.org/1999/02/22-rdf-syntax-ns#}"
PACKET = (
    '<?xpacket begin="" id="W5M0MpCehiHzreSzNTczkc9d"?><x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#">'
    '<rdf:Description rdf:about="uuid:7" xmlns:dc="http://purl.org/dc/elements/1.1/" '
    'xmlns:Iptc4xmpExt="http://iptc.org/std/Iptc4xmpExt/2008-02-29/"{attribute}>'
    "<dc:title>Höhe</dc:title>{element}</rdf:Description></rdf:RDF></x:xmpmeta>"
    '<?xpacket end="w"?>'
)
CAPTURE = "http://cv.iptc.org/newscodes/digitalsourcetype/digitalCapture"


def source_types(xmp):
    """All digital source types that a packet states."""
    root = ElementTree.fromstring(xmp.decode().partition("?>")[2].rpartition("<?xpacket")[0])
    found = [element.text or element.get(f"{RDF}resource") for element in root.iter(TYPE)]
    return found + [e.get(TYPE) for e in root.iter(f"{RDF}Description") if e.get(TYPE)]


class TestXmp:
    @pytest.mark.parametrize(
        ("attribute", "element"),
        [
            ("", ""),
            (f' Iptc4xmpExt:DigitalSourceType="{CAPTURE}"', ""),
            ("", f"<Iptc4xmpExt:DigitalSourceType>{CAPTURE}</Iptc4xmpExt:DigitalSourceType>"),
            ("", f'<Iptc4xmpExt:DigitalSourceType rdf:resource="{CAPTURE}"/>'),
        ],
    )
    def test_the_source_type_is_stated_once(self, attribute, element):
        packet = PACKET.format(attribute=attribute, element=element).encode()
        adapted = with_source_type(packet)
        assert source_types(adapted) == [SOURCE_TYPE]
        assert "Höhe".encode() in adapted
        assert adapted.count(b'rdf:about="uuid:7"') == adapted.count(b"rdf:about")

    def test_without_xmp_a_packet_is_made(self):
        assert source_types(with_source_type(None)) == [SOURCE_TYPE]

    def test_twice_is_once(self):
        once = with_source_type(None)
        assert with_source_type(once) == once

    @given(st.binary(max_size=40))
    def test_what_is_no_packet_stays(self, junk):
        if junk and b"</rdf:RDF>" not in junk and b"DigitalSourceType" not in junk:
            assert with_source_type(junk) == junk

    @pytest.mark.parametrize(("task", "stated"), [("denoise", True), ("identity", False)])
    def test_only_what_was_changed_is_called_enhanced(self, tmp_path, task, stated):
        store = make_store(tmp_path, np.zeros((20, 30), "u1"), {"tiff": {}})
        ended(store, recipe={"task": task})
        target = export(store, tmp_path / "a.tif")
        with tifffile.TiffFile(target) as tiff:
            xmp = tiff.pages[0].tags.valueof(700)
        assert (xmp is not None) == stated
        if stated:
            assert source_types(bytes(xmp)) == [SOURCE_TYPE]
            with Image.open(target) as image:
                # Pillow parses the packet by itself
                assert "DigitalSourceType" in str(image.tag_v2[700])


def written(factor=1.0, pages=5, size=(48, 72), dtype="u2"):
    return Written(factor, pages, size, np.dtype(dtype))


IMAGEJ = "ImageJ=1.54f\nimages=5\nslices=5\nhyperstack=true\nunit=um\nxorigin=10\nmin=3\n"


class TestDescriptions:
    def test_imagej_counts_what_is_written(self):
        assert adapted_description(IMAGEJ, written()) == IMAGEJ
        one = adapted_description(IMAGEJ, written(2.0, pages=1))
        assert one == "ImageJ=1.54f\nunit=um\nxorigin=20\nmin=3\n"

    @pytest.mark.parametrize("page", [None, 2, "all"])
    @pytest.mark.parametrize("behind_one_directory", [False, True])
    def test_a_stack_of_imagej_is_as_many_images_as_are_written(
        self, tmp_path, page, behind_one_directory
    ):
        """One page of five said that it was five."""
        data = np.random.default_rng(0).integers(0, 250, (5, 24, 36), dtype="u2")
        path, kind = tmp_path / "a.tif", {"photometric": "minisblack", "metadata": None}
        if behind_one_directory:
            tifffile.imwrite(path, data[0], description=IMAGEJ, **kind)
            with path.open("ab") as file:
                file.write(data[1:].tobytes())
        else:
            tifffile.imwrite(path, data, imagej=True)
        store, values = restored(tmp_path, path, page=page)
        with tifffile.TiffFile(export(store, tmp_path / "b.tif")) as tiff:
            assert len(tiff.pages) == (5 if page == "all" else 1)
            assert ("images=5" in tiff.pages[0].description) == (page == "all")
            np.testing.assert_array_equal(tiff.series[0].asarray(), values)

    def test_tifffile_s_shape_is_dropped(self):
        assert adapted_description('{"shape": [5, 24, 36]}', written()) is None

    def test_other_texts_stay(self):
        assert adapted_description("folio 3r <OMEGA>", written(2.0)) == "folio 3r <OMEGA>"
        assert (
            adapted_description("Aperio Image Library\n46000x32914|MPP = 0.4990", written(2.0))
            is None
        )

    def test_ome_has_the_size_of_the_pixels(self, tmp_path):
        data = np.random.default_rng(0).integers(0, 250, (5, 24, 36), dtype="u2")
        size = {"PhysicalSizeX": 0.5, "PhysicalSizeXUnit": "µm", "PhysicalSizeY": 250}
        axes = {"axes": "ZYX", **size, "PhysicalSizeYUnit": "nm"}
        tifffile.imwrite(tmp_path / "a.ome.tif", data, metadata=axes, photometric="minisblack")
        store, values = restored(tmp_path, tmp_path / "a.ome.tif", scale=2, page="all")
        with tifffile.TiffFile(export(store, tmp_path / "b.ome.tif")) as tiff:
            assert tiff.is_ome
            assert tiff.series[0].shape == (5, 48, 72)
            np.testing.assert_array_equal(tiff.series[0].asarray(), values)
            assert 'PhysicalSizeX="0.25"' in tiff.ome_metadata
            assert 'PhysicalSizeXUnit="µm"' in tiff.ome_metadata
        (tmp_path / "one").mkdir()
        store, _ = restored(tmp_path / "one", tmp_path / "a.ome.tif", page=2)
        with tifffile.TiffFile(export(store, tmp_path / "c.tif")) as tiff:
            page = tiff.pages[0]
            assert not page.description
            # which stated the size of a pixel
            assert (page.tags.valueof(282), page.tags.valueof(283)) == ((20_000, 1), (40_000, 1))
            assert page.tags.valueof(296) == 3

    @given(st.text(max_size=60))
    @settings(max_examples=20)
    def test_damaged_ome_is_dropped(self, junk):
        found = adapted_description(f'<?xml version="1.0"?><OME xmlns="x">{junk}', written(2.0))
        assert found is None

    def test_statistics_of_gdal_are_dropped(self):
        text = (
            "<GDALMetadata>\n"
            '  <Item name="STATISTICS_MAXIMUM" sample="0">255</Item>\n  <Item name="A">1</Item>\n'
            "</GDALMetadata>"
        )
        expected = '<GDALMetadata>\n  <Item name="A">1</Item>\n</GDALMetadata>'
        assert without_statistics(text) == expected


def resource(number, data, name=b""):
    named = bytes([len(name)]) + name
    named += b"\0" * (len(named) % 2)
    head = b"8BIM" + struct.pack(">H", number) + named + struct.pack(">I", len(data))
    return head + data + b"\0" * (len(data) % 2)


class TestResources:
    def test_resolution_is_scaled_and_thumbnails_are_left_out(self):
        kept = resource(1028, b"\x1c\x02\0\0\2hi") + resource(2999, b"path", b"Clip")
        info = struct.pack(">I4sI4s", 300 << 16, b"abcd", 150 << 16, b"efgh")
        raw = resource(1005, info) + resource(1036, bytes(99)) + kept + resource(1032, bytes(16))
        twice = struct.pack(">I4sI4s", 600 << 16, b"abcd", 300 << 16, b"efgh")
        assert adapted_resources(raw, 2) == resource(1005, twice) + kept
        assert adapted_resources(raw, 1) == resource(1005, info) + kept + resource(1032, bytes(16))

    @given(st.binary(max_size=60))
    def test_damaged_ones_are_dropped(self, junk):
        assert adapted_resources(b"8BIM" + junk, 2.0) is not None


class TestPages:
    def test_each_has_its_own_tags(self, tmp_path):
        data = np.random.default_rng(0).integers(0, 250, (3, 20, 30), dtype="u1")
        with tifffile.TiffWriter(tmp_path / "a.tif") as tiff:
            for number, page in enumerate(data):
                tags = [(285, 2, None, f"leaf {number}", True)]
                tags += [(315, 2, None, "Ada", True)] if number != 1 else []
                tiff.write(
                    page,
                    metadata=None,
                    extratags=tags,
                    resolution=(300 + number, 300),
                    resolutionunit="INCH",
                    iccprofile=bytes([number]) * 9 if number else None,
                )
        store, _ = restored(tmp_path, tmp_path / "a.tif", page="all")
        with tifffile.TiffFile(export(store, tmp_path / "b.tif")) as tiff:
            pages = list(tiff.pages)
            assert [page.tags.valueof(285) for page in pages] == ["leaf 0", "leaf 1", "leaf 2"]
            assert [page.tags.valueof(315) for page in pages] == ["Ada", None, "Ada"]
            assert [page.tags.valueof(282)[0] for page in pages] == [300, 301, 302]
            assert [page.tags.valueof(34675) for page in pages] == [None, b"\1" * 9, b"\2" * 9]

    def test_white_as_zero_is_written_as_it_was(self, tmp_path):
        data = np.random.default_rng(0).integers(0, 4096, (20, 30), dtype="u2")
        tifffile.imwrite(tmp_path / "a.tif", data, photometric="miniswhite", bitspersample=12)
        store, _ = restored(tmp_path, tmp_path / "a.tif")
        with tifffile.TiffFile(export(store, tmp_path / "b.tif")) as tiff:
            assert tiff.pages[0].photometric.name == "MINISWHITE"
            np.testing.assert_array_equal(tiff.pages[0].asarray(), data)

    def test_private_tags_come_along_unless_they_may_be_wrong(self, tmp_path):
        tags = [(65000, 2, None, "mine", True), (65001, 12, 1, 2.5, True), (65002, 4, 1, 8, True)]
        data = np.zeros((20, 30), "u1")
        tifffile.imwrite(tmp_path / "a.tif", data, extratags=tags, metadata=None)
        for scale, expected in ((1, ["mine", 2.5, None]), (2, [None] * 3)):
            folder = tmp_path / str(scale)
            folder.mkdir()
            store, _ = restored(folder, tmp_path / "a.tif", scale=scale)
            with tifffile.TiffFile(export(store, folder / "b.tif")) as tiff:
                found = tiff.pages[0].tags
                assert [found.valueof(code) for code in (65000, 65001, 65002)] == expected
        assert why_dropped(65002, 4) == "private tag that may point into the file of the input"
