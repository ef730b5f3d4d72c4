"""Headers with forbidden characters are read, kept unchanged, and exported as the standard allows."""

import json

import numpy as np
import pytest
import zarr
from astropy.io import fits

from glassplate.pipeline.open_source import open_source
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.run.restore import RestoreRequest, restore
from glassplate.pipeline.sources.describe import describe
from glassplate.pipeline.sources.fits.text import parsed, printable, stored_text
from glassplate.pipeline.sources.source import SourceSpec

CARDS = {
    "latin-1": b"OBSERVER= 'Ren\xe9 Mu\xf1oz'",
    "NUL": b"OBSERVER= 'a\0b'",
    "tab": b"OBSERVER= 'a\tb'",
    "line break": b"OBSERVER= 'a\nb\rc'",
    "control bytes": b"OBSERVER= '\x01\x1b\x7f'",
    "comment of a card": b"OBSERVER= 'ab'  / \xb0C",
    "COMMENT": b"COMMENT temperature -20 \xb0C",
    "HISTORY": b"HISTORY by Ren\xe9\x02",
    "HIERARCH": b"HIERARCH ESO OBS OBSERVER = 'Ren\xe9' / who",
    "keyword": b"OBS\xe9RVE= 'ab'",
    "unit": b"BUNIT   = 'ad\xe9u'",
    "unparsable": b"OBSERVER= 'never ends",
    "name": b"EXTNAME = 'SC\tI'",
}


def with_cards(hdus, *cards, at=0):
    """The file of some HDUs with raw cards in place of the dummies of one of them."""
    for number in range(len(cards)):
        hdus[at].header[f"DUMMY{number}"] = 0
    return [f"DUMMY{number}".encode().ljust(8) + b"=" for number in range(len(cards))]


def write(path, hdus, cards, at):
    dummies = with_cards(hdus, *cards, at=at)
    fits.HDUList(hdus).writeto(path)
    raw = bytearray(path.read_bytes())
    for dummy, card in zip(dummies, cards, strict=True):
        place = raw.index(dummy)
        raw[place : place + 80] = card.ljust(80)
    path.write_bytes(raw)


def made(path, kind, cards):
    pixels = np.random.default_rng(0).normal(100, 5, (40, 50)).astype("f4")
    if kind == "primary":
        write(path, [fits.PrimaryHDU(pixels)], cards, 0)
    elif kind == "extension":
        write(path, [fits.PrimaryHDU(), fits.ImageHDU(pixels)], cards, 1)
    else:
        tiled = fits.CompImageHDU(pixels, compression_type="GZIP_1", quantize_level=0)
        write(path, [fits.PrimaryHDU(), tiled], cards, 1)
    return pixels


def exported(path, folder):
    store, export = folder / "o.zarr", folder / "out.fits"
    request = RestoreRequest(
        SourceSpec(path), store, load_recipe("identity"), "identity", "cpu", export
    )
    restore(request, InlinePool())
    return store, export


def header_of(path, at=0):
    with fits.open(path) as hdus:
        place = hdus[at].fileinfo()
    return path.read_bytes()[place["hdrLoc"] : place["datLoc"]]


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["primary", "extension", "compressed"])
@pytest.mark.parametrize("card", CARDS)
def test_any_byte_in_any_place(tmp_path, card, kind):
    """Each of these once raised a ValueError of astropy, or its card was lost."""
    path = tmp_path / "a.fits"
    pixels = made(path, kind, [CARDS[card]])
    json.dumps(describe(path))
    store, export = exported(path, tmp_path)
    header = header_of(export, 0 if kind == "primary" else 1).decode("ascii")
    assert header.isprintable()
    replaced = sum(not 32 <= byte < 127 for byte in CARDS[card])
    notes = " ".join("".join(str(fits.Header.fromstring(header)["HISTORY"])).split())
    assert (f"were replaced by ?: {replaced} of" in notes) == bool(replaced)
    np.testing.assert_array_equal(fits.getdata(export), pixels)
    kept = zarr.open_group(store, mode="r").attrs["fits"]["header"]
    if (card, kind) != ("unparsable", "compressed"):  # which astropy mends
        assert stored_text(CARDS[card].ljust(80)) in kept.split("\n")


def test_continued_values(tmp_path):
    path = tmp_path / "a.fits"
    cards = [b"LONGER  = 'begins \xe9&'", b"CONTINUE  'goes on \xe9' / \xe9"]
    made(path, "primary", cards)
    _, export = exported(path, tmp_path)
    assert fits.getheader(export)["LONGER"] == "begins ?goes on ?"
    assert b"by ?: 3 of" in header_of(export)


def test_cards_hold_what_can_be_parsed(tmp_path):
    made(tmp_path / "a.fits", "primary", [CARDS["latin-1"], CARDS["unparsable"]])
    source = open_source(SourceSpec(tmp_path / "a.fits"))
    source.close()
    cards = [card for card in source.metadata["fits"]["cards"] if card[0] == "OBSERVER"]
    assert cards[0] == ["OBSERVER", "Ren? Mu?oz", ""]
    assert "never ends" in cards[1][1]


def test_a_file_name_beyond_ascii(tmp_path):
    made(tmp_path / "n\xe9.fits", "primary", [])
    _, export = exported(tmp_path / "n\xe9.fits", tmp_path)
    assert fits.getheader(export)["GPSOURCE"] == "n?.fits"


def test_text_keeps_every_byte():
    raw = bytes(range(256))
    text = stored_text(raw)
    assert "\n" not in text
    assert len(text) == 256
    assert sum(a != chr(b) for a, b in zip(text, raw, strict=True)) == 2
    assert printable(text) == "".join(chr(b) if 32 <= b < 127 else "?" for b in raw)
    assert printable("a\nb") == "a\nb"


def test_parsed_drops_cards_that_cannot_be_parsed():
    text = "\n".join(card.decode("latin-1").replace("\n", " ").ljust(80) for card in CARDS.values())
    header = parsed(text)
    assert header["BUNIT"] == "ad?u"
    assert header["ESO OBS OBSERVER"] == "Ren?"
    assert [card.value for card in header.cards if card.keyword == "OBSERVER"][-1] == "ab"
