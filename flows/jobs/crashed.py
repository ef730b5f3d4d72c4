"""Runs of a service that was killed: Prefect would call them running for ever."""

from __future__ import annotations

from glassplate.flows.server import settings as embedded

embedded.prepare()  # Prefect reads its settings when it is imported

from prefect.client.orchestration import get_client  # noqa: E402
from prefect.client.schemas.filters import FlowRunFilter  # noqa: E402
from prefect.client.schemas.objects import StateType  # noqa: E402
from prefect.exceptions import ObjectNotFound  # noqa: E402
from prefect.states import Crashed  # noqa: E402

UNDER_WAY = (StateType.RUNNING, StateType.PENDING, StateType.CANCELLING)


def mark_crashed(deployment: str) -> int:
    """Mark the runs of a deployment that are said to be under way as crashed.

    Call it before the deployment is served again, by the one that serves it: nothing is under way then.

    Parameters
    ----------
    deployment
        Its name in Prefect: ``FLOW/NAME``. Runs of others are left alone.

    Returns
    -------
    count
        How many there were.
    """
    with get_client(sync_client=True) as client:
        try:
            known = client.read_deployment_by_name(deployment)
        except ObjectNotFound:
            return 0
        chosen = FlowRunFilter(
            deployment_id={"any_": [known.id]}, state={"type": {"any_": list(UNDER_WAY)}}
        )
        runs = client.read_flow_runs(flow_run_filter=chosen)
        for run in runs:
            state = Crashed(message="The service that had started this run was killed.")
            client.set_flow_run_state(run.id, state, force=True)
        return len(runs)
