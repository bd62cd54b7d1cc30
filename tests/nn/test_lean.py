"""The lean quantizers against Brevitas's own: the same bits forward, the same gradients up to rounding."""

from __future__ import annotations

import pytest
import torch
from brevitas import nn as qnn
from brevitas.core.quant import BinaryQuant, ClampedBinaryQuant, IntQuant

from hwq.nn import quant
from hwq.nn.quant import QuantSpec, Uniform

SPECS = [
    QuantSpec(4, signed=False, scale="float"),
    QuantSpec(3, narrow=False, scale="po2"),
    QuantSpec(2, scale="float", granularity="per_channel"),
    QuantSpec(8, signed=False, scale="const"),
    QuantSpec(1, scale="const"),
    QuantSpec(1, scale="float"),
    QuantSpec(1, scale="float", granularity="per_channel"),
]


def pair(spec: QuantSpec, monkeypatch, weight: bool):
    """The same quantized layer twice: with the lean quantizers and with Brevitas's."""
    made = []
    for lean in (True, False):
        if not lean:
            monkeypatch.setattr(quant, "LeanInt", IntQuant)
            monkeypatch.setattr(quant, "LeanBinary", BinaryQuant)
            monkeypatch.setattr(quant, "LeanClampedBinary", ClampedBinaryQuant)
        if weight:
            made.append(qnn.QuantConv2d(3, 5, 3, bias=False, weight_quant=Uniform().weight(spec)))
        else:
            made.append(qnn.QuantIdentity(act_quant=Uniform().act(spec)))
    made[1].load_state_dict(made[0].state_dict())
    return made


def inputs(dtype) -> torch.Tensor:
    """Values in and out of range, many of them on rounding boundaries, zeros of both signs."""
    x = torch.randn(40, 3, 9, 9, generator=torch.Generator().manual_seed(3)).to(dtype)
    x[::2] = (x[::2] * 15).round() / 30
    x[0, 0, 0, :2] = torch.tensor([0.0, -0.0])
    return x.contiguous(memory_format=torch.channels_last)


@pytest.mark.parametrize("spec", [s for s in SPECS if s.granularity == "per_tensor"], ids=str)
@pytest.mark.parametrize("dtype", [torch.float32, torch.float64])
def test_activations_equal_those_of_brevitas_and_so_do_their_gradients(spec, dtype, monkeypatch):
    results = []
    for act in pair(spec, monkeypatch, weight=False):
        act.to(dtype)
        x = inputs(dtype)
        if not spec.bipolar:  # on the very end of the range the two differ: Brevitas decides by the rounded value
            scale = float(act.act_quant.scale().detach())
            for end in (spec.int_min - 0.5, spec.int_max + 0.5):
                x[(x / scale - end).abs() < 1e-3] += 0.01
        y = act(x.requires_grad_())
        (y * torch.linspace(-1, 1, y.numel(), dtype=dtype).view_as(y)).sum().backward()
        results.append([y.detach(), x.grad, *(p.grad for p in act.parameters())])
    lean, own = results
    assert torch.equal(lean[0], own[0])
    at_the_edge = inputs(dtype).abs() == spec.limit if spec.bipolar else torch.zeros_like(lean[1]).bool()
    assert torch.allclose(lean[1][~at_the_edge], own[1][~at_the_edge], rtol=1e-4, atol=1e-5)
    assert len(lean) == len(own) == (3 if spec.scale != "const" else 2)
    for a, b in zip(lean[2:], own[2:], strict=True):
        assert torch.allclose(a, b, rtol=1e-3, atol=1e-3)


@pytest.mark.parametrize("spec", SPECS, ids=str)
def test_weights_equal_those_of_brevitas_and_so_do_their_gradients(spec, monkeypatch):
    if not spec.signed:
        return
    results = []
    for layer in pair(spec, monkeypatch, weight=True):
        with torch.no_grad():
            layer.weight.copy_(inputs(torch.float32)[:5, :, :3, :3])
        y = layer.quant_weight().value
        (y * torch.linspace(-1, 1, y.numel()).view_as(y)).sum().backward()
        results.append([y.detach(), *(p.grad for p in layer.parameters() if p.grad is not None)])
    lean, own = results
    assert torch.equal(lean[0], own[0])
    assert len(lean) == len(own) == (3 if spec.scale != "const" else 2)
    for a, b in zip(lean[1:], own[1:], strict=True):
        assert torch.allclose(a, b, rtol=1e-4, atol=1e-4)
