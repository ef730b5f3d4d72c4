"""A journal can be read after its process was killed in the middle of a line."""

import json

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.provenance.folder import provenance_path
from glassplate.pipeline.provenance.journal import Journal, read_journal, runs_in_journal


def test_records_come_back_in_order(tmp_path):
    path = tmp_path / "a.jsonl"
    with Journal(path) as journal:
        for i in range(3):
            journal.append({"tile": i})
    with Journal(path) as journal:
        journal.append({"tile": 3})
    assert [r["tile"] for r in read_journal(path)] == [0, 1, 2, 3]


def test_a_missing_journal_is_empty(tmp_path):
    assert read_journal(tmp_path / "none.jsonl") == []


@pytest.mark.slow
@given(st.integers(0, 40))
def test_an_incomplete_last_line_is_cut_off(tmp_path_factory, cut):
    path = tmp_path_factory.mktemp("torn") / "a.jsonl"
    whole = b"".join(json.dumps({"tile": i}).encode() + b"\n" for i in range(3))
    path.write_bytes(whole[: len(whole) - cut] if cut else whole)
    expected = whole[: len(whole) - cut].count(b"\n")
    assert len(read_journal(path)) == expected
    with Journal(path) as journal:
        journal.append({"tile": 99})
    assert [r["tile"] for r in read_journal(path)] == [*range(expected), 99]


def test_lines_of_another_run_do_not_count(tmp_path):
    path = tmp_path / "a.jsonl"
    path.write_text('{"tile":0}\n')  # of a version that did not name runs
    for tile, run in ((1, "x"), (2, "y")):
        with Journal(path, run) as journal:
            journal.append({"tile": tile})
    assert read_journal(path) == [{"tile": 0}, {"tile": 1}, {"tile": 2}]
    assert read_journal(path, "x") == [{"tile": 0}, {"tile": 1}]
    assert runs_in_journal(path) == {"x", "y"}


def test_a_line_that_is_no_json_is_refused(tmp_path):
    (tmp_path / "a.jsonl").write_text('{"tile":0}\n{nonsense\n')
    with pytest.raises(StoreError, match=r"a.jsonl: line 2 is damaged"):
        read_journal(tmp_path / "a.jsonl")


def test_a_value_without_a_json_form_is_refused(tmp_path):
    with Journal(tmp_path / "a.jsonl") as journal, pytest.raises(ValueError, match="JSON"):
        journal.append({"chi2": float("nan")})


def test_every_tile_has_its_record(store):
    records = read_journal(provenance_path(store, "tiles.jsonl"))
    assert [record["tile"] for record in records] == [0, 1, 2, 3]
    assert len({record["seed"] for record in records}) == 4
    for record in records:
        assert record["iterations"] == 2
        assert record["stop_reason"]
        assert record["seconds"] > 0
