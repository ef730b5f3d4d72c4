import pytest
import torch

from glassplate.models.networks import NetworkSettings, make_network, padded_size

SMALL = NetworkSettings(channels=8, scales=2, skip_channels=4)


def dice(seed=0):
    return torch.Generator().manual_seed(seed)


def parameters(network):
    return sum(p.numel() for p in network.parameters())


class TestSkipNetwork:
    @pytest.mark.parametrize("kind", ["lean", "skip"])
    @pytest.mark.parametrize("fine", [4, 8, 16])
    @pytest.mark.parametrize("skip", [0, 4])
    @pytest.mark.parametrize("scales", [1, 3])
    def test_gives_an_estimate_of_the_inputs_size(self, kind, fine, skip, scales):
        settings = NetworkSettings(kind, 8, fine, scales=scales, skip_channels=skip)
        network = make_network(settings, 3, 2, dice())
        height, width = padded_size(settings, 17, 30)
        assert network(torch.rand(1, 3, height, width)).shape == (1, 2, height, width)

    def test_reference_has_the_papers_parameters(self):
        network = make_network(
            NetworkSettings("skip", channels=128, scales=5, skip_channels=4), 32, 3, dice()
        )
        # 2 217 831 in the paper's code (models/skip.py, denoising notebook), of which the biases of
        # convolutions before a batch norm do nothing: 5 scales of 3 x 128 + 4 + 128 x 1
        assert parameters(network) == 2217831 - 5 * (4 * 128 + 4)

    def test_estimate_is_float32_whatever_the_input(self):
        network = make_network(SMALL, 3, 1, dice())
        z = torch.rand(1, 3, 16, 16)
        fine, coarse = network(z), network(z.bfloat16())
        assert fine.dtype == coarse.dtype == torch.float32
        assert (fine - coarse).abs().max() < 0.1 * fine.std()

    def test_memory_format_changes_nothing(self):
        network = make_network(SMALL, 3, 1, dice())
        z = torch.rand(1, 3, 16, 16)
        there = network(z)
        last = network.to(memory_format=torch.channels_last)
        torch.testing.assert_close(last(z.contiguous(memory_format=torch.channels_last)), there)

    def test_sigmoid_stays_within_its_range(self):
        settings = NetworkSettings(channels=8, scales=2, skip_channels=4, output="sigmoid")
        x = make_network(settings, 3, 1, dice())(100 * torch.randn(1, 3, 16, 16))
        assert x.min() >= 0
        assert x.max() <= 1

    def test_every_weight_gets_a_gradient(self):
        network = make_network(SMALL, 3, 2, dice())
        network(torch.rand(1, 3, 16, 16)).square().mean().backward()
        assert all(p.grad is not None and p.grad.abs().max() > 0 for p in network.parameters())


class TestWeights:
    def test_depend_on_the_generator_alone(self):
        torch.manual_seed(1)
        before = torch.get_rng_state()
        one = make_network(SMALL, 3, 1, dice(5))
        assert torch.equal(torch.get_rng_state(), before)
        torch.manual_seed(2)
        two = make_network(SMALL, 3, 1, dice(5))
        other = make_network(SMALL, 3, 1, dice(6))
        pairs = zip(one.parameters(), two.parameters(), strict=True)
        assert all(torch.equal(a, b) for a, b in pairs)
        assert not torch.equal(one.head.weight, other.head.weight)

    def test_are_torchs_default(self):
        network = make_network(NetworkSettings("skip", channels=64, scales=1), 3, 1, dice())
        ours = network.downs[0][1][0].weight
        assert abs(ours.std() - torch.nn.Conv2d(64, 64, 3).weight.std()) < 0.02 * ours.std()


@pytest.mark.parametrize(
    ("size", "expected"),
    [((1, 1), (8, 8)), ((8, 9), (8, 12)), ((16, 16), (16, 16)), ((17, 30), (20, 32))],
)
def test_padded_size(size, expected):
    assert padded_size(SMALL, *size) == expected
