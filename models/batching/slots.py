"""Fits of windows of one shape that advance together, each in a slot of its own."""

from __future__ import annotations

from collections.abc import Sequence

from glassplate.models.batching.networks_together import networks_together
from glassplate.models.fit.log import Reading
from glassplate.models.fit.loop import FitState, Network, advance


class Slots:
    """States and networks of several fits side by side.

    Parameters
    ----------
    begun
        State and network of each fit, as `begin` makes them.
    """

    def __init__(self, begun: Sequence[tuple[FitState, Network]]) -> None:
        numerics = begun[0][0].score.objective.problem.numerics
        self.state = FitState.joined([state for state, _ in begun])
        self.networks = networks_together([network for _, network in begun], numerics)

    @property
    def width(self) -> int:
        """How many slots there are."""
        return len(self.state.loss_sum)

    def advance(self, learning: Sequence[bool] | None = None) -> None:
        """Do one iteration of every fit; `learning` says which networks learn, None for all."""
        advance(self.state, self.networks, learning or [True] * self.width)

    def read(self, slots: Sequence[int]) -> list[Reading]:
        """Read what records are made from, of these slots. This waits for the device."""
        return self.state.read(slots)

    def put(self, slot: int, begun: tuple[FitState, Network]) -> None:
        """Begin another fit in a slot."""
        state, network = begun
        if self.width == 1:
            self.state = state
        else:
            self.state.put(slot, state)
        self.networks.put(slot, network)

    def keep(self, slots: Sequence[int]) -> None:
        """Go on with these slots alone, in this order."""
        self.state, self.networks = self.state.kept(slots), self.networks.kept(slots)
