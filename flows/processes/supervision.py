"""A small process above the command, which ends it and all that it started, whatever they are doing.

Python hears a signal between two steps of its main thread: a thread that waits in the kernel for a file
server that is gone, or computes in C, never comes to that. The command therefore runs in a child of the
process that was started; the process itself only waits, so that it hears each signal at once. It hands the
signal on, repeats it, and ends the child by force where that does not help. Processes that outlive their
parent become its children (Linux), so that it finds them all.
"""

from __future__ import annotations

import ctypes
import os
import signal
import sys
import time
from contextlib import suppress

# Seconds from the request to stop to its repetition: Python drops an exception that is raised inside a
# finaliser or a callback of another library, and the request with it.
REMIND_S = 6.0

# Seconds from the request to the end by force. Closing a pool and Prefect's server takes one to five on a
# machine that has nothing else to do.
GRACE_S = 12.0

# Seconds that processes may take to end by themselves once the command is over.
LEFT_S = 1.0

INTERRUPTED = 130

# Of Linux (prctl.h): the signal that comes with the parent's death; to become the parent of orphans.
_PARENT_DEATH_SIGNAL = 1
_CHILD_SUBREAPER = 36


def supervise() -> None:
    """Go on in a child: this returns there, and ends the process itself with the child's exit code.

    The child ends at once when this process is killed. Call it before any thread is started.
    """
    heard = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:  # as nohup does
        heard.add(signal.SIGHUP)
    waited = {*heard, signal.SIGCHLD, signal.SIGALRM}
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
    code = _watch(child, waited, heard)
    _end_the_rest()
    sys.exit(code)


def kill_descendants() -> None:
    """Kill all that this process has started, and what that has started, at once."""
    import psutil

    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            process.kill()


def _watch(child: int, waited: set[signal.Signals], heard: set[signal.Signals]) -> int:
    """Wait for the child, and end it when this process is told to stop; its exit code."""
    asked: float | None = None
    while (status := _reaped(child)) is None:
        number = signal.sigwait(waited)
        if number in heard and asked is None:
            asked = time.monotonic()
            # Ctrl-C in a terminal reaches the child by itself too, which takes the two for one
            os.kill(child, signal.SIGINT if number == signal.SIGINT else signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, REMIND_S)
        elif number == signal.SIGALRM and asked is not None:
            if time.monotonic() - asked >= GRACE_S:
                os.kill(child, signal.SIGKILL)
                return _ended_by_force()
            os.kill(child, signal.SIGTERM)
            signal.setitimer(signal.ITIMER_REAL, max(0.01, asked + GRACE_S - time.monotonic()))
    if status >= 0:
        return status
    if asked is not None:
        return _ended_by_force()
    name = signal.Signals(-status).name
    _say(f"ended by {name}; what is done is kept, the same command goes on from there")
    return 128 - status


def _ended_by_force() -> int:
    _say("interrupted, by force; what is done is kept, the same command goes on from there")
    return INTERRUPTED


def _reaped(child: int) -> int | None:
    """Take note of children that ended; the exit code of this one, negative for a signal."""
    with suppress(ChildProcessError):
        while (ended := os.waitpid(-1, os.WNOHANG))[0]:
            if ended[0] == child:
                return os.waitstatus_to_exitcode(ended[1])
    return None


def _end_the_rest() -> None:
    """Let what the command has started end by itself, for a moment, and then by force."""
    begun = time.monotonic()
    with suppress(ChildProcessError):  # none is left
        while (waiting := time.monotonic() - begun) < 4 * LEFT_S:
            if not os.waitpid(-1, os.WNOHANG)[0]:
                if waiting > LEFT_S:
                    kill_descendants()
                time.sleep(0.02)


def _set(attribute: int, value: int) -> None:
    """Set an attribute of this process, where the system knows it."""
    if sys.platform == "linux":
        zero = ctypes.c_ulong(0)
        ctypes.CDLL(None).prctl(attribute, ctypes.c_ulong(value), zero, zero, zero)


def _say(text: str) -> None:
    print(f"glassplate: {text}", file=sys.stderr, flush=True)
