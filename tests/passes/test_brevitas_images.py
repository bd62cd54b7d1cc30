"""Brevitas networks on images: the exported QONNX, lowered, against Brevitas itself in float64 and float32."""

from __future__ import annotations

import warnings
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
    SignedBinaryActPerTensorConst,
    SignedBinaryWeightPerTensorConst,
    Uint8ActPerTensorFloat,
)
from torch import nn

from hwq.frontend import read_qonnx
from hwq.golden import bounds, count_differences, decisions
from hwq.ir import ops
from tests.agreement import assert_int_graph_is_exact

SHAPE = (3, 12, 12)


def conv(a: int, b: int, k: int, bits: int, **kw: object) -> nn.Module:
    quant = Int8WeightPerChannelFloat if bits > 2 else Int8WeightPerTensorFloat
    return qnn.QuantConv2d(a, b, k, bias=False, weight_quant=quant, weight_bit_width=bits, **kw)


def relu(bits: int) -> nn.Module:
    return qnn.QuantReLU(act_quant=Uint8ActPerTensorFloat, bit_width=bits)


def signed(bits: int) -> nn.Module:
    return qnn.QuantIdentity(act_quant=Int8ActPerTensorFloat, bit_width=bits)


class Residual(nn.Module):
    """A stem, a residual block whose branches have scales of their own, a depthwise one, and a dense layer."""

    def __init__(self) -> None:
        super().__init__()
        self.stem = nn.Sequential(signed(8), conv(3, 8, 3, 4, padding=1), nn.BatchNorm2d(8), relu(4), nn.MaxPool2d(2))
        self.main = nn.Sequential(conv(8, 12, 3, 3, stride=2, padding=1), nn.BatchNorm2d(12), signed(4))
        self.skip = nn.Sequential(conv(8, 12, 1, 4, stride=2), nn.BatchNorm2d(12), signed(4))
        self.join = relu(4)
        self.depthwise = nn.Sequential(conv(12, 12, 3, 4, padding=1, groups=12), nn.BatchNorm2d(12), relu(3))
        self.pointwise = nn.Sequential(conv(12, 10, 1, 2), nn.BatchNorm2d(10), relu(4), nn.AvgPool2d(3))
        self.dense = qnn.QuantLinear(10, 5, bias=True, weight_quant=Int8WeightPerTensorFloat, weight_bit_width=4)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        x = self.stem(x)
        x = self.join(self.main(x) + self.skip(x))
        x = self.pointwise(self.depthwise(x))
        return self.dense(x.flatten(1))


def sign() -> nn.Module:
    return qnn.QuantIdentity(act_quant=SignedBinaryActPerTensorConst)


class Binary(nn.Module):
    """Bipolar weights and activations, convolutions without padding: XNOR all the way."""

    def __init__(self) -> None:
        super().__init__()
        kind = {"bias": False, "weight_quant": SignedBinaryWeightPerTensorConst}
        self.layers = nn.Sequential(
            signed(8),
            qnn.QuantConv2d(3, 8, 3, **kind),
            nn.BatchNorm2d(8),
            sign(),
            qnn.QuantConv2d(8, 12, 3, **kind),
            nn.BatchNorm2d(12),
            sign(),
            nn.MaxPool2d(2),
            nn.Flatten(),
            qnn.QuantLinear(12 * 16, 5, **kind),
        )

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        return self.layers(x)


def made(kind: type[nn.Module]) -> nn.Module:
    """A net with random weights and statistics, its scales calibrated by a few batches."""
    torch.manual_seed(1)
    net = kind().train()
    with torch.no_grad():
        for _ in range(3):
            net(torch.randn(32, *SHAPE))
        for m in net.modules():
            if isinstance(m, nn.BatchNorm2d):
                m.weight.normal_(0.5, 1)
                m.bias.normal_(0, 0.5)
    return net.eval()


def engine(net: nn.Module, x: np.ndarray, dtype: torch.dtype) -> list[np.ndarray]:
    """Outputs of the net's activation quantizers, in the order they run."""
    found: list[np.ndarray] = []

    def keep(_m: nn.Module, _i: object, out: object) -> None:
        found.append(getattr(out, "value", out).detach().double().numpy())

    kinds = (qnn.QuantIdentity, qnn.QuantReLU)
    hooks = [m.register_forward_hook(keep) for m in net.modules() if isinstance(m, kinds)]
    try:
        with torch.no_grad():
            net.to(dtype)(torch.from_numpy(x).to(dtype))
    finally:
        net.float()
        for h in hooks:
            h.remove()
    return found


@pytest.mark.parametrize("dynamo", [False, pytest.param(True, marks=pytest.mark.slow)])
@pytest.mark.parametrize("kind", [Residual, Binary])
def test_a_brevitas_net_on_images_lowers_exactly_and_differs_from_torch_in_ties_alone(
    tmp_path: Path, kind: type[nn.Module], dynamo: bool
) -> None:
    net = made(kind)
    path = tmp_path / "net.onnx"
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        export_qonnx(net, args=torch.randn(1, *SHAPE), export_path=str(path), dynamo=dynamo)
    x = np.random.default_rng(0).normal(size=(40, *SHAPE)).astype(np.float32)
    lowered = assert_int_graph_is_exact(path.read_bytes(), x)
    matvecs = [n.op for n in lowered.nodes if isinstance(n.op, ops.MatVec)]
    if kind is Binary:
        assert [op.xnor for op in matvecs] == [False, True, True]
    else:
        assert 12 in [op.groups for op in matvecs]
        combine = next(n.op for n in lowered.nodes if isinstance(n.op, ops.Combine))
        assert max(int(abs(lowered.array(k)).max()) for k in combine.mul) < 1 << 8
    real = read_qonnx(path)
    names = list(decisions(real, lowered))
    for dtype, arithmetic in ((torch.float64, bounds.FLOAT64_OWN_CONSTANTS), (torch.float32, bounds.FLOAT32)):
        values = dict(zip(names, engine(net, x, dtype), strict=True))
        for d in count_differences(real, lowered, [x], values, arithmetic):
            assert len(d.flips) == d.ties, f"{dtype}: {d}"
