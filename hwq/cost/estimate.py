"""Resource estimates: features of each module, contents included, times coefficients calibrated against Yosys.

Coefficients: `python -m benchmarks.calibrate`.
"""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from dataclasses import dataclass, replace
from functools import cache
from importlib import resources
from typing import Any

import numpy as np

from hwq import bits
from hwq.cost import features as ft
from hwq.dtype import IntArray
from hwq.hw import pipeline
from hwq.hw.design import Design, Instance
from hwq.hw.library import timing
from hwq.hw.window import ring_words, scan, slide_ring
from hwq.targets import Target

RESOURCES = ("lut", "ff", "bram18", "dsp")


@dataclass(frozen=True)
class Cost:
    """LUT, FF, BRAM18 and DSP, each a number or an array of equal length."""

    lut: Any
    ff: Any
    bram18: Any
    dsp: Any

    def __add__(self, other: Cost) -> Cost:
        return Cost(self.lut + other.lut, self.ff + other.ff, self.bram18 + other.bram18, self.dsp + other.dsp)


@cache
def coefficients() -> dict[str, dict[str, dict[str, float]]]:
    """module -> {"lut": {feature: weight}, "ff": {feature: weight}}."""
    body: dict[str, Any] = tomllib.loads((resources.files(__package__) / "coefficients.toml").read_text())
    return body["module"]


def weigh(module: str, resource: str, f: ft.Features) -> Any:
    """Dot product of a module's features with its coefficients."""
    weights = coefficients().get(module, {}).get(resource, {})
    return sum((w * f[k] for k, w in weights.items() if k in f), 0.0)


# ---- instances, with their contents ----------------------------------------------------------------------------------


def _codes(i: Instance, index: int, lanes: int, width: int) -> np.ndarray:
    return bits.parse_hex_rows(i.mems[index].content, lanes, width)


def _rom_blocks(columns: np.ndarray) -> float:
    """BRAM18 of read-only contents bool [depth, width]: columns of one value need none."""
    return float(ft.block_rams((columns != columns[:1]).any(axis=0).sum(), len(columns), written=False))


def _columns(i: Instance, index: int, width: int) -> np.ndarray:
    return _codes(i, index, width, 1).astype(bool)


def _mvu(i: Instance) -> tuple[ft.Features, float]:
    p = i.int_param
    pe, simd, sf, nf, w_bits, kind = p("PE"), p("SIMD"), p("SF"), p("NF"), p("W_BITS"), p("W_KIND")
    width, depth = pe * simd * w_bits, sf * nf
    block = p("STYLE") == 2 and depth > 1
    columns = _columns(i, 0, width)
    rom = 0.0 if block else ft.rom_luts(columns)
    pixels = p("PIXELS")
    f = mvu_features(
        pe, simd, sf, nf, w_bits, kind, p("X_BITS"), bool(p("X_SIGNED")), p("ACC_W"), p("PIPE"), rom, block
    )
    if depth == 1:
        start, chain, tree = (pixels * n for n in _constants(i))
        f |= {k: pixels * f[k] for k in ("x_regs", "out")}
        f |= {
            "terms": 0,
            "above": 0,
            "tree": 0,
            "multiples": 0,
            "w_regs": 0,
            **constant_features(kind, start, chain, tree),
        }
    elif p("RESOURCE") == 2 and kind in (0, 2):
        f |= dsp_features(f, pe, simd, w_bits, p("X_BITS"), p("ACC_W"), p("DSP_W"))
    return f, _rom_blocks(columns) if block else 0.0


def dsp_features(f: ft.Features, pe: int, simd: int, w_bits: int, x_bits: int, acc_w: int, dsp_w: int) -> ft.Features:
    """What changes in `f` where rows of hwq_mvu share DSP blocks; "dsp" is their number."""
    columns, lanes = pipeline.dsp_shape(simd, w_bits, x_bits, dsp_w)
    lanes = min(lanes, pe)
    if lanes < 1 or (lanes == 1 and w_bits + x_bits < 9):
        return {}  # weights too wide for a DSP block; Yosys leaves products below 9 bits in LUTs
    packs, left = divmod(pe, lanes)
    rest = {k: f[k] * left / pe for k in ("terms", "above", "tree")}
    cascades = -(-simd // columns)
    return rest | {
        "multiples": f["multiples"] * (left > 0),
        "dsp": packs * simd,
        "dsp_tree": packs * lanes * (cascades - 1) * acc_w,
        "dsp_start": packs * simd * (x_bits + 2),
    }


def constant_features(kind: int, start: Any, chain: Any, tree: Any) -> ft.Features:
    """Counts of a dot product with constants; XNOR popcounts (kind 3) share more than the rest."""
    counts = {"start": start, "chain": chain, "tree": tree}
    used, other = ("b", "c") if kind == 3 else ("c", "b")
    return {f"{used}_{k}": v for k, v in counts.items()} | {f"{other}_{k}": 0 for k in counts}


def mvu_features(
    pe: Any,
    simd: Any,
    sf: Any,
    nf: Any,
    w_bits: int,
    kind: int,
    x_bits: int,
    x_signed: bool,
    acc_w: int,
    pipe: Any,
    rom: Any,
    block: Any,
) -> ft.Features:
    """hwq_mvu with weights from memory, elementwise over foldings."""
    pe, simd, sf, nf = (np.asarray(a, dtype=np.int64) for a in (pe, simd, sf, nf))
    table = {int(s): ft.dot_counts(int(s), w_bits, kind, x_bits, x_signed, acc_w) for s in np.unique(simd)}
    counts = np.array([table[int(s)] for s in simd.ravel()]).reshape(*simd.shape, 4)
    acc = pe * acc_w * (sf > 1)
    return {
        "one": np.ones_like(pe, dtype=float),
        "stages": pipe,
        "address": ft.clog2(sf * nf),
        "beat": ft.clog2(sf),
        "terms": pe * counts[..., 0],
        "above": pe * counts[..., 1],
        "tree": pe * counts[..., 2],
        "multiples": counts[..., 3],
        "acc": acc,
        "rom": rom,
        **constant_features(kind, 0, 0, 0),
        "dsp_tree": 0,
        "dsp_start": 0,
        "x_regs": simd * x_bits,
        "w_regs": np.where(block, 0, pe * simd * w_bits),
        "out": pe * acc_w,
    }


def _threshold(i: Instance, widths: IntArray | None = None) -> ft.Features:
    """widths: two's complement bits that the values of each lane really need [PE]; None: all of X_W."""
    p = i.int_param
    lanes, cf, x_w, n = p("PE"), p("CF"), p("X_W"), p("N")
    k = int(n).bit_length()
    rows = _codes(i, 0, lanes, x_w + 1).reshape(cf, 1 << k, lanes).astype(np.int64)
    s0 = int(ft.clog2(cf))
    f = {name: float(v) for name, v in ft.threshold(lanes, cf, x_w, n).items()}
    # Bits above a lane's width copy its sign and melt into one.
    copies = np.zeros(lanes, dtype=np.int64) if widths is None else x_w - np.clip(widths, 1, x_w)
    rom = 0.0
    for level in range(k):
        s = s0 + level
        t = rows[:, 1 << level : 2 << level, :].reshape(-1, lanes)
        if s <= 3:
            fixed = ~(np.bitwise_or.reduce(t, axis=0) ^ np.bitwise_and.reduce(t, axis=0))
            low = np.bitwise_or.reduce(t, axis=0)
            low &= -low  # below the lowest bit of any threshold no bit matters
            counts = (fixed[:, None] >> np.arange(x_w)) & 1 & ((1 << np.arange(x_w)) >= np.maximum(low, 1)[:, None])
            same = np.maximum(counts.sum(axis=1) - copies, 0)
            varying = x_w - ((fixed[:, None] >> np.arange(x_w)) & 1).sum(axis=1)
            f[f"tree{s}"] = float((1 + np.maximum(varying - (6 - s), 0) / max(5 - s, 1) + same / 5).sum())
        elif s >= 6:
            shifts = np.arange(x_w + 1)
            columns = ((t[:, :, None] >> shifts) & 1).astype(bool).reshape(len(t), -1)
            rom += ft.rom_luts(columns)
    return f | {"rom": rom, "falling": float(p("FALLING") * lanes)}


def row_widths(i: Instance) -> IntArray | None:
    """Two's complement bits that every row of a matrix unit with constant weights can reach [PE]; else None."""
    p = i.int_param
    if i.module != "hwq_mvu" or p("SF") * p("NF") > 1 or p("W_KIND") in (1, 3):
        return None
    w = bits.decode(_codes(i, 0, p("PE") * p("SIMD"), p("W_BITS")).reshape(p("PE"), p("SIMD")), p("W_BITS"), True)
    half = 1 << (p("X_BITS") - 1)
    lo, hi = (-half, half - 1) if p("X_SIGNED") else (0, 2 * half - 1)
    low, high = np.minimum(w * lo, w * hi).sum(axis=1), np.maximum(w * lo, w * hi).sum(axis=1)
    return np.tile(1 + ft.clog2(np.maximum(-low, high + 1)), p("PIXELS"))


def _scale(i: Instance) -> ft.Features:
    p = i.int_param
    pe, cf, x_w, m_w, b_w, y_w = p("PE"), p("CF"), p("X_W"), p("M_W"), p("B_W"), p("Y_W")
    clip = 0
    if i.module == "hwq_requant":
        clip = pe * y_w
        y_w = max(x_w + (not p("X_SIGNED")) + m_w, b_w) + 1
    digits = -(-m_w // 2)
    bias = max(b_w, m_w + 1) + 1
    columns = _columns(i, 0, pe * (3 * digits + bias))
    used = columns.reshape(cf, pe, -1)[:, :, : 3 * digits].reshape(cf, pe, digits, 3).any(axis=(0, 3))
    width = np.maximum(y_w - 2 * np.arange(digits), 0)
    return {
        "one": 1.0,
        "stages": float(p("PIPE")),
        "cf": float(ft.clog2(cf)),
        "add": float((used * width).sum() * (cf > 1)),
        "add_const": float((used * width).sum() * (cf == 1)),
        "rom": ft.rom_luts(columns),
        "clip": float(clip),
        "x": float(pe * x_w),
    }


def _add(i: Instance) -> ft.Features:
    p = i.int_param
    pe, cf, y_w = p("PE"), p("CF"), p("Y_W")
    digits = p("USE0").bit_count() + p("USE1").bit_count()
    # A sum of n terms is n - 1 adders; terms that nothing is stored for need no table.
    terms = digits + (p("USE0") == 0) + (p("USE1") == 0) + (p("B_W") > 0)
    plain = digits == 0 and p("B_W") == 0
    stored = 3 * digits + p("B_W")
    return {
        "one": 1.0,
        "stages": float(p("PIPE")),
        "cf": float(ft.clog2(cf)),
        "plain": float(pe * y_w * plain),
        "add": float(pe * y_w * (terms - 1) * (not plain and cf > 1)),
        "add_const": float(pe * y_w * (terms - 1) * (not plain and cf == 1)),
        "rom": ft.rom_luts(_columns(i, 0, pe * stored)) if i.mems else 0.0,
    }


def _vvu(i: Instance) -> tuple[ft.Features, float]:
    p = i.int_param
    pe, simd, w_bits, kind, acc = p("PE"), p("SIMD"), p("W_BITS"), p("W_KIND"), p("ACC_W")
    depth = p("SF") * p("NF")
    block = p("STYLE") == 2 and depth > 1
    columns = _columns(i, 0, pe * simd * w_bits)
    terms, above, tree, multiples = ft.dot_counts(simd, w_bits, kind, p("X_BITS"), bool(p("X_SIGNED")), acc)
    f = {
        "one": 1.0,
        "stages": float(p("PIPE")),
        "address": float(ft.clog2(depth)),
        "beat": float(ft.clog2(p("SF"))),
        "terms": float(pe * (terms + above + multiples)),
        "tree": float(pe * tree),
        "constants": 0.0,
        "acc": float(pe * acc * (p("SF") > 1)),
        "out": float(pe * acc),
        "rom": 0.0 if block else ft.rom_luts(columns),
    }
    if depth == 1:
        f |= {"terms": 0.0, "tree": 0.0, "constants": float(sum(_constants(i)))}
    return f, _rom_blocks(columns) if block else 0.0


def _constants(i: Instance) -> tuple[Any, Any, Any]:
    """`const_counts` of a matrix unit whose weights are constants. Equal rows are shared where they see the same x."""
    p = i.int_param
    pe, simd, w_bits, kind = p("PE"), p("SIMD"), p("W_BITS"), p("W_KIND")
    codes = _codes(i, 0, pe * simd, w_bits).reshape(pe, simd)
    w = codes.astype(np.int64) * 2 - 1 if kind in (1, 3) else bits.decode(codes, w_bits, True)
    if i.module == "hwq_mvu":
        w = np.unique(w, axis=0)
    return ft.const_counts(w, w_bits, kind, p("X_BITS"), bool(p("X_SIGNED")), p("ACC_W"))


def _table(i: Instance) -> tuple[ft.Features, float]:
    p = i.int_param
    pe, y_w = p("PE"), p("Y_W")
    depth = p("CF") << max(p("ENTRIES") - 1, 0).bit_length()
    f = {"one": 1.0, "stages": float(p("PIPE")), "cf": float(ft.clog2(p("CF"))), "rom": 0.0, "out": float(pe * y_w)}
    columns = _columns(i, 0, pe * y_w)
    if p("STYLE") == 2 and depth > 1:
        return f, sum(_rom_blocks(columns[:, k * y_w : (k + 1) * y_w]) for k in range(pe))
    return f | {"rom": sum(ft.rom_luts(columns[:, k * y_w : (k + 1) * y_w]) for k in range(pe))}, 0.0


def _slide(i: Instance) -> tuple[ft.Features, float]:
    p, g = i.int_param, timing(i).geometry
    pixel, groups = p("PIXELS") * p("LANES") * p("BITS"), timing(i).n
    rows, cols = scan(g)
    ring = max(1, slide_ring(g))
    above = (p("KH") - 1) * pixel
    block = bool(ft.is_block(above, ring))
    held = p("PASSES") * groups > 1
    return {
        "one": 1.0,
        "scan": float(ft.clog2(cols) + ft.clog2(rows)),
        "loops": float(ft.clog2(groups) + ft.clog2(p("PASSES"))),
        "ram": float(ft.lutram(above, ring) if above and ring > 1 and not block else 0),
        "read": float(above * ((ring - 1) // 64) * (not block)),
        "block_width": float(above * block),
        "columns": float((g.span[1] + 1) * p("KH") * pixel),
        "window": float(p("KH") * p("KW") * pixel * held),
        "select": float(p("TAPS") * pixel * -(-(groups - 1) // 3)),
    }, float(ft.ram_blocks(above, ring))


def features(i: Instance) -> tuple[ft.Features, float]:
    """(features, BRAM18) of an instance."""
    p = i.int_param
    match i.module:
        case "hwq_mvu":
            return _mvu(i)
        case "hwq_threshold":
            return _threshold(i), 0.0
        case "hwq_replay":
            width, depth = p("DATA_W"), p("DEPTH")
            return ft.replay(width, p("BEATS"), p("PASSES"), depth), float(ft.ram_blocks(width, depth))
        case "hwq_fifo":
            width, depth = p("DATA_W"), p("DEPTH")
            return ft.replay(width, 1, 1, depth), float(ft.ram_blocks(width, depth))
        case "hwq_window":
            width, depth = p("LANES") * p("BITS"), p("DEPTH")
            f = ft.window(timing(i).geometry, width, depth, p("CHUNKS"), p("PASSES"))
            return f, float(ft.ram_blocks(width, ring_words(depth, width, 0)))
        case "hwq_slide":
            return _slide(i)
        case "hwq_spread":
            loops = [p(k) for k in ("CHUNKS", "IN_H", "IN_W", "FH", "FW")]
            width = p("LANES") * p("BITS")
            return {"one": 1.0, "loops": float(sum(ft.clog2(n) for n in loops)), "width": float(width)}, 0.0
        case "hwq_fork" | "hwq_join":
            return {"one": 1.0}, 0.0
        case "hwq_concat":
            return {"one": 1.0, "count": float(ft.clog2(p("A")) + ft.clog2(p("B"))), "width": float(p("DATA_W"))}, 0.0
        case "hwq_add":
            return _add(i), 0.0
        case "hwq_vvu":
            return _vvu(i)
        case "hwq_pool":
            lanes, x_w, y_w, taps = p("LANES"), p("X_W"), p("Y_W"), p("TAPS")
            compares = lanes * (taps - 1) * (p("KIND") == 0)
            return {
                "one": 1.0,
                "tap_max": float(compares * x_w),
                "tap_compare": float(compares * x_w * (x_w > 2)),
                "tap_sum": float(lanes * (taps - 1) * y_w * (p("KIND") == 1)),
                "count": float(ft.clog2(p("N"))),
                "max": float(lanes * x_w * (p("KIND") == 0)),
                "compare": float(lanes * x_w * (p("KIND") == 0 and x_w > 2)),
                "sum": float(lanes * y_w * (p("KIND") == 1)),
            }, 0.0
        case "hwq_total":
            return {
                "one": 1.0,
                "count": float(ft.clog2(p("CHUNKS")) + ft.clog2(p("POSITIONS"))),
                "sum": float(p("LANES") * p("Y_W")),
                "ram": float(ft.lutram(p("LANES") * p("Y_W"), p("CHUNKS")) if p("CHUNKS") > 1 else 0),
            }, 0.0
        case "hwq_relay":
            return {"one": 1.0, "width": p("DATA_W")}, 0.0
        case "hwq_dwc":
            a, b, w = p("IN_LANES"), p("OUT_LANES"), p("LANE_W")
            up = b > a
            r = max(a, b) // min(a, b)
            c = float(ft.clog2(r))
            mux = 0 if up else a * w and b * w * np.ceil((r - 1) / 3)
            return {
                "up": float(up),
                "down": float(not up),
                "up_ratio": c * up,
                "up_words": float(r * up),
                "down_ratio": c * (not up),
                "down_mux": float(mux),
                "regs": float(max(a, b) * w),
            }, 0.0
        case "hwq_argmax":
            return argmax_features(p("LANES"), p("CF"), p("X_W"), p("Y_W"), p("PIPE")), 0.0
        case "hwq_edge_in" | "hwq_edge_out":
            return {"one": 1.0, "beat": float(ft.clog2(p("BEATS")))}, 0.0
        case "hwq_scale" | "hwq_requant":
            return _scale(i), 0.0
        case "hwq_table":
            return _table(i)
        case other:
            raise KeyError(f"no estimate for module '{other}'")


def argmax_features(lanes: Any, cf: Any, x_w: int, y_w: int, pipe: Any) -> ft.Features:
    lanes, cf = np.asarray(lanes), np.asarray(cf)
    return {
        "one": np.ones_like(lanes, dtype=float),
        "stages": pipe,
        "tree": (lanes - 1) * (2 * x_w + y_w),
        "running": (cf > 1) * (2 * x_w + 2 * y_w),
        "cf": (cf > 1) * 1.0,
    }


def estimate_instance(i: Instance, widths: IntArray | None = None) -> Cost:
    """LUT, FF, BRAM18 and DSP of one instance on a LUT6 part. widths: as `row_widths`, of what feeds it."""
    f, bram = features(i)
    if widths is not None:
        f = _threshold(i, widths)
    lut = max(0.0, float(weigh(i.module, "lut", f)))
    ff = max(0.0, float(weigh(i.module, "ff", f)))
    return Cost(lut, ff, bram, float(f.get("dsp", 0)))


def estimate_design(design: Design, target: Target) -> dict[str, dict[str, float]]:
    """Layer name -> {lut, ff, bram18, dsp}, summed over the layer's instances."""
    found: dict[str, dict[str, float]] = {}
    for i in design.instances:
        widths = None
        if i.module == "hwq_threshold" and (source := design.into(i.name)[0].src[0]):
            widths = row_widths(design.instance(source))
        cost = estimate_instance(i, widths)
        layer = found.setdefault(i.layer, dict.fromkeys(RESOURCES, 0.0))
        for r in RESOURCES:
            layer[r] += getattr(cost, r)
    return found


def totals(per_layer: Mapping[str, Mapping[str, float]]) -> dict[str, float]:
    """Sum over layers."""
    return {r: sum(c[r] for c in per_layer.values()) for r in RESOURCES}


def scale_notes(design: Design) -> list[str]:
    """A line for every layer that multiplies to bring unequal scales together: about how many LUT that takes."""
    found: dict[str, list[float]] = {}
    for i in design.instances:
        if i.module == "hwq_add" and (i.int_param("USE0") or i.int_param("USE1")):
            equal = {"USE0": 0, "USE1": 0, "B_W": 0}
            plain = replace(i, params=tuple((k, equal.get(k, v)) for k, v in i.params), mems=())
            found.setdefault(i.layer, []).append(estimate_instance(i).lut - estimate_instance(plain).lut)
        elif i.module == "hwq_scale" and i.int_param("M_W") > 2:  # one of 2 bits only widens or turns the sign
            found.setdefault(i.layer, []).append(estimate_instance(i).lut)
    more = {name: max(0.0, sum(luts)) for name, luts in found.items()}
    return [f"layer '{n}': its scales differ: about {lut:.0f} LUT more than equal ones" for n, lut in more.items()]
