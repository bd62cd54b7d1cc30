"""Matrix products -> MatVec: input scales and offsets move out of the sum, the integers that remain are the layer."""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node
from hwq.ir.verify import product_range
from hwq.passes.build import Build, Value, flat, lowest_bits, meaning, needs_line, real_of, settled, straight
from hwq.passes.chain import Line, Rationals, at, rationals
from hwq.passes.exact import common_step

IntArray = NDArray[np.int64]


def lower_matmul(b: Build, node: Node, op: ops.MatMul) -> Value:
    """A dense layer; where it reads a flattened image, its columns take the order of the pixels."""
    value = flat(b, settled(b, b.values[node.inputs[0]]))
    line = needs_line(value, node, "this matrix product")
    w: IntArray = b.real.array(op.weight)
    columns = np.empty_like(w)
    columns[:, value.order.ravel()] = w
    s = rationals(b.real, op.scale)
    return product(b, node, b.layer(node, "fc"), (value.base, line), columns, s, ops.MatVec("", op.code))


def product(b: Build, node: Node, name: str, x: tuple[str, Line], w: IntArray, s: Rationals, op: ops.MatVec) -> Value:
    """sum_k s_m W_mk (a_k x_k + b_k) = s_m a sum_k W_mk x_k + s_m sum_k W_mk b_k at every position, with a_k = a n_k
    folded into W.

    x: (tensor [..., K*C], its line per channel of K*C, or one); w [MH, K*C/G]; op: groups, taps and code.
    """
    base, line = x
    lo, hi = b.range(base)
    if op.groups > 1:
        index = np.arange(len(lo)).reshape(op.taps, op.groups, -1).transpose(1, 0, 2).reshape(op.groups, -1)
        seen = np.repeat(index, len(w) // op.groups, axis=0)
    else:
        seen = np.arange(len(lo))[None, :]
    folded, step, code = _fold_scales(b, name, w, line.mul, op.code, seen)
    rows = _row_sums(w, line.add, seen)
    # Hardware fills the gaps between groups with zeros, which XNOR can't have; a depthwise op has no gaps.
    dense = op.groups in (1, len(w)) and (op.groups == 1 or w.shape[1] == op.taps)
    xnor = dense and isinstance(code, ops.Bipolar) and _is_bipolar(line, lo, hi)
    op = replace(op, weight=b.blob(folded), code=code, xnor=xnor)
    acc_lo, acc_hi = product_range(op, folded, lo, hi)
    if xnor:
        # x = 2 v - 1 for v in {0, 1} and p matches of K: sum W x = 2 p - K, here with real(v) = a v - a / 2.
        scale = tuple(si * step for si in s)
        offset: Rationals = tuple(-si * step * w.shape[1] / 2 for si in s)
    else:
        scale = tuple(si * step for si in s)
        offset = tuple(at(s, m) * r for m, r in enumerate(rows))
        offset = offset[:1] if len(set(offset)) == 1 and len(s) == 1 else offset
    chain = meaning(scale, offset)
    shape = (*b.tensors[base].shape[:-1], len(w))
    acc = b.emit(name, op, [base], f"{name}_acc", acc_lo, acc_hi, real_of(chain, len(w)), node.name, shape)
    return straight(acc, shape, chain)


def _is_bipolar(line: Line, lo: IntArray, hi: IntArray) -> bool:
    """The input is {0, 1} standing for -a/2 and +a/2 in every channel."""
    if len(line.mul) > 1 or lo.min() < 0 or hi.max() > 1:
        return False
    return all(v == -line.mul[0] / 2 for v in line.add)


def _fold_scales(
    b: Build, name: str, w: IntArray, mul: Rationals, code: ops.Code, seen: IntArray
) -> tuple[IntArray, Fraction, ops.Code]:
    """(integer weights, common scale a, code) with W' = W * n_k for input scales a_k = a * n_k.

    seen [MH or 1, MW]: the input channel behind every weight.
    """
    if len(mul) == 1 and mul[0] >= 0:
        return w, mul[0], code
    step = common_step(list(mul))
    n = [int(v / step) for v in mul]
    per_weight = np.array(n, dtype=object)[seen] if len(mul) > 1 else np.array(n, dtype=object)
    exact = w.astype(object) * per_weight
    top = max((abs(int(v)) for v in exact.ravel()), default=0)
    if top >= 1 << 31:
        raise UnsupportedOp(
            f"layer '{name}': its input channels have scales whose smallest common integer multipliers need "
            f"{top.bit_length() + 1}-bit weights; use one scale per tensor, or power-of-two scales"
        )
    folded = exact.astype(np.int64)
    bits, before = lowest_bits(folded), lowest_bits(w)
    if len(set(n)) > 1:
        b.notes.append(
            f"layer '{name}': input channels of different scales are folded into the weights as integer "
            f"multipliers {min(n)}..{max(n)}; weights grow from {before} to {bits} bits"
        )
    if isinstance(code, ops.Bipolar) and np.all(np.abs(folded) == 1):
        return folded, step, code
    if bits <= 2 and folded.min() >= -1:
        return folded, step, ops.Ternary()
    return folded, step, ops.Uniform(bits, narrow=int(folded.min()) > -(1 << (bits - 1)))


def _row_sums(w: IntArray, add: Rationals, seen: IntArray) -> list[Fraction]:
    """sum_k W[m, k] * add[seen[m, k]] for every row, exactly."""
    if len(add) == 1:
        return [int(v) * add[0] for v in w.sum(axis=1)]
    step = common_step(list(add))
    n = np.array([int(v / step) for v in add], dtype=object)
    return [Fraction(v) * step for v in (w.astype(object) * n[seen]).sum(axis=1)]
