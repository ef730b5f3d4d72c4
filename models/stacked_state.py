"""State of several windows side by side, and random generators that belong to one window each."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from typing import Any, Self, TypeVar

import torch

Part = TypeVar("Part")


class StackedState:
    """State of windows of one shape; the first axis of each tensor counts the windows.

    Attributes that are neither tensors nor `RandomGenerators` nor `StackedState` must be equal for all
    windows. An object is made for one window. `joined` puts several side by side, each in its slot.
    """

    @classmethod
    def joined(cls, parts: Sequence[Self]) -> Self:
        """Join the state of several windows, in order. A single one is returned as it is.

        Raises
        ------
        ValueError
            If the windows differ in an attribute that must be equal for all.
        """
        if len(parts) == 1:
            return parts[0]
        whole = copy.copy(parts[0])
        for name in vars(parts[0]):
            of_each = [getattr(part, name) for part in parts]
            # vars() avoids the setter of a frozen dataclass; nothing else refers to the copy yet
            vars(whole)[name] = _joined(of_each, f"{cls.__name__}.{name}")
        return whole

    def put(self, slot: int, one: Self) -> None:
        """Overwrite one slot in place with the state of another window."""
        for name, mine in vars(self).items():
            _put(mine, slot, getattr(one, name))

    def kept(self, slots: Sequence[int]) -> Self:
        """Return the state of these slots alone, in this order."""
        whole = copy.copy(self)
        for name, mine in vars(self).items():
            vars(whole)[name] = _kept(mine, slots)
        return whole


class RandomGenerators:
    """One random generator for each window, so that no window depends on its neighbours."""

    def __init__(self, generators: Sequence[torch.Generator]) -> None:
        self.generators = list(generators)

    def uniform(self, *shape: int) -> torch.Tensor:
        """Draw (B, *shape) in [0, 1), on the generators' device."""
        return _side_by_side(
            [torch.rand((1, *shape), generator=g, device=g.device) for g in self.generators]
        )

    def normal(self, *shape: int) -> torch.Tensor:
        """Draw (B, *shape) of mean 0 and variance 1, on the generators' device."""
        return _side_by_side(
            [torch.randn((1, *shape), generator=g, device=g.device) for g in self.generators]
        )

    def integers(self, limit: int) -> list[int]:
        """Draw one integer from 0 to `limit` - 1 for each window. The generators must be on the CPU."""
        return [int(torch.randint(limit, (), generator=g)) for g in self.generators]


def _side_by_side(tensors: list[torch.Tensor]) -> torch.Tensor:
    return tensors[0] if len(tensors) == 1 else torch.cat(tensors)


def _joined(parts: list[Any], name: str) -> Any:
    first = parts[0]
    if isinstance(first, torch.Tensor):
        return torch.cat(parts)
    if isinstance(first, StackedState):
        return type(first).joined(parts)
    if isinstance(first, RandomGenerators):
        return RandomGenerators([generator for part in parts for generator in part.generators])
    if any(part is not first and part != first for part in parts):
        raise ValueError(f"{name} differs between the windows of a stack: {parts}")
    return first


def _put(whole: Any, slot: int, one: Any) -> None:
    if isinstance(whole, torch.Tensor):
        whole[slot].copy_(one[0])
    elif isinstance(whole, StackedState):
        whole.put(slot, one)
    elif isinstance(whole, RandomGenerators):
        whole.generators[slot] = one.generators[0]


def _kept(whole: Part, slots: Sequence[int]) -> Part | Any:
    if isinstance(whole, torch.Tensor):
        # one by one: a list of indices would have to be sent to the device
        return torch.stack([whole[slot] for slot in slots])
    if isinstance(whole, StackedState):
        return whole.kept(slots)
    if isinstance(whole, RandomGenerators):
        return RandomGenerators([whole.generators[slot] for slot in slots])
    return whole
