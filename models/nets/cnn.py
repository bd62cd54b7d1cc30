"""CNN: any net that a recipe's layers describe, convolutions and branches included (hwq.nn.topology).

    input quantizer -> layers in order, each: join -> operation -> norm -> activation quantizer -> dropout

Images are [N, channels, height, width], channel last in memory.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from brevitas import nn as qnn
from brevitas.quant import Int32Bias
from torch import Tensor, nn

from hwq.errors import ConfigError
from hwq.nn.layers import ScalarNorm
from hwq.nn.quant import QuantSpec, method
from hwq.nn.recipe import Input, Layer, Recipe
from hwq.nn.topology import INPUT, Shape, joined_shape, shapes, sources


class CNN(nn.Module):
    """layers: fully filled recipe layers; `quantized=False` is the float baseline of the same net.

    frame: shape of one input, (channels, height, width) or (features,). Raises ConfigError if a layer does not fit.
    """

    def __init__(
        self,
        frame: Shape,
        layers: Sequence[Layer],
        input_: Input,
        weight_init: str = "default",
        clip_weights: float = 0.0,
        quantized: bool = True,
        place: str = "net",
    ) -> None:
        super().__init__()
        self.clip_weights = clip_weights if quantized else 0.0
        self.sources = dict(zip((str(n.name) for n in layers), sources(layers), strict=True))
        exact = _exact_sources(layers, place) if quantized else frozenset()
        size = shapes(layers, frame, place)
        spec = QuantSpec(input_.bits, input_.signed, input_.narrow, input_.scale, limit=input_.limit)
        self.input = _act(spec, layers[0].method, INPUT in exact) if quantized else nn.Identity()
        self.input_dropout = _dropout(layers[0].dropout if layers[0].kind in (None, "dense") else None)
        self.layers = nn.ModuleDict()
        for i, layer in enumerate(layers):
            name = str(layer.name)
            coming = [size[f] for f in self.sources[name]]
            block = Block(layer, coming, last=i == len(layers) - 1, quantized=quantized)
            if block.spec is not None:
                block.act = _act(block.spec, layer.method, name in exact) if quantized else self.float_act(block.spec)
            if layer.share is not None:
                block.act = self.layers[layer.share].act
            self.layers[name] = block
        if weight_init == "uniform" and quantized:
            for m in self.matrices():
                nn.init.uniform_(m.weight, -1, 1)
        self._early_pools = _early_pools(layers)
        self._last_use = {f: name for name, froms in self.sources.items() for f in froms}

    @classmethod
    def from_recipe(cls, recipe: Recipe, frame: Shape, quantized: bool = True) -> CNN:
        """The net a recipe describes, for encoded frames of that shape."""
        t, layers = recipe.train, recipe.named_layers()
        place = f"recipe '{recipe.name}'"
        return cls(frame, layers, recipe.input, t.weight_init, t.clip_weights, quantized, place)

    @staticmethod
    def float_act(spec: QuantSpec) -> nn.Module:
        """What the float baseline has in place of a quantizer: a learned scale clips nothing."""
        if not spec.signed:
            return nn.ReLU()
        return nn.Hardtanh(-spec.limit, spec.limit) if spec.scale == "const" else nn.Identity()

    def matrices(self) -> list[Any]:
        """The layers with weights, first to last."""
        return [m for m in self.modules() if isinstance(m, (nn.Linear, nn.Conv2d, nn.ConvTranspose2d))]

    def project(self) -> None:
        """Clip weights to the range where their gradient lives (BinaryConnect, Courbariaux 2015)."""
        if self.clip_weights:
            for m in self.matrices():
                m.weight.clamp_(-self.clip_weights, self.clip_weights)

    def forward(self, x: Tensor) -> Tensor:
        """x: float [N, *frame], encoded. Returns the last layer's output [N, ...]."""
        x = self.input(x)
        known = {INPUT: x if self.input_dropout is None else self.input_dropout(x)}
        early = self._early_pools if self.training else {}
        for name, block in self.layers.items():
            if name in early.values():
                known[name] = x = known[self.sources[name][0]]
            else:
                pool = self.layers[early[name]].linear if name in early else None
                known[name] = x = block(*(known[f] for f in self.sources[name]), early_pool=pool)
            for f in self.sources[name]:
                if self._last_use[f] == name:
                    known.pop(f, None)
        return x


class Block(nn.Module):
    """One layer of a recipe, its activation left to the net. coming: shapes of its inputs."""

    def __init__(self, layer: Layer, coming: Sequence[Shape], last: bool, quantized: bool) -> None:
        super().__init__()
        frame = joined_shape(layer, coming)
        self.join = {"add": Add(), "concat": Concat()}[layer.join] if layer.join else None
        self.flatten = nn.Flatten() if (layer.kind or "dense") == "dense" and len(frame) > 1 else None
        self.linear = _matrix(layer, frame, quantized) if layer.is_matrix else _shaper(layer, frame)
        self.norm = _norm(layer, frame) if layer.is_matrix and layer.norm != "none" else None
        self.act: nn.Module | None = None
        self.spec = None if last else _act_spec(layer)
        self.dropout = None if last else _dropout(layer.dropout)

    def forward(self, *xs: Tensor, early_pool: nn.Module | None = None) -> Tensor:
        """xs: its inputs. early_pool: a max pool to go in front of the quantizer."""
        x: Tensor = xs[0] if self.join is None else self.join(*(_plain(x) for x in xs))
        for step in (self.flatten, self.linear, self.norm, early_pool, self.act, self.dropout):
            if step is not None:
                x = step(x)
        return x


class Add(nn.Module):
    """Sum of its inputs."""

    def forward(self, *xs: Tensor) -> Tensor:
        total = xs[0]
        for x in xs[1:]:
            total = total + x
        return total


class Concat(nn.Module):
    """Its inputs one after another along the channels."""

    def forward(self, *xs: Tensor) -> Tensor:
        return torch.cat(xs, 1)


def _matrix(layer: Layer, frame: Shape, quantized: bool) -> nn.Module:
    biased = layer.bias != "none"
    kwargs: dict[str, Any] = {"bias": biased}
    if quantized:
        weight = QuantSpec(layer.weight_bits, True, layer.weight_narrow, layer.weight_scale, layer.weight_granularity)
        kwargs["weight_quant"] = method(layer.method).weight(weight)
        kwargs["bias_quant"] = Int32Bias if layer.bias == "int" else None
    kind = layer.kind or "dense"
    if kind == "dense":
        inputs = 1
        for n in frame:
            inputs *= n
        made = (qnn.QuantLinear if quantized else nn.Linear)(inputs, layer.out, **kwargs)
    else:
        kwargs |= {"kernel_size": layer.kernel_of(), "stride": layer.stride_of(), "padding": layer.pad_of()}
        out = layer.out or frame[0]
        if kind == "transposed":
            cls = qnn.QuantConvTranspose2d if quantized else nn.ConvTranspose2d
        else:
            cls = qnn.QuantConv2d if quantized else nn.Conv2d
            kwargs["dilation"] = layer.dilation_of()
            kwargs["groups"] = frame[0] if kind == "depthwise" else layer.groups or 1
        made = cls(frame[0], out, **kwargs)
        made.weight.data = made.weight.data.contiguous(memory_format=torch.channels_last)
    if quantized:
        made.quant_spec = weight
    return made


def _shaper(layer: Layer, frame: Shape) -> nn.Module | None:
    kernel, stride = layer.kernel and layer.kernel_of(), layer.kernel and layer.stride_of()
    match layer.kind:
        case "max_pool":
            return nn.MaxPool2d(kernel, stride, layer.pad_of())
        case "avg_pool":
            return nn.AvgPool2d(kernel, stride)
        case "global_pool":
            return nn.Sequential(nn.AdaptiveAvgPool2d(1), nn.Flatten())
        case "upsample":
            return nn.Upsample(scale_factor=layer.factor, mode="nearest")
        case "shuffle":
            return nn.PixelShuffle(layer.factor)
    return None


def _norm(layer: Layer, frame: Shape) -> nn.Module:
    if layer.norm == "tensor":
        return ScalarNorm()
    flat = (layer.kind or "dense") == "dense"
    return nn.BatchNorm1d(layer.out) if flat else nn.BatchNorm2d(layer.out or frame[0])


def _early_pools(layers: Sequence[Layer]) -> dict[str, str]:
    """{layer: the max pool that alone takes its output}. In training such a pool goes in front of the quantizer:
    quantizers are monotonic, so the result is the same, with fewer values to quantize.
    """
    users: dict[str, list[Layer]] = {}
    for layer, froms in zip(layers, sources(layers), strict=True):
        for f in froms:
            users.setdefault(f, []).append(layer)
    return {
        str(n.name): str(use[0].name)
        for n in layers[:-1]
        if len(use := users[str(n.name)]) == 1
        and use[0].kind == "max_pool"
        and (use[0].act, use[0].share, use[0].dropout or 0, n.dropout or 0, n.share) == ("none", None, 0, 0, None)
        and n.act != "none"
    }


def _exact_sources(layers: Sequence[Layer], place: str) -> frozenset[str]:
    """Names of the quantizers whose scale a layer with integer biases needs to know."""
    made = {INPUT: True, **{str(n.name): n.act != "none" or n.share is not None for n in layers}}
    found, wrong = set(), []
    for layer, froms in zip(layers, sources(layers), strict=True):
        if layer.bias == "int" and layer.is_matrix:
            found |= set(froms)
            if len(froms) > 1 or not made[froms[0]]:
                wrong.append(f"'{layer.name}': bias = \"int\" needs one input straight from an activation quantizer")
    if wrong:
        raise ConfigError(f"{place}: " + "; ".join(wrong))
    return frozenset(found)


def _act_spec(layer: Layer) -> QuantSpec | None:
    """The layer's own activation quantizer, if it has one."""
    if layer.share is not None or layer.act == "none":
        return None
    return QuantSpec(layer.act_bits, layer.act == "signed", layer.act_narrow, layer.act_scale, limit=layer.act_limit)


def _act(spec: QuantSpec, name: str | None, exact: bool) -> nn.Module:
    act = qnn.QuantIdentity(act_quant=method(name).act(spec), return_quant_tensor=exact)
    act.quant_spec = spec
    return act


def _plain(x: Any) -> Tensor:
    return getattr(x, "value", x)


def _dropout(p: float | None) -> nn.Module | None:
    return nn.Dropout(p) if p else None
