"""XMP of a result: sizes and resolution of its own pixels, and that a program made them.

All other bytes of the input's packet are kept.
"""

from __future__ import annotations

import re
from fractions import Fraction

# IPTC's word for an image that a program has changed without adding to what was seen.
SOURCE_TYPE = "http://cv.iptc.org/newscodes/digitalsourcetype/algorithmicallyEnhanced"

_EXTENSION = "http://iptc.org/std/Iptc4xmpExt/2008-02-29/"
_PROPERTY = b"DigitalSourceType"
_END = b"</rdf:RDF>"
_EMPTY = (
    '<?xpacket begin="\ufeff" id="W5M0MpCehiHzreSzNTczkc9d"?>'
    '<x:xmpmeta xmlns:x="adobe:ns:meta/">'
    '<rdf:RDF xmlns:rdf="http://www.w3.org/1999/02/22-rdf-syntax-ns#"></rdf:RDF>'
    '</x:xmpmeta><?xpacket end="w"?>'
).encode()

# Properties that state the size or the resolution of the image.
_SIZES = ("tiff:ImageWidth", "tiff:ImageLength", "exif:PixelXDimension", "exif:PixelYDimension")
_RESOLUTIONS = ("tiff:XResolution", "tiff:YResolution")

_MOST_RATIONAL = 2**32 - 1


def scaled_xmp(xmp: bytes, factor: float) -> bytes:
    """XMP with scaled sizes and resolutions; all other bytes are kept."""

    def resized(match: re.Match[bytes]) -> bytes:
        return match[1] + str(round(int(match[2]) * factor)).encode() + match[3]

    def refined(match: re.Match[bytes]) -> bytes:
        n, d = scaled_ratio(int(match[2]), int(match[3] or 1), factor)
        return match[1] + f"{n}/{d}".encode() + match[4]

    for name in _SIZES:
        xmp = _pattern(name, rb"(\d{1,9})").sub(resized, xmp)
    for name in _RESOLUTIONS:
        xmp = _pattern(name, rb"(\d{1,9})(?:/([1-9]\d{0,8}))?").sub(refined, xmp)
    return xmp


def with_source_type(xmp: bytes | None) -> bytes:
    """XMP that states `SOURCE_TYPE`, in place of what it stated before; a new packet without one.

    A packet that is not UTF-8, or has no RDF, is returned as it is.
    """
    xmp = xmp or _EMPTY
    stated = re.compile(
        # not the tag that ends an element
        rb"((?<![/\w.-])[\w.-]+:"
        + _PROPERTY
        + rb"\s*(?:=\s*[\"']|>\s*|\s+rdf:resource\s*=\s*[\"']))[^\"'<]*"
    )
    if stated.search(xmp):
        return stated.sub(lambda match: match[1] + SOURCE_TYPE.encode(), xmp)
    at = xmp.rfind(_END)
    if at < 0:
        return xmp
    about = re.search(rb"rdf:about\s*=\s*[\"']([^\"'<>]*)[\"']", xmp)
    added = (
        b'<rdf:Description rdf:about="%s" xmlns:Iptc4xmpExt="%s">'
        b"<Iptc4xmpExt:%s>%s</Iptc4xmpExt:%s></rdf:Description>"
        % (
            about[1] if about else b"",
            _EXTENSION.encode(),
            *(_PROPERTY, SOURCE_TYPE.encode(), _PROPERTY),
        )
    )
    return xmp[:at] + added + xmp[at:]


def scaled_ratio(numerator: int, denominator: int, factor: float) -> tuple[int, int]:
    """A ratio times a factor, as two numbers that fit in 32 bits."""
    ratio = Fraction(numerator, denominator) * Fraction(factor)
    finest = int(_MOST_RATIONAL / max(float(ratio), 1.0))
    near = ratio.limit_denominator(max(1, finest))
    return min(near.numerator, _MOST_RATIONAL), near.denominator


def _pattern(name: str, value: bytes) -> re.Pattern[bytes]:
    # RDF has two spellings: name="5" and <name>5</name>
    start = re.escape(name).encode()
    return re.compile(b"(" + start + rb"\s*(?:=\s*[\"']|>)\s*)" + value + rb"(\s*(?:[\"']|</))")
