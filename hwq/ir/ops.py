"""The operators, in two tables: REAL as read from QONNX, INT after lowering. One frozen dataclass each."""

from __future__ import annotations

from dataclasses import dataclass, fields

BlobKey = str


def blob_field() -> dict[str, bool]:
    """Marks a field as a blob key: `field(metadata=blob_field())`."""
    return {"blob": True}


@dataclass(frozen=True, slots=True)
class Op:
    """Base of all operators; knows which of its fields are blob keys."""

    def blob_keys(self) -> tuple[BlobKey, ...]:
        found: list[BlobKey] = []
        for f in fields(self):
            value = getattr(self, f.name)
            if f.type in ("BlobKey", "BlobKey | None") and value is not None:
                found.append(value)
            elif f.type == "tuple[BlobKey, ...]":
                found.extend(value)
        return tuple(found)


# ---- weight codes: how hardware may store or multiply the plain integer weights
# --------------------------------------


@dataclass(frozen=True, slots=True)
class Uniform:
    """Two's complement of `bits`; `narrow` if the most negative value never occurs."""

    bits: int
    narrow: bool = True


@dataclass(frozen=True, slots=True)
class Bipolar:
    """-1 or +1, one bit."""

    bits: int = 1


@dataclass(frozen=True, slots=True)
class Ternary:
    """-1, 0 or +1, two bits."""

    bits: int = 2


Code = Uniform | Bipolar | Ternary


# ---- INT: after lowering. x, y are integer tensors, channel last
# -----------------------------------------------------


@dataclass(frozen=True, slots=True)
class MatVec(Op):
    """y[m] = sum_k W[m, k] * x[k], W int64 [MH, MW].

    With `xnor` (weights -1/+1, x in {0, 1}): y[m] = count_k(x[k] == (W[m, k] > 0)), the popcount of XNOR.
    """

    weight: BlobKey
    code: Code
    xnor: bool = False


@dataclass(frozen=True, slots=True)
class Step(Op):
    """y[c] = offset + count_i(T[c, i] <= x[c]), or offset + N - count where falling[c].

    T: int64 [C, N] ascending (N >= 1). A threshold that always counts is lo[c], one that never counts is
    hi[c] + 1. falling: bool [C] or None.
    """

    thresholds: BlobKey
    offset: int
    falling: BlobKey | None = None


@dataclass(frozen=True, slots=True)
class Table(Op):
    """y[c] = entries[c or 0, x[c] - base]; entries int64 [C or 1, hi - lo + 1]. For non-monotone functions.
    """

    entries: BlobKey
    base: int


@dataclass(frozen=True, slots=True)
class Combine(Op):
    """y[c] = sum_i mul[i][c] * x_i[c] + bias[c]; mul: one int64 [C or 1] per input, bias int64 [C or 1].

    Brings tensors (or channels) of different scales onto one.
    """

    mul: tuple[BlobKey, ...]
    bias: BlobKey


@dataclass(frozen=True, slots=True)
class ArgMax(Op):
    """y = index of the largest channel, the lowest index on ties. Output shape (1,)."""


INT_OPS: tuple[type[Op], ...] = (MatVec, Step, Table, Combine, ArgMax)


# ---- REAL: as read from QONNX. Every constant is an exact rational
# ---------------------------------------------------
# Parameter blobs are arrays of rationals (hwq.ir.rational), one value or one per element of the flattened
# frame.


@dataclass(frozen=True, slots=True)
class Quant(Op):
    """QONNX Quant: y = scale * (round(clip(x / scale + zero, qmin, qmax)) - zero); 1 bit signed gives -1/+1
    instead.

    scale > 0 and integer zero: rationals [1 or n]. `rounding` is one of hwq.ir.ops.ROUNDINGS.
    """

    scale: BlobKey
    zero: BlobKey
    bits: int
    signed: bool
    narrow: bool
    rounding: str = "ROUND"

    @property
    def bipolar(self) -> bool:
        return self.bits == 1 and self.signed

    @property
    def qmin(self) -> int:
        return (-(1 << (self.bits - 1)) + int(self.narrow)) if self.signed else 0

    @property
    def qmax(self) -> int:
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1 - int(self.narrow)


ROUNDINGS = ("ROUND", "HALF_EVEN", "CEIL", "FLOOR", "UP", "DOWN", "HALF_UP", "HALF_DOWN")


@dataclass(frozen=True, slots=True)
class BipolarQuant(Op):
    """y = scale where x >= 0, else -scale. scale > 0: rationals [1 or n]."""

    scale: BlobKey


@dataclass(frozen=True, slots=True)
class MultiThreshold(Op):
    """y = scale * count(x >= T) + offset; T rationals [1 or n, N], any order; scale and offset rationals [1].
    """

    thresholds: BlobKey
    scale: BlobKey
    offset: BlobKey


@dataclass(frozen=True, slots=True)
class MatMul(Op):
    """y[m] = scale[m or 0] * sum_k W[m, k] * x[k]; W int64 [MH, MW], scale > 0: rationals [1 or MH]."""

    weight: BlobKey
    scale: BlobKey
    code: Code


@dataclass(frozen=True, slots=True)
class Affine(Op):
    """y = mul * x + add; rationals [1 or n] each."""

    mul: BlobKey
    add: BlobKey


@dataclass(frozen=True, slots=True)
class BatchNorm(Op):
    """y = gamma * (x - mean) / sqrt(var) + beta; rationals [1 or n] each; `var` has epsilon added, and is
    positive.
    """

    gamma: BlobKey
    beta: BlobKey
    mean: BlobKey
    var: BlobKey


@dataclass(frozen=True, slots=True)
class Relu(Op):
    """y = max(x, 0)."""


@dataclass(frozen=True, slots=True)
class LeakyRelu(Op):
    """y = x where x >= 0, else alpha * x; alpha a rational, written as text."""

    alpha: str


@dataclass(frozen=True, slots=True)
class Clip(Op):
    """y = min(max(x, lo), hi); bounds are rationals, written as text, or None. HardTanh is Clip(-1, 1)."""

    lo: str | None
    hi: str | None


@dataclass(frozen=True, slots=True)
class Sigmoid(Op):
    """y = 1 / (1 + exp(-x))."""


@dataclass(frozen=True, slots=True)
class Tanh(Op):
    """y = tanh(x)."""


@dataclass(frozen=True, slots=True)
class Abs(Op):
    """y = |x|."""


@dataclass(frozen=True, slots=True)
class Reshape(Op):
    """Same values in the same (row-major) order under another frame shape, which the output tensor holds."""


@dataclass(frozen=True, slots=True)
class Softmax(Op):
    """y[c] = exp(x[c]) / sum_k exp(x[k]) over the frame."""


@dataclass(frozen=True, slots=True)
class Sum(Op):
    """y = x0 + x1 of two tensors of one shape (a residual)."""


ELEMENTWISE: tuple[type[Op], ...] = (Affine, BatchNorm, Relu, LeakyRelu, Clip, Sigmoid, Tanh, Abs)
QUANTIZERS: tuple[type[Op], ...] = (Quant, BipolarQuant, MultiThreshold)
REAL_OPS: tuple[type[Op], ...] = (*QUANTIZERS, MatMul, *ELEMENTWISE, Reshape, Softmax, Sum, ArgMax)
