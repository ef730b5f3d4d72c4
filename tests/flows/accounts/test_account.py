import json
import threading

import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.accounts.account import Account
from glassplate.flows.accounts.entry import Entry, InputFile
from glassplate.flows.accounts.stamps import FileStamp, own_stamp, stamp_of, tree_stamp
from glassplate.pipeline.errors import UsageError
from glassplate.pipeline.pages.job_account import STATES

numbers = st.integers(0, 2**63)
file_stamps = st.builds(FileStamp, numbers, numbers, numbers)
entries = st.builds(
    Entry,
    image=st.text(),
    part=st.text(),
    name=st.text(),
    result=st.text(),
    state=st.sampled_from(STATES),
    status=st.just("pending"),
    reason=st.text(),
    lasting=st.booleans(),
    attempts=st.integers(0, 9),
    inputs=st.dictionaries(
        st.text(), st.builds(InputFile, st.text(), st.none() | file_stamps), max_size=2
    ),
    companions_beside=st.lists(st.text(), max_size=2).map(tuple),
    manifest=st.none() | file_stamps,
    complete=st.booleans(),
    exports=st.dictionaries(st.text(), st.none() | file_stamps, max_size=2),
)


def entry(name, state="done", job="night", **more):
    return Entry(
        image=f"/in/{name}", name=name, result=name, state=state, status="pending", job=job, **more
    )


def names(account):
    return {one.name: one.state for one in account.entries()}


@given(entries)
def test_an_entry_is_the_same_after_json(one):
    assert Entry.from_json(json.loads(json.dumps(one.to_json()))) == one


def test_the_last_line_of_a_result_counts_and_a_damaged_one_says_nothing(tmp_path):
    account = Account(tmp_path)
    account.append(entry("a"), entry("b", "pending"))
    account.append(entry("b"))
    with account.path.open("a") as file:
        file.write('{"state": "done"}\n[]\n{"name": "c", "sta')
    assert names(Account(tmp_path)) == {"a": "done", "b": "done"}


def test_the_end_of_a_run_leaves_one_line_for_each_image_it_found(tmp_path):
    account = Account(tmp_path)
    account.append(entry("a"), entry("b", "pending"), entry("gone"), entry("x", job="other"))
    meanwhile = Account(tmp_path)
    account.append(entry("b"))
    account.note(entry("a", "skipped"))
    assert names(Account(tmp_path))["a"] == "done", "noted entries are written at the end"
    meanwhile.append(entry("y", job="other"))
    account.close("night", {"a", "b"})
    lines = [json.loads(line)["name"] for line in account.path.read_text().splitlines()]
    assert sorted(lines) == ["a", "b", "x", "y"]
    assert names(Account(tmp_path))["a"] == "skipped"


def test_many_threads_lose_no_line(tmp_path):
    accounts = [Account(tmp_path) for _ in range(4)]

    def write(number):
        for n in range(20):
            accounts[number].append(entry(f"{number}-{n}"))

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(names(Account(tmp_path))) == 80


def test_an_account_that_cannot_be_written_is_named(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(UsageError, match=r"job\.jsonl: (the account of|cannot be read)"):
        Account(tmp_path / "file").append(entry("a"))


class TestStamps:
    def test_a_file_that_was_just_written_or_is_missing_has_none(self, tmp_path):
        path = tmp_path / "a"
        assert stamp_of(path) is own_stamp(path) is None
        path.write_text("x")
        assert stamp_of(path) is None
        assert own_stamp(path).size == 1

    def test_every_change_below_a_folder_shows(self, tmp_path):
        for name in ("a", "b/c", "b/d/e"):
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(name)
        seen = [tree_stamp(tmp_path)]
        assert tree_stamp(tmp_path) == seen[0]
        (tmp_path / "b" / "d" / "e").write_text("other")
        seen.append(tree_stamp(tmp_path))
        (tmp_path / "b" / "f").write_text("new")
        seen.append(tree_stamp(tmp_path))
        (tmp_path / "a").unlink()
        seen.append(tree_stamp(tmp_path))
        assert len(set(seen)) == len(seen)
        assert tree_stamp(tmp_path / "none") == ""
