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
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hwq.ir import ops
from hwq.ir.graph import Graph, Node
from hwq.ir.rational import fractions

Floats = NDArray[np.float64]
Count = TypeVar("Count", float, Floats)
COVERED = (*ops.QUANTIZERS, *ops.ELEMENTWISE, ops.MatMul, ops.Sum, ops.Softmax, ops.Reshape, ops.ArgMax)
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


def decision(graph: Graph, op: ops.Op, a: Arithmetic, value: float, error: float, channel: int) -> float:
    """Error of what a quantizer compares with its boundaries, in levels (MultiThreshold: in units of its input).

    value: the exact x / scale + zero (x itself); error: of x.
    """
    if isinstance(op, ops.MultiThreshold):
        row = fractions(graph.array(op.thresholds))
        return error + a.growth(0) * max(abs(float(t)) for t in row[channel if len(row) > 1 else 0])
    assert isinstance(op, ops.Quant | ops.BipolarQuant)
    scale, zero = _at(graph, op.scale, channel), _at(graph, op.zero, channel) if isinstance(op, ops.Quant) else 0.0
    g = a.growth(2)
    return (1 + g) * error / scale + g * (abs(value) + 2 * abs(zero))


def propagate(graph: Graph, node: Node, a: Arithmetic, xs: Sequence[Floats], errors: Sequence[Floats]) -> Floats:
    """Error bound [N, n] of the output of one node. xs: exact inputs [N, n]; errors: what the engine's may be off."""
    x, e = np.abs(xs[0]), errors[0]
    match node.op:
        case ops.MatMul():
            weight = graph.array(node.op.weight).T
            w = np.abs(weight) * _abs(graph, node.op.scale)
            terms = ((x + e) != 0).astype(np.float64) @ (weight != 0)  # adding an exact zero rounds nothing
            g = a.growth(terms + 2)
            product: Floats = (1 + g) * (e @ w) + g * (x @ w)
            return product
        case ops.Affine():
            # the bias of a matrix product may be the first term of its sum
            before = graph.producer(node.inputs[0])
            g, mul = a.growth(2), _abs(graph, node.op.mul)
            bias = a.growth(2 + (_fan_in(graph, before) if before else 0)) * _abs(graph, node.op.add)
            return (1 + g) * mul * e + g * mul * x + bias
        case ops.BatchNorm():
            # gamma * (x - mean) / sqrt(var) + beta in any order, x * k + (beta - mean * k) with k = gamma / sqrt(var)
            # too: no term meets more than 8 roundings
            g, gain = a.growth(8), _abs(graph, node.op.gamma) / np.sqrt(_abs(graph, node.op.var))
            return (1 + g) * gain * e + g * (gain * (x + _abs(graph, node.op.mean)) + _abs(graph, node.op.beta))
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


def _fan_in(graph: Graph, node: Node) -> int:
    return int(graph.array(node.op.weight).shape[1]) if isinstance(node.op, ops.MatMul) else 0


def _abs(graph: Graph, key: str) -> Floats:
    return np.abs(fractions(graph.array(key)).astype(np.float64).ravel())


def _at(graph: Graph, key: str, channel: int) -> float:
    values = _abs(graph, key)
    return float(values[channel if len(values) > 1 else 0])
