import pytest
import torch
import torch.nn.functional as F
from hypothesis import given, settings
from hypothesis import strategies as st

from glassplate.models.batching.joint import Joint, TapProducts
from glassplate.models.batching.networks_together import Begun, Separate
from glassplate.models.networks.make import NetworkSettings, input_size, make_network

KINDS = ("lean", "skip", "hourglass", "unet", "resnet", "decoder")
WAYS = ("grouped", "gemm")
RATES = (0.01, 0.003, 0.01)


def dice(seed):
    return torch.Generator().manual_seed(seed)


def networks(kind="lean", count=3, seed=0):
    shape = NetworkSettings(kind, channels=6, fine_channels=4, scales=2, skip_channels=3)
    return [make_network(shape, 3, 2, dice(seed + n)) for n in range(count)]


def inputs(kind="lean", count=3, seed=9):
    size = input_size(NetworkSettings(kind, scales=2), 16, 24)
    return torch.randn(count, 3, *size, generator=dice(seed))


def both(kind, way):
    """The same three networks, separate and as one."""
    begun = [Begun(network, rate) for network, rate in zip(networks(kind), RATES, strict=True)]
    return Separate(begun), Joint.of(networks(kind), RATES, way)


def loss(painted, target):
    return (painted - target).square().flatten(1).mean(1).sum()


def weights(separate):
    return torch.stack(
        [
            torch.cat([weight.detach().flatten() for weight in network.parameters()])
            for network in separate.networks
        ]
    )


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("kind", KINDS)
class TestAsSeparate:
    def test_paints_the_same(self, kind, way):
        separate, joint = both(kind, way)
        z = inputs(kind)
        torch.testing.assert_close(joint.paint(z), separate.paint(z), rtol=1e-4, atol=1e-5)

    def test_has_the_same_gradient(self, kind, way):
        separate, joint = both(kind, way)
        z = inputs(kind)
        target = torch.randn(3, 2, 16, 24, generator=dice(5))
        [mine] = torch.autograd.grad(loss(joint.paint(z), target), joint.weights)
        loss(separate.paint(z), target).backward()
        theirs = torch.stack(
            [
                torch.cat([weight.grad.flatten() for weight in network.parameters()])
                for network in separate.networks
            ]
        )
        torch.testing.assert_close(mine, theirs, rtol=1e-3, atol=1e-5 * float(theirs.abs().max()))


class TestAdam:
    def test_steps_are_those_of_torch_counted_from_each_beginning(self):
        separate, joint = both("lean", "grouped")
        for step in range(6):
            if step == 3:
                for these in (separate, joint):
                    [fresh] = networks(count=1, seed=20)
                    these.put(1, Begun(fresh, 0.02))
            # the same gradients to both, so that only the steps can differ
            gradients = torch.randn(joint.weights.shape, generator=dice(step))
            for network, gradient in zip(separate.networks, gradients, strict=True):
                begin = 0
                for weight in network.parameters():
                    part = gradient[begin : begin + weight.numel()]
                    weight.grad = part.view_as(weight).clone()
                    begin += weight.numel()
            for optimiser in separate.optimisers:
                optimiser.step()
            joint._step(gradients)
            torch.testing.assert_close(joint.weights.detach(), weights(separate))


class TestSlots:
    def test_put_begins_anew_in_one_slot(self):
        _, joint = both("lean", "grouped")
        z, target = inputs(), torch.zeros(3, 2, 16, 24)
        joint.improve(loss(joint.paint(z), target))
        before = joint.weights.detach().clone()
        [fresh] = networks(count=1, seed=20)
        joint.put(1, Begun(fresh, 0.5))
        assert torch.equal(joint.weights[[0, 2]], before[[0, 2]])
        assert joint.steps.flatten().tolist() == [1, 0, 1]
        assert joint.rates.flatten().tolist() == [0.01, 0.5, 0.01]
        assert not joint.first[1].any()
        assert not joint.second[1].any()
        torch.testing.assert_close(joint.paint(z)[1:2], fresh(z[1:2]), rtol=1e-4, atol=1e-5)

    @pytest.mark.parametrize("way", WAYS)
    def test_kept_slots_go_on_as_they_would_have(self, way):
        _, whole = both("lean", way)
        _, other = both("lean", way)
        z, target = inputs(), torch.zeros(3, 2, 16, 24)
        for joint in (whole, other):
            joint.improve(loss(joint.paint(z), target))
        fewer = other.kept([2, 0])
        for _ in range(2):
            whole.improve(loss(whole.paint(z), target))
            fewer.improve(loss(fewer.paint(z[[2, 0]]), target[:2]))
        torch.testing.assert_close(fewer.weights, whole.weights[[2, 0]], rtol=1e-3, atol=1e-5)


class TestTapProducts:
    @settings(max_examples=30)
    @given(
        b=st.integers(1, 3),
        inputs=st.integers(1, 4),
        outputs=st.integers(1, 4),
        size=st.sampled_from([1, 3, 5]),
        height=st.integers(1, 6),
        width=st.integers(1, 6),
    )
    def test_is_the_convolution_of_each_window(self, b, inputs, outputs, size, height, width):
        x = torch.randn(b, inputs, height + size - 1, width + size - 1, generator=dice(0))
        kernels = torch.randn(b, outputs, inputs, size, size, generator=dice(1))
        each = [F.conv2d(one[None], kernel) for one, kernel in zip(x, kernels, strict=True)]
        torch.testing.assert_close(
            TapProducts.apply(x, kernels), torch.cat(each), rtol=1e-4, atol=1e-4
        )

    @pytest.mark.parametrize("size", [1, 3])
    def test_its_gradient_is_the_adjoint(self, size):
        shape = (2, 3, 4 + size - 1, 5 + size - 1)
        x = torch.randn(shape, dtype=torch.float64, generator=dice(0)).requires_grad_()
        kernel = torch.randn(2, 2, 3, size, size, dtype=torch.float64, generator=dice(1))
        assert torch.autograd.gradcheck(TapProducts.apply, (x, kernel.requires_grad_()))
