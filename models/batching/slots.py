"""Several in one: what a fit knows of its window, side by side with that of others of the same shape."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import torch

Part = TypeVar("Part")


class Slotted:
    """Something known of windows of one shape: the first axis of each of its tensors counts the windows.

    What is no tensor, no `Dice` and not `Slotted` itself must be the same for all of them. Made for one
    window; `joined` puts several side by side, each in its slot.
    """

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """All of them in one, in order; one alone is itself.

        Raises
        ------
        ValueError
            If they differ in something that a stack has only once.
        """
        if len(parts) == 1:
            return parts[0]
        whole = copy.copy(parts[0])
        for name in vars(parts[0]):
            of_each = [getattr(part, name) for part in parts]
            # past the setter of a frozen dataclass: nobody else has seen the copy yet
            vars(whole)[name] = _joined(of_each, f"{cls.__name__}.{name}")
        return whole

    def put(self, slot: int, one: Self) -> None:
        """Overwrite one slot, in place, by what is known of another window."""
        for name, mine in vars(self).items():
            _put(mine, slot, getattr(one, name))

    def kept(self, slots: Sequence[int]) -> Self:
        """These slots alone, in this order."""
        whole = copy.copy(self)
        for name, mine in vars(self).items():
            vars(whole)[name] = _kept(mine, slots)
        return whole


class Dice:
    """A random generator for each window, so that none knows of its neighbours."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = list(generators)

    def uniform(self, *shape: int) -> torch.Tensor:
        """(B, *shape) in [0, 1), on the generators' device."""
        return _side_by_side(
            [torch.rand((1, *shape), generator=g, device=g.device) for g in self.generators]
        )

    def normal(self, *shape: int) -> torch.Tensor:
        """(B, *shape), of mean 0 and variance 1, on the generators' device."""
        return _side_by_side(
            [torch.randn((1, *shape), generator=g, device=g.device) for g in self.generators]
        )

    def below(self, limit: int) -> list[int]:
        """One whole number from 0 to `limit` - 1 for each window; of generators on the CPU."""
        return [int(torch.randint(limit, (), generator=g)) for g in self.generators]


def _side_by_side(tensors: list[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _joined(parts: list[Any], name: str) -> Any:
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(parts)
    if isinstance(first, Slotted):
        return type(first).joined(parts)
    if isinstance(first, Dice):
        return Dice([generator for dice in parts for generator in dice.generators])
    if any(part is not first and part != first for part in parts):
        raise ValueError(f"{name} differs between the windows of a stack: {parts}")
    return first


def _put(whole: Any, slot: int, one: Any) -> None:
    if isinstance(whole, torch.Tensor):
        whole[slot].copy_(one[0])
    elif isinstance(whole, Slotted):
        whole.put(slot, one)
    elif isinstance(whole, Dice):
        whole.generators[slot] = one.generators[0]


def _kept(whole: Part, slots: Sequence[int]) -> Part | Any:
    if isinstance(whole, torch.Tensor):
        # one by one: a list of places would have to be sent to the device
        return torch.stack([whole[slot] for slot in slots])
    if isinstance(whole, Slotted):
        return whole.kept(slots)
    if isinstance(whole, Dice):
        return Dice([whole.generators[slot] for slot in slots])
    return whole
