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


# ---- weight codes: how hardware may store or multiply the plain integer weights --------------------------------------


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


# ---- INT: after lowering. x, y are integer tensors, channel last -----------------------------------------------------


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

    T: int64 [C, N] ascending (N >= 1). A threshold that always counts is lo[c], one that never counts is hi[c] + 1.
    falling: bool [C] or None.
    """

    thresholds: BlobKey
    offset: int
    falling: BlobKey | None = None


@dataclass(frozen=True, slots=True)
class Table(Op):
    """y[c] = entries[c or 0, x[c] - base]; entries int64 [C or 1, hi - lo + 1]. For non-monotone functions."""

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
