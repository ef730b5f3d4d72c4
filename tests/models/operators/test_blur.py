import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from glassplate.models.operators.blur import Blur, fastest_method, is_separable
from glassplate.models.operators.psf import Psf


def gaussian(height, width, sigma=1.5):
    y, x = np.arange(height) - height // 2, np.arange(width) - width // 2
    return np.outer(np.exp(-(y**2) / 2 / sigma**2), np.exp(-(x**2) / 2 / sigma**2))


def asymmetric(height, width):
    return np.random.default_rng(height * 100 + width).random((height, width))


odd = st.integers(0, 12).map(lambda half: 2 * half + 1)


@settings(max_examples=40)
@given(height=odd, width=odd, h=st.integers(1, 20), w=st.integers(1, 20))
def test_every_method_gives_the_same(height, width, h, w):
    x = torch.from_numpy(np.random.default_rng(h * 50 + w).random((2, 2, h, w)))
    psf = Psf.of(gaussian(height, width))
    seen = [Blur(psf, method).forward(x) for method in ("separable", "direct", "fft")]
    torch.testing.assert_close(seen[0], seen[1])
    torch.testing.assert_close(seen[0], seen[2])
    back = [Blur(psf, method).adjoint(x) for method in ("separable", "direct", "fft")]
    torch.testing.assert_close(back[0], back[1])
    torch.testing.assert_close(back[0], back[2])


@given(height=odd, width=odd, h=st.integers(1, 20), w=st.integers(1, 20))
def test_is_scipys_convolution_with_the_nearest_pixel_beyond_the_border(height, width, h, w):
    x = np.random.default_rng(h * 50 + w).random((h, w))
    psf = Psf.of(asymmetric(height, width))
    ours = Blur(psf, "fft").forward(torch.from_numpy(x)[None, None])[0, 0].numpy()
    np.testing.assert_allclose(ours, ndimage.convolve(x, psf.values(), mode="nearest"), atol=1e-12)


def test_a_star_becomes_the_psf_and_not_its_mirror_image():
    psf = Psf.of(asymmetric(5, 7))
    star = torch.zeros(1, 1, 21, 21, dtype=torch.float64)
    star[..., 10, 10] = 1
    for method in ("direct", "fft"):
        seen = Blur(psf, method).forward(star)[0, 0].numpy()
        np.testing.assert_allclose(seen[8:13, 7:14], psf.values(), atol=1e-15)


class TestPsf:
    def test_sums_to_one(self):
        assert Psf.of(7 * gaussian(5, 5)).values().sum() == pytest.approx(1, abs=1e-15)

    def test_repr_shows_the_shape_only(self):
        assert repr(Psf.of(gaussian(99, 99))) == "Psf(shape=(99, 99))"

    @pytest.mark.parametrize(
        ("make", "match"),
        [
            (lambda: Psf.of(np.ones((4, 5))), "4 x 5 pixels: both sides must be odd"),
            (lambda: Psf.of(np.zeros((3, 3))), "with sum 0: must be 2-D and positive"),
            (lambda: Psf.of(np.ones(3)), r"shape \(3,\) with sum 3: must be 2-D"),
            (lambda: Psf((3, 3), b""), "3 x 3 pixels: 0 bytes, must be 72"),
        ],
    )
    def test_refuses_what_is_no_psf(self, make, match):
        with pytest.raises(ValueError, match=match):
            make()


class TestMethod:
    @pytest.mark.parametrize("shape", [(3, 3), (9, 9), (15, 5), (31, 31)])
    def test_a_gaussian_is_separable_even_in_single_precision(self, shape):
        assert is_separable(Psf.of(gaussian(*shape)))
        assert is_separable(Psf.of(gaussian(*shape).astype(np.float32)))

    def test_a_disc_is_not_separable(self):
        y, x = np.mgrid[-4:5, -4:5]
        disc = Psf.of((y**2 + x**2 <= 16).astype(float))
        assert not is_separable(disc)
        with pytest.raises(ValueError, match="9 x 9 pixels: not separable"):
            Blur(disc, "separable").forward(torch.zeros(1, 1, 9, 9))

    def test_in_double_precision_memory_does_not_grow_with_the_psf(self):
        for make in (gaussian, asymmetric):
            assert fastest_method(Psf.of(make(31, 31)), torch.float64) == "fft"

    def test_small_psfs_are_convolved_directly_and_large_ones_by_fft(self):
        assert fastest_method(Psf.of(asymmetric(3, 3)), torch.float32) == "direct"
        assert fastest_method(Psf.of(gaussian(9, 9)), torch.float32) == "separable"
        assert fastest_method(Psf.of(asymmetric(9, 9)), torch.float32) == "fft"
        assert fastest_method(Psf.of(gaussian(63, 63)), torch.float32) == "fft"
