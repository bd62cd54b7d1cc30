"""Exact numbers of the lowering: rationals, u + w * sqrt(v), and 100 digits where neither is enough.

One BatchNorm brings one square root per channel, so almost every value of a network is a Fraction or a Surd
and is compared exactly, ties included. Sigmoid, Tanh and a second square root fall back to 100 digits, where
a
comparison closer than 1e-85 counts as undecidable.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import gcd, isqrt
from typing import TypeAlias

import mpmath

from hwq.errors import VerifyError

DIGITS = 100
UNDECIDABLE = mpmath.mpf(10) ** -85
SATURATED = 170  # 1 - sigmoid(170) is 1e-74: short of its asymptote, and closer than any float constant that isn't it


@dataclass(frozen=True, slots=True)
class Surd:
    """u + w * sqrt(v); w != 0, v > 0 and not the square of a rational."""

    u: Fraction
    w: Fraction
    v: Fraction

    def __float__(self) -> float:
        return float(to_mpf(self))


Number: TypeAlias = Fraction | Surd | mpmath.mpf


def rational_sqrt(v: Fraction) -> Fraction | None:
    """sqrt(v) if that is rational."""
    n, d = isqrt(v.numerator), isqrt(v.denominator)
    return Fraction(n, d) if n * n == v.numerator and d * d == v.denominator else None


def to_mpf(x: Number) -> mpmath.mpf:
    """x to 100 digits."""
    with mpmath.workdps(DIGITS + 10):
        if isinstance(x, Fraction):
            return mpmath.mpf(x.numerator) / x.denominator
        if isinstance(x, Surd):
            return to_mpf(x.u) + to_mpf(x.w) * mpmath.sqrt(to_mpf(x.v))
        return +x


def affine(x: Number, a: Fraction, b: Fraction) -> Number:
    """a * x + b."""
    if isinstance(x, Fraction):
        return a * x + b
    if a == 0:
        return b
    if isinstance(x, Surd):
        return Surd(a * x.u + b, a * x.w, x.v)
    with mpmath.workdps(DIGITS + 10):
        return to_mpf(a) * x + to_mpf(b)


def over_sqrt(x: Number, v: Fraction) -> Number:
    """x / sqrt(v), v > 0."""
    root = rational_sqrt(v)
    if root is not None:
        return affine(x, 1 / root, Fraction(0))
    if isinstance(x, Fraction):
        return Surd(Fraction(0), x / v, v) if x else x
    if isinstance(x, Surd):
        ratio = rational_sqrt(x.v / v)  # sqrt(x.v) / sqrt(v)
        if ratio is not None:
            return Surd(x.w * ratio, x.u / v, v) if x.u else x.w * ratio
    with mpmath.workdps(DIGITS + 10):
        return to_mpf(x) / mpmath.sqrt(to_mpf(v))


def sign(x: Number) -> int:
    """-1, 0 or +1. Raises VerifyError where 100 digits cannot tell."""
    if isinstance(x, Fraction):
        return (x > 0) - (x < 0)
    if isinstance(x, Surd):
        su, sw = (x.u > 0) - (x.u < 0), (x.w > 0) - (x.w < 0)
        if su == 0 or su == sw:
            return sw
        return su if x.u * x.u > x.w * x.w * x.v else sw
    if abs(x) < UNDECIDABLE:
        raise VerifyError(
            "int",
            [
                f"a value lies within 1e-85 of a decision boundary ({mpmath.nstr(x, 5)}), where "
                "100 digits cannot tell its side; change the constant by one unit in the last place"
            ],
        )
    return 1 if x > 0 else -1


def compare(x: Number, t: Fraction) -> int:
    """Sign of x - t."""
    if isinstance(x, Fraction):
        return (x > t) - (x < t)
    if isinstance(x, Surd):
        return sign(Surd(x.u - t, x.w, x.v))
    with mpmath.workdps(DIGITS + 10):
        return sign(x - to_mpf(t))


def sigmoid(x: Number) -> Number:
    """1 / (1 + exp(-x)); rational at 0 alone."""
    if isinstance(x, Fraction) and x == 0:
        return Fraction(1, 2)
    with mpmath.workdps(DIGITS + 10):
        return 1 / (1 + mpmath.exp(-_clamp(to_mpf(x), SATURATED)))


def tanh(x: Number) -> Number:
    """tanh(x); rational at 0 alone."""
    if isinstance(x, Fraction) and x == 0:
        return x
    with mpmath.workdps(DIGITS + 10):
        return mpmath.tanh(_clamp(to_mpf(x), SATURATED / 2))


def _clamp(x: mpmath.mpf, limit: float) -> mpmath.mpf:
    return max(min(x, mpmath.mpf(limit)), mpmath.mpf(-limit))


def common_step(values: list[Fraction]) -> Fraction:
    """The largest g > 0 that makes every value / g an integer (1 if all are zero)."""
    g = Fraction(0)
    for v in values:
        if v:
            g = _gcd(g, abs(v))
    return g or Fraction(1)


def _gcd(a: Fraction, b: Fraction) -> Fraction:
    return Fraction(gcd(a.numerator * b.denominator, b.numerator * a.denominator), a.denominator * b.denominator)
