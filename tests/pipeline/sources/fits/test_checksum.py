"""The checksum of an HDU follows the FITS standard."""

import numpy as np
import pytest

from glassplate.pipeline.sources.fits.checksum import OnesComplementSum, encoded_checksum


@pytest.mark.parametrize("seed", range(20))
def test_the_checksum_makes_the_sum_minus_zero(seed):
    rng = np.random.default_rng(seed)
    data = rng.bytes(2880 - 80)
    card = "CHECKSUM= '{}'".format("0" * 16).ljust(80).encode()
    total = OnesComplementSum()
    total.add(data + card)
    whole = OnesComplementSum()
    whole.add(data + card.replace(b"0" * 16, encoded_checksum(total.value).encode()))
    assert whole.value == 2**32 - 1
