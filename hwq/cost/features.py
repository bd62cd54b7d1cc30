"""What the LUT and FF counts of a library module depend on: parameters and contents -> named numbers.

Every function mirrors the structure its RTL header states (tables, carry chains, compare trees, ROM columns), counts
the LUTs of that structure, and leaves the weights of the counts to hwq/cost/coefficients.toml. Arguments may be
numpy arrays of one length where a folding search evaluates many candidates at once.
"""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np

from hwq.dtype import IntArray
from hwq.hw.store import BRAM18_SHAPES
from hwq.hw.window import Window, ring_words

Features = dict[str, Any]
CHAIN = 4  # hwq_dot
XS = 4


def clog2(n: Any) -> Any:
    """Smallest b with 2^b >= n, elementwise, 0 for n <= 1."""
    return np.ceil(np.log2(np.maximum(n, 1))).astype(np.int64)


def _bits(lo: int, hi: int) -> int:
    if lo < 0:
        return 1 + max((-lo - 1).bit_length(), int(hi).bit_length())
    return max(1, int(hi).bit_length())


# ---- hwq_dot: the same numbers the RTL derives -----------------------------------------------------------------------


@cache
def dot_shape(simd: int, w_bits: int, w_kind: int, x_bits: int, const: bool) -> tuple[int, int, int, int, int]:
    """(slices, products in a chain's first term, in later terms, links, groups) of hwq_dot."""
    slices = (-(-x_bits // XS) if x_bits > 5 else 1) if const else ((w_bits + 1) // 2 if w_kind == 0 else 1)
    inputs = (x_bits if slices == 1 else 5) if const else w_bits + x_bits
    many = slices == 1
    m_first = 6 // inputs if many and inputs <= 6 else 1
    m_next = 5 // inputs if many and inputs <= 5 else 1
    g_max = m_first + (CHAIN - 1) * m_next
    aim = -(-simd // -(-simd // g_max))
    links = 1 if aim <= m_first else 1 - (m_first - aim) // m_next
    return slices, m_first, m_next, links, -(-simd // (m_first + (links - 1) * m_next))


def _product_range(s: int, slices: int, w_bits: int, w_kind: int, x_bits: int, x_signed: bool) -> tuple[int, int]:
    if w_kind == 3:
        return 0, 1
    xl, xh = (-(1 << (x_bits - 1)), (1 << (x_bits - 1)) - 1) if x_signed else (0, (1 << x_bits) - 1)
    if w_kind:
        wl, wh = -1, 1
    elif w_bits == 1:
        wl, wh = -1, 0
    else:
        top = s == slices - 1
        wl, wh = (-2 if top else 0), (1 if top or (s == 0 and w_bits % 2) else 3)
    corners = (wl * xl, wl * xh, wh * xl, wh * xh)
    return min(corners), max(corners)


@cache
def dot_counts(simd: int, w_bits: int, w_kind: int, x_bits: int, x_signed: bool, y_w: int) -> tuple[int, int, int, int]:
    """Per PE of a dot product with weights from memory: (term bits, bits of chains above their term, tree bits), and
    the bits of shared multiples of x."""
    slices, m_first, m_next, links, groups = dot_shape(simd, w_bits, w_kind, x_bits, False)
    size = m_first + (links - 1) * m_next
    terms = above = tree = 0
    hi_chain = 0
    offsets = False
    for g in range(groups):
        hi = 0
        for link in range(links):
            first = g * size + (0 if link == 0 else m_first + (link - 1) * m_next)
            m = min(m_first if link == 0 else m_next, simd - first)
            for s in range(slices):
                if m <= 0:
                    continue
                shift = 0 if s == 0 else 2 * s - w_bits % 2
                lo_p, hi_p = _product_range(s, slices, w_bits, w_kind, x_bits, x_signed)
                tw = _bits(m * lo_p, m * hi_p)
                off = 1 << (tw - 1) if lo_p < 0 else 0
                offsets = offsets or off > 0
                hi += (m * hi_p + off) << shift
                rw = y_w if g == 0 and offsets else min(y_w, _bits(0, hi))
                terms += max(0, min(tw, rw - shift))
                above += max(0, rw - shift - tw) if (link, s) != (0, 0) else 0
        if g == 0:
            hi_chain = hi
    count = groups
    k = 1
    while count > 1:
        for i in range(count // 2):
            held = min(1 << k, groups - (i << k))
            tree += y_w if i == 0 and offsets else min(y_w, _bits(0, hi_chain * held))
        count = -(-count // 2)
        k += 1
    multiples = 0
    if w_kind != 3 and w_bits + x_bits > 5 and slices > 1 and x_bits > 2:
        multiples = simd * ((x_bits + 1) * (slices > 2 or w_bits % 2 == 0) + x_bits)
    return terms, above, tree, multiples


def const_counts(w: IntArray, w_bits: int, w_kind: int, x_bits: int, x_signed: bool, y_w: int) -> tuple[int, int, int]:
    """A dot product with constant weights w [PE, SIMD]: (bits of tables that start a chain, chain bits, tree bits).

    Terms whose weights are all zero vanish; trailing zeros common to a term shorten it.
    """
    w = np.asarray(w, dtype=np.int64)
    pe, simd = w.shape
    slices, m_first, m_next, links, groups = dot_shape(simd, w_bits, w_kind, x_bits, True)
    size = m_first + (links - 1) * m_next
    start = chain = tree = 0
    top_w = (1 << (w_bits - 1)) if w_kind == 0 else 1
    x_max = (1 << (x_bits - 1)) if x_signed else (1 << x_bits) - 1
    live = np.zeros((pe, groups), dtype=bool)
    for g in range(groups):
        have = np.zeros(pe, dtype=bool)
        bound = 0
        for link in range(links):
            first = g * size + (0 if link == 0 else m_first + (link - 1) * m_next)
            m = min(m_first if link == 0 else m_next, simd - first)
            if m <= 0:
                continue
            part = w[:, first : first + m]
            some = part.any(axis=1) | (w_kind in (1, 3))
            single = (part != 0).sum(axis=1) == 1
            folded = np.bitwise_or.reduce(np.abs(part), axis=1)
            low = np.where(folded > 0, np.log2(np.maximum(folded & -folded, 1)).astype(int), 0)
            power = single & (np.abs(part).max(axis=1) == (1 << low))
            for s in range(slices):
                xb = x_bits if slices == 1 else (x_bits - s * XS if s == slices - 1 else XS)
                xm = (1 << xb) - 1
                bound += m * top_w * (x_max if slices == 1 else xm << (s * XS))
                rw = min(y_w, _bits(-bound, bound) if w_kind in (0, 2) else bound.bit_length())
                value = np.abs(part).sum(axis=1) * xm
                tw = np.where(some, np.ceil(np.log2(np.maximum(value, 1) + 1)).astype(int) + 1 - low, 0)
                shift = s * XS if slices > 1 else 0
                begins = some & ~have
                start += int(np.where(begins & ~power, tw, 0).sum())
                chain += int(np.where(some & have, np.maximum(rw - shift - low, 1), 0).sum())
                have |= some
        live[:, g] = have
    top = top_w * x_max * size
    while live.shape[1] > 1:
        k = live.shape[1]
        even = live[:, 0 : k - k % 2 : 2] & live[:, 1:k:2]
        top *= 2
        tree += int(even.sum()) * min(y_w, _bits(-top, top))
        merged = live[:, 0 : k - k % 2 : 2] | live[:, 1:k:2]
        live = np.concatenate([merged, live[:, k - 1 :]], axis=1) if k % 2 else merged
    return start, chain, tree


# ---- read-only contents ----------------------------------------------------------------------------------------------


def rom_luts(columns: np.ndarray) -> float:
    """LUTs of a ROM in logic, read at one address. columns: bool [depth, width].

    A column is cut into blocks of 64 rows; equal blocks (or complements) share a LUT, constant ones and single
    address bits cost none. Two or four blocks join in MUXF7/F8, more in LUTs.
    """
    depth, width = columns.shape
    if depth <= 1 or width == 0:
        return 0.0
    span = 1 << int(clog2(depth))
    full = np.zeros((span, width), dtype=np.uint8)
    full[:depth] = columns
    rows = min(span, 64)
    blocks = full.reshape(span // rows, rows, width).transpose(0, 2, 1).reshape(-1, rows)
    flip = blocks[:, :1]
    packed = np.packbits(blocks ^ flip, axis=1)
    distinct = np.unique(packed, axis=0)
    address = (np.arange(rows)[:, None] >> np.arange(int(clog2(rows)))[None, :]) & 1
    trivial = {bytes(np.packbits(a.astype(np.uint8))) for a in address.T} | {bytes(np.zeros(packed.shape[1], np.uint8))}
    leaves = sum(1 for d in distinct if bytes(d) not in trivial)
    groups = span // rows
    mux = 0.0 if groups <= 4 else width * (groups / 4 - 1) / 3
    return leaves + mux


def expected_rom_luts(width: Any, depth: Any) -> Any:
    """`rom_luts` of random contents, elementwise."""
    depth = np.asarray(depth, dtype=np.float64)
    span = 2.0 ** np.ceil(np.log2(np.maximum(depth, 1)))
    blocks = np.maximum(1.0, np.ceil(depth / 64))
    groups = np.maximum(1.0, span / 64)
    variety = np.minimum(width, np.maximum(0.0, 2.0 ** np.minimum(depth - 1, 60) - 1 - np.log2(np.maximum(span, 1))))
    return np.where(depth <= 1, 0.0, variety * blocks + np.where(groups > 4, width * (groups / 4 - 1) / 3, 0.0))


def block_rams(width: Any, depth: Any, written: bool = True) -> Any:
    """BRAM18 of a width x depth memory: the best aspect ratio, elementwise. Equals what Yosys takes, exactly.

    A memory deeper than a block is cut into layers, and a block holds bits of any of them; of a memory that is
    written, bytes (9 bits) of them, for that is what has a write enable.
    """
    width, depth = np.asarray(width, dtype=np.int64), np.asarray(depth, dtype=np.int64)
    found = []
    for w, d in BRAM18_SHAPES:
        piece = min(9, w) if written else 1
        found.append(-(-(-(-depth // d) * -(-width // piece)) // (w // piece)))
    return np.min(found, axis=0).astype(np.float64)


# ---- streams ---------------------------------------------------------------------------------------------------------


def lutram(width: Any, depth: Any) -> Any:
    """LUTs of a dual-port LUT memory: 4 per 6 bits up to 32 deep, 4 per 3 bits per 64 rows beyond."""
    return np.where(
        np.asarray(depth) <= 32,
        4 * np.ceil(np.asarray(width) / 6),
        4 * np.ceil(np.asarray(width) / 3) * np.ceil(np.asarray(depth) / 64),
    )


def is_block(width: Any, depth: Any) -> Any:
    """Whether hwq_ram of STYLE 0 takes block memory."""
    return (np.asarray(depth) > 64) & (np.asarray(width) * np.asarray(depth) >= 8192)


def ram_blocks(width: Any, depth: Any) -> Any:
    """BRAM18 of hwq_ram of STYLE 0."""
    return np.where(is_block(width, depth), block_rams(width, depth), 0.0)


def replay(data_w: Any, beats: Any, passes: Any, depth: Any) -> Features:
    """hwq_replay, and with one beat and pass hwq_fifo."""
    block = is_block(data_w, depth)
    ram = np.where(block, 0, np.where(np.asarray(depth) == 1, 0, lutram(data_w, depth)))
    return {
        "one": np.ones_like(ram, dtype=float),
        "ram": ram,
        "read": np.where(block, 0, np.asarray(data_w) * ((np.asarray(depth) - 1) // 64)),
        "address": clog2(depth),
        "beat": clog2(beats),
        "pass": clog2(passes),
        "block_width": np.where(block, data_w, 0),
    }


def window(g: Window, width: Any, depth: Any, chunks: Any, passes: Any) -> Features:
    """hwq_window of a geometry (its chunks and passes aside), elementwise over foldings; depth as DEPTH."""
    ring = np.vectorize(ring_words, otypes=[np.int64])(depth, width, 0)
    block = is_block(width, ring)
    columns = -(-ring // 64)
    bits = [int(clog2(last + span + 1)) for last, span in zip(g.last, g.span, strict=True)]
    padded = any(g.pad[i] > 0 or g.last[i] + g.span[i] >= g.size[i] for i in range(2))
    address = clog2(ring)
    return {
        "one": np.ones_like(address, dtype=float),
        "address": address,
        "modulo": np.where(ring == 1 << address, 0, address),
        "loops": clog2(chunks) + clog2(passes) + sum(int(clog2(n)) for n in g.kernel),
        "position": np.full_like(address, sum(bits)),
        "outside": np.full_like(address, padded * sum(bits)),
        "ram": np.where(block, 0, lutram(width, ring)),
        "read": np.where(block, 0, width * (columns - 1)),
        "pad": np.where(block, 0, np.asarray(width) * padded),
        "block_width": np.where(block, width, 0),
    }


def threshold(lanes: Any, cf: Any, x_w: int, n: int) -> Features:
    """Expected structure of hwq_threshold with random contents; arrays of lanes and cf."""
    lanes, cf = np.asarray(lanes, dtype=np.float64), np.asarray(cf, dtype=np.float64)
    k = int(n).bit_length()
    s0 = clog2(cf)
    carry = rom = compare = np.zeros_like(lanes)
    tree = {s: np.zeros_like(lanes) for s in range(4)}
    for level in range(k):
        s = s0 + level
        chunk = np.maximum(5 - s, 1)
        small = 1 + np.maximum(x_w - (6 - s), 0) / chunk
        for d in tree:
            tree[d] = tree[d] + np.where(s == d, lanes * small, 0)
        carry = carry + np.where((s == 4) | (s == 5), lanes * (x_w + 1), 0)
        rom = rom + np.where(s >= 6, lanes * expected_rom_luts(x_w + 1, cf * 2**level), 0)
        compare = compare + np.where(s >= 6, lanes * x_w, 0)
    return {
        "one": np.ones_like(lanes),
        "stages": np.full_like(lanes, k),
        "cf": s0,
        **{f"tree{d}": v for d, v in tree.items()},
        "carry": carry,
        "rom": rom,
        "compare": compare,
        "lanes": lanes,
    }
