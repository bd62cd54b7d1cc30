"""Layers that Brevitas does not have."""

from __future__ import annotations

import torch
from torch import Tensor, nn


class ScalarNorm(nn.Module):
    """BatchNorm with one mean, variance, gain and offset for the whole tensor, so it never changes an argmax.

    Stands after the last layer: it brings integer logits into the range of the loss.
    """

    def __init__(self, eps: float = 1e-4, momentum: float = 0.1) -> None:
        super().__init__()
        self.eps = eps
        self.momentum: float | None = momentum
        self.weight = nn.Parameter(torch.ones(1))
        self.bias = nn.Parameter(torch.zeros(1))
        self.register_buffer("running_mean", torch.zeros(1))
        self.register_buffer("running_var", torch.ones(1))
        self.register_buffer("num_batches_tracked", torch.zeros((), dtype=torch.long))

    def reset_running_stats(self) -> None:
        """Forget the running statistics."""
        self.running_mean.zero_()
        self.running_var.fill_(1)
        self.num_batches_tracked.zero_()

    def forward(self, x: Tensor) -> Tensor:
        if not self.training:
            return (x - self.running_mean) / (self.running_var + self.eps).sqrt() * self.weight + self.bias
        x = x.to(self.weight.dtype)  # under autocast x comes in half precision
        mean, var = x.mean(), x.var(unbiased=False)
        with torch.no_grad():
            self.num_batches_tracked += 1
            m = 1.0 / float(self.num_batches_tracked) if self.momentum is None else self.momentum
            self.running_mean.lerp_(mean.reshape(1), m)
            self.running_var.lerp_(x.var().reshape(1), m)
        return (x - mean) / (var + self.eps).sqrt() * self.weight + self.bias


NORMS = (nn.BatchNorm1d, nn.BatchNorm2d, ScalarNorm)
