"""A supervising process, which can always end the command and every process that the command started.

Python handles a signal between two steps of its main thread. A main thread that waits in the kernel for a
lost file server, or computes in C, never handles it. The command therefore runs in a child of the process
that the user started. The parent only waits, so that it receives each signal at once. It passes the signal
on, repeats it, and kills the child if that does not help. On Linux, processes that outlive their parent
become children of the supervisor, so that it finds all of them.
"""

from __future__ import annotations

import os
import signal
import sys
import time
from contextlib import suppress

# Seconds from the request to stop to its repetition. Python drops an exception that is raised inside a
# finaliser or a callback of another library, and the request with it.
REPEAT_S = 6.0

# Seconds from the request to the kill. Closing a pool and Prefect's server takes 1 to 5 s on an idle
# machine.
GRACE_S = 12.0

# Seconds that remaining processes may take to end by themselves once the command is over.
REMAINING_S = 1.0

INTERRUPTED = 130

# Attributes of a Linux process (prctl.h): the signal it receives when its parent dies, and whether it becomes
# the parent of orphaned descendants.
_PARENT_DEATH_SIGNAL = 1
_CHILD_SUBREAPER = 36


def supervise() -> None:
    """Fork, return in the child, and make the parent its supervisor.

    The parent exits with the exit code of the child. The child is killed when the parent is killed. Call
    this before any thread is started.
    """
    stops = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # nohup ignores it
        stops.add(signal.SIGHUP)
    waited = {*stops, signal.SIGCHLD, signal.SIGALRM}
    before = signal.pthread_sigmask(signal.SIG_BLOCK, waited)
    _set(_CHILD_SUBREAPER, 1)
    parent = os.getpid()
    child = os.fork()
    if child == 0:
        _set(_PARENT_DEATH_SIGNAL, signal.SIGKILL)
        if os.getppid() != parent:
            os._exit(INTERRUPTED)
        signal.pthread_sigmask(signal.SIG_SETMASK, before)
        return
    code = _wait_for(child, waited, stops)
    _end_remaining()
    sys.exit(code)


def kill_descendants() -> None:
    """Kill every child of this process, and their children, at once."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _wait_for(child: int, waited: set[signal.Signals], stops: set[signal.Signals]) -> int:
    """Wait for the child, end it when this process receives a signal of `stops`, return its exit code."""
    requested: float | None = None
    while (status := _reap(child)) is None:
        number = signal.sigwait(waited)
        if number in stops and requested is None:
            requested = time.monotonic()
            # Ctrl-C in a terminal reaches the child directly too, which counts both as one request
            os.kill(child, signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, REPEAT_S)
        elif number == signal.SIGALRM and requested is not None:
            if time.monotonic() - requested >= GRACE_S:
                os.kill(child, signal.SIGKILL)
                return _report_kill()
            os.kill(child, signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, max(0.01, requested + GRACE_S - time.monotonic()))
    if status >= 0:
        return status
    if requested is not None:
        return _report_kill()
    name = signal.Signals(-status).name
    _print(f"ended by {name}; what is done is kept, the same command goes on from there")
    return 128 - status


def _report_kill() -> int:
    _print("interrupted, by force; what is done is kept, the same command goes on from there")
    return INTERRUPTED


def _reap(child: int) -> int | None:
    """Reap every ended child; return the exit code of this one, negative for a signal, None if it runs."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                return os.waitstatus_to_exitcode(ended[1])
    return None


def _end_remaining() -> None:
    """Wait a moment for processes that the command has left behind, and then kill them."""
    start = time.monotonic()
    with suppress(ChildProcessError):  # none is left
        while (waiting := time.monotonic() - start) < 4 * REMAINING_S:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                if waiting > REMAINING_S:
                    kill_descendants()
                time.sleep(0.02)


def _set(attribute: int, value: int) -> None:
    """Set an attribute of this process; systems other than Linux do not have it."""
    if sys.platform == "linux":
        import ctypes  # slow, and not needed for --help

        zero = ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(attribute, ctypes.c_ulong(value), zero, zero, zero)


def _print(text: str) -> None:
    print(f"glassplate: {text}", file=sys.stderr, flush=True)
