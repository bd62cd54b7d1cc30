"""FC: a dense net with its own weight, input and output bits in every layer.

    input quantizer -> [dropout] -> (linear -> norm -> activation quantizer -> [dropout]) * n -> linear ->
    norm

With constant scales and signed activations this is the topology of the TFC, SFC and LFC examples of Brevitas.
"""

from __future__ import annotations

from collections.abc import Sequence

from brevitas import nn as qnn
from brevitas.quant import Int32Bias
from torch import Tensor, nn

from hwq.nn.layers import ScalarNorm
from hwq.nn.quant import QuantSpec, method
from hwq.nn.recipe import Input, Layer, Recipe


class FC(nn.Module):
    """layers: fully filled recipe layers; `quantized=False` is the float baseline of the same net."""

    def __init__(
        self,
        inputs: int,
        layers: Sequence[Layer],
        input_: Input,
        weight_init: str = "default",
        clip_weights: float = 0.0,
        quantized: bool = True,
    ) -> None:
        super().__init__()
        self.clip_weights = clip_weights if quantized else 0.0
        spec = QuantSpec(input_.bits, input_.signed, input_.narrow, input_.scale, limit=input_.limit)
        exact_bias = layers[0].bias == "int"
        self.input = _act(spec, layers[0].method, exact_bias) if quantized else nn.Identity()
        self.input_dropout = _dropout(layers[0].dropout)
        self.layers = nn.ModuleDict()
        for i, layer in enumerate(layers):
            last = i == len(layers) - 1
            exact_bias = not last and layers[i + 1].bias == "int" and quantized
            self.layers[str(layer.name)] = _block(inputs, layer, last, exact_bias, quantized)
            inputs = layer.out
        if weight_init == "uniform" and quantized:
            for m in self.linears():
                nn.init.uniform_(m.weight, -1, 1)

    @classmethod
    def from_recipe(cls, recipe: Recipe, inputs: int, quantized: bool = True) -> FC:
        """The net a recipe describes, for `inputs` encoded features."""
        t = recipe.train
        return cls(inputs, recipe.named_layers(), recipe.input, t.weight_init, t.clip_weights, quantized)

    def linears(self) -> list[nn.Linear]:
        """The dense layers, first to last."""
        return [m for m in self.modules() if isinstance(m, nn.Linear)]

    def project(self) -> None:
        """Clip weights to the range where their gradient lives (BinaryConnect, Courbariaux 2015)."""
        if self.clip_weights:
            for m in self.linears():
                m.weight.clamp_(-self.clip_weights, self.clip_weights)

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, inputs], encoded. Returns logits [N, outputs]."""
        x = self.input_dropout(self.input(x))
        for block in self.layers.values():
            x = block(x)
        return x


def _block(inputs: int, layer: Layer, last: bool, exact: bool, quantized: bool) -> nn.Sequential:
    block = nn.Sequential()
    bias = layer.bias != "none"
    if quantized:
        weight = QuantSpec(
            layer.weight_bits, True, layer.weight_narrow, layer.weight_scale, layer.weight_granularity
        )
        block.linear = qnn.QuantLinear(
            inputs,
            layer.out,
            bias=bias,
            weight_quant=method(layer.method).weight(weight),
            bias_quant=Int32Bias if layer.bias == "int" else None,
        )
        block.linear.quant_spec = weight
    else:
        block.linear = nn.Linear(inputs, layer.out, bias=bias)
    if layer.norm != "none":
        block.norm = nn.BatchNorm1d(layer.out) if layer.norm == "batch" else ScalarNorm()
    if last:
        return block
    relu = layer.act == "relu"
    act = QuantSpec(layer.act_bits, not relu, layer.act_narrow, layer.act_scale, limit=layer.act_limit)
    block.act = _act(act, layer.method, exact) if quantized else nn.ReLU() if relu else nn.Hardtanh()
    block.dropout = _dropout(layer.dropout)
    return block


def _act(spec: QuantSpec, name: str | None, exact: bool) -> nn.Module:
    act = qnn.QuantIdentity(act_quant=method(name).act(spec), return_quant_tensor=exact)
    act.quant_spec = spec
    return act


def _dropout(p: float | None) -> nn.Module:
    return nn.Dropout(p) if p else nn.Identity()
