"""Runs of a service that was killed, which Prefect would otherwise list as running for ever."""

from __future__ import annotations

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
