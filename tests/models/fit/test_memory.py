"""Memory is proved: what a process really took, at its peak, against what was projected."""

import pickle
import subprocess
import sys
from dataclasses import replace

import numpy as np
import pytest
import torch

from glassplate.models.device.numerics import multiplies_bf16, resolve
from glassplate.models.fit.loop import FitSettings, Problem
from glassplate.models.fit.memory import projected_bytes
from glassplate.models.fit.stopping import StoppingSettings
from glassplate.models.networks.make import NetworkSettings
from glassplate.models.noise.model import NoiseModel
from glassplate.models.operators.blur import Blur, Psf
from glassplate.models.operators.downsample import Downsample
from glassplate.models.operators.operator import Identity
from glassplate.models.transform import PixelTransform

MEASURE = """
import pickle
import numpy as np
from glassplate.models.fit.loop import Measurement, fit_batch

def peak():
    with open("/proc/self/status") as lines:
        return next(int(line.split()[1]) << 10 for line in lines if line.startswith("VmHWM"))

problem = pickle.loads({problem})
shape, count = {shape}, {count}
windows = [
    Measurement(np.random.default_rng(n).random(shape, np.float32), np.ones(shape, bool), None, n)
    for n in range(count)
]
before = peak()
fit_batch(windows, problem)
print(peak() - before)
"""


def problem(
    channels=32,
    scales=4,
    skip=32,
    scale=1,
    source="auto",
    kind="lean",
    stack=1,
    together="separate",
    tv=0.0,
    precision="fp32",
):
    return Problem(
        NetworkSettings(kind, channels, scales=scales, skip_channels=skip),
        FitSettings(iterations=2, log_period=1, input=source, tv=tv),
        StoppingSettings(),
        Identity() if scale == 1 else Downsample(scale),
        PixelTransform(),
        NoiseModel(0.01, 0.0, 0.0, False, "given"),
        replace(resolve("cpu", precision), stack=stack, together=together),
    )


CASES = [
    pytest.param("window of 224", problem(), (3, 224, 224), 1),
    pytest.param("tiny", problem(), (1, 4, 4), 1, marks=pytest.mark.slow),
    pytest.param("batch", problem(), (1, 160, 160), 6, marks=pytest.mark.slow),
    pytest.param("upscaled", problem(scale=2), (1, 128, 128), 1, marks=pytest.mark.slow),
    pytest.param(
        "deconvolved",
        replace(
            problem(16, 4, 16), operator=Blur(Psf.of(np.random.default_rng(0).random((45, 45))))
        ),
        (1, 256, 256),
        1,
        marks=pytest.mark.slow,
    ),
    pytest.param(
        "reference",
        problem(128, 5, 4, source="noise", kind="skip"),
        (3, 128, 128),
        1,
        marks=pytest.mark.slow,
    ),
    pytest.param("skip", problem(kind="skip"), (1, 224, 224), 1, marks=pytest.mark.slow),
    pytest.param("large", problem(), (1, 512, 512), 1, marks=pytest.mark.slow),
    pytest.param("stack", problem(stack=3), (1, 160, 160), 3, marks=pytest.mark.slow),
    pytest.param(
        "grouped", problem(stack=3, together="grouped"), (1, 160, 160), 3, marks=pytest.mark.slow
    ),
    pytest.param(
        "gemm", problem(stack=3, together="gemm"), (1, 160, 160), 3, marks=pytest.mark.slow
    ),
    pytest.param("hourglass", problem(kind="hourglass"), (1, 288, 288), 1, marks=pytest.mark.slow),
    pytest.param("unet", problem(16, kind="unet"), (1, 256, 256), 1, marks=pytest.mark.slow),
    pytest.param("wide unet", problem(32, kind="unet"), (3, 128, 128), 1, marks=pytest.mark.slow),
    pytest.param("resnet", problem(kind="resnet"), (1, 224, 224), 1, marks=pytest.mark.slow),
    pytest.param("decoder", problem(64, kind="decoder"), (3, 256, 256), 1, marks=pytest.mark.slow),
    pytest.param("draft", problem(16, 3, 16), (1, 288, 288), 1, marks=pytest.mark.slow),
]


# Every kind of network and every way of a stack; what else the cases vary does not depend on the precision.
IN_BF16 = {"window of 224", "skip", "hourglass", "unet", "resnet", "decoder"}
IN_BF16 |= {"stack", "grouped", "gemm"}


def in_both_precisions():
    for case in CASES:
        name = case.values[0]
        for precision in ("fp32", "bf16") if name in IN_BF16 else ("fp32",):
            values = (*case.values, precision)
            yield pytest.param(*values, marks=case.marks, id=f"{name} in {precision}")


@pytest.mark.skipif(not sys.platform.startswith("linux"), reason="reads /proc")
@pytest.mark.parametrize(
    ("name", "given", "shape", "count", "precision"), list(in_both_precisions())
)
def test_projected_covers_measured_and_is_no_fantasy(name, given, shape, count, precision):
    """In both precisions on every machine; one that emulates bf16 takes it only to resume another's run."""
    chosen = resolve("cpu", precision)
    together = {"stack": given.numerics.stack, "together": given.numerics.together}
    given = replace(given, numerics=replace(chosen, **together))
    script = MEASURE.format(problem=pickle.dumps(given), shape=shape, count=count)
    ran = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    measured, projected = int(ran.stdout), projected_bytes(given, shape, count)
    most = 1.5 if precision == "fp32" or multiplies_bf16("cpu") else 2.0
    assert measured <= projected <= most * measured, f"{name}: {measured >> 20} MiB measured"


@pytest.mark.parametrize("kind", ["lean", "skip", "hourglass", "unet", "resnet", "decoder"])
def test_bf16_takes_less_where_the_processor_has_it(kind, monkeypatch):
    fp32, bf16 = (problem(kind=kind, precision=p) for p in ("fp32", "bf16"))

    def projected(given, flags):
        monkeypatch.setattr(torch.cpu, "get_capabilities", lambda: flags, raising=False)
        return projected_bytes(given, (1, 224, 224), 1)

    native, emulated = (projected(bf16, flags) for flags in ({"avx512_bf16": True}, {}))
    assert native < projected(fp32, {})
    assert native <= emulated


@pytest.mark.parametrize("kind", ["lean", "skip", "hourglass", "unet", "resnet", "decoder"])
def test_grows_with_what_is_fitted(kind):
    base = projected_bytes(problem(kind=kind), (1, 128, 128), 1)
    assert projected_bytes(problem(kind=kind), (1, 256, 256), 1) > base
    assert projected_bytes(problem(64, kind=kind), (1, 128, 128), 1) > base
    assert projected_bytes(problem(scale=2, kind=kind), (1, 128, 128), 1) > base
    assert projected_bytes(problem(kind=kind), (1, 128, 128), 9) > base


def test_depth_costs_where_it_takes_maps():
    for kind in ("unet", "resnet"):
        shallow = projected_bytes(problem(scales=2, kind=kind), (1, 128, 128), 1)
        assert projected_bytes(problem(scales=5, kind=kind), (1, 128, 128), 1) > shallow
