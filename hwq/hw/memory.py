"""Memory files of the library modules: integers -> `$readmemh` text, one function per module.

The only place beside the RTL headers that knows these layouts. Channel c is lane c % PE of channel group
cf = c // PE.
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
        raise EmitError(f"{len(a)} channels do not fill beats of {lanes} lanes; "
                        "take a number of lanes that divides them")
    return a.reshape(len(a) // lanes, lanes, *a.shape[1:])


def _fields(parts: list[tuple[IntArray, int]]) -> str:
    """Rows of lanes of fields: parts (int [rows, lanes], bits), the first field in a lane's lowest bits."""
    rows, lanes = parts[0][0].shape
    bits = sum(width for _, width in parts)
    planes = np.zeros((rows, lanes, bits), dtype=np.uint64)
    at = 0
    for values, width in parts:
        shifts = np.arange(width, dtype=np.uint64)
        planes[:, :, at:at + width] = (encode(values, width)[:, :, None] >> shifts) & np.uint64(1)
        at += width
    return hex_rows(planes.reshape(rows, lanes * bits), 1)


def lane_fields(parts: list[tuple[IntArray, int]], lanes: int) -> str:
    """Rows cf of `lanes` lanes of fields: parts (int [C], bits), the first field in a lane's lowest bits.

    Raises EmitError if `lanes` does not divide C.
    """
    return _fields([(_lanes_of(np.asarray(values), lanes), bits) for values, bits in parts])


def threshold_rows(thresholds: IntArray, falling: NDArray[np.bool_] | None, lanes: int, x_bits: int,
                   x_signed: bool) -> str:
    """T_FILE of hwq_threshold: the search tree of a channel, row cf * 2^K + node, lanes of x_bits + 1 bits.

    thresholds: int64 [C, N] ascending; below the range of x always counts, above never does. falling: bool
    [C] or None.
    Raises EmitError if a row is not ascending or `lanes` does not divide C.
    """
    t = np.asarray(thresholds, dtype=np.int64)
    channels, n = t.shape
    if np.any(t[:, 1:] < t[:, :-1]):
        channel = int(np.argmax((t[:, 1:] < t[:, :-1]).any(axis=1)))
        raise EmitError(f"thresholds of channel {channel} do not ascend; sort them")
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
    """W_FILE of hwq_mvu and hwq_vvu: row nf * SF + sf holds W[nf * PE + pe, sf * SIMD + simd] at bit
    (pe * SIMD + simd) * w_bits.

    weights: int64 [MH, MW]; of hwq_vvu [channels, kernel positions]. w_kind 1, 3 (bipolar): one bit, 1 is +1, 0 is -1;
    else two's complement of w_bits.
    """
    w = np.asarray(weights, dtype=np.int64)
    mh, mw = w.shape
    if mh % pe or mw % simd:
        raise EmitError(f"PE={pe}, SIMD={simd} do not divide a {mh} x {mw} matrix")
    rows = w.reshape(mh // pe, pe, mw // simd, simd).transpose(0, 2, 1, 3).reshape(-1, pe * simd)
    return hex_rows((rows > 0).astype(np.uint64) if w_kind in (1, 3) else encode(rows, w_bits), w_bits)


def signed_digits(m: IntArray, bits: int) -> NDArray[np.int64]:
    """Canonical signed digits of two's complement numbers, two at a time: int [..., ceil(bits / 2)] in -2..2.

    m = sum_i digit[i] * 4^i with the fewest non-zero digits of any signed binary form (non-adjacent form;
    Reitwiesner, 1960): neighbouring binary digits are never both non-zero, so each pair is one of 0, +-1, +-2.
    """
    v = np.asarray(m, dtype=np.int64)
    digits = np.zeros((*v.shape, -(-bits // 2)), dtype=np.int64)
    for i in range(2 * digits.shape[-1]):
        d = np.where(v & 1, 2 - (v & 3), 0)
        digits[..., i // 2] += d << (i % 2)
        v = (v - d) >> 1
    if np.any(v):
        raise EmitError(f"multipliers {int(np.min(m))}..{int(np.max(m))} do not fit {bits} bits")
    return digits


def scale_rows(m: IntArray, b: IntArray, lanes: int, m_bits: int, b_bits: int, resource: int = 1) -> str:
    """MB_FILE of hwq_scale and hwq_requant: row cf, per lane multiplier and bias. resource: 1 LUT, 2 DSP.

    m, b: int64 [C]. RESOURCE 1 stores signed digits {neg, two, one}; a complemented term is too small by 4^i,
    which the stored bias makes good. Raises EmitError if a multiplier does not fit or `lanes` does not divide C.
    """
    if resource == 2:
        return _fields([(_lanes_of(np.asarray(m), lanes), m_bits), (_lanes_of(np.asarray(b), lanes), b_bits)])
    digits = signed_digits(m, m_bits)
    code = np.choose(np.abs(digits), [0, 1, 2]) + 4 * (digits < 0)
    bias = np.asarray(b, dtype=np.int64) + ((digits < 0) << (2 * np.arange(digits.shape[-1]))).sum(axis=-1)
    parts = [(_lanes_of(code[:, i], lanes), 3) for i in range(code.shape[1])]
    return _fields([*parts, (_lanes_of(bias, lanes), max(b_bits, m_bits + 1) + 1)])


requant_rows = scale_rows


def table_rows(entries: IntArray, base: int, lanes: int, y_bits: int) -> str:
    """INIT_FILE of hwq_table: row cf * 2^k + (x mod 2^k) holds entries[:, x - base].

    entries: int64 [C, n], k = clog2(n). Raises EmitError if `lanes` does not divide C.
    """
    e = np.asarray(entries, dtype=np.int64)
    n = e.shape[1]
    size = 1 << (n - 1).bit_length()
    rows = np.zeros((len(e), size), dtype=np.int64)
    rows[:, (base + np.arange(n)) % size] = e
    return _fields([(_lanes_of(rows, lanes).transpose(0, 2, 1).reshape(-1, lanes), y_bits)])
