"""The address of the Prefect server that a command starts."""

from __future__ import annotations

import os
import socket

from glassplate.pipeline.errors import GlassplateError
from glassplate.pipeline.text import one_line

LOOPBACK = "127.0.0.1"
"""What other machines cannot reach: Prefect's server asks nobody for a password."""

EVERY_ADDRESS = "0.0.0.0"
"""Stands for all addresses of this machine, which reaches the server by `LOOPBACK` then."""


def given_address() -> tuple[str, int]:
    """Host and port that the environment gives to the server of a service; port 0 for a free one.

    Raises
    ------
    GlassplateError
        If the port is no number.
    """
    port = os.environ.get("PREFECT_SERVER_API_PORT", "0")
    if not port.isdecimal():
        raise GlassplateError(f"PREFECT_SERVER_API_PORT is {port!r}; give a number up to 65535")
    return os.environ.get("PREFECT_SERVER_API_HOST", LOOPBACK), int(port)


def bind(listener: socket.socket, host: str, port: int) -> None:
    """Bind the socket of the server.

    Raises
    ------
    GlassplateError
        If another program has the port, or the host is not this machine.
    """
    listener.setsockopt(
        socket.SOL_SOCKET, socket.SO_REUSEADDR, 1
    )  # of a server that has just ended
    try:
        listener.bind((host, port))
    except (OSError, OverflowError) as error:
        raise GlassplateError(
            f"Prefect's server cannot use the address {host}:{port} ({one_line(error)}); change or unset "
            "PREFECT_SERVER_API_HOST and PREFECT_SERVER_API_PORT"
        ) from error
