"""The integer executor: every int op from its definition, on numpy arrays. Shares no code with passes or
emitters.

A matrix product runs on BLAS in float32 or float64 where the largest possible partial sum is below 2^24 or
2^53, so that every sum is an integer the format holds exactly; in int64 otherwise.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.bits import count_thresholds
from hwq.errors import DataError
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor

IntArray = NDArray[np.int64]
AnyInt = NDArray[Any]
CHUNK = 2048
WIDE = 1 << 52


def execute(
    graph: Graph,
    inputs: Sequence[AnyInt] | Mapping[str, AnyInt],
    keep: str | Collection[str] = "outputs",
    given: Mapping[str, AnyInt] | None = None,
) -> dict[str, IntArray]:
    """Run the int graph on frames of integers.

    inputs: one integer array [N, ...] per graph input (any shape with the input's number of values per
    frame), in order or by name. keep: "all", "outputs", or tensor names. given: tensor name -> integers
    [N, *shape] that the nodes after it get instead of the computed ones (which are still what is returned);
    they may leave the tensor's range.
    Returns tensor name -> int64 [N, *shape]. Raises DataError when an input is missing or has the wrong shape
    or range.
    """
    given = given or {}
    if given:
        graph = _widened(graph, given)
    arrays = _checked(graph, inputs)
    wanted = (
        {"all": set(graph.tensors), "outputs": set(graph.outputs)}.get(keep)
        if isinstance(keep, str)
        else set(keep)
    )
    if wanted is None or not wanted <= set(graph.tensors):
        raise DataError(
            f"keep={keep!r}: 'all', 'outputs' or names of tensors are needed; this graph has "
            f"{', '.join(graph.tensors)}"
        )
    frames = len(next(iter(arrays.values())))
    out = {
        t: np.empty((frames, *graph.tensor(t).shape), dtype=np.int64) for t in graph.tensors if t in wanted
    }
    steps = [(n, _RUN[type(n.op)](graph, n)) for n in graph.nodes]
    for start in range(0, frames, CHUNK):
        part = slice(start, min(start + CHUNK, frames))
        env = {t: a[part] for t, a in arrays.items()}
        for t in out.keys() & env.keys():
            out[t][part] = env[t]
        for n, run in steps:
            t, y = n.outputs[0], run(*(env[t] for t in n.inputs))
            env[t] = given[t][part] if t in given else y
            if t in out:
                out[t][part] = y
    return out


def host_quantize(graph: Graph, inputs: Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]) -> list[AnyInt]:
    """Float32 frames [N, ...] of each graph input -> its integers [N, C], as the host computes them.

    An input without a host quantizer is passed on as integers. Raises DataError on a wrong shape or a NaN.
    """
    if not isinstance(inputs, Mapping):
        inputs = dict(zip(graph.inputs, inputs, strict=True))
    found = []
    for name, host in zip(graph.inputs, graph.host, strict=True):
        t = graph.tensor(name)
        x = _flat(t, np.asarray(inputs[name]))
        if host is None:
            found.append(x)
            continue
        x = x.astype(np.float32, copy=False)
        if np.isnan(x).any():
            raise DataError(f"input '{name}': frame {int(np.argwhere(np.isnan(x))[0][0])} holds NaN")
        thresholds = graph.array(host.thresholds)
        falling = None if host.falling is None else graph.array(host.falling)
        y = np.empty(x.shape, dtype=_small(t))
        for start in range(0, len(x), CHUNK):
            y[start : start + CHUNK] = count_thresholds(
                x[start : start + CHUNK], thresholds, host.offset, falling
            )
        found.append(y)
    return found


def _flat(t: Tensor, x: NDArray[Any]) -> NDArray[Any]:
    if x.ndim < 1 or len(x) < 1 or int(np.prod(x.shape[1:])) != t.size:
        raise DataError(
            f"input '{t.name}': array of shape {x.shape}; "
            f"[frames, ...] with {t.size} values per frame is needed"
        )
    return x.reshape(len(x), *t.shape)


def _checked(graph: Graph, inputs: Sequence[AnyInt] | Mapping[str, AnyInt]) -> dict[str, AnyInt]:
    named = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(graph.inputs, inputs, strict=False))
    missing = [n for n in graph.inputs if n not in named]
    if (
        missing
        or len(named) != len(graph.inputs)
        or (not isinstance(inputs, Mapping) and len(inputs) != len(named))
    ):
        raise DataError(f"{len(inputs)} input arrays; needed: {', '.join(graph.inputs)}")
    out: dict[str, AnyInt] = {}
    for name in graph.inputs:
        t, x = graph.tensor(name), np.asarray(named[name])
        if x.dtype.kind not in "iub":
            raise DataError(
                f"input '{name}': {x.dtype} values; integers are needed (host_quantize makes them)"
            )
        x = _flat(t, x)
        if (int(x.min()) < max(t.lo) or int(x.max()) > min(t.hi)) and np.any((x < t.lo) | (x > t.hi)):
            raise DataError(
                f"input '{name}': values {x.min()}..{x.max()} leave the range {min(t.lo)}..{max(t.hi)}"
            )
        out[name] = x
    if len({len(x) for x in out.values()}) > 1:
        raise DataError(
            f"inputs of different numbers of frames: {', '.join(f'{n} {len(x)}' for n, x in out.items())}"
        )
    return out


def _widened(graph: Graph, given: Mapping[str, AnyInt]) -> Graph:
    """The graph with ranges that hold the given integers, and whatever follows from them."""
    wide = {}
    for name, t in graph.tensors.items():
        if name in given:
            lo, hi = int(given[name].min()), int(given[name].max())
            wide[name] = replace(t, lo=(min(lo, *t.lo),), hi=(max(hi, *t.hi),))
        else:
            wide[name] = t if name in graph.inputs else replace(t, lo=(-WIDE,), hi=(WIDE,))
    return graph.replace(tensors=wide)


def _small(t: Tensor) -> type[np.signedinteger[Any]]:
    """The smallest numpy integer type that holds a tensor and, beyond it, one more (a threshold past the
    range).
    """
    top = max(max(t.hi) + 1, -min(t.lo))
    return next(k for k in (np.int8, np.int16, np.int32, np.int64) if top <= np.iinfo(k).max)


def _matvec(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.MatVec)
    x, y = graph.tensor(n.inputs[0]), graph.tensor(n.outputs[0])
    w = graph.array(n.op.weight)
    top = max(abs(min(x.lo)), abs(max(x.hi)))
    bound = int(np.abs(w).max(initial=0)) * max(top, 1) * w.shape[1] * (2 if n.op.xnor else 1)
    kind: type[Any] = np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64
    if n.op.xnor:  # matches = sum of x where W is +1, and of 1 - x where it is -1
        weight, base = w, (w < 0).sum(axis=1)
    else:
        weight, base = w, np.zeros(len(w), dtype=np.int64)
    right = np.ascontiguousarray(weight.T.astype(kind))
    small = _small(y)
    shift = base.astype(kind)
    return lambda a: (a.astype(kind) @ right + shift).astype(small)


def _step(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Step)
    t, offset = graph.array(n.op.thresholds), n.op.offset
    falling = None if n.op.falling is None else graph.array(n.op.falling)
    small = _small(graph.tensor(n.outputs[0]))
    count_type = np.int16 if t.shape[1] < 1 << 15 else np.int32

    def run(x: AnyInt) -> AnyInt:
        if t.shape[1] <= 16:
            count = np.zeros(x.shape, dtype=count_type)
            for i in range(t.shape[1]):
                count += x >= t[:, i].astype(x.dtype)
        else:
            columns = [np.searchsorted(t[c], x[..., c], side="right") for c in range(len(t))]
            count = np.stack(columns, axis=-1)
        y = count if falling is None else np.where(falling, t.shape[1] - count, count)
        return (y.astype(np.int64) + offset).astype(small)

    return run


def _table(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Table)
    entries, base = graph.array(n.op.entries), n.op.base
    rows = np.arange(graph.tensor(n.inputs[0]).channels) if len(entries) > 1 else np.array(0)
    return lambda x: entries[rows, x.astype(np.int64) - base]


def _combine(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Combine)
    mul, bias = [graph.array(k) for k in n.op.mul], graph.array(n.op.bias)

    def run(*xs: AnyInt) -> AnyInt:
        y = np.broadcast_to(bias, xs[0].shape).astype(np.int64)
        for m, x in zip(mul, xs, strict=True):
            y = y + m * x.astype(np.int64)
        return y

    return run


def _argmax(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    return lambda x: np.argmax(x, axis=-1)[..., None]


_RUN: dict[type[ops.Op], Callable[[Graph, Node], Callable[..., AnyInt]]] = {
    ops.MatVec: _matvec,
    ops.Step: _step,
    ops.Table: _table,
    ops.Combine: _combine,
    ops.ArgMax: _argmax,
}
