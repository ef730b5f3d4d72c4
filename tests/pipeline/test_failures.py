import errno
import pickle

import pytest
import torch

from glassplate.pipeline.errors import CapacityError, SourceError, is_disk_full
from glassplate.pipeline.failures import Failure, FailureKind
from glassplate.pipeline.run.state import error_of


def wrapped(cause):
    try:
        raise CapacityError("scratch folder /tmp: no space") from cause
    except CapacityError as error:
        return error


@pytest.mark.parametrize(
    ("error", "kind"),
    [
        (FloatingPointError("fit: data term nan"), FailureKind.DIVERGED),
        (SourceError("a.fits: rows 7 to 9 cannot be read"), FailureKind.SOURCE),
        (OSError(errno.ENOSPC, "No space left on device"), FailureKind.DISK_FULL),
        (OSError(errno.EDQUOT, "Disk quota exceeded"), FailureKind.DISK_FULL),
        (wrapped(OSError(errno.ENOSPC, "No space left on device")), FailureKind.DISK_FULL),
        (MemoryError(), FailureKind.OUT_OF_MEMORY),
        (torch.OutOfMemoryError("CUDA out of memory"), FailureKind.OUT_OF_MEMORY),
        (RuntimeError("shapes do not match"), FailureKind.OTHER),
        (OSError("the network file system hiccuped"), FailureKind.OTHER),
    ],
)
def test_the_kind_follows_from_the_error(error, kind):
    assert Failure.of(error).kind is kind


@pytest.mark.parametrize("kind", FailureKind)
def test_an_image_is_tried_again_after_the_same_failures_whatever_was_being_done(kind):
    # a worker that hung while it wrote a shard set its image aside, with the advice to try again
    passing = {"source away", "disk full", "out of memory", "worker died", "hung"}
    assert kind.passing == (kind in passing)
    assert error_of(Failure(kind, "said")).passing == kind.passing


def test_the_kind_survives_the_way_from_a_worker():
    failure = pickle.loads(pickle.dumps(Failure.of(FloatingPointError("nan"))))
    assert failure.kind is FailureKind.DIVERGED


def test_the_reason_is_one_line_and_names_the_class():
    failure = Failure.of(ValueError("seven is\nnot done"))
    assert failure.reason == "ValueError: seven is not done"
    assert Failure(FailureKind.WORKER_DIED, "its worker died").reason == "its worker died"


@pytest.mark.parametrize(
    ("error", "full"),
    [
        (OSError(errno.ENOSPC, "No space left on device"), True),
        (OSError(errno.EACCES, "Permission denied"), False),
        (ValueError("No space left on device"), False),
    ],
)
def test_a_full_disk_is_known_by_its_number(error, full):
    assert is_disk_full(error) is full
