"""Run `glassplate` commands from a process that has imported torch, astropy and zarr, and forks for each.

The imports take some six seconds of a core, which the examples of the guide would spend fifty times.
"""

from __future__ import annotations

import contextlib
import importlib
import json
import os
import pkgutil
import socket
import subprocess
import sys
import textwrap
from collections.abc import Iterator
from pathlib import Path

# Options that keep the fits of the examples short: three iterations of one process.
SHORT = ("--set", "fit.iterations=3", "--set", "stopping.minimum=1")
DEFAULTS = {"--pool": "inline", "--device": "cpu", "--progress": "none"}

# The command that scripts find on their PATH. It passes its words, folder, environment and streams on.
CLIENT = """\
    #!{python} -IS
    import json, os, socket, sys
    server = socket.socket(socket.AF_UNIX)
    server.connect({address!r})
    call = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode()
    socket.send_fds(server, [len(call).to_bytes(4, "big")], [0, 1, 2])
    server.sendall(call)
    sys.exit(server.recv(1)[0])
"""


@contextlib.contextmanager
def command_server(folder: Path) -> Iterator[Path]:
    """Start a server, and yield a folder for PATH that holds the command `glassplate`."""
    address = str(folder / "socket")
    (folder / "bin").mkdir()
    client = folder / "bin" / "glassplate"
    client.write_text(textwrap.dedent(CLIENT).format(python=sys.executable, address=address))
    client.chmod(0o755)
    command = [sys.executable, "-P", __file__, address]
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server:
        try:
            assert server.stdout is not None
            assert server.stdout.readline() == "ready\n"
            yield client.parent
        finally:
            server.terminate()


def shortened(words: list[str], extra: list[str]) -> list[str]:
    """Return the words of a command with options that make its fits short."""
    if words[:1] != ["restore"]:
        return words
    defaults = [text for pair in DEFAULTS.items() if pair[0] not in words for text in pair]
    return [*words, *defaults, *SHORT, *extra]


def _serve(address: str) -> None:
    for package in ("models", "pipeline", "flows.cli"):
        found = importlib.import_module(f"glassplate.{package}")
        for module in pkgutil.walk_packages(found.__path__, f"{found.__name__}."):
            importlib.import_module(module.name)
    server = socket.socket(socket.AF_UNIX)
    server.bind(address)
    server.listen()
    print("ready", flush=True)
    while True:
        connection, _ = server.accept()
        head, streams, _, _ = socket.recv_fds(connection, 4, 3)
        words, folder, environment = json.loads(_received(connection, int.from_bytes(head, "big")))
        child = os.fork()
        if child == 0:
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            os._exit(_run(words))
        for stream in streams:
            os.close(stream)
        code = os.waitstatus_to_exitcode(os.waitpid(child, 0)[1])
        connection.sendall(bytes([code % 256]))
        connection.close()


def _received(connection: socket.socket, size: int) -> bytes:
    """Read so many bytes."""
    data = b""
    while len(data) < size:
        data += connection.recv(size - len(data))
    return data


def _run(words: list[str]) -> int:
    """Run one command in this process, and return its exit code."""
    from glassplate.flows.cli.main import main

    sys.argv = ["glassplate", *shortened(words, os.environ.get("EXTRA_OPTIONS", "").split())]
    code: object = 1
    try:
        main()
    except SystemExit as end:
        code = end.code
    sys.stdout.flush()
    sys.stderr.flush()
    return code if isinstance(code, int) else 1


if __name__ == "__main__":
    _serve(sys.argv[1])
