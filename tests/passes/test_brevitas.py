"""Brevitas networks: the exported QONNX, lowered, against Brevitas itself in float64 and float32."""

from __future__ import annotations

import warnings
from itertools import pairwise
from pathlib import Path

import brevitas.nn as qnn
import numpy as np
import pytest
import torch
from brevitas.export import export_qonnx
from brevitas.quant import (
    Int8ActPerTensorFloat,
    Int8WeightPerChannelFloat,
    Int8WeightPerTensorFloat,
    Int32Bias,
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFloat,
)
from torch import nn

from hwq.frontend import read_qonnx
from hwq.golden import bounds, count_differences, decisions
from tests.agreement import assert_int_graph_is_exact

WIDTHS = (24, 12, 10, 6)


class Mlp(nn.Module):
    """Quantizers, then linear + BatchNorm + activation: bipolar, or learned scales with ReLU and quantized
    biases.
    """

    def __init__(self, bipolar: bool, weight_bits: int, act_bits: int, channels: bool) -> None:
        super().__init__()
        weight = (
            SignedBinaryWeightPerTensorConst
            if bipolar
            else Int8WeightPerChannelFloat
            if channels
            else Int8WeightPerTensorFloat
        )
        bits = {} if bipolar else {"weight_bit_width": weight_bits}
        layers: list[nn.Module] = [
            qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst, return_quant_tensor=True)
            if bipolar
            else qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=act_bits, return_quant_tensor=True)
        ]
        for i, (a, b) in enumerate(pairwise(WIDTHS)):
            biased = not bipolar
            layers.append(
                qnn.QuantLinear(
                    a, b, bias=biased, weight_quant=weight, bias_quant=Int32Bias if biased else None, **bits
                )
            )
            if i < len(WIDTHS) - 2:
                layers.append(nn.BatchNorm1d(b))
                layers.append(
                    qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst, return_quant_tensor=True)
                    if bipolar
                    else qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=act_bits, return_quant_tensor=True)
                )
        self.layers = nn.ModuleList(layers)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            x = layer(x)
        return x.value if hasattr(x, "value") else x


def made(bipolar: bool, weight_bits: int, act_bits: int, channels: bool) -> Mlp:
    """A net with random weights and statistics, its scales calibrated by a few batches."""
    torch.manual_seed(weight_bits * 10 + act_bits)
    net = Mlp(bipolar, weight_bits, act_bits, channels)
    net.train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(64, WIDTHS[0]))
        for m in net.modules():
            if isinstance(m, nn.BatchNorm1d):
                m.weight.normal_(0.5, 1)
                m.bias.normal_(0, 0.5)
    return net.eval()


def engine(net: Mlp, x: np.ndarray, names: list[str], dtype: torch.dtype) -> dict[str, np.ndarray]:
    """Outputs of the net's quantizers in order, under the names of the QONNX tensors."""
    found: list[np.ndarray] = []

    def keep(_m: nn.Module, _i: object, out: object) -> None:
        found.append(getattr(out, "value", out).detach().double().numpy())

    hooks = [m.register_forward_hook(keep) for m in net.layers if isinstance(m, (qnn.QuantIdentity, qnn.QuantReLU))]
    try:
        with torch.no_grad():
            net.to(dtype)(torch.from_numpy(x).to(dtype))
    finally:
        net.float()
        for h in hooks:
            h.remove()
    return dict(zip(names, found, strict=True))


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize(
    ("bipolar", "weight_bits", "act_bits", "channels"),
    [(True, 1, 1, False), (False, 4, 3, False), (False, 3, 4, True)],
)
def test_a_brevitas_net_lowers_exactly_and_differs_from_torch_in_ties_alone(
    tmp_path: Path, bipolar: bool, weight_bits: int, act_bits: int, channels: bool, dynamo: bool
) -> None:
    net = made(bipolar, weight_bits, act_bits, channels)
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(net, args=torch.randn(1, WIDTHS[0]), export_path=str(path), dynamo=dynamo)
    x = np.random.default_rng(0).normal(size=(400, WIDTHS[0])).astype(np.float32)
    lowered = assert_int_graph_is_exact(path.read_bytes(), x)
    real = read_qonnx(path)
    names = list(decisions(real, lowered))
    for dtype, arithmetic in ((torch.float64, bounds.FLOAT64_OWN_CONSTANTS), (torch.float32, bounds.FLOAT32)):
        for d in count_differences(real, lowered, [x], engine(net, x, names, dtype), arithmetic):
            assert len(d.flips) == d.ties, f"{dtype}: {d}"
