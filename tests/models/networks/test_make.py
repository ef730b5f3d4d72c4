import itertools

import pytest
import torch

from glassplate.models.networks.make import count_weights, input_size, make_network, padded_size
from glassplate.models.networks.settings import NetworkSettings

SMALL = NetworkSettings(channels=8, scales=2, skip_channels=4)
KINDS = ["lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder", "enlarging"]

each_kind = pytest.mark.parametrize("kind", KINDS)


def small(kind, **changes):
    return NetworkSettings(kind, **{"channels": 8, "scales": 2, "skip_channels": 4, **changes})


def generator(seed=0):
    return torch.Generator().manual_seed(seed)


def code(settings, height=16, width=16, channels=3):
    """An input from which the network makes at least `height` and `width`."""
    size = input_size(settings, height, width)
    return torch.randn(1, channels, *size, generator=generator(1))


def parameters(network):
    return sum(p.numel() for p in network.parameters())


@each_kind
class TestEveryKind:
    @pytest.mark.parametrize(("scales", "upsample"), [(1, "nearest"), (3, "bilinear")])
    @pytest.mark.parametrize(("height", "width"), [(1, 1), (17, 30)])
    def test_makes_an_estimate_of_any_size(self, kind, scales, upsample, height, width):
        settings = small(kind, scales=scales, upsample=upsample)
        x = make_network(settings, 3, 2, generator())(code(settings, height, width))
        assert x.shape == (1, 2, *padded_size(settings, height, width))
        assert x.isfinite().all()

    def test_estimate_is_float32_whatever_the_input(self, kind):
        settings = small(kind)
        network = make_network(settings, 3, 1, generator())
        z = code(settings)
        fine, coarse = network(z), network(z.bfloat16())
        assert fine.dtype == coarse.dtype == torch.float32
        assert (fine - coarse).square().mean().sqrt() < 0.1 * fine.std()

    def test_memory_format_changes_nothing(self, kind):
        settings = small(kind)
        network = make_network(settings, 3, 1, generator())
        z = code(settings)
        there = network(z)
        last = network.to(memory_format=torch.channels_last)
        here = last(z.contiguous(memory_format=torch.channels_last))
        torch.testing.assert_close(here, there, rtol=1e-4, atol=1e-5)

    def test_sigmoid_stays_within_its_range(self, kind):
        if kind == "enlarging":
            pytest.skip("it adds to the interpolated image")
        settings = small(kind, output="sigmoid")
        x = make_network(settings, 3, 1, generator())(100 * code(settings))
        assert x.min() >= 0
        assert x.max() <= 1

    def test_every_weight_gets_a_gradient(self, kind):
        settings = small(kind)
        network = make_network(settings, 3, 2, generator())
        with torch.no_grad():
            # as after some steps: while all biases are 0, a norm may undo the scale of the one before
            for weight in network.parameters():
                weight += 0.1 * torch.randn(weight.shape, generator=generator(3))
        x = network(code(settings))
        (x * torch.randn(x.shape, generator=generator(2))).mean().backward()
        sizes = {name: float(p.grad.abs().max()) for name, p in network.named_parameters()}
        # as in the paper: the bias of the norm after a joint has no effect
        idle = {f"ups.{n}.0.bias" for n in range(2)} if kind in {"skip", "hourglass"} else set()
        assert {name for name, size in sizes.items() if size < 1e-6} <= idle

    def test_weights_depend_on_the_generator_alone(self, kind):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one = make_network(small(kind), 3, 1, generator(5))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        two = make_network(small(kind), 3, 1, generator(5))
        other = make_network(small(kind), 3, 1, generator(6))
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert not torch.equal(one.head.weight, other.head.weight)

    def test_weights_are_counted_without_making_them(self, kind):
        settings = small(kind)
        assert count_weights(settings, 3, 2) == parameters(
            make_network(settings, 3, 2, generator())
        )

    def test_grows_with_depth_and_width(self, kind):
        base = count_weights(small(kind), 3, 1)
        assert count_weights(small(kind, scales=3), 3, 1) > base
        assert count_weights(small(kind, channels=16), 3, 1) > base


class TestSkipNetwork:
    @pytest.mark.parametrize("kind", ["lean", "skip"])
    @pytest.mark.parametrize("fine", [4, 8, 16])
    @pytest.mark.parametrize("skip", [0, 4])
    @pytest.mark.parametrize("scales", [1, 3])
    def test_gives_an_estimate_of_the_inputs_size(self, kind, fine, skip, scales):
        settings = NetworkSettings(kind, 8, fine, scales=scales, skip_channels=skip)
        network = make_network(settings, 3, 2, generator())
        height, width = padded_size(settings, 17, 30)
        assert network(torch.rand(1, 3, height, width)).shape == (1, 2, height, width)

    def test_reference_has_the_papers_parameters(self):
        network = make_network(
            NetworkSettings("skip", channels=128, scales=5, skip_channels=4), 32, 3, generator()
        )
        # 2 217 831 in the paper's code (models/networks/skip.py, denoising notebook), of which the biases of
        # convolutions before a batch norm do nothing: 5 scales of 3 x 128 + 4 + 128 x 1
        assert parameters(network) == 2217831 - 5 * (4 * 128 + 4)

    def test_hourglass_is_skip_without_skip_connections(self):
        z = code(SMALL)
        without = make_network(small("skip", skip_channels=0), 3, 1, generator())
        hourglass = make_network(small("hourglass", skip_channels=32), 3, 1, generator())
        assert torch.equal(without(z), hourglass(z))

    @pytest.mark.parametrize(
        ("kind", "drawn"),
        [
            (
                "lean",
                "skips.0.0 skips.1.0 downs.0.0.0 downs.1.0.0 narrowings.0.0 "
                "ups.0.0.0 ups.0.1.0 ups.1.0.0 ups.1.1.0",
            ),
            (
                "skip",
                "skips.0.0 skips.1.0 downs.0.0.0 downs.0.1.0 downs.1.0.0 downs.1.1.0 "
                "ups.0.1.0 ups.0.2.0 ups.1.1.0 ups.1.2.0",
            ),
        ],
    )
    def test_weights_are_drawn_in_the_order_they_always_were(self, kind, drawn):
        """Results must not change with the code: names and order are those of the first release."""
        ours = make_network(small(kind, fine_channels=4), 3, 1, generator(5)).state_dict()
        again = generator(5)
        for name in [*drawn.split(), "head"]:
            weight = ours[f"{name}.weight"]
            bound = weight[0].numel() ** -0.5
            theirs = torch.empty(weight.shape).uniform_(-bound, bound, generator=again)
            assert torch.equal(weight, theirs), name
        theirs = torch.empty(1).uniform_(-bound, bound, generator=again)
        assert torch.equal(ours["head.bias"], theirs)
        norms = {name for name, weight in ours.items() if weight.dim() == 1} - {"head.bias"}
        assert len(norms) + len(drawn.split()) + 2 == len(ours)


def test_unet_passes_all_channels_and_doubles_them():
    settings = NetworkSettings("unet", channels=4, scales=2)
    shapes = {
        name: w.shape for name, w in make_network(settings, 3, 1, generator()).named_parameters()
    }
    assert shapes["downs.1.1.1.0.weight"] == (16, 16, 3, 3)
    assert shapes["ups.0.0.0.weight"] == (4, 8, 3, 3)


def test_a_resnet_needs_no_padding():
    settings = NetworkSettings("resnet", channels=4, scales=2)
    assert padded_size(settings, 33, 31) == input_size(settings, 33, 31) == (33, 31)
    assert padded_size(settings, 1, 5) == (2, 5)


class TestDecoder:
    def test_input_is_a_small_code(self):
        settings = small("decoder", scales=3)
        assert padded_size(settings, 60, 33) == (64, 40)
        assert input_size(settings, 60, 33) == (8, 5)

    def test_has_fewer_weights_than_an_image_has_values(self):
        settings = NetworkSettings("decoder", channels=64, scales=4)
        assert count_weights(settings, 32, 3) < 128 * 128 * 3

    def test_is_smooth_between_the_pixels_of_its_code(self):
        settings = small("decoder", scales=4, channels=16)
        with torch.no_grad():
            x = make_network(settings, 8, 1, generator())(code(settings, 64, 64, 8))
            rough = make_network(small("skip"), 3, 1, generator())(code(small("skip"), 64, 64))
        steps = [float(image.diff().square().mean() / image.var()) for image in (x, rough)]
        assert steps[0] < 0.2 * steps[1]


def test_weights_are_torchs_default():
    network = make_network(NetworkSettings("skip", channels=64, scales=1), 3, 1, generator())
    ours = network.downs[0][1][0].weight
    assert abs(ours.std() - torch.nn.Conv2d(64, 64, 3).weight.std()) < 0.02 * ours.std()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (8, 8)), ((8, 9), (8, 12)), ((16, 16), (16, 16)), ((17, 30), (20, 32))],
)
def test_padded_size(size, expected):
    assert padded_size(SMALL, *size) == expected


@pytest.mark.parametrize(
    ("field", "value"),
    [("channels", 0), ("fine_channels", 0), ("scales", 0), ("skip_channels", -1)],
)
def test_refuses_impossible_settings(field, value):
    with pytest.raises(ValueError, match=rf"{field} is {value}, must be at least"):
        NetworkSettings(**{field: value})


def test_every_kind_is_listed_and_differs():
    counts = [count_weights(small(kind), 3, 1) for kind in KINDS]
    assert all(a != b for a, b in itertools.combinations(counts, 2))
