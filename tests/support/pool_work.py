"""Work for the pool's tests; a module of its own, since workers import it by name."""

import os
import time


def double(task, on_progress):
    on_progress({"task": task})
    return task * 2


def fail_at_seven(task, on_progress):
    if task == 7:
        raise ValueError("seven is\nnot done")
    return task


def die_at_seven(task, on_progress):
    if task == 7:
        os._exit(1)
    return task


def die_once(task, on_progress):
    """Kill the worker the first time; `task` is a marker file."""
    if not os.path.exists(task):
        with open(task, "w"):
            pass
        os._exit(1)
    return "survived"


def slow_then_late(task, on_progress):
    time.sleep(0.2 if task == 0 else 0)
    return task


def pages_mapped_again(task, on_progress):
    """Page faults of taking and freeing one large buffer many times, after it was taken before."""
    import resource

    import torch

    def take():
        for _ in range(50):
            torch.ones(task)

    take()
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    take()
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before
