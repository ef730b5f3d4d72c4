import os
import sqlite3
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Completed, Scheduled

from glassplate.flows.jobs.flow import restore_images
from glassplate.flows.jobs.serving.earlier_runs import drop_outdated, mark_crashed, skip_overlapped
from glassplate.flows.jobs.serving.schedule import Timetable, _runner

pytestmark = [pytest.mark.prefect, pytest.mark.slow, pytest.mark.usefixtures("shared_prefect")]


def test_scheduled_runs_of_an_earlier_job_are_dropped_and_no_others():
    """A service that was killed left them, and the next one restored with the recipe of before."""
    old, new = (
        {"job": {"inputs": "*.fits", "output": "out", "recipe": name}, "progress": "plain"}
        for name in ("draft", "identity")
    )
    _runner(new, Timetable("0 2 1 1 *", None), "outdated", ())
    deployment = f"{restore_images.name}/outdated"
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name(deployment)
        for parameters in (old, new, old):
            client.create_flow_run_from_deployment(
                known.id, parameters=parameters, state=Scheduled()
            )
        assert drop_outdated(deployment, new) == 2
        left = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id={"any_": [known.id]})
        )
    assert left
    assert {run.parameters["job"]["recipe"] for run in left} == {"identity"}
    assert drop_outdated(deployment, new) == 0


def test_no_run_of_an_unknown_deployment_is_marked():
    assert mark_crashed(f"{restore_images.name}/never-served") == 0


def test_a_run_that_was_due_during_another_one_is_skipped_with_all_that_are_late():
    parameters = {"job": {"inputs": "*.fits", "output": "out"}, "progress": "plain"}
    _runner(parameters, Timetable("0 2 1 1 *", None), "overlapping", ())
    now = datetime.now(UTC)
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name(f"{restore_images.name}/overlapping")
        assert skip_overlapped(known.id, now) is None
        first = client.create_flow_run_from_deployment(known.id, name="night 1")
        client.set_flow_run_state(first.id, Completed(), force=True)
        late = client.create_flow_run_from_deployment(
            known.id, state=Scheduled(scheduled_time=now - timedelta(minutes=5))
        )
        coming = client.create_flow_run_from_deployment(
            known.id, state=Scheduled(scheduled_time=now + timedelta(days=1))
        )
        assert skip_overlapped(known.id, now + timedelta(days=1)) is None
        why = skip_overlapped(known.id, now - timedelta(hours=1))
        assert why.startswith("night 1 was under way until 20")
        states = [client.read_flow_run(run.id).state.name for run in (late, coming)]
    assert states == ["Skipped", "Scheduled"]


PRUNE = """
import asyncio
from glassplate.flows.server.settings import apply_settings
apply_settings()
from glassplate.flows.server.server import prune
asyncio.run(prune())
"""


def test_old_runs_are_deleted_from_the_database():
    # a job of 1000 images every ten minutes let it grow by 3 GB a day, and nothing was ever deleted
    database = Path(os.environ["PREFECT_HOME"]) / "prefect.db"
    with get_client(sync_client=True) as client:
        runs = [client.create_flow_run(restore_images, state=Completed()) for _ in range(2)]
        with sqlite3.connect(database, timeout=60) as there:
            old = "update flow_run set end_time = '2020-01-01 00:00:00.000000' where id = ?"
            there.execute(old, (str(runs[0].id),))
        pruned = subprocess.run([sys.executable, "-c", PRUNE], capture_output=True, text=True)
        assert pruned.returncode == 0, pruned.stderr
        left = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(id={"any_": [run.id for run in runs]})
        )
    assert [run.id for run in left] == [runs[1].id]
