"""AdamW (Loshchilov and Hutter 2019) as torch's one kernel, without what ``torch.optim`` puts around it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import torch
from torch import nn

from clusterfolio.models.train_config import TrainConfig

#: Devices for which torch has the kernel.
FUSED = ("cpu", "cuda")

BETAS, EPS = (0.9, 0.999), 1e-8


class FusedAdamW:
    """The steps of ``torch.optim.AdamW(..., fused=True)``, to the bit, and its state dictionary.

    An optimizer of ``torch.optim`` imports torch's compiler when it is made, a second of CPU time and 70 MB that
    nothing here has a use for, and a step of a small network takes twice as long as the kernel.

    Args:
        parameters: on one device of ``FUSED``, of one floating-point type.
    """

    def __init__(self, parameters: Sequence[torch.Tensor], learning_rate: float, weight_decay: float):
        self.parameters = parameters
        self.learning_rate = learning_rate
        self.weight_decay = weight_decay
        self.state: dict[int, dict[str, torch.Tensor]] = {}

    @torch.no_grad()
    def step(self) -> None:
        """Change every parameter that has a gradient."""
        moved = [(number, each, each.grad) for number, each in enumerate(self.parameters) if each.grad is not None]
        for number, parameter, _ in moved:
            if number not in self.state:
                self.state[number] = {
                    "step": torch.zeros((), dtype=torch.float32, device=parameter.device),
                    "exp_avg": torch.zeros_like(parameter),
                    "exp_avg_sq": torch.zeros_like(parameter),
                }
        parameters, gradients = [each for _, each, _ in moved], [gradient for *_, gradient in moved]
        steps, means, squares = (
            [self.state[number][name] for number, *_ in moved] for name in ("step", "exp_avg", "exp_avg_sq")
        )
        torch._foreach_add_(steps, 1)
        torch._fused_adamw_(
            parameters, gradients, means, squares, [], steps, lr=self.learning_rate, beta1=BETAS[0], beta2=BETAS[1],
            weight_decay=self.weight_decay, eps=EPS, amsgrad=False, maximize=False,
        )  # fmt: skip

    def state_dict(self) -> dict[str, Any]:
        """What is remembered, by number of the parameter, as ``torch.optim.Optimizer.state_dict`` has it."""
        return {"state": {number: dict(state) for number, state in self.state.items()}, "param_groups": []}

    def load_state_dict(self, saved: Mapping[str, Any]) -> None:
        """Remember what ``state_dict`` gave, on the parameters' device."""
        self.state = {
            number: {name: self._as_the_kernel_reads(number, name, tensor) for name, tensor in state.items()}
            for number, state in saved["state"].items()
        }

    def _as_the_kernel_reads(self, number: int, name: str, tensor: torch.Tensor) -> torch.Tensor:
        """A copy that lies in memory as the parameter does; a file holds tensors row by row."""
        parameter = self.parameters[number]
        like = torch.zeros((), device=parameter.device) if name == "step" else torch.empty_like(parameter)
        return like.copy_(tensor).detach()


Optimizer = torch.optim.Optimizer | FusedAdamW


def make_optimizer(module: nn.Module, config: TrainConfig) -> Optimizer:
    """AdamW of all parameters, which must be on their device; torch's own where it has no kernel for them."""
    parameters = list(module.parameters())
    kinds = {(each.device.type, each.dtype) for each in parameters}
    if len(kinds) == 1 and all(device in FUSED and dtype.is_floating_point for device, dtype in kinds):
        return FusedAdamW(parameters, config.learning_rate, config.weight_decay)
    return torch.optim.AdamW(parameters, lr=config.learning_rate, weight_decay=config.weight_decay)
