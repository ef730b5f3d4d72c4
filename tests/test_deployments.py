"""compose.yaml and the Kubernetes example agree with the Dockerfile, the guide and the job files."""

import os
import re
import subprocess
import sys

import pytest
import yaml

DIGEST = re.compile(r"[\w./:-]+@sha256:[0-9a-f]{64}")


@pytest.fixture(scope="module")
def services(repository):
    return yaml.safe_load((repository / "compose.yaml").read_text())["services"]


@pytest.fixture(scope="module")
def objects(repository):
    text = (repository / "examples" / "kubernetes.yaml").read_text()
    return {one["kind"]: one for one in yaml.safe_load_all(text)}


@pytest.fixture(scope="module")
def pod(objects):
    return objects["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]


class TestCompose:
    def test_has_a_server_its_database_and_a_worker(self, services):
        assert set(services) == {"database", "server", "worker"}
        known = {
            "image",
            "build",
            "entrypoint",
            "command",
            "environment",
            "volumes",
            "ports",
            "user",
        }
        known |= {"depends_on", "healthcheck", "restart", "stop_signal", "stop_grace_period"}
        assert all(set(service) <= known for service in services.values())

    def test_foreign_images_are_named_by_digest(self, services, repository):
        assert DIGEST.fullmatch(services["database"]["image"])
        base = re.search(r"^ARG BASE_IMAGE=(.*)$", (repository / "Dockerfile").read_text(), re.M)
        assert DIGEST.fullmatch(base[1])

    def test_no_port_is_open_to_other_machines(self, services):
        ports = [port for service in services.values() for port in service.get("ports", [])]
        assert ports == ["127.0.0.1:4200:4200"]

    def test_no_password_is_in_the_file(self, services):
        assert services["database"]["environment"]["POSTGRES_PASSWORD"].startswith("${")
        url = services["server"]["environment"]["PREFECT_SERVER_DATABASE_CONNECTION_URL"]
        assert ":${POSTGRES_PASSWORD}@database" in url

    def test_the_worker_has_time_to_end(self, services, repository):
        worker = services["worker"]
        assert worker["stop_signal"] == "SIGTERM"
        promised = re.search(
            r"ends within (\d+) seconds", (repository / "docs/bulk.md").read_text()
        )
        assert int(worker["stop_grace_period"].removesuffix("s")) > int(promised[1])

    def test_what_prefect_keeps_outlives_the_container(self, services, repository):
        home = re.search(r"PREFECT_HOME=(\S+)", (repository / "Dockerfile").read_text())[1]
        targets = [volume.split(":")[1] for volume in services["worker"]["volumes"]]
        assert any(home.startswith(target) for target in targets)

    @pytest.mark.slow
    def test_prefect_knows_the_settings(self, services):
        from prefect.settings import Settings

        known = set(Settings().to_environment_variables(include_aliases=True))
        # the first is read by Prefect before it has settings, the second has no value here
        known |= {"PREFECT_SERVER_DATABASE_CONNECTION_URL", "PREFECT_API_URL"}
        names = {name for one in ("server", "worker") for name in services[one]["environment"]}
        assert names <= known


class TestKubernetes:
    def test_is_a_job_of_every_night(self, objects):
        assert [one["apiVersion"] for one in objects.values()] == ["v1", "batch/v1"]
        spec = objects["CronJob"]["spec"]
        assert spec["concurrencyPolicy"] == "Forbid"
        assert len(spec["schedule"].split()) == 5

    def test_the_job_can_be_read(self, objects, tmp_path):
        from glassplate.flows.jobs.job import read_job

        (tmp_path / "job.yaml").write_text(objects["ConfigMap"]["data"]["job.yaml"])
        assert read_job(tmp_path / "job.yaml").recipe == "astro-denoise"

    def test_every_volume_is_there(self, pod):
        (container,) = pod["containers"]
        volumes = {volume["name"] for volume in pod["volumes"]}
        assert {mount["name"] for mount in container["volumeMounts"]} == volumes

    def test_the_pod_ends_in_order_and_has_no_rights(self, pod):
        assert pod["terminationGracePeriodSeconds"] > 15
        assert pod["securityContext"]["runAsNonRoot"]
        assert pod["containers"][0]["securityContext"]["allowPrivilegeEscalation"] is False

    def test_a_job_that_would_end_in_the_same_way_is_not_repeated(self, objects, pod):
        policy = objects["CronJob"]["spec"]["jobTemplate"]["spec"]["podFailurePolicy"]
        codes = policy["rules"][0]["onExitCodes"]
        assert codes["containerName"] == pod["containers"][0]["name"]
        assert codes["values"] == [2, 3]
        assert pod["restartPolicy"] == "Never"


# In a process of its own: dask-jobqueue writes a file of settings into the home folder when it is imported.
JOB_SCRIPT = """
import slurm
settings = {**slurm.SETTINGS, "scheduler_options": {"host": "127.0.0.1", "port": 0, "dashboard": False}}
with slurm.SLURMCluster(**settings) as cluster:
    print(cluster.job_script())
"""


@pytest.mark.slow
def test_the_jobs_of_slurm_start_workers_that_end_in_time(repository, tmp_path):
    """What would be submitted; there is no Slurm here."""
    environment = {**os.environ, "HOME": str(tmp_path), "PYTHONPATH": str(repository / "examples")}
    made = subprocess.run(
        [sys.executable, "-c", JOB_SCRIPT], capture_output=True, text=True, env=environment
    )
    assert made.returncode == 0, made.stderr
    lines = made.stdout.splitlines()
    assert {"#SBATCH -J glassplate", "#SBATCH -p gpu", "#SBATCH --gres=gpu:1"} <= set(lines)
    (limit,) = (line.split()[-1] for line in lines if line.startswith("#SBATCH -t "))
    hours, minutes, _ = map(int, limit.split(":"))
    (worker,) = (line for line in lines if "dask_worker tcp://127.0.0.1:" in line)
    options = worker.split()
    asked = {word: options[options.index(word) + 1] for word in ("--lifetime", "--resources")}
    assert asked["--resources"] == "GPU=1"
    assert "--nthreads 1 " in worker
    assert int(asked["--lifetime"].removesuffix("m")) < 60 * hours + minutes
