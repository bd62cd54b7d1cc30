"""The real graph in plain floating point, op by op as QONNX defines it: what a framework computes."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.golden.pictures import convolve, places, pooled, transposed
from hwq.ir import ops
from hwq.ir.graph import Graph
from hwq.ir.rational import fractions


def float_execute(
    graph: Graph, inputs: Sequence[NDArray[Any]], dtype: type[np.floating[Any]]
) -> dict[str, NDArray[Any]]:
    """Every tensor of the real graph, computed in np.float32 or np.float64: tensor -> [N, n]."""
    env = {
        t: np.asarray(x).reshape(len(x), *graph.tensor(t).shape).astype(dtype)
        for t, x in zip(graph.inputs, inputs, strict=True)
    }
    with np.errstate(all="ignore"):
        for node in graph.nodes:
            out = node.outputs[0]
            y = _float_op(graph, node.op, [env[t] for t in node.inputs], dtype)
            env[out] = y.reshape(len(y), *graph.tensor(out).shape)
    return {t: v.reshape(len(v), -1) for t, v in env.items()}


def _picture_op(graph: Graph, op: ops.Op, x: NDArray[Any], dtype: type[np.floating[Any]]) -> NDArray[Any]:
    frame = x.shape[1:]
    image = x.reshape(len(x), *ops.picture(frame))
    match op:
        case ops.Conv() | ops.ConvTranspose():
            scale = fractions(graph.array(op.scale)).astype(np.float64).astype(dtype)
            w = graph.array(op.weight).astype(dtype)
            if isinstance(op, ops.Conv):
                return convolve(image, w * scale.reshape(-1, 1, 1, 1), op)
            per = scale if scale.size == 1 else scale.reshape(op.groups, 1, -1).repeat(len(w) // op.groups, axis=1)
            return transposed(image, w * per.reshape(-1, 1 if scale.size == 1 else w.shape[1], 1, 1), op)
        case ops.MaxPool():
            return pooled(image, op, -np.inf)
        case ops.AvgPool(kernel=(kh, kw)):
            return np.asarray(pooled(image, op, 0) / dtype(kh * kw))
        case ops.Mean():
            return np.asarray(image.mean(axis=(2, 3), dtype=dtype))
    fill = dtype(float(Fraction(op.value))) if isinstance(op, ops.Pad) else dtype(0)
    flat = np.concatenate([x.reshape(len(x), -1), np.full((len(x), 1), fill)], axis=1)
    return flat[:, places(op, frame).ravel()].astype(dtype)


def _float_op(graph: Graph, op: ops.Op, xs: list[NDArray[Any]], dtype: type[np.floating[Any]]) -> Any:
    def param(key: str) -> NDArray[Any]:
        return fractions(graph.array(key)).astype(np.float64).astype(dtype)

    x = xs[0]
    if isinstance(op, (*ops.IMAGE_OPS, ops.Transpose)):
        return _picture_op(graph, op, x, dtype)
    match op:
        case ops.Join(axis=axis):
            return np.concatenate(xs, axis=axis + 1)
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
            lo, hi = (None if t is None else dtype(float(fractions(np.array([t]))[0])) for t in (op.lo, op.hi))
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
            return np.argmax(x, axis=1, keepdims=True).astype(dtype)
        case ops.BipolarQuant():
            return np.where(x >= 0, param(op.scale), -param(op.scale))
        case ops.MultiThreshold():
            t = param(op.thresholds)
            return param(op.scale) * (x[..., None] >= t).sum(axis=-1) + param(op.offset)
        case ops.Quant():
            s, z = param(op.scale), param(op.zero)
            y = x / s + z
            q = np.where(y >= 0, 1, -1) if op.bipolar else _float_round(np.clip(y, op.qmin, op.qmax), op.rounding)
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
