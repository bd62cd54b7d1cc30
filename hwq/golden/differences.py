"""How a floating-point execution of the same network differs from the exact reference, and why.

Every quantizer is judged alone: it is given exactly the levels the engine itself had upstream, so that one
flipped tie is counted once and its consequences are not. A difference is explained (a tie) if the exact value
lies
closer to the decision boundary than the engine's own rounding errors can reach, by forward error analysis of
its
format.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.golden.reference import Cells, Quantizer, apply, from_floats, reference
from hwq.ir import ops
from hwq.ir.graph import Graph, Node
from hwq.ir.rational import fractions

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True)
class Difference:
    """One quantizer. `own`: outputs that differ though its inputs agree; `ties`: those of them that are
    explained.

    `inherited`: outputs that differ from the free-running reference, upstream flips included. `farthest`:
    largest distance of a differing value from its boundary, in levels (in units of the input for a
    MultiThreshold).
    """

    quantizer: str
    outputs: int
    own: int
    ties: int
    inherited: int
    farthest: float


def count_differences(
    graph: Graph, inputs: Sequence[NDArray[Any]], engine: Mapping[str, NDArray[Any]], eps: float
) -> list[Difference]:
    """Compare an engine's quantizer outputs with the exact reference, on frames [N, ...] of each input.

    engine: quantizer output tensor -> real values [N, ...] as computed; eps: its unit roundoff (2^-24 for
    float32).
    """
    free = reference(graph, inputs)
    env: dict[str, Cells] = dict(zip(graph.inputs, map(from_floats, inputs), strict=True))
    err: dict[str, Floats] = {t: np.zeros(env[t].codes.shape) for t in graph.inputs}
    found = []
    for node in graph.nodes:
        xs = [env[t] for t in node.inputs]
        out = node.outputs[0]
        if not isinstance(node.op, ops.QUANTIZERS):
            env[out] = apply(graph, node, xs)
            err[out] = _error(
                graph, node, [x.floats() for x in xs], [err[t] for t in node.inputs], env[out], eps
            )
            continue
        q = Quantizer(graph, node.op)
        levels = q.nearest(engine[out].reshape(len(xs[0].codes), -1))
        found.append(_judge(node, q, xs[0], err[node.inputs[0]], levels, free[out], eps))
        env[out] = _forced(q, levels)
        err[out] = 2 * eps * np.abs(env[out].floats())
    return found


def _forced(q: Quantizer, levels: NDArray[np.int64]) -> Cells:
    codes, tables = np.empty(levels.shape, dtype=np.intp), []
    for c in range(levels.shape[1]):
        unique, codes[:, c] = np.unique(levels[:, c], return_inverse=True)
        tables.append(tuple(q.value(int(v), c) for v in unique))
    return Cells(codes, tuple(tables))


def _judge(
    node: Node, q: Quantizer, x: Cells, err: Floats, levels: NDArray[np.int64], free: Cells, eps: float
) -> Difference:
    own = np.empty_like(levels)
    for c, table in enumerate(x.tables):
        own[:, c] = np.array([q.level(v, c) for v in table], dtype=np.int64)[x.codes[:, c]]
    ties, farthest = 0, 0.0
    for i, c in np.argwhere(own != levels):
        v = q.scaled(x.tables[c][x.codes[i, c]], c)
        distance = abs(float(v - q.boundary(int(own[i, c]), int(levels[i, c]), c)))
        s = 1.0 if isinstance(q.op, ops.MultiThreshold) else float(q.scale[c if len(q.scale) > 1 else 0])
        reach = err[i, c] / s + 4 * eps * (abs(float(v)) + 1)
        ties += bool(
            distance <= reach and abs(int(own[i, c]) - int(levels[i, c])) == (2 if _bipolar(q.op) else 1)
        )
        farthest = max(farthest, distance)
    inherited = int((q.nearest(free.floats()) != levels).sum())
    return Difference(node.name, levels.size, int((own != levels).sum()), ties, inherited, farthest)


def _bipolar(op: ops.Op) -> bool:
    return isinstance(op, ops.BipolarQuant) or (isinstance(op, ops.Quant) and op.bipolar)


def _error(graph: Graph, node: Node, xs: list[Floats], errs: list[Floats], y: Cells, eps: float) -> Floats:
    """Forward error bound of one op [N, n]: what its inputs' errors become, plus its own roundings."""

    def param(key: str) -> Floats:
        return np.abs(fractions(graph.array(key)).astype(np.float64).ravel())

    x, e = np.abs(xs[0]), errs[0]
    match node.op:
        case ops.MatMul():
            w = np.abs(graph.array(node.op.weight)).T * param(node.op.scale)
            out: Floats = e @ w + eps * (w.shape[0] + 4) * (x @ w)
        case ops.Affine():
            out = param(node.op.mul) * e + 2 * eps * (param(node.op.mul) * x + param(node.op.add))
        case ops.BatchNorm():
            gain = param(node.op.gamma) / np.sqrt(param(node.op.var))
            out = gain * e + 8 * eps * (gain * (x + param(node.op.mean)) + param(node.op.beta))
        case ops.Sum():
            out = errs[0] + errs[1] + eps * (x + np.abs(xs[1]))
        case ops.LeakyRelu():
            out = max(1.0, abs(float(fractions(np.array([node.op.alpha]))[0]))) * (e + eps * x)
        case ops.Sigmoid() | ops.Tanh():
            out = e + 8 * eps
        case ops.ArgMax():
            out = np.zeros(y.codes.shape)
        case _:
            out = e + eps * x
    return out


def float_execute(
    graph: Graph, inputs: Sequence[NDArray[Any]], dtype: type[np.floating[Any]]
) -> dict[str, NDArray[Any]]:
    """The real graph in plain floating point (np.float32 or np.float64), op by op as QONNX defines it: tensor
    -> [N, n].
    """
    env = {
        t: np.asarray(x).reshape(len(x), -1).astype(dtype) for t, x in zip(graph.inputs, inputs, strict=True)
    }
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            env[node.outputs[0]] = _float_op(graph, node.op, [env[t] for t in node.inputs], dtype)
    return env


def _float_op(graph: Graph, op: ops.Op, xs: list[NDArray[Any]], dtype: type[np.floating[Any]]) -> Any:
    def param(key: str) -> NDArray[Any]:
        return fractions(graph.array(key)).astype(np.float64).astype(dtype)

    x = xs[0]
    match op:
        case ops.MatMul():
            return x @ (graph.array(op.weight).T.astype(dtype) * param(op.scale))
        case ops.Affine():
            return param(op.mul) * x + param(op.add)
        case ops.BatchNorm():
            return param(op.gamma) * (x - param(op.mean)) / np.sqrt(param(op.var)) + param(op.beta)
        case ops.Relu():
            return np.maximum(x, 0)
        case ops.LeakyRelu():
            return np.where(x >= 0, x, x * dtype(float(fractions(np.array([op.alpha]))[0])))
        case ops.Clip():
            lo, hi = (
                None if t is None else dtype(float(fractions(np.array([t]))[0])) for t in (op.lo, op.hi)
            )
            return np.clip(x, lo, hi)
        case ops.Sigmoid():
            return 1 / (1 + np.exp(-x))
        case ops.Tanh():
            return np.tanh(x)
        case ops.Abs():
            return np.abs(x)
        case ops.Sum():
            return xs[0] + xs[1]
        case ops.Softmax():
            z = np.exp(x - x.max(axis=1, keepdims=True))
            return z / z.sum(axis=1, keepdims=True)
        case ops.ArgMax():
            return np.argmax(x, axis=1)[:, None].astype(dtype)
        case ops.BipolarQuant():
            return np.where(x >= 0, param(op.scale), -param(op.scale))
        case ops.MultiThreshold():
            t = param(op.thresholds)
            return param(op.scale) * (x[..., None] >= t).sum(axis=-1) + param(op.offset)
        case ops.Quant():
            s, z = param(op.scale), param(op.zero)
            y = x / s + z
            q = (
                np.where(y >= 0, 1, -1)
                if op.bipolar
                else _float_round(np.clip(y, op.qmin, op.qmax), op.rounding)
            )
            return ((q - z) * s).astype(dtype)
    return x


def _float_round(y: NDArray[Any], mode: str) -> Any:
    sign, size = np.sign(y), np.abs(y)
    table = {
        "CEIL": np.ceil(y),
        "FLOOR": np.floor(y),
        "DOWN": np.fix(y),
        "UP": sign * np.ceil(size),
        "HALF_UP": sign * np.floor(size + 0.5),
        "HALF_DOWN": sign * np.ceil(size - 0.5),
    }
    return table.get(mode, np.round(y))
