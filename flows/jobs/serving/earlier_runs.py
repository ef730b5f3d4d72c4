"""Runs of a service that was killed: those that it had started, and those that were to come.

Prefect would otherwise list the former as running for ever, and start the latter with the job as it was then.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any
from uuid import UUID

from glassplate.flows.server.settings import apply_settings

apply_settings()  # Prefect reads its settings when it is imported

from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter  # noqa: E402
from prefect.client.schemas.objects import StateType  # noqa: E402
from prefect.client.schemas.sorting import FlowRunSort  # noqa: E402
from prefect.exceptions import ObjectNotFound  # noqa: E402
from prefect.runtime import flow_run  # noqa: E402
from prefect.states import Cancelled, Crashed  # noqa: E402

SKIPPED = "Skipped"
"""Name of the state of a run that was due while another one was under way."""

UNFINISHED = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


def mark_crashed(deployment: str) -> int:
    """Mark every unfinished run of a deployment as crashed.

    A service calls this before it serves the deployment again; no run of the deployment exists then.

    Parameters
    ----------
    deployment
        Its name in Prefect, ``FLOW/NAME``. Runs of other deployments are left alone.

    Returns
    -------
    count
        Number of runs that were marked.
    """
    with get_client(sync_client=True) as client:
        try:
            known = client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            return 0
        unfinished = FlowRunFilter(
            deployment_id={"any_": [known.id]}, state={"type": {"any_": list(UNFINISHED)}}
        )
        runs = client.read_flow_runs(flow_run_filter=unfinished)
        for run in runs:
            state = Crashed(message="The service that had started this run was killed.")
            client.set_flow_run_state(run.id, state, force=True)
        return len(runs)


def drop_outdated(deployment: str, parameters: dict[str, Any]) -> int:
    """Delete the scheduled runs of a deployment that would not have its parameters.

    Parameters
    ----------
    deployment
        Its name in Prefect, ``FLOW/NAME``; it exists and has its present parameters.
    parameters
        These, as JSON.

    Returns
    -------
    count
        Number of runs that were deleted.
    """
    with get_client(sync_client=True) as client:
        known = client.read_deployment_by_name(deployment)
        scheduled = FlowRunFilter(
            deployment_id={"any_": [known.id]}, state={"type": {"any_": [StateType.SCHEDULED]}}
        )
        runs = client.read_flow_runs(flow_run_filter=scheduled)
        outdated = [run for run in runs if run.parameters != parameters]
        for run in outdated:
            client.delete_flow_run(run.id)
        return len(outdated)


def was_under_way() -> str | None:
    """Why the flow run of this process is not needed; None if it is, or if it has no deployment.

    See `skip_overlapped`.
    """
    if flow_run.deployment_id is None or flow_run.scheduled_start_time is None:
        return None
    return skip_overlapped(UUID(str(flow_run.deployment_id)), flow_run.scheduled_start_time)


def skip_overlapped(deployment_id: UUID, due: datetime) -> str | None:
    """Find out whether a run was due while another run of its deployment was under way.

    If so, all other runs of the deployment that should have begun by now are skipped too.

    Parameters
    ----------
    deployment_id
        Of the deployment, of which no other run is under way now.
    due
        When the run should have begun.

    Returns
    -------
    why
        One line; None if the run was not due during another one.
    """
    of_deployment = {"any_": [str(deployment_id)]}
    ended = {"any_": [StateType.COMPLETED, StateType.FAILED, StateType.CRASHED]}
    with get_client(sync_client=True) as client:
        others = client.read_flow_runs(
            flow_run_filter=FlowRunFilter(deployment_id=of_deployment, state={"type": ended}),
            sort=FlowRunSort.END_TIME_DESC,
            limit=1,
        )
        if not others or others[0].end_time is None or others[0].end_time <= due:
            return None
        why = f"{others[0].name} was under way until {others[0].end_time:%Y-%m-%d %H:%M:%S} UTC"
        late = FlowRunFilter(
            deployment_id=of_deployment,
            state={"type": {"any_": [StateType.SCHEDULED]}},
            next_scheduled_start_time={"before_": datetime.now(UTC)},
        )
        for run in client.read_flow_runs(flow_run_filter=late):
            state = Cancelled(name=SKIPPED, message=f"skipped: {why}")
            client.set_flow_run_state(run.id, state, force=True)
    return why
