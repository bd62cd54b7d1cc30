"""How far a floating-point execution of the real graph can be from the exact one: forward error analysis.

The standard model (Higham, Accuracy and Stability of Numerical Algorithms, chapters 2 and 3): every operation
gives the exact result times 1 + d, |d| <= u, so k of them in a row at most 1 +- gamma(k), gamma(k) =
k * u / (1 - k * u). Sums hold in every order, with or without fused multiply-add. Every constant of the engine
may differ from the graph's by a relative error of its own. Nothing here is measured or tuned. Underflow is left out.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction
from typing import Any, TypeVar

import numpy as np
from numpy.typing import NDArray

from hwq.golden.pictures import convolve, expanded, places, pooled, transposed
from hwq.ir import ops
from hwq.ir.graph import Graph, Node
from hwq.ir.rational import fractions

Floats = NDArray[np.float64]
Count = TypeVar("Count", float, Floats)
LIBRARY = 8  # roundings in a library's exp or tanh: C and numpy stay within 4 ulp, an ulp is up to 2 roundings
OWN = 1 + 2.0**-20  # the bounds are themselves computed in float64


@dataclass(frozen=True, slots=True)
class Arithmetic:
    """How an engine computes. unit: unit roundoff of its operations; constants: relative error of its constants."""

    unit: float
    constants: float

    def growth(self, roundings: Count) -> Count:
        """Largest relative error of a product with one constant after so many roundings: a number, or an array."""
        k: Count = roundings * self.unit
        return ((1 + self.constants) * (1 + k / (1 - k)) - 1) * OWN


EXACT = Arithmetic(0.0, 0.0)
FLOAT32 = Arithmetic(2.0**-24, 2.0**-24)
FLOAT64 = Arithmetic(2.0**-53, 2.0**-53)
# float64 with constants derived in float64 (a scale from a limit, a root from a variance), which the QONNX file
# holds rounded to float32: at most four half roundings
FLOAT64_OWN_CONSTANTS = Arithmetic(2.0**-53, 2.0**-23)


def quantized(values: Floats, a: Arithmetic) -> Floats:
    """Error of the real values [N, n] of a quantizer's levels: the level times the scale, plus an offset."""
    return a.growth(2) * np.abs(values)


def decision(graph: Graph, node: Node, a: Arithmetic, value: float, error: float, channel: int) -> float:
    """Error of what a quantizer compares with its boundaries, in levels (MultiThreshold: in units of its input).

    value: the exact x / scale + zero (x itself); error: of x; channel: the place in the flat frame.
    """
    op, frame = node.op, graph.tensor(node.inputs[0]).shape
    if isinstance(op, ops.MultiThreshold):
        row = expanded(fractions(graph.array(op.thresholds)), frame, 1)
        return error + a.growth(0) * max(abs(float(t)) for t in row[channel if len(row) > 1 else 0])
    assert isinstance(op, ops.Quant | ops.BipolarQuant)
    scale = _at(graph, op.scale, channel, frame)
    zero = _at(graph, op.zero, channel, frame) if isinstance(op, ops.Quant) else 0.0
    g = a.growth(2)
    return (1 + g) * error / scale + g * (abs(value) + 2 * abs(zero))


def propagate(graph: Graph, node: Node, a: Arithmetic, xs: Sequence[Floats], errors: Sequence[Floats]) -> Floats:
    """Error bound [N, n] of the output of one node. xs: exact inputs [N, n]; errors: what the engine's may be off."""
    x, e = np.abs(xs[0]), errors[0]
    frame = graph.tensor(node.inputs[0]).shape
    match node.op:
        case ops.MatMul() | ops.Conv() | ops.ConvTranspose():
            weight = np.abs(graph.array(node.op.weight)).astype(np.float64)
            out = graph.tensor(node.outputs[0]).shape
            scale = np.abs(fractions(graph.array(node.op.scale)).astype(np.float64))
            scale = scale if scale.size == 1 else np.repeat(scale, int(np.prod(out[1:])))
            used = (weight != 0).astype(np.float64)
            # adding an exact zero rounds nothing
            each = a.growth(_slid(graph, node, ((x + e) != 0).astype(np.float64), used) + 2)
            off, size = _slid(graph, node, e, weight), _slid(graph, node, x, weight)
            product: Floats = scale * ((1 + each) * off + each * size)
            return product
        case ops.AvgPool() | ops.Mean():
            n = node.op.kernel[0] * node.op.kernel[1] if isinstance(node.op, ops.AvgPool) else int(np.prod(frame[1:]))
            g = a.growth(n + 2)
            mean_error: Floats = ((1 + g) * _pooled(node.op, frame, e) + g * _pooled(node.op, frame, x)) / n
            return mean_error
        case ops.MaxPool():
            shape = ops.picture(frame)
            return np.asarray(pooled(e.reshape(-1, *shape), node.op, -np.inf).reshape(len(e), -1))
        case ops.Pad(value=value):
            moved = np.concatenate([e, np.zeros((len(e), 1))], axis=1)[:, places(node.op, frame).ravel()]
            return np.asarray(moved + a.growth(0) * abs(float(Fraction(value))) * (places(node.op, frame).ravel() < 0))
        case ops.Transpose() | ops.Resize() | ops.PixelShuffle():
            return e[:, places(node.op, frame).ravel()]
        case ops.Join(axis=axis):
            frames = [graph.tensor(t).shape for t in node.inputs]
            parts = [v.reshape(-1, *f) for v, f in zip(errors, frames, strict=True)]
            return np.concatenate(parts, axis=axis + 1).reshape(len(e), -1)
        case ops.Affine():
            # the bias of a matrix product may be the first term of its sum
            before = graph.producer(node.inputs[0])
            g, mul = a.growth(2), _abs(graph, node.op.mul, frame)
            bias = a.growth(2 + (_fan_in(graph, before) if before else 0)) * _abs(graph, node.op.add, frame)
            return (1 + g) * mul * e + g * mul * x + bias
        case ops.BatchNorm():
            # gamma * (x - mean) / sqrt(var) + beta in any order, x * k + (beta - mean * k) with k = gamma / sqrt(var)
            # too: no term meets more than 8 roundings
            g, gain = a.growth(8), _abs(graph, node.op.gamma, frame) / np.sqrt(_abs(graph, node.op.var, frame))
            mean, beta = _abs(graph, node.op.mean, frame), _abs(graph, node.op.beta, frame)
            return (1 + g) * gain * e + g * (gain * (x + mean) + beta)
        case ops.Sum():
            g = a.growth(1)
            return (1 + g) * (e + errors[1]) + g * (x + np.abs(xs[1]))
        case ops.LeakyRelu():
            g, slope = a.growth(1), max(1.0, abs(float(Fraction(node.op.alpha))))
            return slope * ((1 + g) * e + g * x)
        case ops.Clip():
            limits = [abs(float(Fraction(b))) for b in (node.op.lo, node.op.hi) if b is not None]
            return e + a.growth(0) * max(limits, default=0.0)
        case ops.Sigmoid() | ops.Tanh():  # slope and value at most 1
            return e + a.growth(LIBRARY + 2)
        case ops.Softmax():  # as an error of its input: exp(x - max) / sum has the order of x
            g = a.growth(LIBRARY + 2)
            top: Floats = x.max(axis=1, keepdims=True)
            return e + g * (1 + x + top)
        case ops.Relu() | ops.Abs() | ops.Reshape():
            return e
    raise TypeError(type(node.op).__name__)


def _pooled(op: ops.AvgPool | ops.Mean, frame: tuple[int, ...], x: Floats) -> Floats:
    image = x.reshape(-1, *ops.picture(frame))
    return (pooled(image, op, 0) if isinstance(op, ops.AvgPool) else image.sum(axis=(2, 3))).reshape(len(x), -1)


def _fan_in(graph: Graph, node: Node) -> int:
    match node.op:
        case ops.MatMul() | ops.Conv():
            return int(np.prod(graph.array(node.op.weight).shape[1:]))
        case ops.ConvTranspose():
            shape = graph.array(node.op.weight).shape
            return int(shape[0] * shape[2] * shape[3])
    return 0


def _slid(graph: Graph, node: Node, x: Floats, w: NDArray[Any]) -> Floats:
    """The product of one op with other numbers: x [N, n], w of its weight's shape -> [N, outputs]."""
    op = node.op
    if isinstance(op, ops.MatMul):
        return np.asarray(x @ w.T)
    assert isinstance(op, ops.Conv | ops.ConvTranspose)
    image = x.reshape(len(x), *ops.picture(graph.tensor(node.inputs[0]).shape))
    y = convolve(image, w, op) if isinstance(op, ops.Conv) else transposed(image, w, op)
    return np.asarray(y.reshape(len(y), -1))


def _abs(graph: Graph, key: str, frame: tuple[int, ...]) -> Floats:
    """A parameter's magnitude, [1] or one a value of the flat frame."""
    return np.abs(expanded(fractions(graph.array(key)).astype(np.float64), frame))


def _at(graph: Graph, key: str, channel: int, frame: tuple[int, ...]) -> float:
    values = _abs(graph, key, frame)
    return float(values[channel if len(values) > 1 else 0])
