import pytest
from prefect.client.orchestration import get_client
from prefect.client.schemas.filters import FlowRunFilter
from prefect.states import Scheduled

from glassplate.flows.jobs.earlier_runs import drop_outdated, mark_crashed
from glassplate.flows.jobs.flow import restore_images
from glassplate.flows.jobs.schedule import Timetable, _runner

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
