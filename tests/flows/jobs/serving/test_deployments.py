"""The deployments of examples/prefect.yaml, as far as they can be tried without Docker."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml

FILE = Path(__file__).parents[4] / "examples" / "prefect.yaml"

pytestmark = [pytest.mark.prefect, pytest.mark.slow]


def test_parameters_are_those_of_the_flow():
    from prefect.flows import load_flow_from_entrypoint

    for deployment in yaml.safe_load(FILE.read_text())["deployments"]:
        flow = load_flow_from_entrypoint(deployment["entrypoint"])
        checked = flow.validate_parameters(deployment["parameters"])
        assert checked["job"].export == "auto"
        assert checked["overlap"] == "skip"


def prefect(*words):
    command = [sys.executable, "-m", "prefect", "--no-prompt", *words]
    return subprocess.run(command, capture_output=True, text=True, env=os.environ.copy())


@pytest.mark.usefixtures("shared_prefect")
def test_prefect_deploys_them_and_a_run_can_be_given_another_job(tmp_path, make_sky):
    from prefect.client.orchestration import get_client
    from prefect.client.schemas.actions import WorkPoolCreate

    with get_client(sync_client=True) as client:
        for kind in ("process", "docker"):
            client.create_work_pool(WorkPoolCreate(name=f"glassplate-{kind}", type=kind))
        done = prefect("deploy", "--all", "--prefect-file", str(FILE))
        assert done.returncode == 0, done.stdout + done.stderr
        process, docker = (
            client.read_deployment_by_name(f"glassplate-bulk/{name}")
            for name in ("night", "night-in-docker")
        )
        assert docker.job_variables["container_create_kwargs"]["entrypoint"] == "env"
        assert (process.schedules[0].active, docker.schedules[0].active) == (True, False)
        assert process.concurrency_options.collision_strategy == "ENQUEUE"
