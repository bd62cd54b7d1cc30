"""Operators on images: convolutions and pooling as Window and what follows it, resizing, concatenation."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node
from hwq.passes.build import ONE, ZERO, Build, Value, image, needs_line, real_of, straight
from hwq.passes.chain import Line, at, rationals
from hwq.passes.dense import product

IntArray = NDArray[np.int64]


def lower_image(b: Build, node: Node) -> Value:
    """One operator of `ops.IMAGE_OPS`, or a Join. Raises UnsupportedOp."""
    value = b.values[node.inputs[0]]
    match node.op:
        case ops.Conv():
            out = _conv(b, node, node.op, image(b, node, value, "this convolution"))
        case ops.MaxPool():
            out = _max_pool(b, node, node.op, image(b, node, value, "this pooling"))
        case ops.AvgPool():
            out = _avg_pool(b, node, node.op, image(b, node, value, "this pooling"))
        case ops.Mean():
            out = _mean(b, node, image(b, node, value, "this mean"))
        case _:
            raise UnsupportedOp(f"node '{node.name}': {type(node.op).__name__} is not supported yet")
    return replace(out, order=out.order.reshape(b.real.tensor(node.outputs[0]).shape))


def _conv(b: Build, node: Node, op: ops.Conv, value: Value) -> Value:
    name = b.layer(node, "conv")
    w: IntArray = b.real.array(op.weight)
    m, _, kh, kw = w.shape
    line = needs_line(value, node, "this convolution")
    zero = 0
    if any(op.pad):
        zero = zero_of(b, node, name, value, line)
    window = ops.Window((kh, kw), op.stride, op.pad, op.dilation, zero)
    win, line = _window(b, node, name, value, window, line)
    matrix = np.ascontiguousarray(w.transpose(0, 2, 3, 1).reshape(m, -1))
    matvec = ops.MatVec("", op.code, groups=op.groups, taps=kh * kw)
    return product(b, node, name, (win, line), matrix, rationals(b.real, op.scale), matvec)


def zero_of(b: Build, node: Node, name: str, value: Value, line: Line) -> int:
    """The integer that stands for real zero in every channel. Raises UnsupportedOp where there is none."""
    c = value.channels
    zeros = {-at(line.add, i) / at(line.mul, i) if at(line.mul, i) else None for i in range(c)}
    if len(zeros) == 1:
        (zero,) = zeros
        if zero is not None and zero.denominator == 1:
            return int(zero)
    shown = sorted({float(at(line.add, i)) for i in range(c)})
    offsets = f"offset {shown[0]:g}" if len(shown) == 1 else f"offsets {shown[0]:g} to {shown[-1]:g}"
    raise UnsupportedOp(
        f"layer '{name}' (node '{node.name}'): it pads with zeros, but its input has {offsets} on a scale of "
        f"{float(line.mul[0]):g}, so that no integer stands for zero in every channel; use a quantizer "
        "without an offset, or no padding"
    )


def _window(
    b: Build, node: Node, name: str, value: Value, op: ops.Window, line: Line | None
) -> tuple[str, Line]:
    """(tensor [OH, OW, KH*KW*C], line per channel of it); the image itself where one pixel is the window."""
    line = line or Line(ONE, ZERO)
    taps = op.kernel[0] * op.kernel[1]
    if taps == 1 and op.stride == (1, 1) and not any(op.pad):
        return value.base, line
    lo, hi = b.range(value.base)
    if any(op.pad):
        lo, hi = np.minimum(lo, op.value), np.maximum(hi, op.value)
    chain = value.chain.tiled(value.channels, taps)
    out = b.name(f"{name}_win")
    shape = (*op.positions(value.shape), taps * value.channels)
    real = real_of(chain, shape[-1])
    lo, hi = np.tile(lo, taps), np.tile(hi, taps)
    b.emit(b.name(f"{name}_window"), op, [value.base], out, lo, hi, real, node.name, shape)
    mul, add = (v if len(v) == 1 else v * taps for v in (line.mul, line.add))
    return out, Line(mul, add)


def _max_pool(b: Build, node: Node, op: ops.MaxPool, value: Value) -> Value:
    """The largest integer where values rise with the integers; where they fall, after a change of sign."""
    if value.floating:
        needs_line(value, node, "this pooling")
    name = b.layer(node, "pool")
    signs = [value.chain.polarity(c) for c in range(value.chain.channels)]
    if None in signs:
        raise UnsupportedOp(
            f"node '{node.name}': a function that rises and falls stands before this pooling; put a quantizer before it"
        )
    if -1 in signs:
        value = _turned(b, node, name, value, [-1 if s == -1 else 1 for s in signs])
    lowest = int(b.range(value.base)[0].min()) if any(op.pad) else 0
    window = ops.Window(op.kernel, op.stride, op.pad, op.dilation, lowest)
    return _pooled(b, node, name, value, window, "max", value)


def _turned(b: Build, node: Node, name: str, value: Value, signs: list[int]) -> Value:
    """The value on integers whose sign is changed where `signs` says so."""
    mul = np.array(signs, dtype=np.int64)
    ends = np.stack([mul * v for v in b.range(value.base)])
    chain = value.chain.after(Line(tuple(map(Fraction, signs)), ZERO))
    op = ops.Combine((b.blob(mul),), b.blob(np.zeros(1, dtype=np.int64)))
    turn = b.name(f"{name}_sign")
    lo, hi = ends.min(axis=0), ends.max(axis=0)
    out = b.emit(
        turn, op, [value.base], f"{turn}_out", lo, hi, real_of(chain, value.channels), node.name, value.shape
    )
    return replace(value, base=out, chain=chain)


def _pooled(b: Build, node: Node, name: str, value: Value, op: ops.Window, kind: str, meant: Value) -> Value:
    """Window and Pool; the result means what `meant`'s chain says."""
    win, _ = _window(b, node, name, value, op, None)
    taps = op.kernel[0] * op.kernel[1]
    lo, hi = (v.reshape(taps, -1) for v in b.range(win))
    f: Any = np.max if kind == "max" else np.sum
    shape = (*op.positions(value.shape), value.channels)
    if taps == 1:
        return straight(win, shape, meant.chain)
    real = real_of(meant.chain, shape[-1])
    pool = ops.Pool(kind, taps)
    out = b.emit(name, pool, [win], f"{name}_out", f(lo, axis=0), f(hi, axis=0), real, node.name, shape)
    return straight(out, shape, meant.chain)


def _avg_pool(b: Build, node: Node, op: ops.AvgPool, value: Value) -> Value:
    name = b.layer(node, "pool")
    zero = 0
    if any(op.pad):
        zero = zero_of(b, node, name, value, needs_line(value, node, "this pooling"))
    window = ops.Window(op.kernel, op.stride, op.pad, op.dilation, zero)
    return _pooled(b, node, name, value, window, "sum", _divided(node, value, op.kernel[0] * op.kernel[1]))


def _divided(node: Node, value: Value, n: int) -> Value:
    """What the sum of n such integers means, if n values are averaged: affine functions change places with a mean."""
    if value.floating or not value.chain.is_affine:
        needs_line(value, node, "this mean")
    return replace(value, chain=value.chain.after(Line((Fraction(1, n),), ZERO)))


def _mean(b: Build, node: Node, value: Value) -> Value:
    name = b.layer(node, "mean")
    h, w, c = value.shape
    chain = _divided(node, value, h * w).chain
    lo, hi = (v * (h * w) for v in b.range(value.base))
    out = b.emit(name, ops.Total(), [value.base], f"{name}_out", lo, hi, real_of(chain, c), node.name)
    return straight(out, (c,), chain)
