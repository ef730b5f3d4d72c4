"""Our Adam is torch's own, without its compiler."""

from __future__ import annotations

import subprocess
import sys

import torch
from torch import nn

from glassplate.models.fit.adam import Adam


def network() -> nn.Module:
    torch.manual_seed(1)
    return nn.Sequential(nn.Conv2d(3, 5, 3), nn.Conv2d(5, 2, 1))


def test_steps_are_bit_for_bit_those_of_torch():
    ours, theirs = network(), network()
    adam, reference = Adam(ours, 0.01), torch.optim.Adam(theirs.parameters(), lr=0.01, fused=True)
    for step in range(5):
        if step == 3:
            adam.learning_rate = reference.param_groups[0]["lr"] = 0.002
        z = torch.randn((1, 3, 8, 8), generator=torch.Generator().manual_seed(step))
        adam.clear_gradients()
        reference.zero_grad()
        ours(z).square().mean().backward()
        theirs(z).square().mean().backward()
        adam.step()
        reference.step()
    for one, other in zip(ours.parameters(), theirs.parameters(), strict=True):
        assert torch.equal(one, other)


FIT = """
import sys, torch
from torch import nn
from glassplate.models.fit.adam import Adam
layer = nn.Conv2d(1, 1, 3)
adam = Adam(layer, 0.1)
layer(torch.ones(1, 1, 5, 5)).sum().backward()
adam.step()
sys.exit("torch._dynamo" in sys.modules)
"""


def test_torch_does_not_import_its_compiler():
    assert subprocess.run([sys.executable, "-P", "-c", FIT], check=False).returncode == 0
