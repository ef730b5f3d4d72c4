"""A session names the GPUs that it uses."""

from dataclasses import replace

import pytest
import torch

from glassplate.pipeline.planning import memory
from glassplate.pipeline.planning.plan_files import plan_files
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance import machine
from glassplate.pipeline.provenance.manifest import read_manifest
from glassplate.pipeline.run import restore as run
from glassplate.pipeline.run.restore import restore


def test_gpus_are_named_only_if_torch_sees_any(monkeypatch):
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.setattr(torch.cuda, "get_device_name", "GPU {}".format)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    assert machine.this_machine(gpus=True).gpus == ("GPU 0", "GPU 1")
    # without a driver
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert machine.this_machine(gpus=True).gpus == ()


@pytest.mark.parametrize(("device", "named"), [("cpu", ()), ("cuda", ("GPU 0",))])
def test_a_session_names_the_gpus_that_its_plan_uses(
    tmp_path, monkeypatch, make_request, device, named
):
    class Stops(InlinePool):
        def map(self, work, tasks, tell):
            raise KeyboardInterrupt

    def on_that(*args, **more):
        plan = plan_files(*args, **more)
        return replace(plan, numerics=replace(plan.numerics, device=device))

    monkeypatch.setattr(run, "plan_files", on_that)
    monkeypatch.setattr(memory, "device_memory", lambda workers: ())
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 1)
    monkeypatch.setattr(torch.cuda, "get_device_name", "GPU {}".format)
    request = make_request(tmp_path)
    with pytest.raises(KeyboardInterrupt):
        restore(request, Stops())
    [session] = read_manifest(request.store).sessions
    assert session.machine.gpus == named
