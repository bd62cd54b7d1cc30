"""Constants of an ONNX graph, kept exact: plain arrays, or integers times a rational scale."""

from __future__ import annotations

from dataclasses import dataclass, replace
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.ir.ops import Quant
from hwq.ir.rational import ObjectArray, exact, fractions

IntArray = NDArray[np.int64]


@dataclass(frozen=True)
class Const:
    """An array known when the file is read.

    Plain: `ints` None, the values are `raw` (any numpy number type, or object array of Fractions).
    Quantized: value = ints * scale, `scale` an object array of Fractions broadcastable to the ints' shape
    with the same number of axes; `bits` and `signed` are the quantizer's (1 bit signed: bipolar).
    """

    raw: NDArray[Any] | None = None
    ints: IntArray | None = None
    scale: ObjectArray | None = None
    bits: int = 0
    signed: bool = True

    @property
    def shape(self) -> tuple[int, ...]:
        array = self.raw if self.ints is None else self.ints
        assert array is not None
        return tuple(array.shape)

    def values(self) -> ObjectArray:
        """Exact values, object array of Fractions."""
        if self.ints is None:
            assert self.raw is not None
            return self.raw if self.raw.dtype == object else fractions(self.raw)
        return np.asarray(fractions(self.ints) * self.scale, dtype=object)

    def numbers(self) -> list[int]:
        """The values of a small integer constant (a shape, an axis)."""
        return [int(v) for v in self.values().ravel()]

    def reshaped(self, shape: tuple[int, ...]) -> Const:
        if self.ints is None:
            assert self.raw is not None
            return replace(self, raw=self.raw.reshape(shape))
        assert self.scale is not None
        scale = self.scale
        scale = (
            scale.reshape((1,) * len(shape))
            if scale.size == 1
            else np.broadcast_to(scale, self.ints.shape).reshape(shape)
        )
        return replace(self, ints=self.ints.reshape(shape), scale=scale)

    def transposed(self, perm: tuple[int, ...]) -> Const:
        if self.ints is None:
            assert self.raw is not None
            return replace(self, raw=self.raw.transpose(perm))
        assert self.scale is not None
        return replace(self, ints=self.ints.transpose(perm), scale=self.scale.transpose(perm))


def quantize(x: Const, op: Quant, scale: ObjectArray, zero: ObjectArray) -> Const:
    """QONNX Quant of a constant, exactly: float64 does the bulk, every value near a rounding edge is done in
    Fractions.

    scale, zero: Fractions broadcastable to x. The zero point is folded into the integers: value = scale * (q
    - zero).
    """
    shape = x.shape
    scale = _rank(scale, len(shape))
    zero = _rank(zero, len(shape))
    s = np.broadcast_to(scale.astype(np.float64), shape)
    z = np.broadcast_to(zero.astype(np.float64), shape)
    source = x.raw if x.raw is not None and x.raw.dtype != object else x.values().astype(np.float64)
    r = np.clip(np.asarray(source, dtype=np.float64) / s + z, op.qmin - 2, op.qmax + 2)
    edge = r if op.rounding in ("CEIL", "FLOOR", "UP", "DOWN") else r - 0.5  # a mode decides at integers or halves
    near = (np.abs(edge - np.round(edge)) <= 1e-9 * np.maximum(1.0, np.abs(r))) & (r > op.qmin - 1) & (r < op.qmax + 1)
    if op.bipolar:
        near = np.abs(r) <= 1e-9
        q = np.where(r >= 0, 1, -1).astype(np.int64)
    else:
        q = np.clip(_round_floats(r, op.rounding), op.qmin, op.qmax).astype(np.int64)
    if near.any():
        fs, fz = np.broadcast_to(scale, shape), np.broadcast_to(zero, shape)
        values = x.raw if x.raw is not None else x.values()
        for i in zip(*np.nonzero(near), strict=True):
            q[i] = quantize_exactly(exact(values[i]) / fs[i] + fz[i], op)
    ints = q - zero.astype(np.int64)
    return Const(ints=ints, scale=scale, bits=op.bits, signed=op.signed)


def quantize_exactly(v: Fraction, op: Quant) -> int:
    """The integer QONNX Quant gives for v = x / scale + zero."""
    if op.bipolar:
        return 1 if v >= 0 else -1
    return round_exactly(min(max(v, Fraction(op.qmin)), Fraction(op.qmax)), op.rounding)


def round_exactly(v: Fraction, rounding: str) -> int:
    """QONNX's rounding modes on a rational."""
    magnitude, sign = abs(v), 1 if v >= 0 else -1
    half = Fraction(1, 2)
    match rounding:
        case "ROUND" | "HALF_EVEN":
            return round(v)
        case "CEIL":
            return -((-v).__floor__())
        case "FLOOR":
            return v.__floor__()
        case "UP":
            return sign * -((-magnitude).__floor__())
        case "DOWN":
            return sign * magnitude.__floor__()
        case "HALF_UP":
            return sign * (magnitude + half).__floor__()
        case "HALF_DOWN":
            return sign * -((half - magnitude).__floor__())
    raise ValueError(rounding)


def _round_floats(r: NDArray[np.float64], rounding: str) -> NDArray[Any]:
    sign, magnitude = np.sign(r), np.abs(r)
    match rounding:
        case "CEIL":
            return np.ceil(r)
        case "FLOOR":
            return np.floor(r)
        case "UP":
            return sign * np.ceil(magnitude)
        case "DOWN":
            return np.fix(r)
        case "HALF_UP":
            return sign * np.floor(magnitude + 0.5)
        case "HALF_DOWN":
            return sign * np.ceil(magnitude - 0.5)
    return np.round(r)


def _rank(a: ObjectArray, ndim: int) -> ObjectArray:
    return a.reshape((1,) * (ndim - a.ndim) + a.shape) if a.ndim < ndim else a.reshape(a.shape[a.ndim - ndim :])


def integer_grid(x: Const, max_bits: int = 16) -> Const | None:
    """A plain array as integers times one power-of-two-friendly scale, or None if that takes more than
    `max_bits`.

    Integers stay as they are (scale 1); anything else gets the largest scale that divides every value.
    """
    values = x.values()
    flat = [v for v in values.ravel() if v]
    one = np.array([Fraction(1)], dtype=object).reshape((1,) * values.ndim)
    step = Fraction(1)
    if any(v.denominator != 1 for v in flat):
        den = np.lcm.reduce([v.denominator for v in flat], dtype=object)
        num = np.gcd.reduce([int(v * den) for v in flat], dtype=object)
        step = Fraction(int(num), int(den))
    q = values / step
    top = max((abs(int(v)) for v in q.ravel()), default=0)
    if top.bit_length() + 1 > max_bits:
        return None
    ints = np.array([int(v) for v in q.ravel()], dtype=np.int64).reshape(values.shape)
    bits = 1 if ints.size and np.all(np.abs(ints) == 1) else top.bit_length() + 1
    return Const(ints=ints, scale=one * step, bits=bits, signed=True)


def as_const(array: NDArray[Any]) -> Const:
    """A numpy array -> Const; floats of any width are taken exactly."""
    return Const(raw=np.asarray(array))


__all__ = ["Const", "as_const", "exact", "integer_grid", "quantize", "quantize_exactly", "round_exactly"]
