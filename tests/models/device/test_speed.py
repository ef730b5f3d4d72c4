"""Rates of a device: positive, per second, and of work that grew until it took long enough."""

from dataclasses import asdict

import pytest
import torch

from glassplate.models.device import speed as device
from glassplate.models.device.numerics import Numerics
from glassplate.models.device.speed import DeviceRates, measure_device


@pytest.fixture
def quick(monkeypatch):
    """Hardly any work."""
    monkeypatch.setattr(device, "COPY_BYTES", 1 << 16)
    monkeypatch.setattr(device, "FIRST_SIDE", 16)
    monkeypatch.setattr(device, "LEAST_S", 1e-6)


def test_a_cpu_is_measured(quick):
    rates = measure_device(Numerics("cpu"))
    assert (rates.device, rates.threads) == ("cpu", 1)
    assert all(value > 0 for name, value in asdict(rates).items() if name != "device")


def test_units_are_bytes_read_and_written_and_two_operations_a_product(quick, monkeypatch):
    monkeypatch.setattr(device, "_least_seconds", lambda work, _: 0.5)
    assert measure_device(Numerics("cpu", threads=2)) == DeviceRates(
        device="cpu",
        threads=2,
        copy_bytes_per_s=2 * (1 << 16) / 0.5,
        fp32_flop_per_s=2 * 16**3 / 0.5,
        bf16_flop_per_s=2 * 16**3 / 0.5,
        fp32_side=16,
        bf16_side=16,
    )


def test_threads_are_those_of_the_fit_and_put_back(quick, monkeypatch):
    before, seen = torch.get_num_threads(), []

    def look(work, _):
        seen.append(torch.get_num_threads())
        return 1.0

    monkeypatch.setattr(device, "_least_seconds", look)
    measure_device(Numerics("cpu", threads=before + 1))
    assert set(seen) == {before + 1}
    assert torch.get_num_threads() == before


def test_threads_are_put_back_after_a_fault(quick, monkeypatch):
    before = torch.get_num_threads()

    def fail(work, _):
        raise RuntimeError("out of memory")

    monkeypatch.setattr(device, "_least_seconds", fail)
    with pytest.raises(RuntimeError, match="out of memory"):
        measure_device(Numerics("cpu", threads=before + 1))
    assert torch.get_num_threads() == before


@pytest.mark.parametrize(
    ("needed", "size"), [(1, 4), (4, 4), (5, 8), (30, 32), (64, 64), (1000, 64)]
)
def test_work_is_doubled_until_it_takes_long_enough_or_is_the_last(monkeypatch, needed, size):
    monkeypatch.setattr(device, "LEAST_S", needed)
    monkeypatch.setattr(device, "_least_seconds", lambda work, _: work())
    assert device._grown(lambda size: lambda: size, 4, 64, "cpu") == (size, size)


def test_the_shortest_of_several_counts_and_the_first_does_not(monkeypatch):
    lengths = iter([100, 7, 5, 9])
    clock = [0]

    def work():
        clock[0] += next(lengths)

    monkeypatch.setattr(device.time, "perf_counter", lambda: clock[0])
    assert device._least_seconds(work, "cpu") == 5
    assert next(lengths, None) is None


def test_copies_and_products_are_what_they_are_called(quick):
    device._copies("cpu", 2)()
    for dtype in (torch.float32, torch.bfloat16):
        work = device._product("cpu", dtype, 8)
        left, right = work.args
        out = work()
        assert out.dtype == dtype
        torch.testing.assert_close(out, left @ right)


@pytest.mark.gpu
def test_a_gpu_is_measured():
    if not torch.cuda.is_available():
        pytest.skip("no GPU here")
    rates = measure_device(Numerics("cuda"))
    assert rates.device == "cuda"
    assert min(rates.copy_bytes_per_s, rates.fp32_flop_per_s, rates.bf16_flop_per_s) > 0
