import json
import re

import pytest

from glassplate.flows.cli import doctor
from glassplate.models.device.speed import DeviceRates
from glassplate.pipeline.planning.timing.recipe_rates import RecipeRate
from glassplate.pipeline.recipe import recipe_names

DEVICE = DeviceRates("cpu", 1, 14.2e9, 71e9, 2.5e9, 1024, 256)
RATES = [
    RecipeRate(
        "draft", 52.3, 30, 1, 80, (288, 288), (256, 256), 0.06, (128, 128), 0.0118, 1, "separate"
    ),
    RecipeRate(
        "reference", 0.00123, 3000, 1, 0, (576, 576), (512, 512), 12, (64, 64), 0.148, 1, "separate"
    ),
    RecipeRate("swift", 123456, 100, 4, 0, (320, 288), (256, 256), 0.4, (64, 64), 0.1, 32, "gemm"),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """What doctor finds out on a GPU is kept for a user of their own."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def measured(monkeypatch):
    """Rates as if they had been measured."""
    monkeypatch.setattr("glassplate.models.device.speed.measure_device", lambda numerics: DEVICE)
    monkeypatch.setattr(
        "glassplate.pipeline.planning.timing.recipe_rates.recipe_rates", lambda: RATES
    )


def test_what_is_found_is_told_and_a_fault_is_the_exit_code(gp, monkeypatch, measured):
    def broken():
        raise OSError("the disk makes noises")

    monkeypatch.setattr(doctor, "_restore", broken)
    run = gp("doctor", "--no-flow")
    assert run.code == 1
    assert "BAD  restore      OSError: the disk makes noises" in run.out
    assert "ok   versions" in run.out
    assert "flow" not in run.out
    facts = json.loads(gp("doctor", "--no-flow", "--json").out)
    assert facts["ok"] is False
    by_name = {finding["name"]: finding for finding in facts["findings"]}
    looked_at = ["versions", "cpu", "gpu", "memory", "disk", "device", "restore", "recipes"]
    assert list(by_name) == looked_at
    assert by_name["versions"]["packages"]["torch"]
    assert by_name["memory"]["total_bytes"] > 0
    assert by_name["cpu"]["precision"] in {"fp32", "bf16"}


def test_a_missing_package_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "PACKAGES", ("numpy", "no-such-package"))
    finding = doctor._versions()
    assert not finding.ok
    assert finding.detail.endswith("missing: no-such-package")


def test_too_little_memory_or_disk_is_a_fault(monkeypatch):
    monkeypatch.setattr(doctor, "LEAST_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(doctor, "LEAST_DISK_BYTES", 2**60)
    assert not doctor._memory().ok
    assert "should be free" in doctor._memory().detail
    assert not doctor._disk().ok


class TestRates:
    def test_of_the_device_are_told_with_their_units(self, measured):
        finding = doctor._device()
        assert finding.ok
        assert finding.detail == (
            "cpu, with the 1 CPU thread of a fit: copies 14.2 GB/s (read and written), multiplies "
            "71 GFLOP/s in fp32, 2.5 GFLOP/s in bf16; best of 3"
        )
        facts = finding.facts()
        assert facts["copy_bytes_per_s"] == 14.2e9
        assert facts["fp32_flop_per_s"] == 71e9
        assert facts["bf16_flop_per_s"] == 2.5e9
        assert facts["precision"] in {"fp32", "bf16"}

    def test_of_recipes_are_an_aligned_table(self, measured):
        finding = doctor._recipes()
        assert "up to the cap on iterations: stopping may end sooner" in finding.detail
        _, *rows = finding.table
        assert [re.split(" +", row) for row in rows] == [
            ["draft", "52.3", "30", "80", "256", "288", "1", "0.06"],
            ["reference", "0.00123", "3000", "-", "512", "576", "1", "12"],
            ["swift", "123456", "4", "x", "100", "-", "256", "320", "32", "gemm", "0.4"],
        ]
        assert len({len(line) for line in finding.table}) == 1

    @pytest.mark.parametrize(
        ("load", "said"),
        [(1.2, None), (1.8, "(load 1.8 on 2 cores), alone faster"), (9.0, "(load 9.0 on 2 cores)")],
    )
    def test_a_busy_machine_is_said(self, measured, monkeypatch, load, said):
        monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
        monkeypatch.setattr("glassplate.pipeline.open_pool.cpu_count", lambda: 2)
        finding = doctor._recipes()
        assert ("other programs" in finding.detail) == (said is not None)
        assert (said or "") in finding.detail
        assert finding.facts()["load_average"] == load

    def test_are_facts_and_the_table_is_none(self, measured):
        facts = doctor._recipes().facts()
        assert "table" not in facts
        assert json.loads(json.dumps(facts))["recipes"][0]["megapixels_per_hour"] == 52.3
        assert facts["image_side"] == 4096

    def test_a_terminal_shows_the_table_below_its_finding(self, measured):
        first, *table = doctor._recipes().lines()
        assert first.startswith("ok   recipes      megapixels an hour of one worker")
        assert len(table) == 1 + len(RATES)
        assert all(line.startswith(" " * 18) for line in table)


@pytest.mark.slow
def test_the_device_and_every_recipe_are_really_measured():
    device, recipes = doctor._device(), doctor._recipes()
    assert device.ok
    assert recipes.ok
    told = {line.split()[0] for line in recipes.table[1:]}
    assert told == set(recipe_names()) - {"identity"}
    assert all(rate["megapixels_per_hour"] > 0 for rate in recipes.facts()["recipes"])


@pytest.mark.slow
def test_a_small_image_is_really_restored():
    finding = doctor._restore()
    assert finding.ok, finding
    assert finding.facts()["noise_after"] < finding.facts()["noise_before"]


@pytest.mark.prefect
@pytest.mark.slow
def test_this_machine_is_well(gp_process):
    run = gp_process("doctor", "--json")
    facts = json.loads(run.out)
    by_name = {finding["name"]: finding for finding in facts["findings"]}
    assert by_name["flow"]["ok"], by_name["flow"]
    assert run.code == (0 if facts["ok"] else 1)
