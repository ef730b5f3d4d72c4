"""What cannot fit is refused before anything runs, and the way out that is named leads out."""

import multiprocessing
import os
from collections import Counter
from dataclasses import dataclass, replace
from functools import cache
from types import SimpleNamespace

import numpy as np
import psutil
import pytest
from astropy.io import fits

from glassplate.pipeline.errors import CapacityError
from glassplate.pipeline.planning import memory as capacity
from glassplate.pipeline.planning.make_plan import make_plan
from glassplate.pipeline.planning.memory import (
    GIB,
    _free_bytes,
    check_capacity,
    device_memory,
    overfilled,
    project,
    smaller_core,
)
from glassplate.pipeline.pools.cluster import worker_options, workers_on
from glassplate.pipeline.recipes.recipe import parse_recipe
from glassplate.pipeline.sources.source import SourceSpec


@dataclass
class SomePool:
    """As much of a pool as a check looks at."""

    workers: int = 1
    name: str = "local"


@pytest.fixture(scope="module")
def sky(tmp_path_factory):
    path = tmp_path_factory.mktemp("memory") / "sky.fits"
    noisy = np.random.default_rng(0).normal(100, 5, (700, 900))
    fits.writeto(path, noisy.astype("f4"))
    return SourceSpec(path)


@cache
def plan_of(spec, device="cuda", **tiles):
    """A plan as it would be on a machine with that device."""
    recipe = parse_recipe({"tiles": {"core": 512, **tiles}, "donor": {"tiles": 0}}, "test")
    plan = make_plan(spec, recipe, recipe_name="test", device="cpu")
    return replace(plan, numerics=replace(plan.numerics, device=device))


def has(monkeypatch, *memory):
    """Let the machine have GPUs of so many bytes, of which a pool of `workers` uses the first."""
    monkeypatch.setattr(capacity, "device_memory", lambda workers: memory[:workers])


class TestGpus:
    @pytest.mark.parametrize("workers", [1, 2, 3, 7, 8])
    @pytest.mark.parametrize("gpus", [1, 2, 3])
    def test_are_shared_as_the_workers_are_started(self, workers, gpus, monkeypatch):
        monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
        options = [worker_options(i, gpus)["env"]["CUDA_VISIBLE_DEVICES"] for i in range(workers)]
        shares = {gpu: workers_on(gpu, workers, gpus) for gpu in range(gpus)}
        assert {str(gpu): share for gpu, share in shares.items() if share} == Counter(options)

    @pytest.mark.parametrize(
        ("workers", "memory", "expected"),
        [
            (1, [10], None),
            (1, [9], 0),
            (2, [20], None),
            (2, [19], 0),
            (2, [10, 10], None),
            (2, [10, 9], 1),
            (3, [20, 10], None),
            (3, [19, 10], 0),
            (3, [30, 9], 1),
            (4, [], None),  # torch sees none
        ],
    )
    def test_have_room_for_all_their_workers(self, workers, memory, expected):
        assert overfilled(10, workers, memory) == expected

    def test_count_with_their_total_memory(self, monkeypatch):
        asked = []

        def properties(gpu):
            asked.append(gpu)
            return SimpleNamespace(total_memory=70 - gpu)

        monkeypatch.setattr(capacity, "gpu_count", lambda device: 3)
        monkeypatch.setattr(capacity.torch.cuda, "get_device_properties", properties)
        # it would open the GPU in the process that plans
        monkeypatch.delattr(capacity.torch.cuda, "mem_get_info")
        assert device_memory(2) == (70, 69)
        assert asked == [0, 1]
        assert device_memory(9) == (70, 69, 68)


class TestSmallerCore:
    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("core", "fitting", "expected"),
        [
            (1024, 700, 512),
            (1024, 512, 512),
            (1024, 511, 256),
            (1024, 64, 64),
            (1024, 63, None),
            (1000, 999, 500),
            (1000, 100, None),
            (128, 128, 64),
            (127, 127, None),
            (24, 24, None),
        ],
    )
    def test_is_the_largest_halving_that_fits(self, sky, core, fitting, expected):
        plan = plan_of(sky, core=core)
        assert smaller_core(plan, 1, lambda other: other.grid.core <= fitting) == expected

    @pytest.mark.slow
    def test_counts_that_more_tiles_fill_a_stack(self, sky):
        plan = plan_of(sky, stack=16)
        assert (len(plan.grid), plan.numerics.stack, plan.batch_size) == (4, 4, 4)
        seen = []
        smaller_core(plan, 1, seen.append)
        assert [other.grid.core for other in seen] == [256, 128, 64]
        for other in seen:
            wished = plan_of(sky, core=other.grid.core, stack=16)
            assert other.numerics == wished.numerics
            assert other.batch_size == wished.batch_size


class TestMemoryOfGpus:
    def test_is_shared_by_the_workers_of_a_gpu(self, sky, tmp_path, monkeypatch):
        plan = plan_of(sky)
        each = project(plan, workers=1).device_bytes
        has(monkeypatch, 2 * each, 2 * each)
        check_capacity(plan, tmp_path / "a.zarr", SomePool(4))
        with pytest.raises(
            CapacityError, match=r"3 worker\(s\) of GPU 0 exceeds the .* GiB that it has"
        ):
            check_capacity(plan, tmp_path / "a.zarr", SomePool(5))

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("pool", "stack", "ways"),
        [
            (SomePool(), 1, "tiles.core from 512 to 256"),
            (SomePool(1, "inline"), 4, "tiles.stack from 4 or tiles.core from 512 to 256"),
            (SomePool(4), 1, "tiles.core from 512 to 256 or --workers from 4"),
            (
                SomePool(4),
                4,
                "tiles.stack from 4, tiles.core from 512 to 256 or --workers from 4",
            ),
        ],
    )
    def test_the_refusal_names_what_helps(self, sky, tmp_path, monkeypatch, pool, stack, ways):
        plan, smaller = (plan_of(sky, core=core, stack=stack) for core in (512, 256))
        has(monkeypatch, pool.workers * project(smaller, workers=1).device_bytes)
        with pytest.raises(CapacityError, match=r"GPU 0 exceeds") as refused:
            check_capacity(plan, tmp_path / "a.zarr", pool)
        assert str(refused.value).startswith(f"{sky.path}: projected memory ")
        assert str(refused.value).endswith(f" GiB that it has; lower {ways}")
        # and so it does
        check_capacity(smaller, tmp_path / "a.zarr", pool)

    def test_the_refusal_names_no_core_where_none_fits(self, sky, tmp_path, monkeypatch):
        has(monkeypatch, 1 << 20)
        with pytest.raises(CapacityError, match=r"lower tiles.core from 512$"):
            check_capacity(plan_of(sky), tmp_path / "a.zarr", SomePool())

    @pytest.mark.slow
    @pytest.mark.parametrize(
        ("device", "name", "memory"),
        [
            ("cpu", "local", [0]),
            ("cuda", "tcp://gpus:8786", [0]),  # they are elsewhere
            ("cuda", "local", []),
        ],
    )
    def test_is_not_checked_where_it_is_unknown(
        self, sky, tmp_path, monkeypatch, device, name, memory
    ):
        has(monkeypatch, *memory)
        check_capacity(plan_of(sky, device), tmp_path / "a.zarr", SomePool(1, name))

    def test_a_donor_counts(self, sky):
        plan = plan_of(sky, core=64)
        warm = replace(plan, recipe=parse_recipe({"donor": {"windows": 2000}}, "test"))
        assert warm.warm
        bytes_of = [project(one, workers=1).device_bytes for one in (plan, warm)]
        assert bytes_of[0] < bytes_of[1]


class TestMemoryOfTheHost:
    def test_what_the_workers_of_another_image_hold_is_free(self, monkeypatch):
        memory = psutil.virtual_memory()._replace(available=1000)
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory)
        monkeypatch.setattr(multiprocessing, "active_children", list)
        assert _free_bytes() == 1000
        worker = SimpleNamespace(pid=os.getpid())
        monkeypatch.setattr(multiprocessing, "active_children", lambda: [worker])
        assert _free_bytes() > 1000 + 2**20

    @pytest.mark.slow
    def test_the_core_that_a_refusal_names_fits(self, sky, tmp_path, monkeypatch):
        plan, smaller = (plan_of(sky, "cpu", core=core) for core in (512, 128))
        needed = project(smaller, workers=2).host_bytes
        memory = psutil.virtual_memory()
        monkeypatch.setattr(psutil, "virtual_memory", lambda: memory._replace(available=needed))
        with pytest.raises(CapacityError, match=r"tiles.core from 512 to 128 or output.shard from"):
            check_capacity(plan, tmp_path / "a.zarr", SomePool(2))
        check_capacity(smaller, tmp_path / "a.zarr", SomePool(2))

    @pytest.mark.slow
    @pytest.mark.parametrize("device", ["cpu", "cuda"])
    def test_grows_with_the_stack_but_not_with_the_batch(self, sky, device):
        stages = [
            project(plan_of(sky, device, core=64, **tiles), workers=1).stages["restore"]
            for tiles in ({}, {"stack": 2}, {"stack": 4, "batch": 20}, {"stack": 4, "batch": 100})
        ]
        assert stages[0] < stages[1] < stages[2] == stages[3]

    @pytest.mark.slow
    def test_a_gpu_takes_the_fits(self, sky):
        cpu, cuda = (project(plan_of(sky, device), workers=1) for device in ("cpu", "cuda"))
        assert cuda.host_bytes + cuda.device_bytes > cpu.host_bytes > cuda.host_bytes
        assert cuda.device_bytes > 0.1 * GIB > cpu.device_bytes == 0
