"""Channel orders that lowering states as matrices of zeros and ones move into the rows of the layer before."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.ir import ops
from hwq.ir.graph import BlobKey, Graph, Layout, Node, Real, Tensor, blob

IntArray = NDArray[np.int64]


def absorb_orders(graph: Graph) -> Graph:
    """The same network without the permutations that follow a matrix product (perhaps with a quantizer between)."""
    for node in graph.nodes:
        order = _order(graph, node)
        if order is None or node.outputs[0] in graph.outputs:
            continue
        path = _path(graph, node.inputs[0])
        layouts = _layouts(graph, path, order) if path else None
        if layouts is not None:
            graph = _absorbed(graph, node, path, order, layouts)
    return graph


def _order(graph: Graph, node: Node) -> IntArray | None:
    """order with y[k] = x[order[k]], if the node is a permutation."""
    op = node.op
    if not isinstance(op, ops.MatVec) or op.xnor or op.groups > 1:
        return None
    w = graph.array(op.weight)
    if w.shape[0] != w.shape[1] or w.min() < 0 or w.max() != 1:
        return None
    if np.any(w.sum(axis=0) != 1) or np.any(w.sum(axis=1) != 1):
        return None
    return np.asarray(np.argmax(w, axis=1))


def _path(graph: Graph, tensor: str) -> list[Node]:
    """The nodes from a matrix product to `tensor`, last first, if all they do is channel by channel and seen here
    alone; else none.
    """
    path: list[Node] = []
    while True:
        node = graph.producer(tensor)
        if node is None or tensor in graph.outputs or len(graph.consumers(tensor)) != 1:
            return []
        match node.op:
            case ops.MatVec(groups=1):
                return [*path, node]
            case ops.Step() | ops.Table() | ops.Combine() if len(node.inputs) == 1:
                path.append(node)
                tensor = node.inputs[0]
            case _:
                return []


def _layouts(graph: Graph, path: list[Node], order: IntArray) -> dict[str, Layout] | None:
    """New layouts of the tensors that are compared with the real graph's; None where a Layout can't state them."""
    found = {}
    for node in path:
        if not isinstance(node.op, ops.Step | ops.Table):
            continue
        t = graph.tensor(node.outputs[0])
        c = t.channels
        size = next((n for n in range(2, c + 1) if c % n**2 == 0 and np.array_equal(order, _shuffled(c, n))), None)
        if (
            size is None
            or len(t.shape) != 3
            or graph.layouts.get(t.name)
            not in (None if t.shape[:2] == (1, 1) else Layout((c, *t.shape[:2]), (1, 2, 0)),)
        ):
            return None
        found[t.name] = Layout((c // size**2, size, size, *t.shape[:2]), (3, 4, 1, 2, 0))
    return found


def _shuffled(c: int, n: int) -> IntArray:
    return np.asarray(np.arange(c).reshape(c // n**2, n, n).transpose(1, 2, 0).ravel())


def _absorbed(graph: Graph, node: Node, path: list[Node], order: IntArray, layouts: dict[str, Layout]) -> Graph:
    blobs = dict(graph.blobs)

    def rows(key: BlobKey) -> BlobKey:
        array: NDArray[Any] = graph.array(key)
        if len(array) == 1:
            return key
        new, moved = blob(array[order])
        blobs[new] = moved
        return new

    def moved(op: ops.Op) -> ops.Op:
        match op:
            case ops.MatVec(weight=w):
                return replace(op, weight=rows(w))
            case ops.Step(thresholds=t, falling=f):
                return replace(op, thresholds=rows(t), falling=None if f is None else rows(f))
            case ops.Table(entries=e):
                return replace(op, entries=rows(e))
            case ops.Combine(mul=mul, bias=bias):
                return replace(op, mul=tuple(map(rows, mul)), bias=rows(bias))
        raise TypeError(type(op).__name__)

    def turned(values: tuple[Any, ...]) -> tuple[Any, ...]:
        return values if len(values) == 1 else tuple(values[i] for i in order)

    tensors = dict(graph.tensors)
    for n in path:
        t = tensors[n.outputs[0]]
        real = None if t.real is None else Real(turned(t.real.scale), turned(t.real.offset))
        tensors[t.name] = Tensor(t.name, t.shape, turned(t.lo), turned(t.hi), real)
    del tensors[node.outputs[0]]
    gone, kept = node.outputs[0], node.inputs[0]
    names = {n.name for n in path}
    nodes = tuple(
        replace(
            n,
            op=moved(n.op) if n.name in names else n.op,
            inputs=tuple(kept if t == gone else t for t in n.inputs),
        )
        for n in graph.nodes
        if n.name != node.name
    )
    return graph.replace(nodes=nodes, tensors=tensors, blobs=blobs, layouts={**graph.layouts, **layouts})


__all__ = ["absorb_orders"]
