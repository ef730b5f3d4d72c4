"""Gradients of a network on several windows at a time, for which a second process takes the last window.

Threads do not do: between the operations of torch Python runs one thread at a time (docs/design/023). Both
processes compute the same bytes, so that it does not matter which of them finds a gradient, and a second
process that is not there yet, or no longer, costs nothing but time.
"""

from __future__ import annotations

import mmap
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from multiprocessing.connection import Connection
from typing import NamedTuple, TypeAlias

import torch

from glassplate.models.device.arithmetic import activation_layout, applied
from glassplate.models.device.cores import cpu_count
from glassplate.models.fit.loop import Network, gradients_of
from glassplate.models.fit.problem import Measurement, Problem
from glassplate.models.fit.window import Window
from glassplate.models.networks.make import make_network

Gradients: TypeAlias = tuple[torch.Tensor, ...]


class Found(NamedTuple):
    """What was found on one window."""

    gradients: Gradients
    """Of a share of what is descended, by each weight of the network."""
    losses: torch.Tensor
    """Its data term, (1,)."""


class SecondProcess:
    """A process that finds gradients of a network.

    It reads the weights and writes the gradients in memory that it shares with this process, to which the
    weights are moved.

    Parameters
    ----------
    network
        Whose gradients are asked for.
    problem
        What the windows share; on the CPU.
    channels
        Of the network's input and output.

    Raises
    ------
    OSError
        If there is no room for the shared memory, or for another process.
    """

    def __init__(self, network: Network, problem: Problem, channels: tuple[int, int]) -> None:
        mine, its = socket.socketpair()
        self._connection: Connection | None = Connection(mine.detach())
        with its, tempfile.TemporaryFile() as file:
            weights = list(network.module.parameters())
            # written, and not made longer: a full disk then is an error, and not the end of the process
            file.write(bytes(2 * sum(weight.nbytes for weight in weights)))
            file.flush()
            shared, self._shared_gradients = _shared(file.fileno(), weights)
            self._process = subprocess.Popen(
                [
                    # -P: the folder that a user is in has no say in what is imported
                    *(sys.executable, "-P", "-m", "glassplate.models.donor.second_process"),
                    *(str(its.fileno()), str(file.fileno())),
                ],
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                # of what goes wrong there, this process hears when it does the same itself
                stderr=subprocess.DEVNULL,
                pass_fds=[its.fileno(), file.fileno()],
            )
        for weight, place in zip(weights, shared, strict=True):
            weight.data = place.copy_(weight.data)
        self._ready = False
        with suppress(OSError):  # it has ended already, as the first question will find
            self._connection.send((problem, channels))

    def ask(self, measurement: Measurement, share: float) -> bool:
        """Ask for the gradients of a share of what is descended on a window; return whether it was asked.

        No weight may change before the answer.
        """
        if self._connection is None:
            return False
        try:
            if not self._ready:
                if not self._connection.poll():
                    return False
                self._ready = self._connection.recv()
            self._connection.send((measurement, share))
        except (EOFError, OSError):
            self.close()
            return False
        return True

    def answer(self) -> Found | None:
        """Wait for what was asked; None if the process ended before it answered.

        The gradients are overwritten by the next answer.
        """
        if self._connection is None:
            return None
        try:
            loss: float = self._connection.recv()
        except (EOFError, OSError):
            self.close()
            return None
        return Found(self._shared_gradients, torch.tensor([loss]))

    def close(self) -> None:
        """End the process."""
        if self._connection is not None:
            self._connection.close()
            self._connection = None
            self._process.kill()
            self._process.wait()


def _shared(descriptor: int, like: Sequence[torch.Tensor]) -> tuple[Gradients, Gradients]:
    """Weights and gradients in the shared file, with the shapes and strides of such float32 weights."""
    numbers = torch.frombuffer(mmap.mmap(descriptor, 0), dtype=torch.float32)
    places, start = [], 0
    for tensor in (*like, *like):
        places.append(numbers.as_strided(tensor.shape, tensor.stride(), start))
        start += tensor.numel()
    return tuple(places[: len(like)]), tuple(places[len(like) :])


@contextmanager
def second_process(
    network: Network, problem: Problem, channels: tuple[int, int]
) -> Iterator[SecondProcess | None]:
    """Start a second process where a core is there for it, and end it at the end; None on one core or a GPU.

    Parameters are those of `SecondProcess`.
    """
    if problem.numerics.device != "cpu" or cpu_count() == 1:
        yield None
        return
    try:
        second = SecondProcess(network, problem, channels)
    except OSError:
        yield None
        return
    try:
        yield second
    finally:
        second.close()


def gradients_on_each(
    network: Network,
    problem: Problem,
    measurements: Sequence[Measurement],
    second: SecondProcess | None,
) -> list[Found]:
    """Gradients of the mean of what is descended on windows, a part from each; no weight changes."""
    share = 1 / len(measurements)
    *others, last = measurements
    asked = second is not None and second.ask(last, share)
    found = [_gradients(network, problem, measurement, share) for measurement in others]
    of_last = second.answer() if second is not None and asked else None
    return [*found, of_last or _gradients(network, problem, last, share)]


def _gradients(network: Network, problem: Problem, measurement: Measurement, share: float) -> Found:
    window = Window(measurement, problem)
    return Found(*gradients_of(network, window.objective, window.input().draw(), share))


def main(connected: int, shared: int) -> None:
    """Answer over an open socket until the other process closes its end.

    Parameters
    ----------
    connected, shared
        File descriptors of the socket and of the file that is shared.
    """
    # Ctrl-C reaches both processes; the other one decides what becomes of the fit
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    with Connection(connected) as connection:
        try:
            _answer(connection, shared)
        except (EOFError, OSError):
            return


def _answer(connection: Connection, descriptor: int) -> None:
    problem, (inputs, outputs) = connection.recv()
    module = make_network(problem.network, inputs, outputs, torch.Generator())
    module.to(problem.numerics.device, memory_format=activation_layout(problem.numerics))  # type: ignore[call-overload]
    network = Network(module, learning_rate=0.0)
    weights, gradients = _shared(descriptor, list(module.parameters()))
    for weight, place in zip(module.parameters(), weights, strict=True):
        weight.data = place
    connection.send(True)
    with applied(problem.numerics):
        while True:
            measurement, share = connection.recv()
            found = _gradients(network, problem, measurement, share)
            for place, gradient in zip(gradients, found.gradients, strict=True):
                place.copy_(gradient)
            connection.send(found.losses.item())


if __name__ == "__main__":
    main(int(sys.argv[1]), int(sys.argv[2]))
