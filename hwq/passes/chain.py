"""The elementwise functions between two integer tensors, evaluated in float64 (to steer) and exactly (to
decide).
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fractions import Fraction

import numpy as np
from numpy.typing import NDArray

from hwq.ir import ops
from hwq.ir.graph import Graph
from hwq.ir.rational import fractions
from hwq.passes.exact import Number, affine, compare, over_sqrt, rational_sqrt, sigmoid, tanh

Floats = NDArray[np.float64]
Rationals = tuple[Fraction, ...]  # one, or one per channel


def at(values: Rationals, c: int) -> Fraction:
    return values[c if len(values) > 1 else 0]


def column(values: Rationals) -> Floats:
    """Rationals as a float64 column [C or 1, 1]; what float64 can't hold becomes infinity: it only steers."""
    return np.array([_float(v) for v in values])[:, None]


def _float(v: Fraction) -> float:
    try:
        return float(v)
    except OverflowError:
        return np.inf if v > 0 else -np.inf


@dataclass(frozen=True, slots=True)
class Line:
    """x -> mul * x + add."""

    mul: Rationals
    add: Rationals

    def floats(self, x: Floats) -> Floats:
        return column(self.mul) * x + column(self.add)

    def exact(self, x: Number, c: int) -> Number:
        return affine(x, at(self.mul, c), at(self.add, c))

    def polarity(self, c: int) -> int | None:
        m = at(self.mul, c)
        return (m > 0) - (m < 0)


@dataclass(frozen=True, slots=True)
class OverSqrt:
    """x -> x / sqrt(var)."""

    var: Rationals

    def floats(self, x: Floats) -> Floats:
        return x / np.sqrt(column(self.var))

    def exact(self, x: Number, c: int) -> Number:
        return over_sqrt(x, at(self.var, c))

    def polarity(self, c: int) -> int | None:
        return 1


@dataclass(frozen=True, slots=True)
class Bend:
    """One of the parameterless-per-channel functions: Relu, LeakyRelu, Clip, Sigmoid, Tanh, Abs."""

    op: ops.Op

    def floats(self, x: Floats) -> Floats:
        match self.op:
            case ops.Relu():
                return np.maximum(x, 0)
            case ops.LeakyRelu(alpha=a):
                return np.where(x >= 0, x, x * float(Fraction(a)))
            case ops.Clip(lo=lo, hi=hi):
                x = x if lo is None else np.maximum(x, float(Fraction(lo)))
                return x if hi is None else np.minimum(x, float(Fraction(hi)))
            case ops.Sigmoid():
                return 0.5 * (np.tanh(0.5 * x) + 1)
            case ops.Tanh():
                return np.tanh(x)
            case ops.Abs():
                return np.abs(x)
        raise TypeError(type(self.op).__name__)

    def exact(self, x: Number, c: int) -> Number:
        match self.op:
            case ops.Relu():
                return x if compare(x, Fraction(0)) > 0 else Fraction(0)
            case ops.LeakyRelu(alpha=a):
                return x if compare(x, Fraction(0)) >= 0 else affine(x, Fraction(a), Fraction(0))
            case ops.Clip(lo=lo, hi=hi):
                if lo is not None and compare(x, Fraction(lo)) < 0:
                    x = Fraction(lo)
                return Fraction(hi) if hi is not None and compare(x, Fraction(hi)) > 0 else x
            case ops.Sigmoid():
                return sigmoid(x)
            case ops.Tanh():
                return tanh(x)
            case ops.Abs():
                return x if compare(x, Fraction(0)) >= 0 else affine(x, Fraction(-1), Fraction(0))
        raise TypeError(type(self.op).__name__)

    def polarity(self, c: int) -> int | None:
        match self.op:
            case ops.Abs():
                return None
            case ops.LeakyRelu(alpha=a) if Fraction(a) < 0:
                return None
        return 1


Fn = Line | OverSqrt | Bend


@dataclass(frozen=True, slots=True)
class Chain:
    """Functions applied in order to each channel of an integer (or float32) tensor."""

    fns: tuple[Fn, ...] = ()

    def then(self, fn: Fn) -> Chain:
        """This chain followed by `fn`; neighbouring Lines become one."""
        if isinstance(fn, Line) and self.fns and isinstance(self.fns[-1], Line):
            last = self.fns[-1]
            n = max(map(len, (fn.mul, fn.add, last.mul, last.add)))
            mul = _shrink([at(fn.mul, c) * at(last.mul, c) for c in range(n)])
            add = _shrink([at(fn.mul, c) * at(last.add, c) + at(fn.add, c) for c in range(n)])
            return Chain((*self.fns[:-1], Line(mul, add)))
        return Chain((*self.fns, fn))

    def floats(self, x: Floats) -> Floats:
        """x: float64 [C, ...K] with channels first -> the same shape."""
        with np.errstate(all="ignore"):
            for fn in self.fns:
                x = fn.floats(x)
        return x

    def exact(self, x: Fraction, c: int) -> Number:
        y: Number = x
        for fn in self.fns:
            y = fn.exact(y, c)
        return y

    def polarity(self, c: int) -> int | None:
        """+1 rising, -1 falling, 0 constant, None not monotone."""
        total = 1
        for fn in reversed(self.fns):
            p = fn.polarity(c)
            if p == 0:
                return 0
            if p is None:
                return None
            total *= p
        return total

    def picked(self, index: Sequence[int]) -> Chain:
        """The chain of channels that are `index` of this one's."""

        def one(values: Rationals) -> Rationals:
            return values if len(values) == 1 else _shrink([values[i] for i in index])

        def fn(f: Fn) -> Fn:
            match f:
                case Line(mul=m, add=a):
                    return Line(one(m), one(a))
                case OverSqrt(var=v):
                    return OverSqrt(one(v))
            return f

        return Chain(tuple(fn(f) for f in self.fns))

    def tiled(self, channels: int, times: int) -> Chain:
        """The chain of `channels` channels, repeated so many times."""
        return self if self.channels == 1 else self.picked(list(range(channels)) * times)

    def after(self, fn: Fn) -> Chain:
        """`fn` followed by this chain."""
        chain = Chain((fn,))
        for f in self.fns:
            chain = chain.then(f)
        return chain

    @property
    def channels(self) -> int:
        """1 if every channel gets the same function, else the number of channels."""
        sizes = [1]
        for fn in self.fns:
            if isinstance(fn, Line):
                sizes += [len(fn.mul), len(fn.add)]
            elif isinstance(fn, OverSqrt):
                sizes.append(len(fn.var))
        return max(sizes)

    @property
    def line(self) -> Line | None:
        """The whole chain as one rational Line, or None if it is not one."""
        if not self.fns:
            return Line((Fraction(1),), (Fraction(0),))
        only = self.fns[0]
        return only if len(self.fns) == 1 and isinstance(only, Line) else None

    @property
    def is_affine(self) -> bool:
        """True if only lines and square roots occur: a * x + b, perhaps with irrational a and b."""
        return all(isinstance(fn, Line | OverSqrt) for fn in self.fns)

    def affine(self, c: int) -> tuple[Number, Number]:
        """(a, b) of an affine chain in channel c: value = a * x + b."""
        b = self.exact(Fraction(0), c)
        a: Number = Fraction(1)
        for fn in self.fns:
            if isinstance(fn, OverSqrt):
                a = over_sqrt(a, at(fn.var, c))
            elif isinstance(fn, Line):
                a = affine(a, at(fn.mul, c), Fraction(0))
        return a, b


def _shrink(values: Sequence[Fraction]) -> Rationals:
    return (values[0],) if all(v == values[0] for v in values) else tuple(values)


def rationals(graph: Graph, key: str) -> Rationals:
    """A parameter blob as Fractions."""
    return tuple(fractions(graph.array(key)).ravel())


def functions(graph: Graph, op: ops.Op) -> tuple[Fn, ...]:
    """An elementwise real op as chain functions."""
    one, zero = (Fraction(1),), (Fraction(0),)
    match op:
        case ops.Affine(mul=m, add=a):
            return (Line(rationals(graph, m), rationals(graph, a)),)
        case ops.BatchNorm():
            gamma, beta, mean, var = (rationals(graph, k) for k in (op.gamma, op.beta, op.mean, op.var))
            n = max(len(gamma), len(mean))
            centre = Line(gamma, _shrink([-at(gamma, c) * at(mean, c) for c in range(n)]))
            roots = [rational_sqrt(v) for v in var]
            if all(r is not None for r in roots):
                return (centre, Line(tuple(1 / r for r in roots if r is not None), zero), Line(one, beta))
            return (centre, OverSqrt(var), Line(one, beta))
    return (Bend(op),)
