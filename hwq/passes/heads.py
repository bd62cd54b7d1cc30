"""ArgMax over exact values: the smallest integer multipliers and biases that keep every comparison, and residual sums."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction
from typing import cast

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node, Real
from hwq.passes.build import Build, Value, lowest_bits, meaning, needs_line, real_of
from hwq.passes.chain import Bend, Chain, at
from hwq.passes.exact import DIGITS, Number, common_step, sign, to_mpf

IntArray = NDArray[np.int64]
Pairs = list[tuple[Number, Number]]
ENUMERABLE = 1 << 16
MAX_TRIED = 64


def lower_argmax(b: Build, node: Node) -> Value:
    """ArgMax on the accumulators themselves where order is theirs, else after a Combine proven to keep the order."""
    value = b.values[node.inputs[0]]
    if value.floating:
        needs_line(value, node, "ArgMax")
    chain = strip_monotone(value.chain)
    if not chain.is_affine:
        raise UnsupportedOp(f"node '{node.name}': a function that flattens values (Relu, Clip ...) stands before ArgMax and "
                            "makes ties; put a quantizer after it, or take the ArgMax before it")
    lo, hi = b.range(value.base)
    classes = len(lo)
    if classes < 2:
        raise UnsupportedOp(f"node '{node.name}': ArgMax over {classes} channel; "
                            "a single output is a threshold (put a BipolarQuant there)")
    pairs = [chain.affine(c) for c in range(classes if chain.channels > 1 else 1)]
    source = value.base
    if len(pairs) > 1 or sign(pairs[0][0]) <= 0:
        pairs = pairs if len(pairs) > 1 else pairs * classes
        mul, bias = order_preserving(pairs, lo, hi, node.name)
        source = _combine(b, node, value.base, mul, bias)
    name = b.name("argmax")
    out = b.emit(name, ops.ArgMax(), [source], b.name("label"), np.array([0]), np.array([classes - 1]),
                 Real((Fraction(1),), (Fraction(0),)), node.name)
    return Value(out, meaning((Fraction(1),), (Fraction(0),)))


def strip_monotone(chain: Chain) -> Chain:
    """The chain without the strictly rising functions at its end, which change no comparison between channels."""
    fns = chain.fns
    while fns and isinstance(fns[-1], Bend) and isinstance(fns[-1].op, ops.Sigmoid | ops.Tanh | ops.Softmax):
        fns = fns[:-1]
    return Chain(fns)


def _combine(b: Build, node: Node, source: str, mul: IntArray, bias: IntArray) -> str:
    lo, hi = b.range(source)
    ends = np.stack([mul * lo + bias, mul * hi + bias])
    bits = lowest_bits(mul)
    b.notes.append(f"node '{node.name}': classes of different scale or bias are compared as m * acc + b, "
                   f"m in {int(mul.min())}..{int(mul.max())} ({bits} bits), b in {int(bias.min())}..{int(bias.max())}")
    stem = b.stem(source)
    m = b.blob(_short(mul))
    return b.emit(b.name(f"{stem}_scale"), ops.Combine((m,), b.blob(_short(bias))), [source], b.name(f"{stem}_scaled"),
                  ends.min(axis=0), ends.max(axis=0), None, node.name)


def _short(values: IntArray) -> IntArray:
    return values[:1] if np.all(values == values[0]) else values


def order_preserving(pairs: Pairs, lo: IntArray, hi: IntArray, place: str) -> tuple[IntArray, IntArray]:
    """Integers m, k with the same ArgMax as a_c x_c + b_c for every x_c in lo..hi; lowest index on equal values.

    Candidates rise in size; each is accepted only by proof (`keeps_order`: enumeration of every pair of channels),
    or because it is exact by construction. Raises UnsupportedOp if irrational scales resist (never for rational ones).
    """
    for mul, bias in _candidates(pairs):
        if keeps_order(pairs, mul, bias, lo, hi):
            return mul, bias
    exact = _exact_multipliers(pairs)
    if exact is None:
        raise UnsupportedOp(f"node '{place}': no integer multipliers up to {MAX_TRIED} bits keep the order of the classes, whose "
                            "scales are irrational (a BatchNormalization); quantize the logits")
    top = max(abs(int(v)) for v in (*exact[0] * np.maximum(abs(lo), abs(hi)).astype(object), *exact[1]))
    if top >= 1 << 61:
        raise UnsupportedOp(f"node '{place}': class scores need integers of {top.bit_length() + 1} bits to be compared exactly; "
                            "use one weight scale per tensor, power-of-two scales, or quantize the logits")
    return exact[0].astype(np.int64), exact[1].astype(np.int64)


def _candidates(pairs: Pairs) -> Iterator[tuple[IntArray, IntArray]]:
    """Multipliers of growing size: t * a_c / a_min rounded, t = 1, 2, 3, 4, 6, 8, 12 ...; biases likewise."""
    with mpmath.workdps(DIGITS + 10):
        a = [to_mpf(p[0]) for p in pairs]
        b = [to_mpf(p[1]) for p in pairs]
        nonzero = [abs(v) for v in a if v]
        if not nonzero:
            nonzero = [mpmath.mpf(1)]
        unit, reach = min(nonzero), max([*nonzero, *(abs(v) for v in b)])
        base = _common(b)
        for bits in range(MAX_TRIED):
            for t in sorted({1 << bits, (3 << bits) >> 1}) if bits else (1,):
                if t * reach / unit > 1 << 40:
                    return
                mul = np.array([int(mpmath.nint(t * v / unit)) for v in a], dtype=np.int64)
                for shift in (0.5, 0):
                    bias = np.array([int(mpmath.floor(t * (v - base) / unit + shift)) for v in b], dtype=np.int64)
                    yield mul, bias


def _common(b: list[mpmath.mpf]) -> mpmath.mpf:
    """A bias every class may drop: the smallest."""
    return min(b)


def _exact_multipliers(pairs: Pairs) -> tuple[NDArray[np.object_], NDArray[np.object_]] | None:
    """Rational a, b: m_c = M n_c and k_c = M floor(beta_c) + rank(fraction of beta_c), with a_c = g n_c, b_c = g beta_c.

    n_c x_c are integers, so the order of n_c x_c + beta_c is that of the integer parts, then of the fractions; M is
    the number of distinct fractions.
    """
    if any(not isinstance(v, Fraction) for pair in pairs for v in pair):
        return None
    rational = cast("list[tuple[Fraction, Fraction]]", pairs)
    g = common_step([a for a, _ in rational])
    beta = [v / g for _, v in rational]
    low = min(v.__floor__() for v in beta)
    rank = {f: i for i, f in enumerate(sorted({v - v.__floor__() for v in beta}))}
    mul = [len(rank) * int(a / g) for a, _ in rational]
    bias = [len(rank) * (v.__floor__() - low) + rank[v - v.__floor__()] for v in beta]
    return np.array(mul, dtype=object), np.array(bias, dtype=object)


def keeps_order(pairs: Pairs, mul: IntArray, bias: IntArray, lo: IntArray, hi: IntArray) -> bool:
    """Proof by enumeration: for channels c < d and every x in c's range, the y of d that stay at or below are the same.

    Returns False as well where a range is too large to enumerate.
    """
    if int((hi - lo).max()) > ENUMERABLE:
        return False
    n = len(pairs)
    for c in range(n):
        for d in range(n):
            if c == d:
                continue
            strict = d < c  # an earlier channel wins ties: c beats d only if strictly larger
            exact = _beaten(pairs[c], pairs[d], (int(lo[c]), int(hi[c])), (int(lo[d]), int(hi[d])), strict)
            whole = ((Fraction(int(mul[c])), Fraction(int(bias[c]))), (Fraction(int(mul[d])), Fraction(int(bias[d]))))
            ints = _beaten(*whole, (int(lo[c]), int(hi[c])), (int(lo[d]), int(hi[d])), strict)
            if not np.array_equal(exact, ints):
                return False
    return True


def _beaten(c: tuple[Number, Number], d: tuple[Number, Number], xr: tuple[int, int], yr: tuple[int, int],
            strict: bool) -> IntArray:
    """For every x in xr: how many y in yr have a_d y + b_d <= a_c x + b_c (< if strict), counted from the low-value end.

    The sets are intervals from the end where a_d y is smallest, so equal counts are equal sets if the signs agree;
    a negative count marks falling channels, so that differing signs never compare equal.
    """
    x = np.arange(xr[0], xr[1] + 1)
    span = yr[1] - yr[0] + 1
    sd = sign(d[0])
    ratio, shift = _quotients(c, d)
    if sd == 0:
        better = np.array([_wins(c, d, int(v), 0, strict) for v in x])
        return np.where(better, span, 0).astype(np.int64)
    r = x * float(ratio) + float(shift)  # a_d y + b_d meets a_c x + b_c at y = r
    edge = np.floor(r) if sd > 0 else np.ceil(r)
    inside = (r > yr[0] - 2) & (r < yr[1] + 2)
    near = inside & (np.abs(r - np.round(r)) <= 1e-7 * (1 + np.abs(r)))
    edge = np.clip(edge, yr[0] - 1, yr[1] + 1).astype(np.int64)
    count = np.clip(edge - yr[0] + 1 if sd > 0 else yr[1] - edge + 1, 0, span)
    for i in np.nonzero(near)[0]:
        y = round(r[i])
        wins = _wins(c, d, int(x[i]), y, strict)
        last = y if wins else y - sd
        count[i] = min(max((last - yr[0] + 1) if sd > 0 else (yr[1] - last + 1), 0), span)
    # A set that is empty or everything is the same whichever end it is counted from.
    return np.where((sd < 0) & (count > 0) & (count < span), -count, count)


def _quotients(c: tuple[Number, Number], d: tuple[Number, Number]) -> tuple[mpmath.mpf, mpmath.mpf]:
    with mpmath.workdps(DIGITS + 10):
        a = to_mpf(d[0])
        if not a:
            return mpmath.mpf(0), mpmath.mpf(0)
        return to_mpf(c[0]) / a, (to_mpf(c[1]) - to_mpf(d[1])) / a


def _wins(c: tuple[Number, Number], d: tuple[Number, Number], x: int, y: int, strict: bool) -> bool:
    """a_c x + b_c >= a_d y + b_d (> if strict), exactly."""
    same = c[1] == d[1] and (x == y == 0 or (x == y and c[0] == d[0]))
    if same or all(isinstance(v, Fraction) for v in (*c, *d)):
        gap = 0 if same else sign(c[0] * x + c[1] - d[0] * y - d[1])
    else:
        with mpmath.workdps(DIGITS + 10):
            gap = sign(to_mpf(c[0]) * x + to_mpf(c[1]) - to_mpf(d[0]) * y - to_mpf(d[1]))
    return gap > 0 or (gap == 0 and not strict)


def lower_sum(b: Build, node: Node) -> Value:
    """x0 + x1 on the finest common grid: Combine with exact integer multipliers."""
    values = [b.values[t] for t in node.inputs]
    lines = [needs_line(v, node, "a sum") for v in values]
    n = b.tensors[values[0].base].channels
    rows = max(len(line.mul) for line in lines)
    steps = [common_step([at(line.mul, c) for line in lines]) for c in range(rows)]
    mul = [np.array([int(at(line.mul, c) / steps[c]) for c in range(rows)], dtype=np.int64) for line in lines]
    add = max(len(line.add) for line in lines)
    offset = tuple(sum((at(line.add, c) for line in lines), Fraction(0)) for c in range(add))
    ends = [np.stack([m * r for r in b.range(v.base)]) for m, v in zip(mul, values, strict=True)]
    lo = np.sum([e.min(axis=0) for e in ends], axis=0)
    hi = np.sum([e.max(axis=0) for e in ends], axis=0)
    chain = meaning(tuple(steps), offset)
    name = b.name("sum")
    out = b.emit(name, ops.Combine(tuple(b.blob(_short(m)) for m in mul), b.blob(np.zeros(1, dtype=np.int64))),
                 [v.base for v in values], f"{name}_out", lo, hi, real_of(chain, n), node.name)
    b.notes.append(f"layer '{name}': scales that differ are brought together by multipliers of up to "
                   f"{max(lowest_bits(m) for m in mul)} bits")
    return Value(out, chain)
