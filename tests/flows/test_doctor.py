import json

import pytest

from glassplate.flows import doctor


def test_what_is_found_is_told_and_a_fault_is_the_exit_code(gp, monkeypatch):
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
    assert set(by_name) == {"versions", "cpu", "gpu", "memory", "disk", "restore"}
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
