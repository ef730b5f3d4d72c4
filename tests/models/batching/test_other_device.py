"""Fits on a device that is not the CPU's memory, as a GPU is not: nothing is mixed up, nothing waited for."""

from dataclasses import replace

import numpy as np
import pytest
import torch
from jpegs import photograph, saved
from stacks import CASES, PLAIN, assert_close, fitted, stacked
from torch.utils import backend_registration
from windows import problem

from glassplate.models.batching.fit_each import fit_batch
from glassplate.models.batching.slots import Slots
from glassplate.models.device.arithmetic import applied
from glassplate.models.donor.fit_donor import fit_donor
from glassplate.models.estimate import hole_edges
from glassplate.models.fit.loop import begin
from glassplate.models.fit.problem import Measurement
from glassplate.models.fit.settings import DonorSettings
from glassplate.models.fit.window import Window
from glassplate.models.networks.settings import NetworkSettings
from glassplate.models.pixel_transform import PixelTransform

if torch.cuda.is_available():
    pytest.skip("there is a real one", allow_module_level=True)
if not hasattr(backend_registration, "_setup_privateuseone_for_python_backend"):
    pytest.skip("this torch takes no device made in Python", allow_module_level=True)

from other_device import OTHER, Generator, Held, OtherDevice

KINDS = ["lean", "unshuffled", "skip", "hourglass", "unet", "resnet", "decoder"]


@pytest.fixture
def device(monkeypatch):
    """Be on a machine that has it."""
    monkeypatch.setattr(torch, "Generator", Generator)
    with OtherDevice() as device:
        yield device


def there(given):
    """The same problem, on the other device."""
    return replace(given, numerics=replace(given.numerics, device="other"))


def jpegs():
    """A problem of its own kind: JPEGs compressed again."""
    y, quantisation = saved(photograph(), 10)
    given = problem(
        quantisation=quantisation, transform=PixelTransform("linear", offset=0.0, scale=255.0)
    )
    values = y[0].numpy().astype("f4")
    ones = np.ones(values.shape, bool)
    return given, [Measurement(values, ones, None, seed) for seed in range(3)]


def answering(given):
    """With all that may follow a fit."""
    fit = replace(given.fit, collaborative=True, guard=4.0, uncertainty=True)
    return replace(given, fit=fit)


EVERY = {
    **CASES,
    "jpeg": jpegs(),
    "answer, correlated": (answering(problem(correlated=True)), PLAIN),
    "answer, members": (answering(fitted(members=2)), PLAIN),
    **{
        f"{kind}, {upsample}": (
            problem(network=NetworkSettings(kind, channels=4, scales=2, skip_channels=4, upsample=upsample)),
            PLAIN,
        )
        for kind, upsample in [*((kind, "bilinear") for kind in KINDS), ("skip", "nearest")]
    },
}  # fmt: skip

# The two ways differ in their networks only.
WORKED = [(case, "separate") for case in EVERY] + [
    (case, "grouped") for case in EVERY if case == "blind spot" or case.startswith(tuple(KINDS))
]


class TestTheDeviceItself:
    def test_refuses_tensors_of_two(self, device):
        there = torch.ones(3, device=OTHER)
        assert isinstance(there + 1, Held)
        with pytest.raises(RuntimeError, match="tensors on two devices"):
            there + torch.ones(3)

    @pytest.mark.parametrize(
        "act",
        [
            lambda x: x.sum().item(),
            lambda x: float(x[0]),
            lambda x: bool(x.any()),
            lambda x: x.tolist(),
            lambda x: x.cpu(),
            lambda x: x[x > 1],
            lambda x: x.nonzero(),
            lambda x: x + torch.ones(3).to(OTHER),
            lambda x: x.copy_(torch.ones(3)),
        ],
    )
    def test_notes_what_it_is_waited_for(self, device, act):
        there = torch.arange(3.0, device=OTHER)
        assert not device.waits
        act(there)
        assert device.waits

    def test_computes_what_the_cpu_does(self, device):
        x = torch.rand(1, 2, 8, 8, generator=torch.Generator(OTHER).manual_seed(0), device=OTHER)
        w = torch.ones(3, 2, 3, 3, device=OTHER, requires_grad=True)
        torch.nn.functional.conv2d(x, w).square().sum().backward()
        y = x.cpu()
        v = torch.ones(3, 2, 3, 3, requires_grad=True)
        torch.nn.functional.conv2d(y, v).square().sum().backward()
        assert torch.equal(w.grad.cpu(), v.grad)


# Every network was compared alone; together they differ only in what carries them.
COMPARED = [(case, way) for case, way in WORKED if way == "separate" or case == "blind spot"]


@pytest.mark.slow
@pytest.mark.parametrize(("case", "way"), COMPARED)
def test_fits_are_what_they_are_on_the_cpu(case, way, monkeypatch):
    given, measured = EVERY[case]
    # few iterations of few windows, since each operation passes through Python; the third refills a slot
    monkeypatch.setattr(hole_edges, "STEPS", 3)
    given = stacked(replace(given, fit=replace(given.fit, iterations=2, log_period=1)), 2, way)
    measured = measured[:3]
    here = fit_batch(measured, given)
    monkeypatch.setattr(torch, "Generator", Generator)
    with OtherDevice() as device:
        found = fit_batch(measured, there(given))
    assert device.waits
    assert_close(here, found)


@pytest.mark.slow
@pytest.mark.parametrize(("case", "way"), WORKED)
def test_an_iteration_waits_for_nothing_and_a_record_once(case, way, device):
    given, measured = EVERY[case]
    given = there(stacked(given, 2, way))
    with applied(given.numerics):
        slots = Slots([begin(Window(one, given)) for one in measured[:2]])
        slots.advance()  # constants may be sent
        device.waits.clear()
        for _ in range(2):
            slots.advance()
        assert device.waits == []
        slots.read([0, 1])
        assert device.waits == ["aten::_to_copy"]


@pytest.mark.slow
def test_a_donor_is_fitted_there_too(device):
    given = there(fitted(iterations=3))
    weights = fit_donor(PLAIN[:2], given, DonorSettings(iterations=3))
    assert all(np.isfinite(weight).all() for weight in weights.values())
    assert all(np.isfinite(r.values).all() for r in fit_batch(PLAIN[:2], given, start=weights))
