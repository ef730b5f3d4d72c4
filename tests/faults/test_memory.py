"""Too little memory: the run ends as by a fault of the moment, and the same command resumes it."""

import json
import subprocess
import sys
from pathlib import Path

import faulty_work
import pytest
from faulty_work import FIT
from runs import digest, request

from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

# The address space of a process that has imported everything is limited once the tiles begin.
RUN = """
import json, resource, sys
import psutil
from runs import request
from glassplate.flows.jobs.running.verdicts import verdict_of
from glassplate.pipeline.events import TileDone
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.run.restore import restore

def limit(event):
    if isinstance(event, TileDone):
        taken = psutil.Process().memory_info().vms
        resource.setrlimit(resource.RLIMIT_AS, (taken + int(sys.argv[4]), resource.RLIM_INFINITY))

try:
    result = restore(request(sys.argv[1], sys.argv[2], json.loads(sys.argv[3])), InlinePool(), limit)
    print(json.dumps([result.status, result.passing, sorted(result.summary.quarantined.values())]))
except Exception as error:
    verdict = verdict_of(error)
    print(json.dumps(["failed", verdict.passing, [verdict.reason]]))
"""

# Windows of 512 x 512 with 32 channels: their feature maps take hundreds of megabytes.
LARGE = {**FIT, "network": {"channels": 32, "skip_channels": 4, "scales": 3}}


@pytest.mark.slow
def test_too_little_memory_is_a_fault_of_the_moment(image, tmp_path):
    script, store = tmp_path / "run.py", tmp_path / "a.zarr"
    script.write_text(RUN)
    words = [sys.executable, str(script), str(image), str(store), json.dumps(LARGE), "4000000"]
    done = subprocess.run(
        words,
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(faulty_work.__file__).parent), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    status, passing, reasons = json.loads(done.stdout)
    assert status != "complete"
    assert passing, reasons
    assert restore(request(image, store, LARGE), InlinePool()).status == "complete"
    restore(request(image, tmp_path / "whole.zarr", LARGE), InlinePool())
    assert digest(store) == digest(tmp_path / "whole.zarr")
