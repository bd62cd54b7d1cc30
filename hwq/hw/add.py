"""hwq_add: which digits of its multipliers are stored, what it stores, and its pipeline depth."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from hwq.dtype import IntArray
from hwq.errors import EmitError
from hwq.hw.memory import lane_fields, signed_digits


@dataclass(frozen=True, slots=True)
class AddForm:
    """Parameters of hwq_add that follow from its multipliers and bias: USE0, USE1 and B_W."""

    use: tuple[int, int]
    b_bits: int

    @property
    def terms(self) -> int:
        """Terms of the sum; without bias the first costs no addition."""
        return sum(max(1, u.bit_count()) for u in self.use)


def _digits(m: IntArray) -> IntArray:
    """Signed digits of all channels, int [C, D]."""
    m = np.asarray(m, dtype=np.int64)
    return signed_digits(m, 1 + max(int(v).bit_length() for v in (m.min(), m.max())))


def _corrected(m: tuple[IntArray, IntArray], b: IntArray) -> IntArray:
    """Bias with what complemented digits lack: 4^l each. int64 [C]."""
    bias = np.asarray(b, dtype=np.int64).copy()
    for multiplier in m:
        d = _digits(multiplier)
        bias += ((d < 0) << (2 * np.arange(d.shape[1]))).sum(axis=1)
    return bias


def add_form(m: tuple[IntArray, IntArray], b: IntArray) -> AddForm:
    """The cheapest form for y = m[0] * x0 + m[1] * x1 + b, all int64 [C]."""
    def mask(multiplier: IntArray) -> int:
        if np.all(multiplier == 1):
            return 0
        used = (_digits(multiplier) != 0).any(axis=0)
        return int(sum(1 << int(i) for i in np.flatnonzero(used))) or 1

    bias = _corrected(m, b)
    bits = 1 + max((v if v >= 0 else ~v).bit_length() for v in (int(bias.min()), int(bias.max())))
    return AddForm((mask(m[0]), mask(m[1])), bits if np.any(bias) else 0)


def add_rows(form: AddForm, m: tuple[IntArray, IntArray], b: IntArray, lanes: int) -> str:
    """MB_FILE of hwq_add: row cf, per lane the used digits {neg, two, one} of m[0], those of m[1], the bias.

    "" if nothing is stored. Raises EmitError if `lanes` does not divide C or the form is not that of m and b.
    """
    if add_form(m, b) != form:
        raise EmitError(f"form {form} of hwq_add is not that of its multipliers and bias, {add_form(m, b)}")
    parts: list[tuple[IntArray, int]] = []
    for multiplier, use in zip(m, form.use, strict=True):
        digits = _digits(multiplier)
        code = np.choose(np.abs(digits), [0, 1, 2]) + 4 * (digits < 0)
        parts += [(code[:, i], 3) for i in range(digits.shape[1]) if use >> i & 1]
    if form.b_bits:
        parts.append((_corrected(m, b), form.b_bits))
    return lane_fields(parts, lanes) if parts else ""


def add_pipe(form: AddForm, y_bits: int, clock_mhz: float) -> int:
    """Stages of hwq_add: its additions are a linear chain, 3 ns and 0.05 ns a bit each (ECP5, routing included)."""
    additions = form.terms - (form.b_bits == 0)
    per_stage = max(1, int((1000.0 / clock_mhz - 2.0) / (3.0 + 0.05 * y_bits)))
    return max(1, -(-additions // per_stage))
