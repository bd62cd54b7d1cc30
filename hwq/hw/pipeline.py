"""Pipeline depth (PIPE) of the library modules: pure functions of widths and clock in MHz."""

from __future__ import annotations


def threshold_pipe(n: int, x_bits: int, lanes: int, cf: int, clock_mhz: float) -> int:
    """Stages of hwq_threshold with n thresholds: one per level of its search.

    Merging levels into one stage saves latency but costs LUTs at any clock: the mapper then duplicates
    comparators to keep the depth.
    """
    return n.bit_length()


CHAIN = 4  # links of a chain of hwq_dot
LEVEL_NS = 5.0  # one addition of hwq_dot with its table and routing, ECP5 (default speed grade) post route


def dot_levels(simd: int, w_bits: int, w_kind: int, x_bits: int) -> int:
    """Additions in a row in hwq_dot (variable weights): those of a chain, then the levels of the adder tree.

    Same rules as the localparams of hwq_dot: slices of 2 weight bits, chains of up to CHAIN links, tables of
    5 inputs (6 in the first link).
    """
    slices = (w_bits + 1) // 2 if w_kind == 0 else 1
    inputs = w_bits + x_bits
    first = max(1, 6 // inputs) if slices == 1 else 1
    following = max(1, 5 // inputs) if slices == 1 else 1
    groups = -(-simd // (first + (CHAIN - 1) * following))
    aim = -(-simd // groups)
    links = 1 + max(0, -(-(aim - first) // following))
    groups = -(-simd // (first + (links - 1) * following))
    return max(1, links * slices - 1) + (groups - 1).bit_length()


def dsp_shape(simd: int, w_bits: int, x_bits: int, dsp_w: int = 25) -> tuple[int, int]:
    """(columns a DSP cascade of hwq_dot_dsp adds, rows that share one multiplier), given enough stages.

    Rows sit w_bits + x_bits + log2(columns) bits apart in an operand of dsp_w bits (one of them the sign).
    """
    def lanes(columns: int) -> int:
        return (dsp_w - 1 - w_bits) // (w_bits + x_bits + (columns - 1).bit_length()) + 1

    columns = max(c for c in (1, 2, 4) if c == 1 or (c <= simd and lanes(c) >= min(lanes(1), 3)))
    return columns, lanes(columns)


def mvu_pipe(
    simd: int, w_bits: int, w_kind: int, x_bits: int, sf: int, resource: int, clock_mhz: float, dsp_w: int = 25
) -> int:
    """Stages of hwq_mvu: read, weights out of block memory, as many for the dot product as its additions
    need at `clock_mhz`, accumulate (sf > 1). At least 3.
    """
    per_stage = max(1, int(1000.0 / clock_mhz / LEVEL_NS))
    cuts = 1 + -(-dot_levels(simd, w_bits, w_kind, x_bits) // per_stage)
    if resource == 2 and w_kind in (0, 2):
        columns, _ = dsp_shape(simd, w_bits, x_bits, dsp_w)
        tree = (-(-simd // columns) - 1).bit_length()
        cuts = max(cuts, columns + 2 + -(-tree // per_stage))
    return max(3, cuts + (2 if sf > 1 else 1))


def _stages(levels: int, level_ns: float, clock_mhz: float) -> int:
    """Stages for `levels` steps of `level_ns` each (ECP5, routing included), 2 ns left for the registers."""
    per_stage = max(1, int((1000.0 / clock_mhz - 2.0) / level_ns))
    return max(1, -(-levels // per_stage))


def scale_pipe(x_bits: int, m_bits: int, clock_mhz: float, resource: int = 1) -> int:
    """Stages of hwq_scale: its additions are a linear chain."""
    if resource == 2:
        return 2
    return _stages(-(-m_bits // 2), 3.0 + 0.05 * (x_bits + m_bits), clock_mhz)


def requant_pipe(x_bits: int, m_bits: int, b_bits: int, resource: int, clock_mhz: float) -> int:
    """Stages of hwq_requant: hwq_scale and one for the clipping."""
    return scale_pipe(max(x_bits, b_bits - m_bits), m_bits, clock_mhz, resource) + 1


def table_pipe(entries: int, cf: int, clock_mhz: float) -> int:
    """Stages of hwq_table: the read, and an output register where a large memory feeds a fast clock."""
    return 2 if clock_mhz > 150.0 and entries * cf > 256 else 1


def pool_pipe(taps: int, y_bits: int, clock_mhz: float) -> int:
    """Stages of hwq_pool: the tree over the taps of a beat, and one for the accumulator."""
    levels = (taps - 1).bit_length()
    return 1 + (_stages(levels, 3.0 + 0.1 * y_bits, clock_mhz) if levels else 0)


def argmax_pipe(lanes: int, x_bits: int, cf: int, clock_mhz: float) -> int:
    """Stages of hwq_argmax: the tree over the lanes, and one for the running maximum if there is one."""
    levels = (lanes - 1).bit_length()
    tree = _stages(levels, 3.0 + 0.1 * x_bits, clock_mhz) if levels else 0
    return max(2, tree + (1 if cf > 1 else 0))
