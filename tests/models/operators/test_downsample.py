import numpy as np
import pytest
import torch
import torch.nn.functional as F
from PIL import Image

from glassplate.models.operators.downsample import Downsample, taps, upsample_bicubic
from glassplate.models.operators.kernels import KERNELS

SCALES = (2, 3, 4, 5, 6, 7, 16)
every = pytest.mark.parametrize(
    "operator", [Downsample(s, k) for s in SCALES for k in KERNELS], ids=repr
)


def image(height, width, seed=0):
    return torch.from_numpy(np.random.default_rng(seed).random((1, 1, height, width)))


@every
class TestPhase:
    def test_a_ramp_is_sampled_at_the_middle_of_each_area(self, operator):
        s = operator.scale
        x = torch.arange(20.0 * s, dtype=torch.float64).expand(1, 1, 2 * s, 20 * s)
        inside = slice(3, -3)
        expected = s * (torch.arange(20.0, dtype=torch.float64) + 0.5) - 0.5
        torch.testing.assert_close(operator.forward(x)[0, 0, 0, inside], expected[inside])

    def test_taps_are_symmetric_and_sum_to_one(self, operator):
        kernel = taps(operator.scale, operator.kernel)
        torch.testing.assert_close(kernel, kernel.flip(0))
        assert float(kernel.sum()) == pytest.approx(1, abs=1e-12)
        assert len(kernel) == operator.scale + 2 * operator.support

    def test_upsampling_has_the_same_phase(self, operator):
        s = operator.scale
        y = torch.arange(14.0, dtype=torch.float64).expand(1, 1, 6, 14)
        back = operator.forward(upsample_bicubic(y, s))
        torch.testing.assert_close(back[..., 4:-4], y[..., 4:-4])


@pytest.mark.parametrize("scale", SCALES)
class TestAgainstOthers:
    def test_box_is_the_mean_over_a_pixel(self, scale):
        x = image(5 * scale, 4 * scale)
        torch.testing.assert_close(
            Downsample(scale, "box").forward(x), F.avg_pool2d(x, scale), check_dtype=True
        )

    def test_pick_is_the_middle(self, scale):
        x = image(5 * scale, 4 * scale)
        first, last = (scale - 1) // 2, scale // 2
        rows = (x[..., first::scale, :] + x[..., last::scale, :]) / 2
        expected = (rows[..., first::scale] + rows[..., last::scale]) / 2
        torch.testing.assert_close(Downsample(scale, "pick").forward(x), expected)

    @pytest.mark.parametrize(
        ("kernel", "theirs"),
        [("bicubic", Image.Resampling.BICUBIC), ("lanczos3", Image.Resampling.LANCZOS)],
    )
    def test_filters_are_those_of_pillow_away_from_the_border(self, scale, kernel, theirs):
        # Pillow truncates the kernel at the border, where ours repeats the last pixel
        x = image(12 * scale, 11 * scale).float()
        small = Image.fromarray(x[0, 0].numpy()).resize((11, 12), theirs)
        ours = Downsample(scale, kernel).forward(x)[0, 0]
        inside = (slice(3, -3), slice(3, -3))
        torch.testing.assert_close(
            ours[inside], torch.from_numpy(np.array(small))[inside], rtol=0, atol=2e-6
        )

    def test_bicubic_is_that_of_torch_away_from_the_border(self, scale):
        x = image(10 * scale, 9 * scale)
        theirs = F.interpolate(x, size=(10, 9), mode="bicubic", antialias=True, align_corners=False)
        ours = Downsample(scale, "bicubic").forward(x)
        torch.testing.assert_close(
            ours[..., 2:-2, 2:-2], theirs[..., 2:-2, 2:-2], rtol=0, atol=1e-10
        )


def test_bicubic_is_that_of_matlab():
    """The weights in the source of imresize for a scale of 1/2: h(u) of Keys with a = -0.5."""
    expected = np.array([-3, -9, 29, 111, 111, 29, -9, -3]) / 256
    np.testing.assert_allclose(taps(2, "bicubic").numpy(), expected, atol=1e-15)


@pytest.mark.parametrize(
    ("arguments", "match"),
    [
        ((1, "lanczos3"), "by 1: must be at least 2"),
        ((0, "box"), "by 0: must be at least 2"),
        ((2, "boxes"), "'boxes': must be one of lanczos2, lanczos3, bicubic, box, pick"),
    ],
)
def test_unknown_downsampling_is_refused(arguments, match):
    with pytest.raises(ValueError, match=match):
        Downsample(*arguments)
