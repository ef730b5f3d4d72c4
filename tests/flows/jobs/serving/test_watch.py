"""A watched job runs when images have arrived and are whole, and not otherwise."""

import threading

import httpx
import pytest
from hypothesis import given
from hypothesis import strategies as st

from glassplate.flows.jobs.job import read_job
from glassplate.flows.jobs.serving import watch
from glassplate.flows.jobs.serving.watch import Arrivals, begin_run, input_states
from glassplate.pipeline.errors import UsageError

states = st.lists(st.dictionaries(st.sampled_from("abc"), st.integers(0, 2)), max_size=12)


@given(states)
def test_a_run_begins_exactly_for_whole_files_that_are_new(looks):
    arrivals, before, worked_on = Arrivals(), {}, set()
    for now in looks:
        whole = {item for item in now.items() if before.get(item[0]) == item[1]}
        due = arrivals.look(now)
        assert due == bool(whole - worked_on)
        if due:
            arrivals.run_begins()
            worked_on = whole
        before = now


def test_a_growing_file_waits_and_a_run_that_could_not_begin_is_due_again():
    arrivals = Arrivals()
    assert not arrivals.look({"a": 1})
    assert not arrivals.look({"a": 2})
    assert arrivals.look({"a": 2})
    assert arrivals.look({"a": 2})
    arrivals.run_begins()
    assert not arrivals.look({"a": 2, "b": 1})
    assert arrivals.look({"a": 2, "b": 1})
    arrivals.run_begins()
    assert not arrivals.look({"b": 1})


def test_masks_are_watched_and_results_are_not(tmp_path, make_sky, monkeypatch):
    monkeypatch.chdir(tmp_path)
    make_sky(tmp_path / "a.fits")
    make_sky(tmp_path / "a-mask.fits")
    (tmp_path / "job.yaml").write_text(
        "inputs: '*.fits'\nexclude: '*-mask.fits'\noutput: out\nmask: '{stem}-mask.fits'\n"
    )
    job = read_job(tmp_path / "job.yaml")
    files = {path.rpartition("/")[2] for path in input_states(job)}
    assert files == {"a.fits", "a-mask.fits"}


def test_the_watch_survives_inputs_and_servers_that_fail(tmp_path, monkeypatch):
    stop, said, begun = threading.Event(), [], []
    looks = iter(
        [{"a": 1}, UsageError("no list"), UsageError("no list"), {"a": 1}, {"a": 1}, {"a": 1}]
    )

    def look(job):
        found = next(looks, None)
        if found is None:
            stop.set()
            return {}
        if isinstance(found, Exception):
            raise found
        return found

    def begin(deployment):
        begun.append(deployment)
        if len(begun) == 1:
            raise httpx.ConnectError("gone")
        return True

    monkeypatch.setattr(watch, "input_states", look)
    monkeypatch.setattr(watch, "begin_run", begin)
    monkeypatch.setattr(watch, "POLL_S", 0.0)
    watch.watch(None, "flow/name", said.append, stop)
    assert said == ["no list"]
    assert begun == ["flow/name"] * 2


@pytest.mark.prefect
@pytest.mark.slow
@pytest.mark.usefixtures("shared_prefect")
def test_a_run_begins_unless_one_is_due_or_the_deployment_is_paused():
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.filters import FlowRunFilter
    from prefect.states import Completed, Running

    from glassplate.flows.jobs.flow import restore_images
    from glassplate.flows.jobs.serving.schedule import Timetable, _runner

    parameters = {"job": {"inputs": "*.fits", "output": "out"}, "progress": "plain"}
    _runner(parameters, Timetable("0 2 1 1 *", None, True), "watched", ())
    name = f"{restore_images.name}/watched"
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name(name)
        assert begin_run(name)
        assert not begin_run(name), "one is due"
        of_it = FlowRunFilter(deployment_id={"any_": [known.id]})
        (run,) = (
            one for one in client.read_flow_runs(flow_run_filter=of_it) if not one.auto_scheduled
        )
        client.set_flow_run_state(run.id, Running(), force=True)
        assert not begin_run(name), "one is under way"
        client.set_flow_run_state(run.id, Completed(), force=True)
        client.pause_deployment(known.id)
        assert not begin_run(name)
        client.resume_deployment(known.id)
        assert begin_run(name)
