"""Integer types: exact ranges, QONNX names, and the bit codes hardware stores them in.

A stream lane of a signed type is two's complement, of an unsigned type plain binary. BIPOLAR is one bit, 0 for -1 and
1 for +1. TERNARY is two bits of two's complement that never hold -2.
"""

from __future__ import annotations

import re
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from hwq.errors import ConfigError

IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class IntType:
    """`bits`-wide integers, two's complement if `signed`. `kind` tells BIPOLAR and TERNARY from plain INTs."""

    bits: int
    signed: bool
    kind: str = "int"  # "int" | "bipolar" | "ternary"

    @property
    def lo(self) -> int:
        if self.kind != "int":
            return -1
        return -(1 << (self.bits - 1)) if self.signed else 0

    @property
    def hi(self) -> int:
        if self.kind != "int":
            return 1
        return (1 << (self.bits - 1)) - 1 if self.signed else (1 << self.bits) - 1

    @property
    def name(self) -> str:
        """The QONNX spelling: INT4, UINT8, BIPOLAR, TERNARY, BINARY."""
        if self.kind != "int":
            return self.kind.upper()
        if self.bits == 1 and not self.signed:
            return "BINARY"
        return f"{'INT' if self.signed else 'UINT'}{self.bits}"

    def encode(self, values: IntArray) -> NDArray[np.uint64]:
        """Values -> unsigned codes of `bits` bits each (same shape). Raises ValueError out of range."""
        v = np.asarray(values, dtype=np.int64)
        if v.size and (int(v.min()) < self.lo or int(v.max()) > self.hi):
            raise ValueError(f"values {int(v.min())}..{int(v.max())} do not fit {self.name} ({self.lo}..{self.hi})")
        if self.kind == "bipolar":
            if np.any(v == 0):
                raise ValueError("0 is not a BIPOLAR value")
            return ((v + 1) >> 1).astype(np.uint64)
        return v.astype(np.uint64) & np.uint64((1 << self.bits) - 1)

    def decode(self, codes: NDArray[np.uint64]) -> IntArray:
        """Unsigned codes -> values (same shape); inverse of `encode`."""
        c = np.asarray(codes, dtype=np.uint64)
        if self.kind == "bipolar":
            return c.astype(np.int64) * 2 - 1
        v = c.astype(np.int64)
        if self.signed:
            v = np.where(v >= (1 << (self.bits - 1)), v - (1 << self.bits), v)
        return v

    def __str__(self) -> str:
        return self.name


BIPOLAR = IntType(1, True, "bipolar")
TERNARY = IntType(2, True, "ternary")
BINARY = IntType(1, False)


def parse(name: str) -> IntType:
    """QONNX name -> IntType. Raises ConfigError on a name that is not an integer type."""
    fixed = {"BIPOLAR": BIPOLAR, "TERNARY": TERNARY, "BINARY": BINARY}
    if name in fixed:
        return fixed[name]
    m = re.fullmatch(r"(U?)INT(\d+)", name)
    if not m or int(m[2]) < 1:
        raise ConfigError(f"'{name}' is not an integer type; expected INTn, UINTn, BIPOLAR, TERNARY or BINARY")
    return IntType(int(m[2]), not m[1])


def smallest(lo: int, hi: int) -> IntType:
    """The narrowest plain integer type that holds lo..hi (at least one bit)."""
    if lo > hi:
        raise ValueError(f"empty range {lo}..{hi}")
    if lo >= 0:
        return IntType(max(1, int(hi).bit_length()), False)
    return IntType(max(int(hi).bit_length(), int(-lo - 1).bit_length()) + 1, True)
