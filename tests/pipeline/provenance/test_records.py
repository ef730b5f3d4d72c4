"""Records come back from the journal as they were written, also those of earlier versions."""

import json

import pytest

from glassplate.pipeline.errors import StoreError
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.provenance.journal import Journal
from glassplate.pipeline.provenance.records import (
    DonorRecord,
    FailedTile,
    ShardRecord,
    TileRecord,
    donor_journal,
    read_donor_records,
    read_shard_records,
    read_tile_records,
    shards_journal,
    tiles_journal,
)

COPY = TileRecord(3, 0, 17, 0, "identity", 0.01, host="a", pid=5, ended=1.5)
FIT = TileRecord(
    4,
    1,
    18,
    300,
    "iteration cap",
    12.5,
    filled=7,
    seed=99,
    start="donor",
    log_crc32=21,
    best_iteration=280,
    heldout_loss=0.5,
    chi2=None,
    whiteness=0.1,
    guarded=0,
    slots=2,
)


@pytest.fixture
def store(tmp_path):
    (tmp_path / "provenance").mkdir()
    return tmp_path


def written(path, *lines):
    with Journal(path, "run 1") as journal:
        journal.append(*lines)


def test_records_of_tiles_come_back(store):
    failed = FailedTile(4, 0, Failure(FailureKind.DIVERGED, "nan", "FloatingPointError"))
    written(tiles_journal(store), *(record.to_json() for record in (COPY, failed, FIT)))
    copy, again, fit = read_tile_records(store, "run 1")
    assert (copy, fit) == (COPY, FIT)
    assert not copy.fitted
    assert fit.fitted
    assert (again.tile, again.failure.kind) == (4, FailureKind.DIVERGED)
    assert again.failure.reason == failed.failure.reason


def test_what_a_fit_did_not_measure_is_null_and_a_copy_says_nothing_of_it():
    assert FIT.to_json()["chi2"] is None
    assert not {"chi2", "seed", "slots", "log_crc32"} & set(COPY.to_json())


def test_records_of_the_donor_and_of_shards_come_back(store):
    donor, shard = DonorRecord("ab", None, 400, 8, 3.5), ShardRecord(1, 2, [5], {"1/c/0/0": "cd"})
    written(donor_journal(store), donor.to_json())
    written(shards_journal(store), shard.to_json())
    assert read_donor_records(store, "run 1") == [donor]
    assert read_shard_records(store, "run 1") == [shard]
    assert read_shard_records(store, "run 2") == []


def test_lines_of_earlier_versions_are_read(store):
    lines = [
        {"tile": 0, "attempt": 0, "ok": False, "error": "FloatingPointError: data term nan"},
        {
            "tile": 0, "attempt": 1, "ok": True, "host": "a", "pid": 5, "ended": 1.5, "seed": 7,
            "crc32": 1, "log_crc32": 2, "iterations": 10, "best_iteration": 9, "first_chi2": 1.2,
            "stop_reason": "held out", "heldout_loss": 0.5, "chi2": 1.0, "whiteness": None,
            "seconds": 2.5,
        },
    ]  # fmt: skip
    tiles_journal(store).write_text("".join(json.dumps(line) + "\n" for line in lines))
    failed, record = read_tile_records(store)
    assert failed.failure == Failure(FailureKind.OTHER, "FloatingPointError: data term nan")
    assert (record.iterations, record.filled, record.guarded, record.start) == (10, 0, None, None)


def test_a_line_that_lacks_a_key_is_refused(store):
    tiles_journal(store).write_text('{"tile":0,"ok":true}\n')
    with pytest.raises(StoreError, match=r"tiles.jsonl: a line is damaged; remove the result"):
        read_tile_records(store)
