import pytest
import torch

from glassplate.models.batching.grouped_networks import GroupedNetworks
from glassplate.models.batching.networks_together import SeparateNetworks
from glassplate.models.fit.loop import Network
from glassplate.models.networks.make import input_size, make_network
from glassplate.models.networks.settings import NetworkSettings

KINDS = ("lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder")
RATES = (0.01, 0.003, 0.01)


def generator(seed):
    return torch.Generator().manual_seed(seed)


def networks(kind="lean", count=3, seed=0):
    shape = NetworkSettings(kind, channels=6, fine_channels=4, scales=2, skip_channels=3)
    return [make_network(shape, 3, 2, generator(seed + n)) for n in range(count)]


def inputs(kind="lean", count=3, seed=9):
    size = input_size(NetworkSettings(kind, scales=2), 16, 24)
    return torch.randn(count, 3, *size, generator=generator(seed))


def both(kind):
    """The same three networks, separate and grouped."""
    each = [Network(module, rate) for module, rate in zip(networks(kind), RATES, strict=True)]
    return SeparateNetworks(each), GroupedNetworks.of(networks(kind), RATES)


def loss(painted, target):
    return (painted - target).square().flatten(1).mean(1).sum()


def weights(separate):
    return torch.stack(
        [
            torch.cat([weight.detach().flatten() for weight in network.module.parameters()])
            for network in separate.networks
        ]
    )


@pytest.mark.parametrize("kind", KINDS)
class TestAsSeparate:
    def test_paints_the_same(self, kind):
        separate, grouped = both(kind)
        z = inputs(kind)
        torch.testing.assert_close(grouped.paint(z), separate.paint(z), rtol=1e-4, atol=1e-5)

    @pytest.mark.slow
    def test_has_the_same_gradient(self, kind):
        separate, grouped = both(kind)
        z = inputs(kind)
        target = torch.randn(3, 2, 16, 24, generator=generator(5))
        [mine] = torch.autograd.grad(loss(grouped.paint(z), target), grouped.weights)
        loss(separate.paint(z), target).backward()
        theirs = torch.stack(
            [
                torch.cat([weight.grad.flatten() for weight in network.module.parameters()])
                for network in separate.networks
            ]
        )
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


class TestAdam:
    def test_steps_are_those_of_torch_counted_from_each_beginning(self):
        separate, grouped = both("lean")
        for step in range(6):
            if step == 3:
                for these in (separate, grouped):
                    [fresh] = networks(count=1, seed=20)
                    these.put(1, Network(fresh, 0.02))
            # the same gradients to both, so that only the steps can differ
            gradients = torch.randn(grouped.weights.shape, generator=generator(step))
            for network, gradient in zip(separate.networks, gradients, strict=True):
                begin = 0
                for weight in network.module.parameters():
                    part = gradient[begin : begin + weight.numel()]
                    weight.grad = part.view_as(weight).clone()
                    begin += weight.numel()
            for network in separate.networks:
                network.optimiser.step()
            grouped._adam(gradients, [True] * 3)
            torch.testing.assert_close(grouped.weights.detach(), weights(separate))


class TestSlots:
    def test_put_begins_anew_in_one_slot(self):
        _, grouped = both("lean")
        z, target = inputs(), torch.zeros(3, 2, 16, 24)
        grouped.step(loss(grouped.paint(z), target), [True] * 3)
        before = grouped.weights.detach().clone()
        [fresh] = networks(count=1, seed=20)
        grouped.put(1, Network(fresh, 0.5))
        assert torch.equal(grouped.weights[[0, 2]], before[[0, 2]])
        assert grouped.steps.flatten().tolist() == [1, 0, 1]
        assert grouped.learning_rates.flatten().tolist() == [0.01, 0.5, 0.01]
        assert not grouped.first[1].any()
        assert not grouped.second[1].any()
        torch.testing.assert_close(grouped.paint(z)[1:2], fresh(z[1:2]), rtol=1e-4, atol=1e-5)

    def test_kept_slots_go_on_as_they_would_have(self):
        _, whole = both("lean")
        _, other = both("lean")
        z, target = inputs(), torch.zeros(3, 2, 16, 24)
        for grouped in (whole, other):
            grouped.step(loss(grouped.paint(z), target), [True] * 3)
        fewer = other.kept([2, 0])
        for _ in range(2):
            whole.step(loss(whole.paint(z), target), [True] * 3)
            fewer.step(loss(fewer.paint(z[[2, 0]]), target[:2]), [True] * 2)
        torch.testing.assert_close(fewer.weights, whole.weights[[2, 0]], rtol=1e-3, atol=1e-5)
