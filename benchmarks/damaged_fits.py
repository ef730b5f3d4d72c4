"""FITS files with one thing broken, the same ones for the same seed; `damaged.py` tries them.

Small images, made here, as they are met: plain, scaled with BLANK, several extensions, a cube, a long header,
tile-compressed. Each case takes one of them and breaks it in one of the ways of `_WAYS`.
"""

from __future__ import annotations

import functools
import io
from collections.abc import Callable

import numpy as np
from astropy.io import fits

BLOCK, CARD = 2880, 80
SHAPE = (40, 48)
# Values that a card is given: absurd sizes, other types, what no FITS card may hold.
VALUES = (
    "0", "-1", "1", "2", "3", "7", "999", "2147483647", "99999999999999999999", "1E400", "-1.5", "NaN", "T",
    "F", "", "'abc'", "'abc", "12,5", "(1,2)", "'ad\xe9u'", "'a\0b'", "'a\tb'", "\xff\xfe", "1 2 3",
    "'" + "x" * 66,
)  # fmt: skip
# Cards that the reading depends on; others are broken as well.
KEYWORDS = (
    "SIMPLE", "XTENSION", "BITPIX", "NAXIS", "NAXIS1", "NAXIS2", "NAXIS3", "PCOUNT", "GCOUNT", "BSCALE",
    "BZERO", "BLANK", "BUNIT", "EXTNAME", "EXTVER", "INHERIT", "CTYPE1", "CRPIX1", "CD1_1", "CDELT1", "LTV1",
    "END", "TFIELDS", "TFORM1", "TTYPE1", "ZIMAGE", "ZBITPIX", "ZNAXIS", "ZNAXIS1", "ZNAXIS2", "ZTILE1",
    "ZTILE2", "ZCMPTYPE", "ZVAL1", "ZVAL2", "ZQUANTIZ", "ZDITHER0", "ZBLANK",
)  # fmt: skip


def damaged(seed: int) -> tuple[str, str, bytes]:
    """Name of a file, what was done to it, and its content."""
    rng = np.random.default_rng(seed)
    name = list(_ORIGINALS)[seed % len(_ORIGINALS)]
    raw = bytearray(original(name))
    way = list(_WAYS)[rng.integers(len(_WAYS))]
    told = _WAYS[way](raw, rng)
    return f"{seed:04}-{name}.fits", f"{name}, {way}: {told}", bytes(raw)


@functools.cache
def original(name: str) -> bytes:
    """One of the whole files."""
    file = io.BytesIO()
    _ORIGINALS[name]().writeto(file)
    return file.getvalue()


def _pixels(*shape: int) -> np.ndarray:
    return np.random.default_rng(1).normal(1000, 10, shape).astype(np.float32)


def _plain() -> fits.HDUList:
    hdu = fits.PrimaryHDU(_pixels(*SHAPE))
    hdu.header["BUNIT"] = "adu"
    return fits.HDUList([hdu])


def _scaled() -> fits.HDUList:
    hdu = fits.PrimaryHDU(_pixels(*SHAPE).astype(np.int16))
    hdu.header["BSCALE"], hdu.header["BZERO"], hdu.header["BLANK"] = 0.5, 100.0, -1
    return fits.HDUList([hdu])


def _extensions() -> fits.HDUList:
    primary = fits.PrimaryHDU()
    primary.header["BUNIT"] = "count"
    hdus = [primary]
    for version in (1, 2):
        hdus += [
            fits.ImageHDU(_pixels(*SHAPE), name="SCI", ver=version),
            fits.ImageHDU(np.zeros(SHAPE, np.int16), name="DQ", ver=version),
        ]
    hdus.append(fits.BinTableHDU.from_columns([fits.Column("a", "J", array=[1])], name="CAT"))
    return fits.HDUList(hdus)


def _cube() -> fits.HDUList:
    return fits.HDUList([fits.PrimaryHDU(_pixels(6, *SHAPE))])


def _long_header() -> fits.HDUList:
    hdu = fits.PrimaryHDU(_pixels(*SHAPE))
    header = hdu.header
    for axis, kind in ((1, "RA---TAN"), (2, "DEC--TAN")):
        header[f"CTYPE{axis}"], header[f"CRVAL{axis}"] = kind, 10.0
        header[f"CRPIX{axis}"], header[f"CD{axis}_{axis}"] = 20.5, 1e-4
        header[f"LTV{axis}"] = 3.0
    header["HIERARCH ESO DET NAME"] = "chip"
    header["LONGER"] = "a value that goes on " * 9
    for number in range(60):
        header[f"KEY{number}"] = (number / 7, "a comment")
        header.add_history(f"step {number}")
    return fits.HDUList([hdu])


def _rice() -> fits.HDUList:
    tiled = fits.CompImageHDU(
        _pixels(*SHAPE).astype(np.int16), compression_type="RICE_1", tile_shape=(16, 16)
    )
    return fits.HDUList([fits.PrimaryHDU(), tiled])


def _gzip() -> fits.HDUList:
    tiled = fits.CompImageHDU(_pixels(*SHAPE), compression_type="GZIP_2", quantize_level=0)
    return fits.HDUList([fits.PrimaryHDU(), tiled])


def _cut(raw: bytearray, rng: np.random.Generator) -> str:
    keep = int(rng.integers(1, len(raw)))
    del raw[keep:]
    return f"at byte {keep}"


def _headers(raw: bytes) -> list[int]:
    """Where the cards of all headers begin."""
    cards, at = [], 0
    while at < len(raw):
        if raw[at : at + 6] == b"SIMPLE" or raw[at : at + 8] == b"XTENSION":
            while at < len(raw) and raw[at : at + CARD].rstrip() != b"END":
                cards.append(at)
                at += CARD
            cards.append(at)
        at += BLOCK - at % BLOCK
    return cards


def _flip_in_header(raw: bytearray, rng: np.random.Generator) -> str:
    cards = _headers(raw)
    places = [int(rng.choice(cards) + rng.integers(CARD)) for _ in range(int(rng.integers(1, 6)))]
    for place in places:
        raw[place] ^= 1 << int(rng.integers(8))
    return f"bits of bytes {places}"


def _flip_anywhere(raw: bytearray, rng: np.random.Generator) -> str:
    places = [int(rng.integers(len(raw))) for _ in range(20)]
    for place in places:
        raw[place] = int(rng.integers(256))
    return f"bytes {sorted(places)}"


def _swap_cards(raw: bytearray, rng: np.random.Generator) -> str:
    one, other = (int(at) for at in rng.choice(_headers(raw), 2))
    first, second = raw[one : one + CARD], raw[other : other + CARD]
    raw[one : one + CARD], raw[other : other + CARD] = second, first
    return f"cards at {one} and {other}"


def _drop_card(raw: bytearray, rng: np.random.Generator) -> str:
    at = int(rng.choice(_headers(raw)))
    name = bytes(raw[at : at + 8])
    raw[at : at + CARD] = b" " * CARD
    return repr(name)


def _other_value(raw: bytearray, rng: np.random.Generator) -> str:
    cards = _headers(raw)
    known = [at for at in cards if raw[at : at + 8].decode("latin-1").rstrip() in KEYWORDS]
    at = int(rng.choice(known or cards))
    value = VALUES[rng.integers(len(VALUES))]
    name = raw[at : at + 8].decode("latin-1")
    raw[at : at + CARD] = f"{name}= {value:>20}".ljust(CARD)[:CARD].encode("latin-1")
    return f"{name.strip()} = {value!r}"


def _hole(raw: bytearray, rng: np.random.Generator) -> str:
    at = int(rng.integers(len(raw)))
    length = int(rng.integers(1, 2 * BLOCK))
    fill = int(rng.choice([0, 32, 255]))
    raw[at : at + length] = bytes([fill]) * len(raw[at : at + length])
    return f"{length} bytes of {fill} from {at}"


def _shift(raw: bytearray, rng: np.random.Generator) -> str:
    at, length = int(rng.integers(len(raw))), int(rng.integers(1, 200))
    del raw[at : at + length]
    return f"{length} bytes missing from {at}"


def _tail(raw: bytearray, rng: np.random.Generator) -> str:
    length = int(rng.integers(1, 3 * BLOCK))
    raw += rng.integers(0, 256, length, dtype=np.uint8).tobytes()
    return f"{length} bytes"


_ORIGINALS: dict[str, Callable[[], fits.HDUList]] = {
    "plain": _plain,
    "scaled": _scaled,
    "extensions": _extensions,
    "cube": _cube,
    "header": _long_header,
    "rice": _rice,
    "gzip": _gzip,
}
_WAYS: dict[str, Callable[[bytearray, np.random.Generator], str]] = {
    "cut": _cut,
    "bits flipped in a header": _flip_in_header,
    "bytes replaced": _flip_anywhere,
    "cards swapped": _swap_cards,
    "a card blanked": _drop_card,
    "a value replaced": _other_value,
    "another value replaced": _other_value,
    "a hole": _hole,
    "bytes lost": _shift,
    "a tail": _tail,
}
