"""Operators on images: convolutions and pooling as Window and what follows it, resizing, concatenation."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction
from math import lcm
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node
from hwq.passes.build import ONE, ZERO, Build, Value, image, meaning, needs_line, real_of, settled, short, straight
from hwq.passes.chain import Line, at, rationals
from hwq.passes.dense import product
from hwq.passes.exact import common_step
from hwq.passes.layout import channels_moved
from hwq.passes.sums import add_values, concat_parts, folds_badly

IntArray = NDArray[np.int64]
FINE = 10  # bits of an input that is put on a finer grid so that padding is on it


def lower_image(b: Build, node: Node) -> Value:
    """One operator of `ops.IMAGE_OPS`. Raises UnsupportedOp."""
    value = settled(b, b.values[node.inputs[0]])
    match node.op:
        case ops.Conv():
            out = _conv(b, node, node.op, image(b, node, value, "this convolution"))
        case ops.ConvTranspose():
            out = _conv_transpose(b, node, node.op, image(b, node, value, "this convolution"))
        case ops.MaxPool():
            out = _max_pool(b, node, node.op, image(b, node, value, "this pooling"))
        case ops.AvgPool():
            out = _avg_pool(b, node, node.op, image(b, node, value, "this pooling"))
        case ops.Mean():
            out = _mean(b, node, image(b, node, value, "this mean"))
        case ops.Pad():
            out = _pad(b, node, node.op, image(b, node, value, "this padding"))
        case ops.Resize():
            out = _resize(b, node, node.op, image(b, node, value, "this resizing"))
        case ops.PixelShuffle():
            out = _shuffle(b, node, node.op, image(b, node, value, "this rearrangement"))
        case _:
            raise TypeError(type(node.op).__name__)
    return replace(out, order=out.order.reshape(b.real.tensor(node.outputs[0]).shape))


def _conv(b: Build, node: Node, op: ops.Conv, value: Value) -> Value:
    name = b.layer(node, "conv")
    w: IntArray = b.real.array(op.weight)
    parts = concat_parts(b, value) if op.groups == 1 and folds_badly(value.chain) else []
    if len(parts) < 2:
        return _convolution(b, node, op, name, value, w)
    b.notes.append(
        f"layer '{name}': its {len(parts)} joined inputs have scales of their own; each is a convolution, their sums "
        "are brought together"
    )
    sums, start = [], 0
    for i, part in enumerate(parts):
        inner = np.ascontiguousarray(w[:, start : start + part.channels])
        sums.append(_convolution(b, node, op, b.name(f"{name}_{i}"), part, inner))
        start += part.channels
    return add_values(b, node, name, sums)


def _convolution(b: Build, node: Node, op: ops.Conv, name: str, value: Value, w: IntArray) -> Value:
    m, _, kh, kw = w.shape
    line = needs_line(value, node, "this convolution")
    zero = 0
    if any(op.pad):
        value, line, zero = with_zero(b, node, name, value, line)
    window = ops.Window((kh, kw), op.stride, op.pad, op.dilation, zero)
    win, line = _window(b, node, name, value, window, line)
    matrix = np.ascontiguousarray(w.transpose(0, 2, 3, 1).reshape(m, -1))
    matvec = ops.MatVec("", op.code, groups=op.groups, taps=kh * kw)
    return product(b, node, name, (win, line), matrix, rationals(b.real, op.scale), matvec)


def _conv_transpose(b: Build, node: Node, op: ops.ConvTranspose, value: Value) -> Value:
    """Zeros between the pixels, then a convolution with the kernel turned around."""
    name = b.layer(node, "deconv")
    w: IntArray = b.real.array(op.weight)
    _, per, kh, kw = w.shape
    line = needs_line(value, node, "this convolution")
    (dh, dw), (top, left, bottom, right) = op.dilation, op.pad
    high, wide = (kh - 1) * dh, (kw - 1) * dw
    pad = high - top, wide - left, high - bottom + op.extra[0], wide - right + op.extra[1]
    spread = op.stride != (1, 1) and value.shape[:2] != (1, 1)
    zero = 0
    if spread or any(pad):
        value, line, zero = with_zero(b, node, name, value, line)
    if spread:
        value = _spread(b, node, name, value, ops.Spread(op.stride, zero))
    window = ops.Window((kh, kw), (1, 1), pad, op.dilation, zero)
    win, line = _window(b, node, name, value, window, line)
    turned = w.reshape(op.groups, -1, per, kh, kw)[:, :, :, ::-1, ::-1]  # [G, C/G, M/G, KH, KW]
    matrix = np.ascontiguousarray(turned.transpose(0, 2, 3, 4, 1).reshape(per * op.groups, -1))
    matvec = ops.MatVec("", op.code, groups=op.groups, taps=kh * kw)
    return product(b, node, name, (win, line), matrix, rationals(b.real, op.scale), matvec)


def _spread(b: Build, node: Node, name: str, value: Value, op: ops.Spread) -> Value:
    h, w, c = value.shape
    shape = ((h - 1) * op.factors[0] + 1, (w - 1) * op.factors[1] + 1, c)
    lo, hi = b.range(value.base)
    lo, hi = np.minimum(lo, op.value), np.maximum(hi, op.value)
    real = real_of(value.chain, c)
    out = b.emit(b.name(f"{name}_spread"), op, [value.base], b.name(f"{name}_in"), lo, hi, real, node.name, shape)
    return straight(out, shape, value.chain)


def with_zero(b: Build, node: Node, name: str, value: Value, line: Line) -> tuple[Value, Line, int]:
    """(value, its line, the integer of real zero). Where zero is between the integers (a bipolar input, a mean taken
    off), a Combine r * x + q puts it among them, if that takes few bits. Raises UnsupportedOp.
    """
    c, (lo, hi) = value.channels, b.range(value.base)
    ratios = [at(line.add, i) / at(line.mul, i) if at(line.mul, i) else None for i in range(c)]
    first = ratios[0]
    if None in ratios or (first is not None and first.denominator == 1 and len(set(ratios)) == 1):
        return value, line, integer_of(node, name, value, line, Fraction(0))
    r = lcm(*(v.denominator for v in ratios if v is not None))
    q = np.array([int(v * r) for v in ratios if v is not None], dtype=object)
    ends = r * lo.astype(object) + q, r * hi.astype(object) + q
    bits = max(abs(int(v)) for v in (*ends[0], *ends[1])).bit_length() + 1
    if bits > FINE:
        return value, line, integer_of(node, name, value, line, Fraction(0))
    chain = meaning(tuple(m / r for m in line.mul), ZERO)
    keys = b.blob(np.array([r], dtype=np.int64)), b.blob(short(q.astype(np.int64)))
    at_name = b.name(f"{name}_zero")
    low, high = (e.astype(np.int64) for e in ends)
    op, real = ops.Combine((keys[0],), keys[1]), real_of(chain, c)
    out = b.emit(at_name, op, [value.base], f"{at_name}_out", low, high, real, node.name, value.shape)
    b.notes.append(
        f"layer '{name}': it pads with 0, which lies between the integers of its input; {r} * x + bias has it on its "
        f"grid and takes {bits} bits (no padding, or a quantizer with 0 on its grid, takes none)"
    )
    value = replace(value, base=out, chain=chain)
    return value, needs_line(value, node, "this padding"), 0


def integer_of(node: Node, name: str, value: Value, line: Line, number: Fraction) -> int:
    """The integer that stands for `number` in every channel. Raises UnsupportedOp where there is none."""
    c = value.channels
    found = {(number - at(line.add, i)) / at(line.mul, i) if at(line.mul, i) else None for i in range(c)}
    if len(found) == 1:
        (integer,) = found
        if integer is not None and integer.denominator == 1:
            return int(integer)
    shown = sorted({float(at(line.add, i)) for i in range(c)})
    offsets = f"offset {shown[0]:g}" if len(shown) == 1 else f"offsets {shown[0]:g} to {shown[-1]:g}"
    raise UnsupportedOp(
        f"layer '{name}' (node '{node.name}'): it pads with {float(number):g}, but its input has {offsets} on a scale "
        f"of {float(line.mul[0]):g}: no integer stands for {float(number):g} in every channel; use a quantizer that "
        "has it on its grid (bipolar ones don't have 0), or no padding"
    )


def _pad(b: Build, node: Node, op: ops.Pad, value: Value) -> Value:
    """A window of one pixel with padding; a convolution or pooling after it takes it over."""
    name = b.layer(node, "pad")
    line = needs_line(value, node, "this padding")
    if Fraction(op.value) == 0:
        value, _, number = with_zero(b, node, name, value, line)
    else:
        number = integer_of(node, name, value, line, Fraction(op.value))
    window = ops.Window((1, 1), (1, 1), op.pad, (1, 1), number)
    out, _ = _window(b, node, name, value, window, None)
    return straight(out, (*window.positions(value.shape), value.channels), value.chain)


def _resize(b: Build, node: Node, op: ops.Resize, value: Value) -> Value:
    (h, w, c), (fh, fw) = value.shape, op.factors
    if op.factors == (1, 1):
        return value
    name, shape = b.layer(node, "upsample"), (h * fh, w * fw, c)
    if value.floating:
        needs_line(value, node, "this resizing")
    lo, hi = b.range(value.base)
    real = real_of(value.chain, c)
    out = b.emit(name, ops.Upsample(op.factors), [value.base], f"{name}_out", lo, hi, real, node.name, shape)
    return straight(out, shape, value.chain)


def _shuffle(b: Build, node: Node, op: ops.PixelShuffle, value: Value) -> Value:
    (h, w, c), n = value.shape, op.block
    if n == 1:
        return value
    if value.floating:
        needs_line(value, node, "this rearrangement")
    name, inner = b.layer(node, "shuffle"), c // n**2
    if op.mode == "CRD":
        value = channels_moved(b, value, np.arange(c).reshape(inner, n, n).transpose(1, 2, 0).ravel(), node.name)
    blocks = [value.chain.picked(range(k * inner, (k + 1) * inner)) for k in range(n**2)]
    if any(block != blocks[0] for block in blocks):
        value = _one_scale(b, node, name, value, inner)
        blocks = [value.chain.picked(range(inner))]
    lo, hi = (f(v.reshape(n**2, inner), axis=0) for f, v in zip((np.min, np.max), b.range(value.base), strict=True))
    shape = (h * n, w * n, inner)
    real = real_of(blocks[0], inner)
    out = b.emit(name, ops.DepthToSpace(n), [value.base], f"{name}_out", lo, hi, real, node.name, shape)
    return straight(out, shape, blocks[0])


def _one_scale(b: Build, node: Node, name: str, value: Value, period: int) -> Value:
    """The value with channels c, c + period .. on one scale: a Combine of one input with exact multipliers."""
    line = needs_line(value, node, "a rearrangement of channels of different scales")
    c = value.channels
    mul, add = np.empty(c, dtype=object), np.empty(c, dtype=object)
    scale, offset = [], []
    for p in range(period):
        mine = range(p, c, period)
        first = at(line.add, p)
        step = common_step([at(line.mul, i) for i in mine] + [at(line.add, i) - first for i in mine])
        for i in mine:
            mul[i], add[i] = int(at(line.mul, i) / step), int((at(line.add, i) - first) / step)
        scale.append(step)
        offset.append(first)
    ends = np.stack([mul * v.astype(object) + add for v in b.range(value.base)])
    lo, hi = ends.min(axis=0), ends.max(axis=0)
    top = max(abs(int(v)) for v in (*lo, *hi))
    if top >= 1 << 61:
        raise UnsupportedOp(
            f"node '{node.name}': its channels have scales that need integers of {top.bit_length() + 1} bits on one "
            "grid; use one scale per tensor, or a quantizer right before this node"
        )
    chain = meaning(tuple(scale), tuple(offset)).tiled(period, c // period)
    op = ops.Combine((b.blob(mul.astype(np.int64)),), b.blob(add.astype(np.int64)))
    at_name = b.name(f"{name}_scale")
    b.notes.append(
        f"layer '{at_name}': channels of different scales are brought together by multipliers of up to "
        f"{max(abs(int(v)) for v in mul).bit_length()} bits"
    )
    real = real_of(chain, c)
    out = b.emit(at_name, op, [value.base], f"{at_name}_out", lo, hi, real, node.name, value.shape)
    return replace(value, base=out, chain=chain)


def _window(b: Build, node: Node, name: str, value: Value, op: ops.Window, line: Line | None) -> tuple[str, Line]:
    """(tensor [OH, OW, KH*KW*C], line per channel of it); the image itself where one pixel is the window."""
    line = line or Line(ONE, ZERO)
    taps = op.kernel[0] * op.kernel[1]
    value, op = _taken_over(b, value, op)
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


def _taken_over(b: Build, value: Value, op: ops.Window) -> tuple[Value, ops.Window]:
    """The window on the image before a Pad, if their padding is of one value."""
    before = next((n for n in b.nodes if n.outputs == (value.base,)), None)
    if before is None or not isinstance(before.op, ops.Window):
        return value, op
    pad = before.op
    if pad.kernel != (1, 1) or pad.stride != (1, 1) or (any(op.pad) and op.value != pad.value):
        return value, op
    t, left, bottom, right = (a + c for a, c in zip(op.pad, pad.pad, strict=True))
    source = b.tensors[before.inputs[0]]
    window = replace(op, pad=(t, left, bottom, right), value=pad.value)
    return replace(value, base=source.name, shape=source.shape), window


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
    out = b.emit(turn, op, [value.base], f"{turn}_out", lo, hi, real_of(chain, value.channels), node.name, value.shape)
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
        line = needs_line(value, node, "this pooling")
        value, _, zero = with_zero(b, node, name, value, line)
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
