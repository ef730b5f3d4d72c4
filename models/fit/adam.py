"""Adam, without torch's compiler."""

from __future__ import annotations

import torch
from torch import nn
from torch.optim.adam import adam

# Those of Kingma & Ba (2015).
BETA1, BETA2, EPSILON = 0.9, 0.999, 1e-8


class Adam:
    """The Adam optimiser [1]_ of one network: torch's own fused step, and its state.

    `torch.optim.Adam` imports torch's compiler when it is made: 2 s and some 60 MiB in every process, for
    something that no fit uses.

    Parameters
    ----------
    network
        Its parameters are changed in place.
    learning_rate
        Step size, above 0; may be changed between steps.

    References
    ----------
    .. [1] D. P. Kingma and J. Ba, "Adam: A Method for Stochastic Optimization", ICLR 2015.
    """

    def __init__(self, network: nn.Module, learning_rate: float) -> None:
        self.learning_rate = learning_rate
        self._parameters: list[torch.Tensor] = list(network.parameters())
        self._first = [torch.zeros_like(p) for p in self._parameters]
        self._second = [torch.zeros_like(p) for p in self._parameters]
        # float32 and on the parameters' device, as the fused step demands
        self._steps = [torch.zeros((), device=p.device) for p in self._parameters]

    def clear_gradients(self) -> None:
        """Forget the gradients of the last step."""
        for parameter in self._parameters:
            parameter.grad = None

    @torch.no_grad()
    def step(self) -> None:
        """Take one step against the gradients; every parameter must have one."""
        gradients = [parameter.grad for parameter in self._parameters]
        adam(
            self._parameters,
            [gradient for gradient in gradients if gradient is not None],
            self._first,
            self._second,
            [],
            self._steps,
            fused=True,
            amsgrad=False,
            beta1=BETA1,
            beta2=BETA2,
            lr=self.learning_rate,
            weight_decay=0,
            eps=EPSILON,
            maximize=False,
        )
