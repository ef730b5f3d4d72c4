"""A disk that fills up at any stage: the run ends, and the same command resumes it with the same bytes."""

import json
import shutil
import subprocess
import sys
from pathlib import Path

import faulty_work
import pytest
from faulty_work import FIT

pytestmark = pytest.mark.slow

# In a name space of its own, so that no mount outlives the process and none needs the rights of root.
MOUNTED = ["unshare", "--map-root-user", "--mount"]
MOUNT = "mount -t tmpfs -o size=12m tmpfs "

# Runs on the small disk, which is filled when a stage begins and emptied after the run has ended.
RUN = """
import json, shutil, sys
from pathlib import Path
from runs import digest, request
from glassplate.pipeline.errors import DiskFullError, NoRoomError
from glassplate.pipeline.events import StageStarted, TileDone
from glassplate.pipeline.pools.pool import InlinePool
from glassplate.pipeline.provenance.verify import verify
from glassplate.pipeline.run.restore import restore

disk, raw, image = Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3])
filler = disk / "filler"

def fill(left):
    free = shutil.disk_usage(disk).free
    filler.write_bytes(bytes(max(0, free - left)))

def fill_at(moment, left):
    def listen(event):
        now = event.stage if isinstance(event, StageStarted) else type(event).__name__
        if now == moment and not filler.exists():
            fill(left)
    return listen

def run(name, moment=None, left=0, export=None):
    wished = request(image, disk / (name + ".zarr"), raw, export=export)
    try:
        restore(wished, InlinePool(), fill_at(moment, left))
        return "complete"
    except (DiskFullError, NoRoomError) as error:
        return str(error)

answers = {"whole": run("whole")}
whole = digest(disk / "whole.zarr")
for moment in ("restore", "TileDone", "stitch", "pyramid", "record", "export"):
    for left in (0, 20000):
        export = disk / "a.fits" if moment == "export" else None
        first = run("a", moment, left, export)
        filler.unlink(missing_ok=True)
        again = run("a", export=export)
        checks = [c.name for c in verify(disk / "a.zarr") if not c.ok]
        hidden = [str(p) for p in disk.rglob(".*") if p.suffix in (".partial", ".lock")]
        answers[f"{moment} {left}"] = [first, again, digest(disk / "a.zarr") == whole, checks, hidden]
        shutil.rmtree(disk / "a.zarr")
        if export is not None:
            export.unlink()
print(json.dumps(answers))
"""


def can_mount():
    if shutil.which("unshare") is None:
        return False
    command = [*MOUNTED, "sh", "-c", MOUNT + "/mnt"]
    return subprocess.run(command, capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not can_mount(), reason="no tmpfs can be mounted here")
def test_a_full_disk_ends_the_run_and_the_same_command_resumes_it(image, tmp_path):
    disk, script = tmp_path / "disk", tmp_path / "run.py"
    disk.mkdir()
    script.write_text(RUN)
    recipe = {**FIT, "task": "identity"}  # its runs are short, and write the same files
    words = [sys.executable, str(script), str(disk), json.dumps(recipe), str(image)]
    done = subprocess.run(
        [*MOUNTED, "sh", "-c", f'{MOUNT} "$1" && shift && exec "$@"', "sh", str(disk), *words],
        capture_output=True,
        text=True,
        env={"PYTHONPATH": str(Path(faulty_work.__file__).parent), "PATH": "/usr/bin:/bin"},
        check=False,
    )
    assert done.returncode == 0, done.stderr
    answers = json.loads(done.stdout)
    assert answers.pop("whole") == "complete"
    for moment, (first, *rest) in answers.items():
        if moment.startswith("export"):
            assert "a.fits: the disk is full; free some space" in first, moment
        else:
            assert "No space left" in first, moment
            assert "give the same command again" in first, moment
        assert rest == ["complete", True, [], []], moment
