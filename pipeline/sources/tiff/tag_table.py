"""Which tags of TIFF go from an input to its export, and why others do not."""

from __future__ import annotations

# Codes and names of the tags that are carried as they are, or adapted to the pixels of the export.
# Resolution, profile, Software, EXIF and GPS are handled by name.
CARRIED = {
    269: "DocumentName",
    270: "ImageDescription",
    271: "Make",
    272: "Model",
    274: "Orientation",
    285: "PageName",
    286: "XPosition",
    287: "YPosition",
    297: "PageNumber",
    301: "TransferFunction",
    306: "DateTime",
    315: "Artist",
    316: "HostComputer",
    318: "WhitePoint",
    319: "PrimaryChromaticities",
    332: "InkSet",
    333: "InkNames",
    334: "NumberOfInks",
    336: "DotRange",
    700: "XMP",
    33432: "Copyright",
    33550: "ModelPixelScale",
    33723: "IPTCNAA",
    33922: "ModelTiepoint",
    34264: "ModelTransformation",
    34377: "ImageResources",
    34735: "GeoKeyDirectory",
    34736: "GeoDoubleParams",
    34737: "GeoAsciiParams",
    40091: "XPTitle",
    40092: "XPComment",
    40093: "XPAuthor",
    40094: "XPKeywords",
    40095: "XPSubject",
    42112: "GDAL_METADATA",
    42113: "GDAL_NODATA",
}
# Those that place the pixels on the Earth.
GEOGRAPHIC = (33550, 33922, 34264, 34735, 34736, 34737)
# Those that are written under another form: resolution, Software, EXIF, profile and GPS.
BY_NAME = (282, 283, 296, 305, 34665, 34675, 34853)

_STORAGE = "says how the pixels are stored in the input; written anew"
_COPIES = "smaller copies of the input; `export --pyramid` makes them of the result"
_EXTREMES = "states extreme values of the pixels as they were"
_DOTS = "describes the dots of a scan in black and white"
_JPEG = "belongs to the JPEG data of the input"
_COLOUR_DIFFERENCES = "belongs to YCbCr; the export is RGB"
_DNG = "belongs to DNG or a raw file, which the export is not"
_LAYERS = "layers and paths of Photoshop, which hold the pixels as they were"
_IMAGEJ = "metadata of ImageJ in a form of its own, with places in pixels; the description is kept"

# Codes of tags that are not carried, and why; for ranges see `why_dropped`.
DROPPED = {
    **dict.fromkeys((254, 255, 256, 257, 258, 259, 262, 266, 273, 277, 278, 279, 284), _STORAGE),
    **dict.fromkeys((288, 289, 292, 293, 317, 320, 322, 323, 324, 325, 338, 339), _STORAGE),
    **dict.fromkeys((326, 327, 328, 559, 32995, 32997, 32998, 50674), _STORAGE),
    **dict.fromkeys((34016, 34017, 34018, 34019, 34020, 34021, 34022, 34023, 34026), _STORAGE),
    330: _COPIES,
    **dict.fromkeys((280, 281, 340, 341), _EXTREMES),
    **dict.fromkeys((263, 264, 265), _DOTS),
    **dict.fromkeys((290, 291), "density of a grey wedge, by the number of the input's grey"),
    **dict.fromkeys((347, 512, 513, 514, 515, 517, 518, 519, 520, 521), _JPEG),
    **dict.fromkeys((529, 530, 531, 532), _COLOUR_DIFFERENCES),
    37439: "belongs to LogLuv",
    **dict.fromkeys((33421, 33422), _DNG),
    37724: _LAYERS,
    **dict.fromkeys((50838, 50839), _IMAGEJ),
}

# First code of private tags, and the codes of DNG.
_PRIVATE = 32768
_DNG_CODES = range(50706, 52600)
_OFFSETS = "private tag that may point into the file of the input"
_SIZES = "private tag that may state sizes in pixels"

# Types whose values cannot be offsets: text, bytes, short and fractional numbers.
_PLAIN_TYPES = (1, 2, 3, 5, 10, 11, 12)


def why_dropped(code: int, dtype: int, *, enlarged: bool = False) -> str | None:
    """Why a tag does not go to an export; None if it does.

    Parameters
    ----------
    code, dtype
        Of the tag; TIFF's number of the type.
    enlarged
        Whether the pixels of the export are finer or coarser than those of the input.
    """
    if code in CARRIED or code in BY_NAME:
        return None
    if code in DROPPED:
        return DROPPED[code]
    if code in _DNG_CODES:
        return _DNG
    if code < _PRIVATE:
        return "not defined by TIFF 6, its supplements or EXIF"
    if dtype not in _PLAIN_TYPES:
        return _OFFSETS
    return _SIZES if enlarged else None
