"""A device beside the CPU for machines without a GPU: its tensors are the CPU's, but cannot be told so.

What a GPU would refuse, it refuses: work on tensors of two devices. What a GPU would be waited for, it
notes: values read back, sent, or counted before they can be used. What it computes is what the CPU does.
"""

from __future__ import annotations

import torch
from torch.utils._python_dispatch import TorchDispatchMode, return_and_correct_aliasing
from torch.utils.backend_registration import _setup_privateuseone_for_python_backend

_setup_privateuseone_for_python_backend("other")
OTHER = torch.device("other", 0)
# What gives as many values as there are True ones: the device is asked for their number.
COUNTED = ("aten::nonzero", "aten::masked_select", "aten::_unique2")


class Held(torch.Tensor):
    """A tensor on the other device."""

    @staticmethod
    def __new__(cls, raw):
        """Hide a tensor of the CPU."""
        whole = torch.Tensor._make_wrapper_subclass(
            cls,
            raw.size(),
            strides=raw.stride(),
            storage_offset=raw.storage_offset(),
            dtype=raw.dtype,
            device=OTHER,
        )
        whole.raw = raw
        return whole

    @classmethod
    def __torch_dispatch__(cls, function, types, args=(), kwargs=None):
        """Refuse what is not watched, as nothing would be noted."""
        raise RuntimeError(f"{function} outside of OtherDevice")

    def tolist(self):
        """As torch's own, which knows no tensors but its own."""
        return self.cpu().tolist()


class Generator(torch.Generator):
    """Draws the CPU's numbers, for whichever device it is made."""

    def __new__(cls, device="cpu"):
        """Of a device."""
        made = super().__new__(cls, "cpu")
        made.where = torch.device(device)
        return made

    @property
    def device(self):
        """Where what is drawn is to be."""
        return self.where


class OtherDevice(TorchDispatchMode):
    """The device "other", while it is entered."""

    def __init__(self):
        super().__init__()
        self.waits = []
        """What it was waited for."""

    def __torch_dispatch__(self, function, types, args=(), kwargs=None):
        """Do on the CPU what is asked of either device."""
        name, kwargs = function._schema.name, kwargs or {}
        held, ours = [], []

        def on_cpu(leaf):
            if isinstance(leaf, torch.Tensor):
                there = isinstance(leaf, Held)
                (held if there else ours).append(leaf)
                return leaf.raw if there else leaf
            return torch.device("cpu") if isinstance(leaf, torch.device) else leaf

        args_here, kwargs_here = mapped(on_cpu, args), mapped(on_cpu, kwargs)
        asked = kwargs.get("device")
        on_other = bool(held) if asked is None else torch.device(asked).type == "other"
        if name in ("aten::_to_copy", "aten::copy_"):
            to_other = isinstance(args[0], Held) if name == "aten::copy_" else on_other
            if (ours and to_other) or (held and not to_other):
                self.waits.append(name)
        elif held and any(tensor.dim() for tensor in ours):
            raise RuntimeError(f"{name}: tensors on two devices, {[t.shape for t in ours]} here")
        elif held and (name in (*COUNTED, "aten::_local_scalar_dense") or _picks(name, args)):
            self.waits.append(name)
        result = function(*args_here, **kwargs_here)
        if not on_other or name == "aten::_local_scalar_dense":
            return result
        result = mapped(lambda leaf: Held(leaf) if isinstance(leaf, torch.Tensor) else leaf, result)
        return return_and_correct_aliasing(function, args, kwargs, result) if held else result


def _picks(name, args):
    """Whether values are picked by a mask, of which the True ones are counted."""
    if not name.startswith("aten::index") or not isinstance(args[1], (list, tuple)):
        return False
    return any(isinstance(leaf, Held) and leaf.dtype == torch.bool for leaf in args[1])


def mapped(one, values):
    """Apply a function to each leaf of what an operation takes or returns.

    Torch's own `tree_map` knows more kinds of containers, at four times the time of these operations.
    """
    if isinstance(values, (list, tuple)):
        return type(values)([mapped(one, value) for value in values])
    if isinstance(values, dict):
        return {name: mapped(one, value) for name, value in values.items()}
    return one(values)
