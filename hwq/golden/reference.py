"""The exact reference: the real graph executed from its definitions in rational arithmetic, without any
lowering.

Each channel of a tensor takes few distinct values over a set of frames (an input pixel, a quantizer level, an
accumulator), so a tensor is codes [N, n] into one table of exact values per channel (`hwq.golden.cells`): elementwise
functions run once per table entry, matrix products are sums of integers times a scale. A square root, sigmoid or tanh
gives 120 digits; a decision closer than 1e-85 raises instead of guessing.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from fractions import Fraction
from functools import cache
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq.errors import VerifyError
from hwq.golden.cells import (
    CLOSE,
    DIGITS,
    Cells,
    exceeds,
    from_floats,
    from_numbers,
    mpf,
    total,
)
from hwq.golden.pictures import convolve, expanded, places, pooled, transposed
from hwq.ir import ops
from hwq.ir.graph import Exact, Graph, Node
from hwq.ir.rational import fractions

IntArray = NDArray[np.int64]
HALF = Fraction(1, 2)


def reference(graph: Graph, inputs: Sequence[NDArray[Any]]) -> dict[str, Cells]:
    """Every tensor of the real graph for frames [N, ...] of each input, exactly.

    Softmax passes its input on: it changes no order, and nothing else of it is used. Raises VerifyError where
    120 digits can't decide, or where an irrational value enters a matrix product.
    """
    env = {
        t: from_floats(x.reshape(len(x), *graph.tensor(t).shape))
        for t, x in zip(graph.inputs, map(np.asarray, inputs), strict=True)
    }
    for node in graph.nodes:
        env[node.outputs[0]] = apply(graph, node, [env[t] for t in node.inputs])
    return env


def apply(graph: Graph, node: Node, xs: Sequence[Cells]) -> Cells:
    """One node, from its definition."""
    x, frame = xs[0], graph.tensor(node.inputs[0]).shape
    match node.op:
        case ops.MatMul():
            w = graph.array(node.op.weight)
            return _product(graph, node, x, lambda ints: ints @ w.T.astype(ints.dtype))
        case ops.Conv() | ops.ConvTranspose():
            op, w = node.op, graph.array(node.op.weight)

            def slide(ints: NDArray[Any]) -> NDArray[Any]:
                image = ints.reshape(len(ints), *ops.picture(frame))
                kernel = w.astype(ints.dtype)
                return convolve(image, kernel, op) if isinstance(op, ops.Conv) else transposed(image, kernel, op)

            return _product(graph, node, x, slide)
        case ops.MaxPool():
            shape = ops.picture(frame)
            ranked = x.shared(_channels(shape))  # its codes have the order of the values
            codes = pooled(ranked.codes.reshape(-1, *shape), node.op, -1)
            return Cells(codes.reshape(len(codes), -1), ranked.tables, _channels(codes.shape[1:]))
        case ops.AvgPool():
            pool, shape = node.op, ops.picture(frame)
            return _mean(x, lambda v: pooled(v.reshape(-1, *shape), pool, 0), pool.kernel[0] * pool.kernel[1])
        case ops.Mean():
            c, n = frame[0], int(np.prod(frame[1:]))
            return _mean(x, lambda v: v.reshape(-1, c, n).sum(axis=2), n)
        case ops.ArgMax():
            return _argmax(x, frame)
        case ops.Sum():
            return _sum(xs[0], xs[1])
        case ops.Join(axis=axis):
            return _join(xs, [graph.tensor(t).shape for t in node.inputs], axis)
        case ops.Pad(value=value):
            return x.moved(places(node.op, frame), Fraction(value))
        case ops.Transpose() | ops.Resize() | ops.PixelShuffle():
            return x.moved(places(node.op, frame))
        case ops.Reshape() | ops.Softmax():
            return x
        case ops.Quant() | ops.BipolarQuant() | ops.MultiThreshold():
            q = Quantizer(graph, node.op, frame)
            return x.mapped(lambda v, c: q.value(q.level(v, c), c), kinds(graph, node.op, frame)).compact()
    return x.mapped(_elementwise(graph, node.op, frame), kinds(graph, node.op, frame))


def kinds(graph: Graph, op: ops.Op, frame: tuple[int, ...]) -> IntArray:
    """Numbers for the values of a frame: values of a frame with the same parameters have the same number."""
    found = np.zeros(int(np.prod(frame)), dtype=np.int64)
    for key in op.blob_keys():
        shape = graph.array(key).shape
        if isinstance(op, ops.MultiThreshold) and key == op.thresholds:
            shape = shape[:-1]
        index = np.arange(int(np.prod(shape))).reshape(shape)
        found = found * index.size + expanded(index, frame)
        _, found = np.unique(found, return_inverse=True)
        found = found.ravel()
    return found


def _channels(shape: tuple[int, ...]) -> IntArray:
    return np.arange(int(np.prod(shape))) // int(np.prod(shape[1:]))


def _product(graph: Graph, node: Node, x: Cells, f: Callable[[NDArray[Any]], NDArray[Any]]) -> Cells:
    """f, a sum of integers times weights, on values that are integers times one step."""
    found = x.whole()
    if found is None:
        raise VerifyError("real", [f"node '{node.name}': irrational values enter a matrix product"])
    ints, step = found
    assert isinstance(node.op, ops.MatMul | ops.Conv | ops.ConvTranspose)
    w = graph.array(node.op.weight)
    if ints.dtype == np.int64:
        top = int(np.abs(ints).max(initial=0)) * int(np.abs(w).max(initial=0)) * w.size
        ints = ints if top < 1 << 62 else ints.astype(object)
    acc = f(ints)
    scale = fractions(graph.array(node.op.scale)).ravel() * step
    return from_numbers(
        acc.reshape(len(acc), -1),
        _channels(acc.shape[1:]),
        lambda v, m: Fraction(int(v)) * scale[m if len(scale) > 1 else 0],
    )


def _mean(x: Cells, f: Callable[[NDArray[Any]], NDArray[Any]], n: int) -> Cells:
    """f, sums over n values (or zeros), divided by n."""
    found = x.whole()
    if found is not None:
        y, step = f(found[0]), found[1]
        return from_numbers(y.reshape(len(y), -1), _channels(y.shape[1:]), lambda v, _: Fraction(int(v)) * step / n)
    with mpmath.workdps(DIGITS):
        tables = [np.array([mpf(v) for v in t] + [None], dtype=object)[:-1] for t in x.tables]
        y = f(x.gather(tables)) / n
    rows = y.reshape(len(y), -1)
    codes = np.repeat(np.arange(len(rows))[:, None], rows.shape[1], axis=1)
    return Cells(codes, tuple(tuple(column) for column in rows.T))


def _sum(a: Cells, b: Cells) -> Cells:
    both, group = np.unique(np.stack([a.groups, b.groups]), axis=1, return_inverse=True)
    group, codes, tables = group.ravel(), np.empty_like(a.codes), []
    for g, (ga, gb) in enumerate(both.T):
        ta, tb, where = a.tables[ga], b.tables[gb], group == g
        pairs, found = np.unique(a.codes[:, where] * len(tb) + b.codes[:, where], return_inverse=True)
        codes[:, where] = found.reshape(len(codes), -1)
        tables.append(tuple(total((ta[p // len(tb)], tb[p % len(tb)])) for p in map(int, pairs)))
    return Cells(codes, tuple(tables), group)


def _join(xs: Sequence[Cells], frames: Sequence[tuple[int, ...]], axis: int) -> Cells:
    codes, groups, start = [], [], 0
    for x, frame in zip(xs, frames, strict=True):
        codes.append(x.codes.reshape(-1, *frame))
        groups.append(x.groups.reshape(frame) + start)
        start += len(x.tables)
    whole = np.concatenate(codes, axis=axis + 1)
    group = np.concatenate(groups, axis=axis).ravel()
    return Cells(whole.reshape(len(whole), -1), tuple(t for x in xs for t in x.tables), group)


def _argmax(x: Cells, frame: tuple[int, ...]) -> Cells:
    """Along the first axis of the frame, at every position."""
    positions = int(np.prod(frame[1:]))
    ranked = x.shared(np.arange(x.codes.shape[1]) % positions).codes.reshape(-1, frame[0], positions)
    return from_floats(np.argmax(ranked, axis=1))


def _elementwise(graph: Graph, op: ops.Op, frame: tuple[int, ...]) -> Any:
    """f(value, c) of an elementwise op, c the place in the flat frame."""

    def param(key: str) -> Any:
        values = expanded(fractions(graph.array(key)), frame)
        return lambda c: values[c if len(values) > 1 else 0]

    def linear(v: Exact, a: Fraction, b: Fraction) -> Exact:
        if isinstance(v, Fraction) or not a:
            return a * v + b if a else b
        with mpmath.workdps(DIGITS):
            return mpf(a) * v + mpf(b)

    def cut(v: Exact, lo: Fraction | None, hi: Fraction | None) -> Exact:
        if lo is not None and not exceeds(v, lo):
            v = lo
        return hi if hi is not None and exceeds(v, hi) else v

    match op:
        case ops.Affine():
            mul, add = param(op.mul), param(op.add)
            return lambda v, c: linear(v, mul(c), add(c))
        case ops.BatchNorm():
            gamma, beta, mean, var = map(param, (op.gamma, op.beta, op.mean, op.var))

            @cache
            def root_of(c: int) -> Exact:
                with mpmath.workdps(DIGITS):
                    root = mpmath.sqrt(mpf(var(c)))
                    rational = _rational(root, var(c))
                    return root if rational is None else rational

            def norm(v: Exact, c: int) -> Exact:
                d, root = linear(v, gamma(c), -gamma(c) * mean(c)), root_of(c)
                if d == 0:
                    return beta(c)
                if isinstance(d, Fraction) and isinstance(root, Fraction):
                    return d / root + beta(c)
                with mpmath.workdps(DIGITS):
                    return mpf(d) / mpf(root) + mpf(beta(c))

            return norm
        case ops.Relu():
            return lambda v, c: cut(v, Fraction(0), None)
        case ops.Clip():
            lo, hi = (None if t is None else Fraction(t) for t in (op.lo, op.hi))
            return lambda v, c: cut(v, lo, hi)
        case ops.LeakyRelu():
            return lambda v, c: v if not exceeds(Fraction(0), v) else linear(v, Fraction(op.alpha), Fraction(0))
        case ops.Abs():
            return lambda v, c: linear(v, Fraction(-1), Fraction(0)) if exceeds(Fraction(0), v) else v
        case ops.Sigmoid():
            return lambda v, c: _smooth(v, lambda z: 1 / (1 + mpmath.exp(-z)), HALF, 170)
        case ops.Tanh():
            return lambda v, c: _smooth(v, mpmath.tanh, Fraction(0), 85)
    raise TypeError(type(op).__name__)


def _smooth(v: Exact, f: Any, at_zero: Fraction, limit: int) -> Exact:
    """f(v); from `limit` on it stays 1e-74 short of its asymptote, which it never reaches."""
    with mpmath.workdps(DIGITS):
        return at_zero if v == 0 else f(max(min(mpf(v), mpmath.mpf(limit)), mpmath.mpf(-limit)))


def _rational(root: mpmath.mpf, square: Fraction) -> Fraction | None:
    """The rational p with p * p = square, if there is one (root: its value to 120 digits)."""
    guess = Fraction(int(mpmath.nint(root * square.denominator)), square.denominator)
    return guess if guess * guess == square else None


class Quantizer:
    """Level and value of a quantizer, as QONNX defines them."""

    def __init__(self, graph: Graph, op: ops.Op, frame: tuple[int, ...]) -> None:
        """frame: shape of the frames it quantizes; c below is the place in the flat frame."""
        self.op = op

        def row(key: str, trailing: int = 0) -> Any:
            return expanded(fractions(graph.array(key)), frame, trailing)

        if isinstance(op, ops.MultiThreshold):
            self.thresholds = row(op.thresholds, 1)
            self.scale, self.zero = row(op.scale), row(op.offset)
        elif isinstance(op, ops.Quant):
            self.scale, self.zero = row(op.scale), row(op.zero)
        elif isinstance(op, ops.BipolarQuant):
            self.scale, self.zero = row(op.scale), np.array([Fraction(0)], dtype=object)

    def _at(self, values: Any, c: int) -> Fraction:
        found = values[c if len(values) > 1 else 0]
        assert isinstance(found, Fraction)
        return found

    def scaled(self, v: Exact, c: int) -> Exact:
        """x / scale + zero, what a Quant rounds; x itself for a MultiThreshold."""
        if isinstance(self.op, ops.MultiThreshold):
            return v
        s, z = self._at(self.scale, c), self._at(self.zero, c)
        with mpmath.workdps(DIGITS):
            return v / s + z if isinstance(v, Fraction) else v / mpf(s) + mpf(z)

    def level(self, v: Exact, c: int) -> int:
        """The integer the quantizer gives for the real value v."""
        if isinstance(self.op, ops.MultiThreshold):
            row = self.thresholds[c if len(self.thresholds) > 1 else 0]
            return sum(not exceeds(t, v) for t in row)
        y = self.scaled(v, c)
        if isinstance(self.op, ops.BipolarQuant) or (isinstance(self.op, ops.Quant) and self.op.bipolar):
            return -1 if exceeds(Fraction(0), y) else 1
        assert isinstance(self.op, ops.Quant)
        if exceeds(y, Fraction(self.op.qmax)):
            return self.op.qmax
        if exceeds(Fraction(self.op.qmin), y):
            return self.op.qmin
        return _round(y, self.op.rounding)

    def value(self, level: int, c: int) -> Fraction:
        """The real value of an integer level."""
        s, z = self._at(self.scale, c), self._at(self.zero, c)
        return s * level + z if isinstance(self.op, ops.MultiThreshold) else s * (Fraction(level) - z)

    def nearest(self, values: NDArray[Any]) -> IntArray:
        """The levels nearest to real values [N, n] that some other engine computed."""
        s, z = self.scale.astype(np.float64), self.zero.astype(np.float64)
        v = np.asarray(values, dtype=np.float64)
        q: NDArray[np.float64] = (v - z) / s if isinstance(self.op, ops.MultiThreshold) else v / s + z
        return np.round(q).astype(np.int64)

    def boundary(self, a: int, b: int, c: int) -> Fraction:
        """The decision between levels a and b that lies nearest to a, in the units of `scaled`."""
        k = a + 1 if a < b else a  # the boundary below level k
        if isinstance(self.op, ops.MultiThreshold):
            found = sorted(self.thresholds[c if len(self.thresholds) > 1 else 0])[k - 1]
            assert isinstance(found, Fraction)
            return found
        if not isinstance(self.op, ops.Quant) or self.op.bipolar:
            return Fraction(0)
        below = {"CEIL": 1, "FLOOR": 0, "UP": 1 if k > 0 else 0, "DOWN": 0 if k > 0 else 1}
        return Fraction(k) - below.get(self.op.rounding, HALF)


def from_levels(q: Quantizer, levels: IntArray, kind: IntArray | None = None) -> Cells:
    """The exact values of a quantizer's levels [N, n]; kind: as for `Cells.mapped`."""
    kind = np.arange(levels.shape[1]) if kind is None else kind
    first = np.unique(kind, return_index=True)[1]
    return from_numbers(levels, kind, lambda v, g: q.value(int(v), int(first[g])))


def _round(y: Exact, mode: str) -> int:
    """QONNX's rounding: np.round, ceil, floor, and their sign-magnitude relatives."""
    with mpmath.workdps(DIGITS):
        if not isinstance(y, Fraction):
            near = mpmath.nint(2 * y) / 2
            if abs(y - near) < CLOSE:
                raise VerifyError("real", ["a value lies within 1e-85 of a rounding edge, where 120 digits can't tell"])
        floor = (lambda v: v.__floor__()) if isinstance(y, Fraction) else (lambda v: int(mpmath.floor(v)))
        half: Any = HALF if isinstance(y, Fraction) else mpmath.mpf(1) / 2
        size, sign = abs(y), -1 if y < 0 else 1
        match mode:
            case "FLOOR":
                return int(floor(y))
            case "CEIL":
                return -int(floor(-y))
            case "DOWN":
                return sign * int(floor(size))
            case "UP":
                return -sign * int(floor(-size))
            case "HALF_UP":
                return sign * int(floor(size + half))
            case "HALF_DOWN":
                return -sign * int(floor(half - size))
        low = int(floor(y))
        rest = y - low
        return low + int(rest > half or (rest == half and low % 2 == 1))
