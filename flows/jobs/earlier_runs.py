"""Runs of a service that was killed: those that it had started, and those that were to come.

Prefect would otherwise list the former as running for ever, and start the latter with the job as it was then.
"""

from __future__ import annotations

from typing import Any

from glassplate.flows.server.settings import apply_settings

apply_settings()  # Prefect reads its settings when it is imported

from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter  # noqa: E402
from prefect.client.schemas.objects import StateType  # noqa: E402
from prefect.exceptions import ObjectNotFound  # noqa: E402
from prefect.states import Crashed  # noqa: E402

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
