"""Squares are chosen by their structure, and averaged over the channels that a place has."""

import numpy as np
import pytest

from glassplate.models.noise.spectra import Spectra, flattest


@pytest.mark.parametrize("count", [1, 3, 5, 7, 8, 20])
def test_the_flattest_are_those_of_a_stable_sort(count):
    structure = np.array([3.0, 1.0, np.nan, 1.0, 2.0, 1.0, 3.0, np.nan])
    expected = np.argsort(structure, kind="stable")[:count]
    assert flattest(structure, count).tolist() == expected.tolist()


def test_a_place_has_the_mean_of_its_own_channels():
    # a constant channel is left out, so that places have one to three
    place = np.array([0, 2, 1, 0, 2, 2])
    energy = np.array([[1.0], [3.0], [5.0], [2.0], [6.0], [9.0]], np.float32)
    nothing = np.zeros((6, 1), np.float32)
    channel = np.array([0, 0, 0, 1, 1, 2])
    spectra = Spectra(1, np.zeros(6), energy, nothing, place, channel, 1.0)
    assert spectra.mean_over_channels().tolist() == [[1.5], [5.0], [6.0]]
