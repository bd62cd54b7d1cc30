"""Quantized weights of matrix products and convolutions, as read from the file."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwq import dtype
from hwq.frontend.constant import Const, integer_grid
from hwq.frontend.site import Problem, Site
from hwq.ir import ops


def quantized(s: Site, i: int, rank: int) -> tuple[Const, str]:
    """(integers and scale, name) of the weight at input i, of so many axes."""
    name = s.r.resolve(s.node.input[i])
    w = s.const(i, "weight")
    if len(w.shape) != rank:
        what = "a matrix is needed" if rank == 2 else f"{rank} axes are needed"
        raise Problem(f"weight '{name}' of shape {w.shape}; {what}")
    if w.ints is None:
        grid = integer_grid(w)
        if grid is None:
            raise Problem(
                f"weight '{name}' is not quantized: its values share no grid of 16 bits or fewer; "
                "put a Quant or BipolarQuant on it",
                False,
            )
        w = grid
    return w, name


def code_of(ints: NDArray[np.int64], bits: int, signed: bool) -> ops.Code:
    """How hardware may store the weights, from the quantizer's type and the values it really gave."""
    lo, hi = (int(ints.min()), int(ints.max())) if ints.size else (0, 0)
    if bits == 1 and signed and bool(np.all(np.abs(ints) == 1)):
        return ops.Bipolar()
    if lo >= -1 and hi <= 1 and bits <= 2:
        return ops.Ternary()
    need = max(dtype.smallest(min(lo, -1), hi).bits, bits if signed else 0)
    return ops.Uniform(need, narrow=lo > -(1 << (need - 1)))
