"""Memory files of the library modules: integers -> `$readmemh` text, one function per module.

The only place beside the RTL headers that knows these layouts. Channel c is lane c % PE of channel group cf = c // PE.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from hwq.bits import encode, hex_rows
from hwq.dtype import IntArray
from hwq.errors import EmitError


def _lanes_of(a: IntArray, lanes: int) -> IntArray:
    """[C, ...] -> [CF, lanes, ...]. Raises EmitError if `lanes` does not divide C."""
    if len(a) % lanes:
        raise EmitError(f"{len(a)} channels do not fill beats of {lanes} lanes; take a number of lanes that divides them")
    return a.reshape(len(a) // lanes, lanes, *a.shape[1:])


def _fields(parts: list[tuple[IntArray, int]]) -> str:
    """Rows of lanes of fields: parts (int [rows, lanes], bits), the first field in a lane's lowest bits."""
    rows, lanes = parts[0][0].shape
    bits = sum(width for _, width in parts)
    planes = np.zeros((rows, lanes, bits), dtype=np.uint64)
    at = 0
    for values, width in parts:
        planes[:, :, at:at + width] = (encode(values, width)[:, :, None] >> np.arange(width, dtype=np.uint64)) & np.uint64(1)
        at += width
    return hex_rows(planes.reshape(rows, lanes * bits), 1)


def threshold_rows(thresholds: IntArray, falling: NDArray[np.bool_] | None, lanes: int, x_bits: int, x_signed: bool) -> str:
    """T_FILE of hwq_threshold: the search tree of every channel, row cf * 2^K + node, lanes of x_bits + 1 bits.

    thresholds: int64 [C, N] ascending; below the range of x always counts, above never does. falling: bool [C] or None.
    Raises EmitError if a row is not ascending or `lanes` does not divide C.
    """
    t = np.asarray(thresholds, dtype=np.int64)
    channels, n = t.shape
    if np.any(t[:, 1:] < t[:, :-1]):
        raise EmitError(f"thresholds of channel {int(np.argmax((t[:, 1:] < t[:, :-1]).any(axis=1)))} do not ascend")
    k = n.bit_length()
    nodes = 1 << k
    lo = -(1 << (x_bits - 1)) if x_signed else 0
    t = np.clip(t - lo, 0, 1 << x_bits)
    pad = np.zeros((channels, nodes - 1 - n), dtype=np.int64)
    sorted_ = np.concatenate([pad, t], axis=1)
    down = np.zeros(channels, dtype=bool) if falling is None else np.asarray(falling, dtype=bool)
    sorted_[down] = np.concatenate([t, pad + (1 << x_bits)], axis=1)[down]
    tree = np.empty((channels, nodes), dtype=np.int64)
    tree[:, 0] = down
    for level in range(k):
        node = np.arange(1 << level)
        tree[:, (1 << level) + node] = sorted_[:, (node << (k - level)) + (1 << (k - level - 1)) - 1]
    rows = _lanes_of(tree, lanes).transpose(0, 2, 1).reshape(-1, lanes)
    return _fields([(rows, x_bits + 1)])


def mvu_rows(weights: IntArray, pe: int, simd: int, w_bits: int, w_kind: int) -> str:
    """W_FILE of hwq_mvu: row nf * SF + sf holds W[nf * PE + pe, sf * SIMD + simd] at bit (pe * SIMD + simd) * w_bits.

    weights: int64 [MH, MW]. w_kind 1, 3 (bipolar): one bit, 1 is +1, 0 is -1; else two's complement of w_bits.
    """
    w = np.asarray(weights, dtype=np.int64)
    mh, mw = w.shape
    if mh % pe or mw % simd:
        raise EmitError(f"PE={pe}, SIMD={simd} do not divide a {mh} x {mw} matrix")
    rows = w.reshape(mh // pe, pe, mw // simd, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
    return hex_rows((rows > 0).astype(np.uint64) if w_kind in (1, 3) else encode(rows, w_bits), w_bits)
