"""MatMul -> MatVec: input scales and offsets move out of the sum, the integers that remain are the layer."""

from __future__ import annotations

import re
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node
from hwq.passes.build import Build, Value, lowest_bits, meaning, needs_line, real_of
from hwq.passes.chain import Line, Rationals, at, rationals
from hwq.passes.exact import common_step

IntArray = NDArray[np.int64]


def lower_matmul(b: Build, node: Node, op: ops.MatMul) -> Value:
    """sum_k s_m W_mk (a_k x_k + b_k) = s_m a sum_k W_mk x_k + s_m sum_k W_mk b_k, with a_k = a n_k folded
    into W.
    """
    value = b.values[node.inputs[0]]
    line = needs_line(value, node, "this matrix product")
    w: IntArray = b.real.array(op.weight)
    s = rationals(b.real, op.scale)
    name = b.name(layer_name(node.name, f"fc{b.layers}"))
    b.layers += 1
    folded, step, code = _fold_scales(b, name, w, line.mul, op.code)
    rows = _row_sums(w, line.add)
    lo, hi = b.range(value.base)
    xnor = isinstance(code, ops.Bipolar) and _is_bipolar(line, lo, hi)
    if xnor:
        # x = 2 v - 1 for v in {0, 1} and p matches of K: sum W x = 2 p - K, here with real(v) = a v - a / 2.
        acc_lo, acc_hi = _matches(folded, lo, hi)
        scale = tuple(si * step for si in s)
        offset: Rationals = tuple(-si * step * w.shape[1] / 2 for si in s)
    else:
        acc_lo, acc_hi = _sums(folded, lo, hi)
        scale = tuple(si * step for si in s)
        offset = tuple(at(s, m) * r for m, r in enumerate(rows))
        offset = offset[:1] if len(set(offset)) == 1 and len(s) == 1 else offset
    chain = meaning(scale, offset)
    acc = b.emit(
        name,
        ops.MatVec(b.blob(folded), code, xnor),
        [value.base],
        f"{name}_acc",
        acc_lo,
        acc_hi,
        real_of(chain, len(w)),
        node.name,
    )
    return Value(acc, chain)


def layer_name(onnx_name: str, default: str) -> str:
    """A short identifier for a layer: 'fc1' stays, '/features.2/MatMul' is features_2, 'MatMul_3' says
    nothing.
    """
    path = [p for p in onnx_name.split("/") if p]
    if len(path) > 1:
        path = path[:-1]
    name = re.sub(r"\W+", "_", "_".join(path)).strip("_")
    return default if not name or re.fullmatch(r"(node_)?(MatMul|Gemm|linear|\d).*", name) else name


def _is_bipolar(line: Line, lo: IntArray, hi: IntArray) -> bool:
    """The input is {0, 1} standing for -a/2 and +a/2 in every channel."""
    if len(line.mul) > 1 or lo.min() < 0 or hi.max() > 1:
        return False
    return all(v == -line.mul[0] / 2 for v in line.add)


def _fold_scales(
    b: Build, name: str, w: IntArray, mul: Rationals, code: ops.Code
) -> tuple[IntArray, Fraction, ops.Code]:
    """(integer weights, common scale a, code) with W' = W * n_k for input scales a_k = a * n_k."""
    if len(mul) == 1 and mul[0] >= 0:
        return w, mul[0], code
    step = common_step(list(mul))
    n = [int(at(mul, k) / step) for k in range(w.shape[1])]
    exact = w.astype(object) * np.array(n, dtype=object)[None, :]
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


def _row_sums(w: IntArray, add: Rationals) -> list[Fraction]:
    """sum_k W[m, k] * add[k] for every row, exactly."""
    if len(add) == 1:
        return [int(v) * add[0] for v in w.sum(axis=1)]
    step = common_step(list(add))
    n = np.array([int(v / step) for v in add], dtype=object)
    return [Fraction(v) * step for v in (w.astype(object) @ n)]


def _sums(w: IntArray, lo: IntArray, hi: IntArray) -> tuple[IntArray, IntArray]:
    """The true range of sum_k W[m, k] x[k] for x in lo..hi, int64 [MH] each (object where int64 could
    overflow).
    """
    bound = int(np.abs(w).max(initial=0)) * max(abs(int(lo.min())), abs(int(hi.max()))) * w.shape[1]
    kind = np.int64 if bound < 1 << 62 else object
    pos, neg = np.maximum(w, 0).astype(kind), np.minimum(w, 0).astype(kind)
    lo_k, hi_k = lo.astype(kind), hi.astype(kind)
    return pos @ lo_k + neg @ hi_k, pos @ hi_k + neg @ lo_k


def _matches(w: IntArray, lo: IntArray, hi: IntArray) -> tuple[IntArray, IntArray]:
    """The true range of count_k(x[k] == (W[m, k] > 0)): a stuck channel always or never matches."""
    stuck = lo == hi
    equal = (w > 0) == (lo > 0)[None, :]
    always = (equal & stuck[None, :]).sum(axis=1)
    return always.astype(np.int64), (always + (~stuck).sum()).astype(np.int64)
