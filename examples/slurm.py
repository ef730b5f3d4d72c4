"""Workers for a job as jobs of Slurm, by dask-jobqueue, on nodes that share the disk of inputs and results.

    pip install glassplate dask-jobqueue
    python slurm.py job.yaml

Run it where it may stay until the job is done: on a login node within tmux, or as a small job of its own. The
file of the job has ``pool: tcp://NODE:8786``, where NODE is the node that runs this program.

Whoever reaches that port can run programs on the workers. On a network that is not your own, give
SLURMCluster ``security`` with certificates.
"""

import subprocess
import sys

from dask_jobqueue import SLURMCluster

# Jobs of Slurm, each with one worker and one GPU.
WORKERS = 8

SETTINGS = {
    "job_name": "glassplate",
    "queue": "gpu",
    "job_extra_directives": ["--gres=gpu:1"],
    "walltime": "04:00:00",
    "cores": 1,
    "processes": 1,
    "memory": "16GB",
    # A worker ends in order before Slurm kills it, not all of them at the same time. Its tile in progress is
    # done by another one. GPU=1 says that it has a GPU; for workers without one leave it and --gres out.
    "worker_extra_args": [
        "--lifetime",
        "220m",
        "--lifetime-stagger",
        "10m",
        "--resources",
        "GPU=1",
    ],
    "job_script_prologue": ["export OMP_NUM_THREADS=1 MKL_NUM_THREADS=1"],
    "scheduler_options": {"port": 8786, "dashboard": False},
}


def main(job: str) -> int:
    """Start the workers, run the job on them, and return its exit code; 3 and 130 mean: give it again."""
    with SLURMCluster(**SETTINGS) as cluster:
        cluster.scale(jobs=WORKERS)
        # a job is made for the workers that are there when it begins
        cluster.wait_for_workers(WORKERS)
        return subprocess.run(["glassplate", "batch", job]).returncode


if __name__ == "__main__":
    sys.exit(main(sys.argv[1]))
