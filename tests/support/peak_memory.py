"""Peak memory of a call, measured in a fork of a process that has imported its modules and run nothing yet.

A fresh process for each measurement would pay for its imports again. A fork does not, and like a fresh
process it has no kernels, threads or free memory left over from another fit. Its resident memory includes all
pages that it shares with its parent, except those of mapped files. So the fork touches these pages first.
"""

import ctypes
import importlib
import mmap
import os
import pickle
import subprocess
import sys
import traceback
from pathlib import Path

import numpy as np


def status_bytes(field, pid="self"):
    """VmRSS, the resident memory, or VmHWM, the highest that it has been."""
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    return next(int(line.split()[1]) << 10 for line in lines if line.startswith(field))


class ForkServer:
    """A process that imports a module and then forks for each call of its functions."""

    def __init__(self, module):
        command = [sys.executable, __file__, module, *sys.path]
        self.process = subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE)

    def call(self, function, *arguments):
        """Return the result of a function of the module that was called in a fork."""
        pickle.dump((function, arguments), self.process.stdin)
        self.process.stdin.flush()
        failed, result = pickle.load(self.process.stdout)
        if failed:
            raise RuntimeError(result)
        return result

    def close(self):
        self.process.stdin.close()
        self.process.wait()
        self.process.stdout.close()


def serve(module):
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what a call prints must not mix with the answers
    functions = importlib.import_module(module)
    while True:
        try:
            name, arguments = pickle.load(sys.stdin.buffer)
        except EOFError:
            os._exit(0)  # unloading the modules takes 2 s
        child = os.fork()
        if child:
            _, code = os.waitpid(child, 0)
            if code:
                pickle.dump((True, f"the fork ended with status {code}"), answers)
        else:
            answer_and_exit(answers, getattr(functions, name), arguments)
        answers.flush()


def answer_and_exit(answers, function, arguments):
    try:
        map_files_as_in(os.getppid())
        answer = (False, function(*arguments))
    except Exception:
        answer = (True, traceback.format_exc())
    pickle.dump(answer, answers)
    answers.flush()
    os._exit(0)


def map_files_as_in(parent):
    """Touch the pages of mapped files that are resident in the parent: a fork does not inherit them."""
    with open(f"/proc/{parent}/pagemap", "rb") as pagemap:
        for line in Path(f"/proc/{parent}/maps").read_text().splitlines():
            span, access, _, _, inode, *_ = line.split()
            if inode == "0" or "r" not in access:
                continue
            start, end = (int(address, 16) // mmap.PAGESIZE for address in span.split("-"))
            pagemap.seek(8 * start)
            present = np.frombuffer(pagemap.read(8 * (end - start)), np.uint64) >> np.uint64(63)
            for page in start + np.flatnonzero(present):
                ctypes.string_at(int(page) * mmap.PAGESIZE, 1)


if __name__ == "__main__":
    sys.path[:] = sys.argv[2:]
    serve(sys.argv[1])
