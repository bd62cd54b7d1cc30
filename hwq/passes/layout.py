"""Where the values of a frame stand: image or vector at a graph input, and back into the order of ONNX."""

from __future__ import annotations

import contextlib
from dataclasses import replace

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Graph, Layout, Tensor
from hwq.passes.build import Build, Value, as_picture, flat, layout_of, real_of

IntArray = NDArray[np.int64]
PASSING = (*ops.ELEMENTWISE, *ops.QUANTIZERS, ops.Sum, ops.Softmax)


def input_layout(graph: Graph, t: Tensor) -> tuple[tuple[int, ...], IntArray, Layout | None]:
    """(int shape, order, layout if it is not ONNX's own) of a graph input: [H, W, C] where an operator on images sees
    it first, else a vector. Raises UnsupportedOp where its values come to that operator in no order of axes.
    """
    index = np.arange(t.size).reshape(t.shape)
    seen = _first_picture(graph, t.name, index)
    if seen is None:
        return (t.size,), index, None
    c, h, w = ops.picture(seen.shape)
    place = seen.reshape(c, h, w).transpose(1, 2, 0)  # int position -> ONNX position
    order = np.empty(t.size, dtype=np.int64)
    order[place.ravel()] = np.arange(t.size)
    if np.array_equal(order, np.arange(t.size)):
        return (h, w, c), index, None
    layout = Layout((c, h, w), (1, 2, 0))
    if np.array_equal(order, as_picture((h, w, c)).ravel()):
        return (h, w, c), order.reshape(t.shape), layout
    raise UnsupportedOp(
        f"graph input '{t.name}': its axes are mixed before the first operator on images; "
        "feed it as [C, H, W] or [H, W, C]"
    )


def _first_picture(graph: Graph, name: str, index: IntArray) -> IntArray | None:
    """The input's values as the first operator on images gets them, or None if there is none."""
    for n in graph.consumers(name):
        if isinstance(n.op, ops.IMAGE_OPS) or (isinstance(n.op, ops.Join) and index.ndim > 1):
            return index
        match n.op:
            case ops.Reshape():
                moved = index.reshape(graph.tensor(n.outputs[0]).shape)
            case ops.Transpose(axes=axes):
                moved = index.transpose(axes)
            case ops.ArgMax() if index.ndim > 1 and index.size > index.shape[0]:
                return index
            case _ if isinstance(n.op, PASSING):
                moved = index
            case _:
                continue
        found = _first_picture(graph, n.outputs[0], moved)
        if found is not None:
            return found
    return None


def in_order(b: Build, value: Value, source: str) -> Value:
    """A vector with its values in the order of ONNX: by a matrix of zeros and ones where they stand otherwise."""
    if value.in_order:
        return value
    n = value.order.size
    w = np.zeros((n, n), dtype=np.int64)
    w[np.arange(n), value.order.ravel()] = 1
    lo, hi = (v[value.order.ravel()] for v in b.range(value.base))
    chain = value.chain.picked(value.order.ravel().tolist())
    name = b.name(f"{b.stem(value.base)}_order")
    op = ops.MatVec(b.blob(w), ops.Ternary())
    out = b.emit(name, op, [value.base], f"{name}_out", lo, hi, real_of(chain, n), source)
    return Value(out, (n,), np.arange(n).reshape(value.order.shape), chain)


def channels_moved(b: Build, value: Value, source_of: IntArray, source: str) -> Value:
    """An image whose channel k is channel source_of[k] of the value's, by a matrix of zeros and ones."""
    c = value.channels
    w = np.zeros((c, c), dtype=np.int64)
    w[np.arange(c), source_of] = 1
    lo, hi = (v[source_of] for v in b.range(value.base))
    chain = value.chain.picked(source_of.tolist())
    name = b.name(f"{b.stem(value.base)}_order")
    op = ops.MatVec(b.blob(w), ops.Ternary())
    out = b.emit(name, op, [value.base], f"{name}_out", lo, hi, real_of(chain, c), source, value.shape)
    return replace(value, base=out, chain=chain)


def arranged(b: Build, value: Value, source: str) -> Value:
    """A graph output in an order that a Layout can state."""
    try:
        layout_of(value.order, value.shape)
        return value
    except ValueError:
        return in_order(b, flat(b, replace(value, order=value.order.ravel())), source)


def describe(b: Build, tensor: str, value: Value) -> str:
    """Note the layout of a tensor, if it is one."""
    with contextlib.suppress(ValueError):
        layout = layout_of(value.order, value.shape)
        if layout is not None:
            b.layouts[tensor] = layout
    return tensor
