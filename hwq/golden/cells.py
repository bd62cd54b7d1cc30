"""Tensors of exact values over many frames, and the exact numbers in them."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from fractions import Fraction
from functools import cmp_to_key, reduce
from math import gcd
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq.errors import VerifyError
from hwq.ir.graph import Exact, Real
from hwq.ir.rational import exact

DIGITS = 120
CLOSE = mpmath.mpf(10) ** -85
IntArray = NDArray[np.int64]
Table = tuple[Exact, ...]


@dataclass(frozen=True)
class Cells:
    """A tensor over N frames: value[i, c] = tables[group[c]][codes[i, c]]; frames are flat (row-major). The values of
    one channel of an image share a table; `group` None: one table a value.
    """

    codes: NDArray[np.intp]
    tables: tuple[Table, ...]
    group: NDArray[np.intp] | None = None

    @property
    def groups(self) -> NDArray[np.intp]:
        return np.arange(self.codes.shape[1]) if self.group is None else self.group

    def gather(self, tables: Sequence[NDArray[Any]]) -> NDArray[Any]:
        """Other tables, of the same sizes, looked up: [N, n]."""
        start = np.cumsum([0, *map(len, tables)])[:-1]
        found: NDArray[Any] = np.concatenate(tables)[start[self.groups] + self.codes]
        return found

    def floats(self) -> NDArray[np.float64]:
        """The values rounded to float64 [N, n]."""
        return self.gather([np.array([float(v) for v in t]) for t in self.tables])

    def value(self, i: int, c: int) -> Exact:
        """Value c of frame i."""
        return self.tables[self.groups[c]][self.codes[i, c]]

    def row(self, i: int) -> list[Exact]:
        """The values of frame i."""
        return [self.tables[g][k] for g, k in zip(self.groups, self.codes[i], strict=True)]

    def frame(self, i: int) -> Cells:
        """Frame i alone."""
        return replace(self, codes=self.codes[i : i + 1])

    def integers(self, real: Real, channel: NDArray[np.int64] | None = None) -> IntArray:
        """The i with scale * i + offset = value, int64 [N, n]. Raises VerifyError where there is none.

        channel: which channel of `real` each value of a frame belongs to (default: its own).
        """
        where = np.arange(self.codes.shape[1]) if channel is None else channel

        def one(v: Exact, c: int) -> int:
            k = int(where[c])
            scale = real.scale[k if len(real.scale) > 1 else 0]
            return _quotient(v, scale, real.offset[k if len(real.offset) > 1 else 0], c)

        found = self._each(one, where if max(len(real.scale), len(real.offset)) > 1 else np.zeros_like(where))
        return found.gather([np.array(t, dtype=np.int64) for t in found.tables])

    def mapped(self, f: Callable[[Exact, int], Exact], kind: NDArray[np.int64] | None = None) -> Cells:
        """f(value, c) on every table entry; kind: values of a frame for which f does the same (default: none)."""
        return self._each(f, np.arange(self.codes.shape[1]) if kind is None else kind)

    def _each(self, f: Callable[[Exact, int], Any], kind: NDArray[np.int64]) -> Cells:
        both = self.groups * (int(kind.max(initial=0)) + 1) + kind
        _, first, group = np.unique(both, return_index=True, return_inverse=True)
        tables = tuple(tuple(f(v, int(c)) for v in self.tables[self.groups[c]]) for c in first)
        return Cells(self.codes, tables, group.ravel())

    def compact(self) -> Cells:
        """The same values with tables free of repetitions."""
        kept = [{v: i for i, v in enumerate(dict.fromkeys(t))} for t in self.tables]
        codes = self.gather(
            [np.array([k[v] for v in t], dtype=np.intp) for k, t in zip(kept, self.tables, strict=True)]
        )
        return Cells(codes, tuple(map(tuple, kept)), self.group)

    def moved(self, places: NDArray[np.int64], fill: Exact = Fraction(0)) -> Cells:
        """Value c of the result is value places[c] of this one, or `fill` where that is -1."""
        flat = places.ravel()
        codes, group, tables = self.codes[:, flat], self.groups[flat], self.tables
        if np.any(flat < 0):
            codes[:, flat < 0], group[flat < 0] = 0, len(tables)
            tables = (*tables, (fill,))
        return Cells(codes, tables, group)

    def shared(self, group: NDArray[np.int64]) -> Cells:
        """The same values with one table for all values of a group (numbered from 0), sorted from small to large."""
        pairs = np.unique(np.stack([group, self.groups]), axis=1)
        tables = []
        for g in range(int(group.max()) + 1):
            values = dict.fromkeys(v for t in pairs[1, pairs[0] == g] for v in self.tables[t])
            tables.append(tuple(sorted(values, key=cmp_to_key(lambda a, b: exceeds(a, b) - exceeds(b, a)))))
        place = [{v: i for i, v in enumerate(t)} for t in tables]
        codes = np.empty_like(self.codes)
        for g, t in pairs.T:
            mask = (group == g) & (self.groups == t)
            codes[:, mask] = np.array([place[g][v] for v in self.tables[t]], dtype=np.intp)[self.codes[:, mask]]
        return Cells(codes, tuple(tables), group)

    def whole(self) -> tuple[NDArray[Any], Fraction] | None:
        """(integers [N, n], step) with value = step * integer, int64 where sums of 2^20 of them fit; None where a value
        is irrational.
        """
        if any(not isinstance(v, Fraction) for t in self.tables for v in t):
            return None
        step = reduce(_gcd, {abs(v) for t in self.tables for v in t if v}, Fraction(0)) or Fraction(1)
        ints = [[int(v / step) for v in t] for t in self.tables]
        kind: Any = np.int64 if max(abs(v) for t in ints for v in t) < 1 << 42 else object
        return self.gather([np.array(t, dtype=kind) for t in ints]), step


def _quotient(v: Exact, scale: Exact, offset: Exact, c: int) -> int:
    with mpmath.workdps(DIGITS):
        if all(isinstance(p, Fraction) for p in (v, scale, offset)):
            i = (v - offset) / scale
            whole = i.denominator == 1
        else:
            i = (mpf(v) - mpf(offset)) / mpf(scale)
            whole = abs(i - mpmath.nint(i)) < CLOSE
        if not whole:
            raise VerifyError(
                "real",
                [
                    f"channel {c}: value {float(v):.9g} is not an integer times "
                    f"{float(scale):.9g} plus {float(offset):.9g}"
                ],
            )
        return int(mpmath.nint(i)) if not isinstance(i, Fraction) else int(i)


def from_floats(x: NDArray[Any]) -> Cells:
    """Frames [N, ...] of floats (taken exactly) or integers -> Cells; images [N, C, ...] with a table a channel."""
    x = np.asarray(x)
    group = np.arange(x[0].size)
    if x.ndim > 2:
        group = group // int(np.prod(x.shape[2:]))
    return from_numbers(x.reshape(len(x), -1), group, lambda v, _: exact(v))


def from_numbers(x: NDArray[Any], group: NDArray[np.int64], meaning: Callable[[Any, int], Exact]) -> Cells:
    """Numbers [N, n] -> Cells of meaning(number, group)."""
    codes, tables = np.empty(x.shape, dtype=np.intp), []
    order = np.argsort(group, kind="stable")
    for g, columns in enumerate(np.split(order, np.searchsorted(group[order], np.arange(1, int(group.max()) + 1)))):
        unique, found = np.unique(x[:, columns], return_inverse=True)
        codes[:, columns] = found.reshape(len(x), -1)
        tables.append(tuple(meaning(v, g) for v in unique))
    return Cells(codes, tuple(tables), group)


def _gcd(a: Fraction, b: Fraction) -> Fraction:
    return Fraction(gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)


def total(values: Sequence[Exact]) -> Exact:
    """Their sum, to 120 digits if one is irrational."""
    if all(isinstance(v, Fraction) for v in values):
        return sum(values, Fraction(0))
    with mpmath.workdps(DIGITS):
        return mpmath.fsum(mpf(v) for v in values)


def difference(a: Exact, b: Exact) -> Exact:
    """a - b, to 120 digits if either is irrational."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a - b
    with mpmath.workdps(DIGITS):
        return mpf(a) - mpf(b)


def exceeds(a: Exact, b: Exact) -> bool:
    """a > b."""
    if isinstance(a, Fraction) and isinstance(b, Fraction):
        return a > b
    return _sign(difference(a, b)) > 0


def mpf(v: Exact) -> mpmath.mpf:
    """v as a number of the current precision."""
    return mpmath.mpf(v.numerator) / v.denominator if isinstance(v, Fraction) else v


def _sign(v: mpmath.mpf) -> int:
    if v == 0:
        return 0
    if abs(v) < CLOSE:
        raise VerifyError("real", ["a value lies within 1e-85 of a decision, where 120 digits can't tell its side"])
    return 1 if v > 0 else -1
