"""ArgMax over exact values: the smallest integer multipliers and biases that keep every comparison."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from fractions import Fraction
from typing import cast

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Node, Real
from hwq.passes.build import Build, Value, flat, image, lowest_bits, meaning, needs_line, settled, short, straight
from hwq.passes.chain import Bend, Chain
from hwq.passes.exact import DIGITS, Number, common_step, sign, to_mpf
from hwq.passes.layout import in_order

IntArray = NDArray[np.int64]
Pairs = list[tuple[Number, Number]]
ENUMERABLE = 1 << 16
MAX_T = 1 << 24


def lower_argmax(b: Build, node: Node) -> Value:
    """ArgMax on the accumulators themselves where order is theirs, else after a Combine proven to keep the
    order.
    """
    value = settled(b, b.values[node.inputs[0]])
    if value.floating:
        needs_line(value, node, "ArgMax")
    chain = strip_monotone(value.chain)
    if not chain.is_affine:
        raise UnsupportedOp(
            f"node '{node.name}': a function that flattens values (Relu, Clip ...) stands before ArgMax and "
            "makes ties; put a quantizer after it, or take the ArgMax before it"
        )
    value = _classes(b, node, replace(value, chain=chain))
    chain = value.chain
    lo, hi = b.range(value.base)
    classes = len(lo)
    if classes < 2:
        raise UnsupportedOp(
            f"node '{node.name}': ArgMax over {classes} channel; "
            "a single output is a threshold (put a BipolarQuant there)"
        )
    pairs = [chain.affine(c) for c in range(classes if chain.channels > 1 else 1)]
    source = value.base
    if len(pairs) > 1 or sign(pairs[0][0]) <= 0:
        pairs = pairs if len(pairs) > 1 else pairs * classes
        mul, bias = order_preserving(pairs, lo, hi, node.name)
        source = _combine(b, node, value.base, mul, bias)
    name = b.name("argmax")
    out = b.emit(
        name,
        ops.ArgMax(),
        [source],
        b.name("label"),
        np.array([0]),
        np.array([classes - 1]),
        Real((Fraction(1),), (Fraction(0),)),
        node.name,
        (*value.shape[:-1], 1),
    )
    frame = b.real.tensor(node.outputs[0]).shape
    return straight(out, (*value.shape[:-1], 1), meaning((Fraction(1),), (Fraction(0),)), frame)


def _classes(b: Build, node: Node, value: Value) -> Value:
    """The value with its classes along the last axis, in the order of ONNX."""
    if value.order.ndim > 1 and value.order.size > value.order.shape[0]:
        return image(b, node, value, "this ArgMax")
    return in_order(b, flat(b, replace(value, order=value.order.ravel())), node.name)


def strip_monotone(chain: Chain) -> Chain:
    """The chain without the strictly rising functions at its end, which change no comparison between
    channels.
    """
    fns = chain.fns
    while fns and isinstance(fns[-1], Bend) and isinstance(fns[-1].op, ops.Sigmoid | ops.Tanh | ops.Softmax):
        fns = fns[:-1]
    return Chain(fns)


def _combine(b: Build, node: Node, source: str, mul: IntArray, bias: IntArray) -> str:
    lo, hi = b.range(source)
    ends = np.stack([mul * lo + bias, mul * hi + bias])
    bits = lowest_bits(mul)
    b.notes.append(
        f"node '{node.name}': classes of different scale or bias are compared as m * acc + b, "
        f"m in {int(mul.min())}..{int(mul.max())} ({bits} bits), b in {int(bias.min())}..{int(bias.max())}"
    )
    stem = b.stem(source)
    m = b.blob(short(mul))
    return b.emit(
        b.name(f"{stem}_scale"),
        ops.Combine((m,), b.blob(short(bias))),
        [source],
        b.name(f"{stem}_scaled"),
        ends.min(axis=0),
        ends.max(axis=0),
        None,
        node.name,
        b.tensors[source].shape,
    )


def order_preserving(pairs: Pairs, lo: IntArray, hi: IntArray, place: str) -> tuple[IntArray, IntArray]:
    """Integers m, k with the same ArgMax as a_c x_c + b_c for every x_c in lo..hi; lowest index on equal
    values.

    Candidates rise in size; each is accepted only by proof (`Order`: enumeration of every pair of channels),
    or because it is exact by construction. Raises UnsupportedOp if irrational scales resist (never for
    rational
    ones).
    """
    if int((hi - lo).max()) <= ENUMERABLE:
        order = Order(pairs, lo, hi)
        for mul, bias in _candidates(pairs):
            if order.kept_by(mul, bias):
                return mul, bias
    exact = _exact_multipliers(pairs)
    if exact is None:
        raise UnsupportedOp(
            f"node '{place}': no integer multipliers up to {MAX_T.bit_length()} bits keep the order of the "
            "classes, whose scales are irrational (a BatchNormalization); quantize the logits"
        )
    top = max(abs(int(v)) for v in (*exact[0] * np.maximum(abs(lo), abs(hi)).astype(object), *exact[1]))
    if top >= 1 << 61:
        raise UnsupportedOp(
            f"node '{place}': class scores need integers of {top.bit_length() + 1} bits to be compared; "
            "use one weight scale per tensor, power-of-two scales, or quantize the logits"
        )
    return exact[0].astype(np.int64), exact[1].astype(np.int64)


def _candidates(pairs: Pairs) -> Iterator[tuple[IntArray, IntArray]]:
    """m_c = round(t a_c / a_min), k_c = t b_c / a_min rounded or floored, for t = 1, 2, 3 ... growing by 3 %
    a time.
    """
    with mpmath.workdps(DIGITS + 10):
        a, b = ([to_mpf(p[i]) for p in pairs] for i in (0, 1))
        sizes = [abs(v) for v in a if v] or [mpmath.mpf(1)]
        low, unit = min(b), min(sizes)
        ratio, shift = [v / unit for v in a], [(v - low) / unit for v in b]
        reach = max(abs(v) for v in (*ratio, *shift, mpmath.mpf(1)))
        t = 1
        while t <= MAX_T and t * reach < 1 << 40:
            mul = np.array([int(mpmath.nint(t * v)) for v in ratio], dtype=np.int64)
            for half in (0.5, 0):
                yield mul, np.array([int(mpmath.floor(t * v + half)) for v in shift], dtype=np.int64)
            t += 1 + t // 32


def _exact_multipliers(pairs: Pairs) -> tuple[NDArray[np.object_], NDArray[np.object_]] | None:
    """Rational a, b: m_c = M n_c and k_c = M floor(beta_c) + rank(fraction of beta_c), with a_c = g n_c, b_c
    = g beta_c.

    n_c x_c are integers, so the order of n_c x_c + beta_c is that of the integer parts, then of the
    fractions; M is the number of distinct fractions.
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


class Order:
    """Which class beats which, over every pair of accumulator values: what multipliers must not change.

    For channels c, d and every x in c's range, the y of d that c beats are an interval from the end where d's
    score is smallest; its length says it all. An earlier channel wins ties.
    """

    def __init__(self, pairs: Pairs, lo: IntArray, hi: IntArray) -> None:
        n = len(pairs)
        self.lo, self.hi = lo, hi
        self.signs = [sign(a) for a, _ in pairs]
        self.order = [(c, d) for c in range(n) for d in range(n) if c != d]
        self.exact = {(c, d): _beaten(pairs[c], pairs[d], self._x(c), self._x(d), d < c) for c, d in self.order}

    def _x(self, c: int) -> IntArray:
        return np.arange(self.lo[c], self.hi[c] + 1)

    def kept_by(self, mul: IntArray, bias: IntArray) -> bool:
        """True if m_c x + k_c orders every pair of values as the exact scores do."""
        if any(s * m < 0 or (s == 0) != (m == 0) for s, m in zip(self.signs, mul.tolist(), strict=True)):
            return False
        for i, (c, d) in enumerate(self.order):
            if not np.array_equal(self.exact[c, d], self._count(c, d, mul, bias)):
                self.order.insert(0, self.order.pop(i))  # the next candidate most likely fails there too
                return False
        return True

    def _count(self, c: int, d: int, mul: IntArray, bias: IntArray) -> IntArray:
        m, low, high = int(mul[d]), int(self.lo[d]), int(self.hi[d])
        room = mul[c] * self._x(c) + bias[c] - bias[d] - int(d < c)  # m_d y <= room
        if m == 0:
            return np.where(room >= 0, high - low + 1, 0).astype(np.int64)
        count: IntArray = room // m - low + 1 if m > 0 else high - (-(room // -m)) + 1
        return np.clip(count, 0, high - low + 1).astype(np.int64)


def _beaten(c: tuple[Number, Number], d: tuple[Number, Number], x: IntArray, ys: IntArray, strict: bool) -> IntArray:
    """For every x: how many y in ys have a_d y + b_d <= a_c x + b_c (< if strict). Floats steer, exactness
    decides.
    """
    span, up = len(ys), sign(d[0])
    if up == 0:
        return np.array([span if _wins(c, d, int(v), 0, strict) else 0 for v in x])
    with mpmath.workdps(DIGITS + 10):
        a = to_mpf(d[0])
        ratio, shift = float(to_mpf(c[0]) / a), float((to_mpf(c[1]) - to_mpf(d[1])) / a)
    if max(abs(shift), float(np.abs(x * ratio).max())) > 1e12:  # past what float64 places to within one
        return np.array([_search(c, d, int(v), ys[:: 1 if up > 0 else -1], strict) for v in x], dtype=np.int64)
    r = x * ratio + shift  # a_d y + b_d meets a_c x + b_c at y = r
    r = np.clip(r, ys[0] - 2.0, ys[-1] + 2.0)
    near = np.abs(r - np.round(r)) <= 1e-7 * (1 + np.abs(r) + np.abs(x * ratio) + abs(shift))
    near &= (r > ys[0] - 1.5) & (r < ys[-1] + 1.5)
    count: IntArray = (np.floor(r) - ys[0] + 1 if up > 0 else ys[-1] - np.ceil(r) + 1).astype(np.int64)
    for i in np.nonzero(near)[0]:
        y = round(r[i])
        last = y if _wins(c, d, int(x[i]), y, strict) else y - up
        count[i] = last - ys[0] + 1 if up > 0 else ys[-1] - last + 1
    return np.clip(count, 0, span).astype(np.int64)


def _search(c: tuple[Number, Number], d: tuple[Number, Number], x: int, ys: IntArray, strict: bool) -> int:
    """How many y of ys, from the first (where d's score is smallest), c beats at x: exact bisection."""
    low, high = 0, len(ys)
    while low < high:
        mid = (low + high) // 2
        low, high = (mid + 1, high) if _wins(c, d, x, int(ys[mid]), strict) else (low, mid)
    return low


def _wins(c: tuple[Number, Number], d: tuple[Number, Number], x: int, y: int, strict: bool) -> bool:
    """a_c x + b_c >= a_d y + b_d (> if strict), exactly."""
    if c[1] == d[1] and (x == y == 0 or (x == y and c[0] == d[0])):
        return not strict
    (ca, cb), (da, db) = c, d
    if all(isinstance(v, Fraction) for v in (ca, cb, da, db)):
        gap = sign(cast(Fraction, ca * x + cb - da * y - db))  # type: ignore[operator]
    else:
        with mpmath.workdps(DIGITS + 10):
            gap = sign(to_mpf(ca) * x + to_mpf(cb) - to_mpf(da) * y - to_mpf(db))
    return gap > 0 or (gap == 0 and not strict)
