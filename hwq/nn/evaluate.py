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
from hwq.nn.images import Images
from hwq.nn.prepare import build, net_frame
from hwq.nn.recipe import Recipe, load_recipe

Floats = NDArray[np.float64]


def load_run(run: Path) -> tuple[Recipe, nn.Module]:
    """The recipe and the trained Brevitas net (evaluation mode, CPU) of a finished run directory.

    Raises ModelError when the run has no finished checkpoint.
    """
    r = load_recipe(run)
    encoding = Encoding.from_json((run / "encoding.json").read_text())
    net = build(r, net_frame(encoding))
    try:
        state = torch.load(run / "checkpoint.pt", map_location="cpu", weights_only=True)["final"]
    except (OSError, KeyError) as e:
        raise ModelError(
            f"{run / 'checkpoint.pt'}: no finished net in it ({e}); run training to its end"
        ) from None
    net.load_state_dict(state)
    return r, net.eval()


@torch.no_grad()
def quantizer_outputs(
    net: nn.Module, x: NDArray[np.float32], double: bool = False
) -> tuple[dict[str, Floats], Floats]:
    """What every activation quantizer of a net puts out, in forward order, and the logits; a quantizer that several
    layers share, once a layer.

    x: encoded frames [N, ...] as the net takes them. Returns
    {module path: real values [N, ...]} and logits [N, outputs]. double:
    computed in float64 from the float32 parameters, derived constants included. Leaves the net unchanged.
    """
    was = {k: v.clone() for k, v in net.state_dict().items()}
    net = net.double() if double else net
    out: dict[str, Floats] = {}

    def keep(name: str) -> Any:
        def hook(_: nn.Module, __: Any, y: Any) -> None:
            uses = sum(n.split(" again")[0] == name for n in out)
            out[name + " again" * uses] = getattr(y, "value", y).double().cpu().numpy()

        return hook

    acts = {n: m for n, m in net.named_modules() if isinstance(m, QuantNonLinearActLayer)}
    handles = [m.register_forward_hook(keep(n)) for n, m in acts.items()]
    try:
        y = net.eval()(torch.from_numpy(x).to(torch.float64 if double else torch.float32))
    finally:
        for h in handles:
            h.remove()
        net.float().load_state_dict(was)
    return out, getattr(y, "value", y).double().cpu().numpy()


@torch.no_grad()
def logits(net: nn.Module, x: Tensor | Images, batch: int | None = None) -> NDArray[np.float64]:
    """Outputs of a net in evaluation mode. x: [N, features] or images -> float [N, outputs(, height, width)]."""
    was = net.training
    net.eval()
    batch = batch or (250 if len(x.shape) > 2 else 8192)  # activations of images are large
    out = torch.cat([net(part) for part in x.split(batch)]).cpu().numpy()
    net.train(was)
    return out


def predictions(out: NDArray[np.floating], head: str) -> NDArray[np.int64]:
    """Class indices [N(, height, width)]: the lowest index among equal maxima; for one output (`threshold`)
    whether it is >= 0.
    """
    if head == "threshold" or out.shape[1] == 1:
        return (out[:, 0] >= 0).astype(np.int64)
    return out.argmax(axis=1)


def accuracy(net: nn.Module, x: Tensor | Images, y: Tensor, head: str) -> float:
    """Per cent of frames (of pixels, where each has a class) classified right."""
    return 100.0 * float((predictions(logits(net, x), head) == y.cpu().numpy()).mean())
