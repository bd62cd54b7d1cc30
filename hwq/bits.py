"""Integers <-> lanes <-> words <-> hex rows. The only place that knows lane order; needs numpy alone.

Lane 0 sits in the low bits. A frame tensor is flattened with its last axis (channel) fastest and cut into beats of
`lanes` values. A copy of this file ships in every build for the host side.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

Words = NDArray[np.uint32]


def pack_beats(codes: NDArray[np.uint64], lanes: int, bits: int) -> Words:
    """Pack unsigned lane codes into beats of little-endian 32-bit words.

    codes: uint array [..., n], n a multiple of `lanes`, each < 2**bits (bits <= 64). Returns uint32
    [..., n // lanes, ceil(lanes * bits / 32)]; lane i of a beat sits at bit i * bits.
    """
    c = np.ascontiguousarray(codes, dtype=np.uint64)
    *lead, n = c.shape
    if n % lanes:
        raise ValueError(f"{n} values do not fill beats of {lanes} lanes")
    words = -(-lanes * bits // 32)
    c = c.reshape(-1, lanes)
    if bits == 1 or bits % 8:
        raw = ((c[:, :, None] >> np.arange(bits, dtype=np.uint64)) & np.uint64(1)).astype(np.uint8)
        flat = raw.reshape(len(c), lanes * bits)
        out = np.zeros((len(c), words * 4), dtype=np.uint8)
        packed = np.packbits(flat, axis=1, bitorder="little")
        out[:, : packed.shape[1]] = packed
    else:
        raw = c.astype("<u8").view(np.uint8).reshape(len(c), lanes, 8)[:, :, : bits // 8]
        out = np.zeros((len(c), words * 4), dtype=np.uint8)
        out[:, : lanes * bits // 8] = raw.reshape(len(c), -1)
    return out.view("<u4").astype(np.uint32).reshape(*lead, n // lanes, words)


def unpack_beats(words: Words, lanes: int, bits: int) -> NDArray[np.uint64]:
    """Inverse of `pack_beats`: uint32 [..., beats, words] -> uint64 codes [..., beats * lanes]."""
    w = np.ascontiguousarray(words, dtype="<u4")
    *lead, beats, nwords = w.shape
    flat = np.unpackbits(w.reshape(-1, nwords).view(np.uint8), axis=1, bitorder="little")[:, : lanes * bits]
    lane_bits = flat.reshape(-1, lanes, bits).astype(np.uint64)
    codes = (lane_bits << np.arange(bits, dtype=np.uint64)).sum(axis=2, dtype=np.uint64)
    out: NDArray[np.uint64] = codes.reshape(*lead, beats * lanes)
    return out


def hex_rows(codes: NDArray[np.uint64], bits: int) -> str:
    """Memory file for `$readmemh`: codes [rows, lanes] -> one hex number a line, lane 0 lowest, width lanes * bits."""
    c = np.asarray(codes, dtype=np.uint64)
    width = c.shape[1] * bits
    digits = -(-width // 4)
    beats = pack_beats(c, c.shape[1], bits).reshape(len(c), -1)
    rows = (int.from_bytes(row.astype("<u4").tobytes(), "little") for row in beats)
    return "".join(f"{row:0{digits}x}\n" for row in rows)


def parse_hex_rows(text: str, lanes: int, bits: int) -> NDArray[np.uint64]:
    """Inverse of `hex_rows`: text -> codes [rows, lanes]."""
    nwords = -(-lanes * bits // 32)
    rows = [int(line, 16).to_bytes(nwords * 4, "little") for line in text.split()]
    words = np.frombuffer(b"".join(rows), dtype="<u4").reshape(len(rows), 1, nwords)
    return unpack_beats(words.astype(np.uint32), lanes, bits)


def decode(codes: NDArray[np.uint64], bits: int, signed: bool) -> NDArray[np.int64]:
    """Lane codes -> integers (two's complement if signed)."""
    v = np.asarray(codes).astype(np.int64)
    return np.where(v >= (1 << (bits - 1)), v - (1 << bits), v) if signed else v


def encode(values: NDArray[np.int64], bits: int) -> NDArray[np.uint64]:
    """Integers -> lane codes of `bits` bits (two's complement for negatives)."""
    return np.asarray(values, dtype=np.int64).astype(np.uint64) & np.uint64((1 << bits) - 1)


def count_thresholds(
    x: NDArray[np.float32], thresholds: NDArray[np.float32], offset: int, falling: NDArray[np.bool_] | None = None
) -> NDArray[np.int64]:
    """The host input quantizer: y = offset + count(T <= x), or offset + N - count on falling channels.

    x: float32 [..., C]; thresholds: float32 [C or 1, N], ascending; falling: bool [C or 1]. NaN counts as no threshold.
    """
    x = np.asarray(x, dtype=np.float32)
    t = np.asarray(thresholds, dtype=np.float32)
    if t.shape[1] <= 4:  # a few compares beat a search
        count = np.zeros(x.shape, dtype=np.int64)
        for i in range(t.shape[1]):
            count += x >= t[:, i]
    elif len(t) == 1:
        count = np.searchsorted(t[0], x, side="right").astype(np.int64)
    else:
        count = np.stack([np.searchsorted(t[c], x[..., c], side="right") for c in range(len(t))], axis=-1).astype(
            np.int64
        )
    count[np.isnan(x)] = 0
    return offset + (count if falling is None else np.where(falling, t.shape[1] - count, count))
