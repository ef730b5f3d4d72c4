"""Files as the pipelines of Webb and Roman write them."""

import asdf
import gwcs
import numpy as np
from astropy import coordinates, units
from astropy.io import fits
from astropy.modeling import models
from astropy.time import Time

PIXELS = np.random.default_rng(0).normal(100, 5, (50, 70)).astype("f4")
DQ = np.zeros(PIXELS.shape, "u4")
DQ[3, 4], DQ[5, 6] = 1, 4  # DO_NOT_USE, and a cosmic ray that was corrected


def make_wcs():
    """A GWCS with a distortion of some pixels."""
    scale = 0.11 / 3600
    quadratic = models.Polynomial2D(2, c1_0=1, c2_0=1e-4) & models.Polynomial2D(
        2, c0_1=1, c1_1=1e-4
    )
    pipeline = (
        models.Shift(-35) & models.Shift(-25)
        | models.Mapping((0, 1, 0, 1))
        | quadratic
        | models.Scale(-scale) & models.Scale(scale)
        | models.Pix2Sky_TAN()
        | models.RotateNative2Celestial(150.0, 2.0, 180)
    )
    frames = gwcs.coordinate_frames
    detector = frames.Frame2D(name="detector", axes_order=(0, 1), unit=(units.pix, units.pix))
    sky = frames.CelestialFrame(reference_frame=coordinates.ICRS(), unit=(units.deg, units.deg))
    wcs = gwcs.WCS([(detector, pipeline), (sky, None)])
    wcs.bounding_box = ((-0.5, 69.5), (-0.5, 49.5))
    return wcs


def tree(data=PIXELS, **more):
    meta = {
        "telescope": "ROMAN",
        "instrument": {"name": "WFI", "detector": "WFI01", "optical_element": "F158"},
        "exposure": {"exposure_time": 139.8, "start_time": Time("2027-01-01T00:00:00")},
        "history": [1, "two", None],
    }
    return {"roman": {"meta": {**meta, **more}, "data": data, "dq": DQ, "err": PIXELS * 0 + 5}}


def write_roman(path, data=PIXELS, **more):
    """An ASDF file of Roman."""
    asdf.AsdfFile(tree(data, **more)).write_to(path)
    return path


def write_webb(path, data=PIXELS, noise=5.0):
    """A calibrated image of Webb: its planes, of which DQ has unsigned numbers, and its tree as a table."""
    primary = fits.PrimaryHDU()
    primary.header.update(TELESCOP="JWST", INSTRUME="NIRCAM", FILTER="F200W", EFFEXPTM=311.4)
    planes = [
        ("SCI", data, {"BUNIT": "MJy/sr", "PHOTMJSR": 2.0}),
        ("ERR", np.full(data.shape, noise, "f4"), {"BUNIT": "MJy/sr"}),
        ("DQ", DQ, {}),
        ("AREA", np.ones(data.shape, "f4"), {}),
        ("VAR_POISSON", np.full(data.shape, noise**2 / 2, "f4"), {}),
        ("VAR_RNOISE", np.full(data.shape, noise**2 / 2, "f4"), {}),
    ]
    hdus = [primary]
    for name, values, cards in planes:
        hdu = fits.ImageHDU(values, name=name, ver=1)
        hdu.header.update(cards)
        hdus.append(hdu)
    column = fits.Column("ASDF_METADATA", "40B", array=np.arange(40, dtype="u1")[None])
    hdus.append(fits.BinTableHDU.from_columns([column], name="ASDF"))
    fits.HDUList(hdus).writeto(path)
    return path
