"""Flags and codes of masks: what is bad, what is saturated, and what a recipe may say of them."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.companions.flag_tables import TABLES, table_of
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.recipes.recipe import load_recipe
from glassplate.pipeline.sources.flags import Flags

HST = {"TELESCOP": "HST", "INSTRUME": "ACS", "DETECTOR": "WFC"}
DECAM = {"INSTRUME": "DECam", "TELESCOP": "CTIO 4.0-m telescope", "PLVER": "V4.8.2a"}
LSST = {"MP_BAD": 0, "MP_SAT": 1, "MP_INTRP": 2, "MP_CR": 3, "MP_DETECTED": 5, "MP_INEXACT_PSF": 10}


def settings(*overrides):
    return load_recipe("draft", [f"companions.{one}" for one in overrides]).companions


# (cards, numbers that are bad, that are bad and saturated, that are good)
OBSERVATORIES = {
    "HST ACS": (HST, [1, 4, 32, 512, 4096, 8192 + 16], [256, 2048], [0, 16, 64, 16 + 64]),
    "HST WFC3 UVIS": (
        {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "UVIS"},
        [1024, 8192, 16384],
        [256 + 4096],
        [16],
    ),
    "HST WFC3 IR": (
        {"TELESCOP": "HST", "INSTRUME": "WFC3", "DETECTOR": "IR"},
        [4, 4096],
        [256],
        [8192, 512, 2048],
    ),
    "HST STIS": (
        {"TELESCOP": "HST", "INSTRUME": "STIS"},
        [1, 2, 4, 32, 512, 8192],
        [256],
        [16, 1024, 16384],
    ),
    "HST NICMOS": (
        {"TELESCOP": "HST", "INSTRUME": "NICMOS"},
        [2, 16, 32, 128, 256, 512],
        [64],
        [1024, 2048],
    ),
    "DES": (
        {"INSTRUME": "DECam", "DES_EXT": "MASK"},
        [1, 4, 8, 16, 128, 512],
        [2, 64, 2 + 64],
        [32, 256, 1024, 2048],
    ),
    "Gemini": (
        {"TELESCOP": "Gemini-South", "INSTRUME": "GMOS-S"},
        [1, 8, 16],
        [4, 4 + 2],
        [2, 32, 64],
    ),
    "HST WFPC2": ({"TELESCOP": "HST", "INSTRUME": "WFPC2"}, [2, 512], [8], [1024]),
    # a jump that was found is fitted around, and so is saturation late in a ramp
    "JWST": ({"TELESCOP": "JWST"}, [1, 1 + 4, 1 + (1 << 20)], [1 + 2], [2, 4, 4 + 64, 1 << 30]),
    "NOIRLab pipeline": (DECAM, [1, 2, 5, 6], [3, 4], [0, 7, 8]),
    "NOIRLab pipeline before 3.5": (
        {**DECAM, "PLVER": "V3.4.9"},
        [1, 4, 16, 1 + 16],
        [2, 64, 2 + 4],
        [0, 128],
    ),
    "SDSS": (
        {"ORIGIN": "SDSS", "TELESCOP": "2.5m"},
        [1, 0x200],
        [2, 2 + 8],
        [4, 8, 16, 32, 64, 128],
    ),
    "ZTF": ({"INSTRUME": "ZTF/MOSAIC"}, [1, 4, 1 << 9], [1 << 8], [2, 1 << 11, 2 + (1 << 11)]),
    "PS1": (
        {"TELESCOP": "PS1", "INSTRUME": "GPC1"},
        [2, 4, 8, 0x10, 0x2000],
        [0x20],
        [0x80, 0x200],
    ),
    "named planes": (LSST, [1, 4, 8, 8 + 32], [2, 2 + 4 + 32], [32, 1 << 10]),
}


@pytest.mark.parametrize("name", OBSERVATORIES)
def test_the_table_of_an_observatory(name):
    cards, bad, saturated, good = OBSERVATORIES[name]
    table = table_of(cards)
    assert table.name == name
    flags = table.flags()
    assert flags.bad_pixels(np.array(bad, float)).all()
    assert not flags.saturated_pixels(np.array(bad, float)).any()
    assert flags.saturated_pixels(np.array(saturated, float)).all()
    assert flags.bad_pixels(np.array(saturated, float)).all()
    assert not flags.bad_pixels(np.array(good, float)).any()
    assert not flags.unknown(np.array([*bad, *saturated, *good], float)).any()


@pytest.mark.parametrize(
    ("version", "coded"),
    [("V3.5.0", True), ("V5.2.2LS", True), ("DES V3.2.0", False), ("V5.0beta", True), (3.4, False)],
)
def test_decams_pipeline_changed_from_flags_to_codes(version, coded):
    assert table_of({**DECAM, "PLVER": version}).coded is coded


def test_other_cameras_of_that_pipeline_had_codes_from_the_start():
    assert table_of({"INSTRUME": "90prime", "PLVER": "V1.0"}).coded
    assert table_of({"INSTRUME": "Mosaic3", "PLVER": "V4.0"}).coded


def test_instruments_of_one_telescope_need_no_name_of_it():
    assert table_of({"INSTRUME": "NIRCAM"}).name == "JWST"
    assert table_of({"INSTRUME": "ACS"}).name == "HST ACS"


def test_planes_of_both_generations_of_rubin_are_read_by_name():
    header = {"MSKN0000": "NO_DATA", "MSKM0000": 1, "MSKN0003": "SATURATED", "MSKM0003": 8}
    header |= {"MSKN0005": "DETECTED", "MSKM0005": 32}
    flags = table_of(header).flags()
    assert (flags.bad, flags.saturated, flags.harmless) == ((1, 8), (8,), (32,))


@pytest.mark.parametrize(
    "cards", [{}, {"TELESCOP": "HST", "INSTRUME": "COS"}, {"INSTRUME": "SBIG"}]
)
def test_an_unknown_observatory_has_no_table(cards):
    assert table_of(cards) is None


@pytest.mark.parametrize("key", TABLES)
def test_a_flag_of_detected_objects_is_never_bad(key):
    table = TABLES[key]
    for name in table.values:
        if any(word in name for word in ("OBJECT", "DETECTED", "DIFFDETECT", "SOURCE")):
            assert name not in table.bad


@pytest.mark.parametrize("key", TABLES)
@given(data=st.data())
def test_a_number_is_bad_as_soon_as_one_of_its_flags_is(key, data):
    flags = TABLES[key].flags()
    if flags.coded:
        return
    parts = data.draw(st.sets(st.sampled_from([*flags.bad, *flags.harmless]), min_size=1))
    number = np.array([float(sum(parts))])
    assert flags.bad_pixels(number)[0] == bool(parts & set(flags.bad))
    assert not flags.unknown(number).any()


def test_the_highest_bit_of_a_signed_type_is_a_flag_like_any_other():
    flags = Flags("any", bad=(1 << 15,))
    assert flags.bad_pixels(np.array([-(1 << 15)], float)).all()


@pytest.mark.parametrize(
    ("text", "bits"),
    [
        ("4+16", (4, 16)),
        ("4,16", (4, 16)),
        ("20", (4, 16)),
        ("0x14", (4, 16)),
        ("[4, cr]", (4, 8192)),
    ],
)
def test_a_recipe_names_the_bad_flags(text, bits):
    table = TABLES["acs"]
    flags = settings(f"dq_bits={text}").flags(table)
    assert flags.bad == bits
    assert flags.saturated == (256, 2048), "to be saturated is a matter of the observatory"
    assert settings("dq_bits=256").flags(table).saturated_pixels(np.array([256.0])).all()


@pytest.mark.parametrize(
    ("override", "message"),
    [
        ("dq_bits=[1, 4, 6]", "6 is no flag: flags are 1, 2, 4, 8"),
        ("dq_bits=[]", "no flag is given"),
        ("dq_codes=[0, 3]", "0 is no code of a bad pixel"),
        ("find=ours", "find is 'ours'"),
    ],
)
def test_what_is_no_flag_is_refused(override, message):
    with pytest.raises(UsageError, match=message):
        settings(override)


def test_flags_and_codes_are_not_given_together():
    with pytest.raises(UsageError, match="two ways to read one mask"):
        settings("dq_bits=4", "dq_codes=4")


@pytest.mark.parametrize(
    ("override", "key", "message"),
    [
        (
            "dq_bits=1",
            "cp-codes",
            "holds codes by the table of NOIRLab pipeline; give companions.dq_codes",
        ),
        (
            "dq_codes=1",
            "acs",
            "holds sums of flags by the table of HST ACS; give companions.dq_bits",
        ),
        ("dq_bits=COSMIC", "acs", "'COSMIC' is no flag of the mask, which has LOST, FILLED"),
        ("dq_bits=CR", None, "'CR' is no flag of the mask, which has no table of flags"),
    ],
)
def test_a_reading_that_the_table_excludes_is_refused(override, key, message):
    with pytest.raises(UsageError, match=message):
        settings(override).flags(TABLES.get(key))


def test_files_of_noirlab_that_have_a_card_of_des_hold_codes():
    # each ood file of V4.8.2 says DES_EXT = 'IMAGE'; its 5 is a cosmic ray, and was read as 1 and 4
    assert table_of({**DECAM, "DES_EXT": "IMAGE"}).coded
    assert not table_of({"INSTRUME": "DECam", "DES_EXT": "MASK"}).coded
