"""Logits, predictions and accuracy of a net, with the tie rules of the hardware."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import torch
from brevitas.nn.quant_layer import QuantNonLinearActLayer
from numpy.typing import NDArray
from torch import Tensor, nn

from hwq.data import Encoding
from hwq.errors import ModelError
from hwq.nn.prepare import build
from hwq.nn.recipe import Recipe, load_recipe


def load_run(run: Path) -> tuple[Recipe, nn.Module]:
    """The recipe and the trained Brevitas net (evaluation mode, CPU) of a finished run directory.

    Raises ModelError when the run has no finished checkpoint.
    """
    r = load_recipe(run)
    encoding = Encoding.from_json((run / "encoding.json").read_text())
    net = build(r, encoding.outputs)
    try:
        state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["final"]
    except (OSError, KeyError) as e:
        raise ModelError(
            f"{run / 'checkpoint.pt'}: no finished net in it ({e}); run training to its end"
        ) from None
    net.load_state_dict(state)
    return r, net.eval()


@torch.no_grad()
def quantizer_levels(net: nn.Module, x: Tensor, double: bool = False) -> dict[str, NDArray[np.int64]]:
    """What every activation quantizer of a net puts out, as integer levels (bipolar: -1, +1), in forward
    order.

    x: encoded frames [N, features]. Returns {module path: int64 [N, ...]}. double: computed in float64,
    with the float32 parameters as they are. Leaves the net unchanged.
    """
    was = {k: v.clone() for k, v in net.state_dict().items()}
    net = net.double() if double else net
    out: dict[str, NDArray[np.int64]] = {}

    def keep(name: str, act: nn.Module) -> Any:
        def hook(_: nn.Module, __: Any, y: Any) -> None:
            level = getattr(y, "value", y) / act.act_quant.scale()
            out[name] = level.round().to(torch.int64).cpu().numpy()

        return act.register_forward_hook(hook)

    acts = [(n, m) for n, m in net.named_modules() if isinstance(m, QuantNonLinearActLayer)]
    handles = [keep(n, m) for n, m in acts]
    try:
        net.eval()(x.double() if double else x)
    finally:
        for h in handles:
            h.remove()
        net.float().load_state_dict(was)
    return out


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
