"""Matrix products and the ops on images, executed from their definitions on [N, H, W, C] arrays."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor

AnyInt = NDArray[Any]
GATHER = 1 << 25  # bytes of the windows gathered for one matrix product


def small(t: Tensor) -> type[np.signedinteger[Any]]:
    """The smallest numpy integer type that holds a tensor and, beyond it, one more (a threshold past the
    range).
    """
    top = max(max(t.hi) + 1, -min(t.lo))
    return next(k for k in (np.int8, np.int16, np.int32, np.int64) if top <= np.iinfo(k).max)


@dataclass(frozen=True)
class Lazy:
    """The output of a Window that has not been made: the padded image [N, H + .., W + .., C] and how to read it."""

    padded: AnyInt
    op: ops.Window
    positions: tuple[int, int]

    def taps(self) -> Iterator[AnyInt]:
        """For each position (ky, kx) of the window, the pixel there: views [N, OH, OW, C]."""
        (oh, ow), (sh, sw), (dh, dw) = self.positions, self.op.stride, self.op.dilation
        for ky in range(self.op.kernel[0]):
            for kx in range(self.op.kernel[1]):
                y, x = ky * dh, kx * dw
                yield self.padded[:, y : y + (oh - 1) * sh + 1 : sh, x : x + (ow - 1) * sw + 1 : sw]

    def part(self, frames: slice) -> Lazy:
        return Lazy(self.padded[frames], self.op, self.positions)

    def made(self) -> AnyInt:
        """[N, OH, OW, KH*KW*C]."""
        return np.concatenate(list(self.taps()), axis=-1)


def _window(graph: Graph, n: Node) -> Callable[..., Any]:
    assert isinstance(n.op, ops.Window)
    op, (top, left, bottom, right) = n.op, n.op.pad
    positions = op.positions(graph.tensor(n.inputs[0]).shape)

    def run(x: AnyInt) -> Lazy:
        if any(op.pad):
            kind = np.result_type(x.dtype, np.min_scalar_type(op.value))
            x = np.pad(
                x.astype(kind, copy=False),
                ((0, 0), (top, bottom), (left, right), (0, 0)),
                constant_values=op.value,
            )
        return Lazy(x, op, positions)

    return run


def _reach(graph: Graph, tensor: str) -> int:
    """Largest magnitude in a tensor: what its range says, or that of the tensors it was gathered from."""
    t = graph.tensor(tensor)
    own = max(abs(min(t.lo)), abs(max(t.hi)))
    n = graph.producer(tensor)
    if n is None or not isinstance(n.op, ops.Window | ops.Spread | ops.Reshape | ops.Upsample | ops.DepthToSpace):
        return own
    fill = abs(n.op.value) if isinstance(n.op, ops.Window | ops.Spread) else 0
    return min(own, max(fill, _reach(graph, n.inputs[0])))


def _matvec(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.MatVec)
    op, w = n.op, graph.array(n.op.weight)
    groups, taps = op.groups, op.taps
    bound = int(np.abs(w).sum(axis=1).max(initial=0)) * max(_reach(graph, n.inputs[0]), 1) * (2 if op.xnor else 1)
    kind: type[Any] = np.float32 if bound < 1 << 24 else np.float64 if bound < 1 << 53 else np.int64
    # with xnor matches = sum of x where W is +1, and of 1 - x where it is -1
    base = (w < 0).sum(axis=1) if op.xnor else np.zeros(len(w), dtype=np.int64)
    out, shift, rows = small(graph.tensor(n.outputs[0])), base.astype(kind), len(w) // groups
    right = [np.ascontiguousarray(w[g * rows : (g + 1) * rows].T.astype(kind)) for g in range(groups)]
    channelwise = groups > 1 and w.shape[1] == taps
    each = w.astype(kind).reshape(groups, rows, taps).transpose(2, 0, 1) if channelwise else None

    def product(parts: list[AnyInt]) -> Any:
        """parts: one [..., C] array per tap (or one of all taps)."""
        lead = parts[0].shape[:-1]
        if each is not None:  # one channel a group: a sum over the taps
            pieces = parts if len(parts) == taps else list(np.moveaxis(parts[0].reshape(*lead, taps, groups), -2, 0))
            acc = np.zeros((*lead, groups, rows), dtype=kind)
            for k, piece in enumerate(pieces):
                acc += piece.astype(kind)[..., None] * each[k]
            return (acc.reshape(*lead, -1) + shift).astype(out)
        x = np.empty((*lead, w.shape[1] * groups), dtype=kind)
        at = 0
        for piece in parts:
            x[..., at : at + piece.shape[-1]] = piece
            at += piece.shape[-1]
        if groups == 1:
            return (x.reshape(-1, x.shape[-1]) @ right[0] + shift).astype(out).reshape(*lead, -1)
        x = x.reshape(-1, taps, groups, w.shape[1] // taps)
        y = [x[:, :, g].reshape(len(x), -1) @ right[g] for g in range(groups)]
        return (np.concatenate(y, axis=-1) + shift).astype(out).reshape(*lead, -1)

    pixels = int(np.prod(graph.tensor(n.outputs[0]).shape[:-1]))
    step = max(1, GATHER // (pixels * w.shape[1] * groups * np.dtype(kind).itemsize))

    def run(x: AnyInt | Lazy) -> AnyInt:
        if not isinstance(x, Lazy):
            return np.asarray(product([x]))
        frames = len(x.padded)
        parts = [product(list(x.part(slice(i, min(i + step, frames))).taps())) for i in range(0, frames, step)]
        return np.asarray(parts[0] if len(parts) == 1 else np.concatenate(parts))

    return run


def _pool(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Pool)
    largest, size, out = n.op.kind == "max", n.op.size, small(graph.tensor(n.outputs[0]))

    def run(x: AnyInt | Lazy) -> AnyInt:
        parts = x.taps() if isinstance(x, Lazy) else iter(np.split(x, size, axis=-1))
        y = next(parts).astype(out)
        for part in parts:
            y = np.maximum(y, part.astype(out)) if largest else y + part.astype(out)
        return y

    return run


def _total(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    return lambda x: x.sum(axis=(1, 2), dtype=np.int64)


def _concat(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    return lambda *xs: np.concatenate(xs, axis=-1)


def _reshape(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    shape = graph.tensor(n.outputs[0]).shape
    return lambda x: x.reshape(len(x), *shape)


def _upsample(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Upsample)
    fh, fw = n.op.factors
    return lambda x: x.repeat(fh, axis=1).repeat(fw, axis=2)


def _spread(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.Spread)
    (fh, fw), value, t = n.op.factors, n.op.value, graph.tensor(n.outputs[0])

    def run(x: AnyInt) -> AnyInt:
        y = np.full((len(x), *t.shape), value, dtype=np.result_type(x.dtype, np.min_scalar_type(value)))
        y[:, ::fh, ::fw] = x
        return y

    return run


def _depth_to_space(graph: Graph, n: Node) -> Callable[..., AnyInt]:
    assert isinstance(n.op, ops.DepthToSpace)
    b = n.op.block

    def run(x: AnyInt) -> AnyInt:
        f, h, w, c = x.shape
        y = x.reshape(f, h, w, b, b, c // b**2)
        return y.transpose(0, 1, 3, 2, 4, 5).reshape(f, h * b, w * b, -1)

    return run


RUN: dict[type[ops.Op], Callable[[Graph, Node], Callable[..., Any]]] = {
    ops.MatVec: _matvec,
    ops.Window: _window,
    ops.Pool: _pool,
    ops.Total: _total,
    ops.Concat: _concat,
    ops.Reshape: _reshape,
    ops.Upsample: _upsample,
    ops.Spread: _spread,
    ops.DepthToSpace: _depth_to_space,
}
