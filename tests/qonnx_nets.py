"""Random QONNX networks made with onnx.helper: dense layers, quantizers and elementwise chains of every
supported kind.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Any

import numpy as np
import onnx
from hypothesis import strategies as st
from onnx import TensorProto, helper, numpy_helper

DOMAIN = "qonnx.custom_op.general"
ROUNDINGS = ("ROUND", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN", "HALF_EVEN", "round")


@dataclass
class Net:
    """An ONNX model under construction; `x` is the tensor at its end, `n` its number of channels."""

    shape: tuple[int, ...]
    nodes: list[Any] = field(default_factory=list)
    inits: list[Any] = field(default_factory=list)
    annotations: dict[str, str] = field(default_factory=dict)
    x: str = "x"
    n: int = 0
    output_type: int = TensorProto.FLOAT
    outputs: list[str] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.n = int(np.prod(self.shape))

    def const(self, value: Any, dtype: Any = np.float32) -> str:
        name = f"c{len(self.inits)}"
        self.inits.append(numpy_helper.from_array(np.asarray(value, dtype=dtype), name))
        return name

    def add(self, op: str, *inputs: str, domain: str = "", outs: int = 1, **attrs: Any) -> str:
        names = [f"t{len(self.nodes)}" + ("" if i == 0 else f"_{i}") for i in range(outs)]
        self.nodes.append(
            helper.make_node(op, list(inputs), names, name=f"{op}_{len(self.nodes)}", domain=domain, **attrs)
        )
        return names[0]

    def then(self, op: str, *consts: str, **kw: Any) -> str:
        self.x = self.add(op, self.x, *consts, **kw)
        return self.x

    def quant(
        self,
        x: str,
        scale: Any,
        zero: Any = 0.0,
        bits: float = 4,
        signed: int = 1,
        narrow: int = 0,
        rounding: str = "ROUND",
    ) -> str:
        return self.add(
            "Quant",
            x,
            self.const(scale),
            self.const(zero),
            self.const(bits),
            domain=DOMAIN,
            signed=signed,
            narrow=narrow,
            rounding_mode=rounding,
        )

    def bipolar(self, x: str, scale: Any = 1.0) -> str:
        return self.add("BipolarQuant", x, self.const(scale), domain=DOMAIN)

    def model(self) -> onnx.ModelProto:
        g = helper.make_graph(
            self.nodes,
            "net",
            [helper.make_tensor_value_info("x", TensorProto.FLOAT, [1, *self.shape])],
            [helper.make_tensor_value_info(o, self.output_type, None) for o in (self.outputs or [self.x])],
            self.inits,
        )
        for name, text in self.annotations.items():
            q = g.quantization_annotation.add()
            q.tensor_name = name
            p = q.quant_parameter_tensor_names.add()
            p.key, p.value = "finn_datatype", text
        opsets = [helper.make_opsetid("", 13), helper.make_opsetid(DOMAIN, 1)]
        return helper.make_model(g, opset_imports=opsets, ir_version=9)

    def bytes(self) -> bytes:
        return self.model().SerializeToString()


class Dice:
    """Draws of a network's choices and numbers: choices from hypothesis, bulk numbers from a seeded
    generator.
    """

    def __init__(self, draw: st.DrawFn) -> None:
        self.draw = draw
        self.rng = np.random.default_rng(draw(st.integers(0, 2**32 - 1)))

    def pick(self, *options: Any) -> Any:
        return self.draw(st.sampled_from(options))

    def scale(self, n: int, channels: bool = True) -> Any:
        """A positive float32 scale: power of two, 'learned', or per channel."""
        kind = (
            self.pick("one", "pow2", "float", "channels") if channels else self.pick("one", "pow2", "float")
        )
        if kind == "channels":
            return self.rng.uniform(0.02, 0.3, n).astype(np.float32)
        return {"one": 1.0, "pow2": 0.125, "float": float(np.float32(self.rng.uniform(0.02, 0.9)))}[kind]

    def values(self, n: int) -> Any:
        """Numbers on a coarse grid (so that ties happen) or free ones, zeros among them."""
        coarse = self.rng.integers(-4, 5, n) / 2
        free = self.rng.normal(0, 2, n)
        return self.pick(coarse, free).astype(np.float32)


def weights(net: Net, dice: Dice, rows: int, cols: int) -> tuple[str, bool]:
    """A quantized weight, [rows, cols] or transposed; returns (tensor, is [cols, rows])."""
    kind = dice.pick("bipolar", "ternary", "int", "channels", "grid", "zero_point")
    across = dice.pick(True, False)
    shape = (cols, rows) if across else (rows, cols)
    side = (1, rows) if across else (rows, 1)
    w = dice.rng.normal(0, 0.5, shape).astype(np.float32)
    bits = dice.pick(2, 3, 4, 5)
    match kind:
        case "bipolar":
            return net.bipolar(net.const(w), dice.scale(1, channels=False)), across
        case "ternary":
            return net.quant(net.const(w), dice.scale(1, channels=False), bits=2, narrow=1), across
        case "int":
            return net.quant(
                net.const(w),
                dice.scale(1, False),
                bits=bits,
                narrow=dice.pick(0, 1),
                rounding=dice.pick(*ROUNDINGS),
            ), across
        case "channels":
            return net.quant(net.const(w), dice.rng.uniform(0.02, 0.3, side), bits=bits, narrow=1), across
        case "grid":
            s = np.float32(dice.scale(1, False))
            q = dice.rng.integers(-3, 4, shape).astype(np.float32) * s
            return net.quant(net.const(q), s, bits=3, narrow=1), across
    return net.quant(
        net.const(w), dice.scale(1, False), zero=float(dice.pick(1, 2)), bits=bits, signed=0
    ), across


def dense(net: Net, dice: Dice, rows: int) -> None:
    """MatMul or Gemm, with or without a (quantized) bias."""
    w, across = weights(net, dice, rows, net.n)
    bias = dice.pick("none", "float", "quantized")
    b = net.const(dice.values(rows)) if bias != "none" else ""
    if bias == "quantized":
        b = net.quant(b, float(np.float32(0.03)), bits=6)
    if dice.pick("matmul", "gemm") == "matmul":
        if not across:
            w = net.add("Transpose", w, perm=[1, 0])
        net.then("MatMul", w)
        if b:
            net.x = net.add("Add", *dice.pick((net.x, b), (b, net.x)))
    else:
        consts = (w, b) if b else (w,)
        net.then("Gemm", *consts, transB=int(not across), alpha=dice.pick(1.0, 0.5), beta=dice.pick(1.0, 2.0))
    net.n = rows


def elementwise(net: Net, dice: Dice) -> None:
    """One elementwise operator of any kind, scalar or per channel, of either sign."""
    n = net.n
    kind = dice.pick(
        "bn", "bn", "add", "sub", "rsub", "mul", "div", "relu", "clip", "tanh", "sigmoid", "leaky", "none"
    )
    signed = np.where(dice.rng.random(n) < 0.3, -1, 1)
    size = dice.pick((), (n,), (1, n))
    factor = (signed * dice.rng.uniform(0.1, 2, n)).astype(np.float32)
    factor = np.resize(factor, size) if size else factor[0]
    shift = np.resize(dice.values(n), size) if size else dice.values(n)[0]
    match kind:
        case "bn":
            gamma = (signed * dice.rng.uniform(0.1, 2, n)).astype(np.float32)
            gamma[dice.rng.random(n) < 0.15] = 0
            var = dice.pick(np.ones(n), np.full(n, 4.0), dice.rng.uniform(0.1, 9, n)).astype(np.float32)
            net.then(
                "BatchNormalization",
                net.const(gamma),
                net.const(dice.values(n)),
                net.const(dice.values(n)),
                net.const(var),
                epsilon=dice.pick(0.0, 1e-5),
            )
        case "add" | "sub":
            net.then(kind.capitalize(), net.const(shift))
        case "rsub":
            net.x = net.add("Sub", net.const(shift), net.x)
        case "mul" | "div":
            net.then(kind.capitalize(), net.const(factor))
        case "relu":
            net.then("Relu")
        case "clip":
            net.then("Clip", net.const(-1.0), net.const(1.0))
        case "tanh" | "sigmoid":
            net.then(kind.capitalize())
        case "leaky":
            net.then("LeakyRelu", alpha=0.25)


def quantizer(net: Net, dice: Dice, channels: bool = True) -> None:
    """A Quant, BipolarQuant or MultiThreshold of any parameters."""
    n = net.n
    match dice.pick("quant", "quant", "bipolar", "thresholds"):
        case "quant":
            signed, bits = dice.pick(0, 1), dice.pick(1, 2, 3, 4)
            narrow = 0 if bits == 1 else dice.pick(0, 1)
            zero = float(dice.pick(0, 0, 1, -2)) if bits > 1 else 0.0
            net.x = net.quant(
                net.x, dice.scale(n, channels), zero, bits, signed, narrow, dice.pick(*ROUNDINGS)
            )
        case "bipolar":
            net.x = net.bipolar(net.x, dice.scale(n, channels=False))
        case "thresholds":
            rows, steps = dice.pick(1, n), dice.pick(1, 3, 5)
            t = np.sort(np.resize(dice.values(n * steps + 1), (rows, steps)), axis=1)
            net.then(
                "MultiThreshold",
                net.const(t),
                domain=DOMAIN,
                out_dtype="INT8",
                out_scale=dice.pick(1.0, 2.0, 0.3),
                out_bias=dice.pick(0.0, -1.0),
            )


def head(net: Net, dice: Dice) -> None:
    kind = dice.pick("logits", "argmax", "softmax_argmax", "topk", "quantizer", "bn_argmax")
    if kind == "bn_argmax":
        parts = [
            dice.rng.uniform(-1, 2, net.n),
            dice.values(net.n),
            dice.values(net.n),
            dice.rng.uniform(0.1, 9, net.n),
        ]
        net.then("BatchNormalization", *map(net.const, parts))
    match kind:
        case "bn_argmax":
            net.then("ArgMax", axis=1, keepdims=1)
            net.output_type = TensorProto.INT64
        case "argmax":
            net.then("ArgMax", axis=1, keepdims=dice.pick(0, 1))
            net.output_type = TensorProto.INT64
        case "softmax_argmax":
            net.then("Softmax", axis=1)
            net.then("ArgMax", axis=-1, keepdims=1)
            net.output_type = TensorProto.INT64
        case "topk":
            net.add("TopK", net.x, net.const([1], np.int64), outs=2, axis=-1, largest=1)
            net.x = f"t{len(net.nodes) - 1}_1"
            net.output_type = TensorProto.INT64
        case "quantizer":
            quantizer(net, dice)


@st.composite
def dense_nets(draw: st.DrawFn) -> tuple[Net, np.ndarray]:
    """(network, float32 frames): an input stage, one or two hidden layers and a head; sizes stay small."""
    dice = Dice(draw)
    net = Net(dice.pick((6,), (2, 3), (1, 2, 3)))
    if len(net.shape) > 1:
        net.then(*dice.pick(("Flatten",), ("Reshape", net.const([1, -1], np.int64))))
    for _ in range(dice.pick(0, 1, 2)):
        elementwise(net, dice)
    quantizer(net, dice, channels=dice.pick(False, False, True))
    for _ in range(dice.pick(1, 2)):
        dense(net, dice, dice.pick(2, 4, 5))
        for _ in range(dice.pick(0, 1, 2, 3)):
            elementwise(net, dice)
        quantizer(net, dice, channels=dice.pick(False, False, True))
    dense(net, dice, dice.pick(2, 3, 5))
    for _ in range(dice.pick(0, 0, 1)):
        shift = dice.values(net.n)
        net.then("Add", net.const(shift))
    head(net, dice)
    frames = dice.pick(8, 40)
    x = dice.rng.normal(0, 1.5, (frames, *net.shape)).astype(np.float32)
    x[: frames // 2] = (dice.rng.integers(-8, 9, x[: frames // 2].shape) / 4).astype(np.float32)
    return net, x
