"""Gain and read noise from the cards of an image, in the unit of its values."""

import pytest

from glassplate.pipeline.companions.detector_noise import detector_noise


@pytest.mark.parametrize(
    ("cards", "unit", "gain", "read_noise"),
    [
        ({"GAIN": 2.5, "RDNOISE": 5}, None, 2.5, 5),
        ({"GAIN": 2.5, "RDNOISE": 5}, "ADU", 2.5, 5),
        ({"GAIN": "2.5 ", "RDNOISE": "5"}, "counts", 2.5, 5),
        ({"GAIN": 2.5, "READNOI": 5, "EXPTIME": 30}, "adu/s", 75, 5),
        ({"GAIN": 2.5, "RDNOISE": 5, "EXPTIME": 30}, "count / second", 75, 5),
        ({"GAIN": 2.5, "RDNOISE": 5, "EXPTIME": 30}, "DN s-1", 75, 5),
        ({"GAIN": 2.5, "RDNOISE": 5, "EXPTIME": 30}, "cps", 75, 5),
        ({"RDNOISE": 5, "EXPTIME": 30}, "electron/s", 30, 5),
        ({"READNSEA": 3, "READNSEB": 5, "ATODGNA": 1.5}, "ELECTRONS", 1, 4),
        ({"READNSEA": 3, "READNSEB": 5, "ATODGNA": 1.5, "CCDGAIN": 2}, "COUNTS", 1.5, 4),
        ({"GAINA": 4.0, "GAINB": 4.4, "RDNOISEA": 6, "RDNOISEB": 8}, None, 4.2, 7),
        (
            {"ESO DET OUT1 CONAD": 2.2, "ESO DET OUT1 GAIN": 0.45, "ESO DET OUT1 RON": 3},
            "adu",
            2.2,
            3,
        ),
        # GAIN is the setting of a CMOS camera here
        ({"EGAIN": 0.8, "GAIN": 120, "RDNOISE": 1.6}, "adu", 0.8, 1.6),
    ],
)
def test_the_gain_is_that_of_the_values(cards, unit, gain, read_noise):
    found = detector_noise(cards, unit)
    assert (found.gain, found.read_noise) == (pytest.approx(gain), pytest.approx(read_noise))


@pytest.mark.parametrize(
    ("cards", "unit"),
    [
        ({}, "adu"),
        ({"GAIN": 2.5}, "adu"),
        ({"RDNOISE": 5}, "adu"),
        ({"GAIN": 0, "RDNOISE": 5}, "adu"),
        ({"GAIN": 2.5, "RDNOISE": -1}, "adu"),
        ({"GAIN": "high", "RDNOISE": 5}, "adu"),
        ({"GAIN": float("nan"), "RDNOISE": 5}, "adu"),
        ({"GAIN": 2.5, "RDNOISE": 5}, "adu/s"),
        ({"GAIN": 2.5, "RDNOISE": 5, "EXPTIME": 0}, "adu/s"),
        ({"GAIN": 2.5, "RDNOISE": 5, "EXPTIME": 9}, "MJy/sr"),
        ({"GAIN": 2.5, "RDNOISE": 5}, "adu/pixel/s"),
        ({"GAIN": 2.5, "RDNOISE": 5}, "erg/cm2/s"),
    ],
)
def test_nothing_is_known_without_all_of_it(cards, unit):
    assert detector_noise(cards, unit) is None
