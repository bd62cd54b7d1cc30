"""The integer executor: every int op from its definition, on numpy arrays. Shares no code with passes or
emitters.

A matrix product runs on BLAS in float32 or float64 where the largest possible partial sum is below 2^24 or
2^53, so that every sum is an integer the format holds exactly; in int64 otherwise. The output of a Window, which
holds every pixel many times, is made only where it is asked for: the ops after it gather what they need from the image.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.bits import count_thresholds
from hwq.errors import DataError
from hwq.golden import images
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor

IntArray = NDArray[np.int64]
AnyInt = NDArray[Any]
CHUNK = 2048
MEMORY = 1 << 28  # bytes of one chunk's tensors
WIDE = 1 << 52


def execute(
    graph: Graph,
    inputs: Sequence[AnyInt] | Mapping[str, AnyInt],
    keep: str | Collection[str] = "outputs",
    given: Mapping[str, AnyInt] | None = None,
) -> dict[str, IntArray]:
    """Run the int graph on frames of integers.

    inputs: one integer array per graph input, in order or by name: [N, *shape] of the tensor or [N, n], for vectors
    any shape with n values per frame. keep: "all", "outputs", or tensor names. given: tensor name -> integers
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
        {"all": set(graph.tensors), "outputs": set(graph.outputs)}.get(keep) if isinstance(keep, str) else set(keep)
    )
    if wanted is None or not wanted <= set(graph.tensors):
        raise DataError(
            f"keep={keep!r}: 'all', 'outputs' or names of tensors are needed; this graph has {', '.join(graph.tensors)}"
        )
    frames = len(next(iter(arrays.values())))
    out = {t: np.empty((frames, *graph.tensor(t).shape), dtype=np.int64) for t in graph.tensors if t in wanted}
    steps = [(n, _RUN[type(n.op)](graph, n)) for n in graph.nodes]
    last = {t: i for i, n in enumerate(graph.nodes) for t in n.inputs}
    chunk = _chunk(graph, last)
    for start in range(0, frames, chunk):
        part = slice(start, min(start + chunk, frames))
        env: dict[str, Any] = {t: a[part] for t, a in arrays.items()}
        for t in out.keys() & env.keys():
            out[t][part] = env[t]
        for i, (n, run) in enumerate(steps):
            t, xs = n.outputs[0], [env[t] for t in n.inputs]
            if not isinstance(n.op, ops.MatVec | ops.Pool):
                xs = [x.made() if isinstance(x, images.Lazy) else x for x in xs]
            y = run(*xs)
            if t in out:
                out[t][part] = y.made() if isinstance(y, images.Lazy) else y
            env[t] = given[t][part] if t in given else y
            for used in n.inputs:
                if last[used] == i:
                    env.pop(used, None)
    return out


def _chunk(graph: Graph, last: Mapping[str, int]) -> int:
    """How many frames at a time keep the tensors that live together within MEMORY."""
    size = {t: v.size * np.dtype(images.small(v)).itemsize for t, v in graph.tensors.items()}
    for n in graph.nodes:
        if isinstance(n.op, ops.Window):  # not made; the padded image at most
            size[n.outputs[0]] = 2 * size[n.inputs[0]]
    live = sum(size[t] for t in graph.inputs)
    peak = live
    for i, n in enumerate(graph.nodes):
        live += size[n.outputs[0]]
        wide = 3 * graph.tensor(n.outputs[0]).size * 8  # what the op itself takes for a while
        peak = max(peak, live + wide)
        live -= sum(size[t] for t in set(n.inputs) if last[t] == i)
    return max(1, min(CHUNK, MEMORY // max(peak, 1)))


def host_quantize(graph: Graph, inputs: Sequence[NDArray[Any]] | Mapping[str, NDArray[Any]]) -> list[AnyInt]:
    """Float32 frames [N, ...] of each graph input -> its integers [N, *shape], as the host computes them.

    Frames come in the order of the ONNX input; images leave it as [H, W, C] (`Graph.layouts`).
    An input without a host quantizer is passed on as integers. Raises DataError on a NaN, on a wrong shape, or on axes
    of an image in another order.
    """
    if not isinstance(inputs, Mapping):
        inputs = dict(zip(graph.inputs, inputs, strict=True))
    found = []
    for name, host in zip(graph.inputs, graph.host, strict=True):
        t = graph.tensor(name)
        check_frames(graph, name, np.asarray(inputs[name]).shape[1:])
        x = _flat(t, np.asarray(inputs[name]))
        if name in graph.layouts:
            x = graph.layouts[name].to_int(x, t)
        if host is None:
            found.append(x)
            continue
        x = x.astype(np.float32, copy=False)
        if np.isnan(x).any():
            raise DataError(f"input '{name}': frame {int(np.argwhere(np.isnan(x))[0][0])} holds NaN")
        thresholds = graph.array(host.thresholds)
        falling = None if host.falling is None else graph.array(host.falling)
        y = np.empty(x.shape, dtype=images.small(t))
        for start in range(0, len(x), CHUNK):
            y[start : start + CHUNK] = count_thresholds(x[start : start + CHUNK], thresholds, host.offset, falling)
        found.append(y)
    return found


def check_frames(graph: Graph, name: str, shape: tuple[int, ...]) -> None:
    """Raises DataError unless images of this shape stand in the order of the ONNX input: axes of one pixel or channel
    may be left out, and a frame may be flat. Vectors come in any shape.
    """
    t, layout = graph.tensor(name), graph.layouts.get(name)
    frame = t.shape if layout is None else layout.shape
    if len(t.shape) == 3 and shape != (t.size,) and [n for n in shape if n > 1] != [n for n in frame if n > 1]:
        raise DataError(
            f"input '{name}': frames of shape {shape}; the network takes {tuple(frame)}, axes in this order"
        )


def _flat(t: Tensor, x: NDArray[Any]) -> NDArray[Any]:
    if x.ndim < 1 or len(x) < 1 or int(np.prod(x.shape[1:])) != t.size:
        raise DataError(
            f"input '{t.name}': array of shape {x.shape}; [frames, ...] with {t.size} values per frame is needed"
        )
    return x.reshape(len(x), *t.shape)


def _checked(graph: Graph, inputs: Sequence[AnyInt] | Mapping[str, AnyInt]) -> dict[str, AnyInt]:
    named = dict(inputs) if isinstance(inputs, Mapping) else dict(zip(graph.inputs, inputs, strict=False))
    missing = [n for n in graph.inputs if n not in named]
    if missing or len(named) != len(graph.inputs) or (not isinstance(inputs, Mapping) and len(inputs) != len(named)):
        raise DataError(f"{len(inputs)} input arrays; needed: {', '.join(graph.inputs)}")
    out: dict[str, AnyInt] = {}
    for name in graph.inputs:
        t, x = graph.tensor(name), np.asarray(named[name])
        if x.dtype.kind not in "iub":
            raise DataError(f"input '{name}': {x.dtype} values; integers are needed (host_quantize makes them)")
        if len(t.shape) == 3 and x.shape[1:] not in (t.shape, (t.size,)):
            raise DataError(
                f"input '{name}': integers of shape {x.shape}; [frames, {', '.join(map(str, t.shape))}] is needed, "
                "channels last (host_quantize brings frames of the model's own order into it)"
            )
        x = _flat(t, x)
        if (int(x.min()) < max(t.lo) or int(x.max()) > min(t.hi)) and np.any((x < t.lo) | (x > t.hi)):
            raise DataError(f"input '{name}': values {x.min()}..{x.max()} leave the range {min(t.lo)}..{max(t.hi)}")
        out[name] = x
    if len({len(x) for x in out.values()}) > 1:
        raise DataError(f"inputs of different numbers of frames: {', '.join(f'{n} {len(x)}' for n, x in out.items())}")
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


def _step(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Step)
    t, offset = graph.array(n.op.thresholds), n.op.offset
    falling = None if n.op.falling is None else graph.array(n.op.falling)
    small = images.small(graph.tensor(n.outputs[0]))
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
    ops.Step: _step,
    ops.Table: _table,
    ops.Combine: _combine,
    ops.ArgMax: _argmax,
    **images.RUN,
}
