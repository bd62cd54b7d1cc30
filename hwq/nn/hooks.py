"""What a module may declare so that the training loop need not know it.

    penalty() -> Tensor          a term of the loss (bit budgets, grid regularizers)
    project() -> None            called after every optimizer step (clipping, snapping)
    begin_epoch(progress) -> None  progress in [0, 1); a phase of the method (freeze, anneal)
    param_groups(lr) -> list     optimizer groups for this module's own parameters, which leave the default
                                 group

Any submodule of a net may have any of them; a quantization method puts them on the modules its injectors
create.
"""

from __future__ import annotations

from typing import Any

import torch
from torch import Tensor, nn


class Hooks:
    """The declared hooks of a net, gathered once: call it anew if modules come or go."""

    def __init__(self, net: nn.Module) -> None:
        self._penalties = _declared(net, "penalty")
        self._projections = _declared(net, "project")
        self._epochs = _declared(net, "begin_epoch")

    def penalty(self) -> Tensor | float:
        """Sum of all declared loss terms; 0 if there are none."""
        return sum((f() for f in self._penalties), 0.0)

    @torch.no_grad()
    def project(self) -> None:
        """Run every declared projection."""
        for f in self._projections:
            f()

    def begin_epoch(self, progress: float) -> None:
        """Tell every module that asks how far training is."""
        for f in self._epochs:
            f(progress)


def _declared(net: nn.Module, name: str) -> list[Any]:
    return [getattr(m, name) for m in net.modules() if callable(getattr(type(m), name, None))]


def param_groups(net: nn.Module, lr: float, scale_lr: float) -> list[dict[str, Any]]:
    """Optimizer groups: declared ones, learned scales at lr * scale_lr, everything else. Each holds
    `base_lr`.
    """
    groups = [g for f in _declared(net, "param_groups") for g in f(lr)]
    taken = {id(p) for g in groups for p in g["params"]}
    rest = [(n, p) for n, p in net.named_parameters() if id(p) not in taken and p.requires_grad]
    scales = [p for n, p in rest if n.endswith("scaling_impl.value")]
    others = [p for n, p in rest if not n.endswith("scaling_impl.value")]
    groups += [{"params": others, "lr": lr}]
    groups += [{"params": scales, "lr": lr * scale_lr, "weight_decay": 0.0}] if scales else []
    return [{**g, "base_lr": g["lr"]} for g in groups]
