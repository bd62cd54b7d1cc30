"""Matrix products -> MatVec: input scales and offsets move out of the sum, the integers that remain are the layer."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwq.ir import ops
from hwq.ir.graph import Node
from hwq.ir.verify import product_range
from hwq.passes.build import ZERO, Build, Value, flat, lowest_bits, meaning, needs_line, real_of, settled, straight
from hwq.passes.chain import Line, Rationals, at, rationals
from hwq.passes.exact import common_step
from hwq.passes.sums import add_values

IntArray = NDArray[np.int64]
WIDEST = 8  # bits of a weight with the scale of its input in it: what a matrix unit takes (hwq.hw.units.MAX_W)


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
    """sum_k s_m W_mk (a_k x_k + b_k) = s_m a sum_k W_mk n_k x_k + s_m sum_k W_mk b_k at every position, with integers
    n_k = a_k / a.

    x: (tensor [..., K*C], its line per channel of K*C, or one); w [MH, K*C/G]; op: groups, taps and code. Where W n
    takes more than `WIDEST` bits the product is a sum of several.
    """
    base, line = x
    lo, hi = b.range(base)
    if op.groups > 1:
        index = np.arange(len(lo)).reshape(op.taps, op.groups, -1).transpose(1, 0, 2).reshape(op.groups, -1)
        seen = np.repeat(index, len(w) // op.groups, axis=0)
    else:
        seen = np.arange(len(lo))[None, :]
    parts = _with_scales(b, name, w, line.mul, op.code, seen)
    # Some foldings fill the gaps between groups with zeros, which XNOR can't have; a depthwise op has no gaps.
    dense = op.groups in (1, len(w)) and (op.groups == 1 or w.shape[1] == op.taps)
    xnor = dense and isinstance(parts[0].code, ops.Bipolar) and _is_bipolar(line, lo, hi)
    if xnor:
        # x = 2 v - 1 for v in {0, 1} and p matches of K: sum W x = 2 p - K, here with real(v) = a v - a / 2.
        offset: Rationals = tuple(-si * parts[0].scale * w.shape[1] / 2 for si in s)
    else:
        rows = _row_sums(w, line.add, seen)
        offset = tuple(at(s, m) * r for m, r in enumerate(rows))
        offset = offset[:1] if len(set(offset)) == 1 and len(s) == 1 else offset
    shape, values = (*b.tensors[base].shape[:-1], len(w)), []
    for i, part in enumerate(parts):
        own = name if len(parts) == 1 else b.name(f"{name}_{i}")
        matvec = replace(op, weight=b.blob(part.weights), code=part.code, xnor=xnor)
        chain = meaning(tuple(si * part.scale for si in s), ZERO if i else offset)
        ends = product_range(matvec, part.weights, lo, hi)
        acc = b.emit(own, matvec, [base], f"{own}_acc", *ends, real_of(chain, len(w)), node.name, shape)
        values.append(straight(acc, shape, chain))
    return values[0] if len(parts) == 1 else add_values(b, node, name, values)


def _is_bipolar(line: Line, lo: IntArray, hi: IntArray) -> bool:
    """The input is {0, 1} standing for -a/2 and +a/2 in every channel."""
    if len(line.mul) > 1 or lo.min() < 0 or hi.max() > 1:
        return False
    return all(v == -line.mul[0] / 2 for v in line.add)


@dataclass(frozen=True, slots=True)
class Part:
    """A term of a product: integer weights for the integers of the input, the scale in front, the code."""

    weights: IntArray
    scale: Fraction
    code: ops.Code


def _with_scales(b: Build, name: str, w: IntArray, mul: Rationals, code: ops.Code, seen: IntArray) -> list[Part]:
    """Terms of which the sum of scale * weights is w_mk * mul_k: one where that takes at most `WIDEST` bits a weight,
    else one for each scale or for each digit of the weights, whichever are fewer.

    seen [MH or 1, MW]: the input channel behind every weight.
    """
    if len(mul) == 1 and mul[0] >= 0:
        return [Part(w, mul[0], code)]
    step = common_step(list(mul))
    factors = [int(v / step) for v in mul]
    n = np.array(factors, dtype=object)[seen] if len(mul) > 1 else np.array(factors, dtype=object)
    whole = w.astype(object) * n
    digits = list(_digits(whole))
    if len(digits) == 1:
        folded = digits[0]
        if len(set(factors)) > 1:
            b.notes.append(
                f"layer '{name}': input channels of different scales are folded into the weights as integer "
                f"multipliers {min(factors)}..{max(factors)}; weights grow from {lowest_bits(w)} to "
                f"{lowest_bits(folded)} bits"
            )
        if isinstance(code, ops.Bipolar) and np.all(np.abs(folded) == 1):
            return [Part(folded, step, code)]
        return [Part(folded, step, _code_of(folded))]
    distinct = sorted(set(factors) - {0})
    if len(distinct) <= len(digits):
        parts = [(np.where(n == v, w, 0), step * v) for v in distinct]
    else:
        parts = [(digit, step * (1 << WIDEST) ** i) for i, digit in enumerate(digits)]
    if len(parts) > 1:
        b.notes.append(
            f"layer '{name}': its input channels have {len(distinct)} scales that share no grid of {WIDEST}-bit "
            f"weights; it is a sum of {len(parts)} products (one, with a quantizer of one scale right before it)"
        )
    return [Part(part, scale, _code_of(part)) for part, scale in parts]


def _digits(whole: NDArray[np.object_]) -> Iterator[IntArray]:
    """Signed digits of `WIDEST` bits, the lowest first; at least one."""
    base = 1 << WIDEST
    while True:
        digit = (whole + base // 2) % base - base // 2
        yield digit.astype(np.int64)
        whole = (whole - digit) // base
        if not np.any(whole):
            return


def _code_of(w: IntArray) -> ops.Code:
    bits = lowest_bits(w)
    if bits <= 2 and w.min() >= -1:
        return ops.Ternary()
    return ops.Uniform(bits, narrow=int(w.min()) > -(1 << (bits - 1)))


def _row_sums(w: IntArray, add: Rationals, seen: IntArray) -> list[Fraction]:
    """sum_k W[m, k] * add[seen[m, k]] for every row, exactly."""
    if len(add) == 1:
        return [int(v) * add[0] for v in w.sum(axis=1)]
    step = common_step(list(add))
    n = np.array([int(v / step) for v in add], dtype=object)
    return [Fraction(v) * step for v in (w.astype(object) * n[seen]).sum(axis=1)]
