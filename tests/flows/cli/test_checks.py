import json
import re

import pytest

from glassplate.flows.cli import checks
from glassplate.models.device.speed import DeviceRates
from glassplate.pipeline.planning.timing.recipe_rates import RecipeRate
from glassplate.pipeline.recipes.recipe import recipe_names

DEVICE = DeviceRates("cpu", 1, 14.2e9, 71e9, 2.5e9, 1024, 256)
RATES = [
    RecipeRate(
        "draft", 52.3, 30, 1, 80, (288, 288), (256, 256), 0.06, (128, 128), 0.0118, 1, "separate"
    ),
    RecipeRate(
        "reference", 0.00123, 3000, 1, 0, (576, 576), (512, 512), 12, (64, 64), 0.148, 1, "separate"
    ),
    RecipeRate(
        "swift", 123456, 100, 4, 0, (320, 288), (256, 256), 0.4, (64, 64), 0.1, 32, "grouped"
    ),
]


@pytest.fixture(autouse=True)
def home(tmp_path, monkeypatch):
    """A home of their own, where doctor keeps what it measures on a GPU."""
    monkeypatch.setenv("HOME", str(tmp_path))


@pytest.fixture
def measured(monkeypatch):
    """Rates that are given and not measured."""
    monkeypatch.setattr("glassplate.models.device.speed.measure_device", lambda numerics: DEVICE)
    monkeypatch.setattr(
        "glassplate.pipeline.planning.timing.recipe_rates.recipe_rates", lambda: RATES
    )


def test_findings_are_printed_and_a_failed_check_is_the_exit_code(gp, monkeypatch, measured):
    def broken():
        raise OSError("the disk makes noises")

    monkeypatch.setattr(checks, "_restore", broken)
    run = gp("doctor", "--no-flow")
    assert run.code == 1
    assert "BAD  restore      OSError: the disk makes noises" in run.out
    assert "ok   versions" in run.out
    assert not re.search("^(ok  |BAD ) flow", run.out, re.MULTILINE)
    facts = json.loads(gp("doctor", "--no-flow", "--json").out)
    assert facts["ok"] is False
    by_name = {finding["name"]: finding for finding in facts["findings"]}
    expected = ["versions", "cpu", "gpu", "memory", "disk", "device", "restore", "recipes"]
    assert list(by_name) == expected
    assert by_name["versions"]["packages"]["torch"]
    assert by_name["memory"]["total_bytes"] > 0
    assert by_name["cpu"]["precision"] in {"fp32", "bf16"}


def test_a_missing_package_fails_the_check(monkeypatch):
    monkeypatch.setattr(checks, "PACKAGES", ("numpy", "no-such-package"))
    finding = checks._versions()
    assert not finding.ok
    assert finding.detail.endswith("missing: no-such-package")


def test_too_little_memory_or_disk_fails_the_check(monkeypatch):
    monkeypatch.setattr(checks, "LEAST_MEMORY_BYTES", 2**60)
    monkeypatch.setattr(checks, "LEAST_DISK_BYTES", 2**60)
    assert not checks._memory().ok
    assert "should be free" in checks._memory().detail
    assert not checks._disk().ok


class TestRates:
    def test_of_the_device_have_their_units(self, measured):
        finding = checks._device()
        assert finding.ok
        assert finding.detail == (
            "cpu, with the 1 CPU thread of a fit: copies 14.2 GB/s (read and written), multiplies "
            "71 GFLOP/s in fp32, 2.5 GFLOP/s in bf16; best of 3"
        )
        facts = finding.to_json()
        assert facts["copy_bytes_per_s"] == 14.2e9
        assert facts["fp32_flop_per_s"] == 71e9
        assert facts["bf16_flop_per_s"] == 2.5e9
        assert facts["precision"] in {"fp32", "bf16"}

    def test_of_recipes_are_an_aligned_table(self, measured):
        finding = checks._recipes()
        assert "up to the cap on iterations: stopping may end sooner" in finding.detail
        _, *rows = finding.table
        assert [re.split(" +", row) for row in rows] == [
            ["draft", "52.3", "30", "80", "256", "288", "1", "0.06"],
            ["reference", "0.00123", "3000", "-", "512", "576", "1", "12"],
            ["swift", "123456", "4", "x", "100", "-", "256", "320", "32", "grouped", "0.4"],
        ]
        assert len({len(line) for line in finding.table}) == 1

    @pytest.mark.parametrize(
        ("load", "reported"),
        [(1.2, None), (1.8, "(load 1.8 on 2 cores), alone faster"), (9.0, "(load 9.0 on 2 cores)")],
    )
    def test_a_busy_machine_is_reported(self, measured, monkeypatch, load, reported):
        monkeypatch.setattr("os.getloadavg", lambda: (load, 0.0, 0.0))
        monkeypatch.setattr("glassplate.models.device.cores.cpu_count", lambda: 2)
        finding = checks._recipes()
        assert ("other programs" in finding.detail) == (reported is not None)
        assert (reported or "") in finding.detail
        assert finding.to_json()["load_average"] == load

    def test_are_json_without_the_table(self, measured):
        facts = checks._recipes().to_json()
        assert "table" not in facts
        assert json.loads(json.dumps(facts))["recipes"][0]["megapixels_per_hour"] == 52.3
        assert facts["image_side"] == 4096

    def test_a_terminal_shows_the_table_below_its_finding(self, measured):
        first, *table = checks._recipes().lines()
        assert first.startswith("ok   recipes      megapixels an hour of one worker")
        assert len(table) == 1 + len(RATES)
        assert all(line.startswith(" " * 18) for line in table)


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_every_check_really_runs(gp, monkeypatch):
    # the first trial of each recipe is the last one
    monkeypatch.setattr("glassplate.pipeline.planning.timing.iteration.LEAST_TRIAL_S", 0.0)
    monkeypatch.setattr("glassplate.pipeline.planning.timing.iteration.TRIALS", 1)
    run = gp("doctor", "--json")
    facts = json.loads(run.out)
    assert run.code == (0 if facts["ok"] else 1)
    by_name = {finding["name"]: finding for finding in facts["findings"]}
    for name in ("device", "restore", "recipes", "flow"):
        assert by_name[name]["ok"], by_name[name]
    assert by_name["restore"]["noise_after"] < by_name["restore"]["noise_before"]
    rates = {rate["recipe"]: rate["megapixels_per_hour"] for rate in by_name["recipes"]["recipes"]}
    assert set(rates) == set(recipe_names()) - {"identity"}
    assert all(rate > 0 for rate in rates.values())
