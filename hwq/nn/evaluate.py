"""Logits, predictions and accuracy of a net, with the tie rules of the hardware."""

from __future__ import annotations

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn


@torch.no_grad()
def logits(net: nn.Module, x: Tensor, batch: int = 8192) -> NDArray[np.float64]:
    """Outputs of a net in evaluation mode. x: [N, features] -> float [N, outputs]."""
    was = net.training
    net.eval()
    out = torch.cat([net(part) for part in x.split(batch)]).cpu().numpy()
    net.train(was)
    return out


def predictions(out: NDArray[np.floating], head: str) -> NDArray[np.int64]:
    """Class indices [N]: the lowest index among equal maxima; for one output (`threshold`) whether it is
    >= 0.
    """
    if head == "threshold" or out.shape[1] == 1:
        return (out[:, 0] >= 0).astype(np.int64)
    return out.argmax(axis=1)


def accuracy(net: nn.Module, x: Tensor, y: Tensor, head: str) -> float:
    """Per cent of frames classified right."""
    return 100.0 * float((predictions(logits(net, x), head) == y.cpu().numpy()).mean())
