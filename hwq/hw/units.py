"""What every operator becomes: one function per operator, which hangs its modules behind the ends it is given."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hwq import dtype
from hwq.dtype import IntArray
from hwq.errors import FoldingError, UnsupportedOp
from hwq.hw import memory, pipeline
from hwq.hw.add import add_form, add_pipe, add_rows
from hwq.hw.design import Fold, MemFile, Param
from hwq.hw.layers import Layer, geometry, positions
from hwq.hw.netlist import End, Netlist
from hwq.hw.requant import requantizer
from hwq.hw.store import weight_style
from hwq.hw.window import Window as Geometry
from hwq.hw.window import depth_to_space
from hwq.ir.graph import Graph, Node, Tensor
from hwq.ir.ops import (
    ArgMax,
    Bipolar,
    Combine,
    Concat,
    DepthToSpace,
    MatVec,
    Op,
    Pool,
    Reshape,
    Spread,
    Step,
    Table,
    Ternary,
    Total,
    Upsample,
    Window,
)
from hwq.targets import Target

T = TypeVar("T", bound=np.generic)
MAX_SEARCH = 4096  # thresholds a lane may choose from: synthesis takes minutes beyond
MAX_W, MAX_X, MAX_X_DSP = 8, 16, 8  # bits of the operands of hwq_dot and hwq_dot_dsp
MAX_ACC = 32  # bits of their sums
MAX_POOL = 30  # bits of what hwq_pool sums
W_KIND = {"int": 0, "bipolar": 1, "ternary": 2, "xnor": 3}
RESOURCE = {"auto": 1, "lut": 1, "dsp": 2}
DSP_W = {"xc7": 25, "xcup": 27, "ecp5": 18}  # the wide operand of a DSP block (UG479, UG579, TN-02205)


@dataclass(frozen=True, slots=True)
class Site:
    """Where a unit is built: the netlist, the layer with its folding, the part."""

    net: Netlist
    graph: Graph
    layer: Layer
    fold: Fold
    target: Target
    clock_mhz: float

    def x(self, node: Node) -> Tensor:
        return self.graph.tensor(node.inputs[0])

    def y(self, node: Node) -> Tensor:
        return self.graph.tensor(node.outputs[0])

    def name(self, tag: str) -> str:
        return f"{self.layer.name}_{tag}"

    def integers(self, key: str, channels: int) -> IntArray:
        """A blob [1 or C, ...] as int64 [C, ...]."""
        return _rows(np.asarray(self.graph.array(key), dtype=np.int64), channels)


# ---- matrices --------------------------------------------------------------------------------------------------------


def matvec(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_mvu behind a window or a replay buffer; hwq_vvu where every channel goes its own way."""
    (end,) = ends
    layer, fold = at.layer, at.fold
    if layer.depthwise:
        if layer.window is None:
            return _vvu(at, at.net.cut(end, at.name("relay"), layer.name), node)
        return _vvu(at, _window(at, end, layer.window), node)
    groups = layer.groups_at(fold)
    passes = max(1, layer.rows // groups // fold.pe)
    if layer.window is not None:
        end = _window(at, end, layer.window, passes, groups)
    elif passes > 1:
        sf = layer.cols_at(fold) // fold.simd
        params: dict[str, Param] = {"DATA_W": end.width, "BEATS": sf, "PASSES": passes, "DEPTH": 2 * sf, "STYLE": 0}
        end = at.net.join(
            end, at.name("replay"), "hwq_replay", layer.name, params, repeat=passes, cut=True, group=sf
        )  # fmt: skip
    else:
        end = at.net.cut(end, at.name("relay"), layer.name)
    return _mvu(at, end, node)


def _mvu(at: Site, end: End, node: Node) -> End:
    op, layer, fold = node.op, at.layer, at.fold
    assert isinstance(op, MatVec)
    y = at.y(node)
    w = at.graph.array(op.weight)
    if layer.groups_at(fold) == 1:
        w = dense_weights(op, w)
    kind, w_bits = weight_form(op, w, layer.name)
    _check_widths(at, node, w_bits, end.bits, fold.resource)
    abreast = layer.abreast(fold)
    pe = fold.pe // abreast
    sf, nf = layer.cols_at(fold) // fold.simd, layer.rows // pe
    dsp_w = DSP_W.get(at.target.family, 18)
    resource = RESOURCE[fold.resource]
    path = f"mem/{layer.name}_w.mem"
    params: dict[str, Param] = {
        "PE": pe,
        "SIMD": fold.simd,
        "SF": sf,
        "NF": nf,
        "PIXELS": abreast,
        "TAPS": op.taps if abreast > 1 and layer.window is not None else 1,
        "W_BITS": w_bits,
        "W_KIND": kind,
        "X_BITS": end.bits,
        "X_SIGNED": int(end.signed),
        "ACC_W": y.dtype.bits,
        "ACC_SIGNED": int(y.dtype.signed),
        "RESOURCE": resource,
        "STYLE": weight_style(pe * fold.simd * w_bits, sf * nf, fold.memory, at.target),
        "PIPE": pipeline.mvu_pipe(fold.simd, w_bits, kind, end.bits, sf, resource, at.clock_mhz, dsp_w),
        "W_FILE": path,
    }
    if fold.resource == "dsp":
        params["DSP_W"] = dsp_w
    rows = memory.mvu_rows(w, pe, fold.simd, w_bits, kind)
    return at.net.join(
        end, at.name("mvu"), "hwq_mvu", layer.name, params, (MemFile(path, rows),), tensor=y.name, lanes=fold.pe,
        bits=y.dtype.bits, signed=y.dtype.signed, beats=nf * layer.vectors // abreast, repeat=1,
    )  # fmt: skip


def dense_weights(op: MatVec, w: IntArray) -> IntArray:
    """[MH, taps * C] of a matrix op of any number of groups: a grouped one has zeros where it sees nothing."""
    if op.groups == 1:
        return w
    mh, per = len(w), w.shape[1] // op.taps  # channels a group sees
    wide = np.zeros((op.groups, mh // op.groups, op.taps, op.groups, per), dtype=np.int64)
    group = np.arange(op.groups)
    wide[group, :, :, group] = w.reshape(op.groups, mh // op.groups, op.taps, per)
    return wide.reshape(mh, -1)


def _check_widths(at: Site, node: Node, w_bits: int, x_bits: int, resource: str = "auto") -> None:
    """Raises UnsupportedOp, FoldingError for numbers wider than the matrix units take."""
    if w_bits > MAX_W or x_bits > MAX_X:
        raise UnsupportedOp(
            f"layer '{at.layer.name}': {w_bits}-bit weights on {x_bits}-bit inputs; a matrix unit takes at most "
            f"{MAX_W} and {MAX_X}: put a quantizer before node '{node.name}' or use fewer weight bits"
        )
    if (acc := at.y(node).dtype.bits) > MAX_ACC:
        raise UnsupportedOp(
            f"layer '{at.layer.name}': accumulators of {acc} bits; a matrix unit has at most {MAX_ACC}: use fewer bits "
            f"for the weights or inputs of node '{node.name}'"
        )
    if resource == "dsp" and x_bits > MAX_X_DSP:
        raise FoldingError(
            f"layer '{at.layer.name}': resource 'dsp' takes inputs of at most {MAX_X_DSP} bits, these have {x_bits}; "
            "use resource 'lut'"
        )


def weight_form(op: MatVec, w: IntArray, layer: str) -> tuple[int, int]:
    """(W_KIND, W_BITS) of the matrix units for weights `w`; bipolar ones with zeros between groups are ternary.

    Raises UnsupportedOp for zeros among weights of XNOR-popcount: lowering makes none.
    """
    has_zero = not np.all(w)
    kind = "xnor" if op.xnor else {Bipolar: "bipolar", Ternary: "ternary"}.get(type(op.code), "int")
    if has_zero and op.xnor:
        raise UnsupportedOp(
            f"layer '{layer}': a grouped matrix op can't be XNOR-popcount, there are zeros between its groups; "
            "lower the model again"
        )
    if has_zero and kind == "bipolar":
        kind = "ternary"
    return W_KIND[kind], {"xnor": 1, "bipolar": 1, "ternary": 2}.get(kind) or signed_bits(w)


def signed_bits(a: IntArray) -> int:
    """Two's complement bits that hold every value of `a`."""
    return dtype.smallest(min(int(a.min()), -1), max(int(a.max()), 0)).bits


def _vvu(at: Site, end: End, node: Node) -> End:
    op, layer, fold = node.op, at.layer, at.fold
    assert isinstance(op, MatVec)
    y, abreast = at.y(node), layer.abreast(fold)
    w = np.tile(at.graph.array(op.weight), (abreast, 1))  # pixels side by side are more channels
    kind, w_bits = weight_form(op, w, layer.name)
    _check_widths(at, node, w_bits, end.bits)
    sf, nf = layer.cols // fold.simd, len(w) // fold.pe
    path = f"mem/{layer.name}_w.mem"
    params: dict[str, Param] = {
        "PE": fold.pe,
        "SIMD": fold.simd,
        "SF": sf,
        "NF": nf,
        "W_BITS": w_bits,
        "W_KIND": kind,
        "X_BITS": end.bits,
        "X_SIGNED": int(end.signed),
        "ACC_W": y.dtype.bits,
        "STYLE": weight_style(fold.pe * fold.simd * w_bits, sf * nf, fold.memory, at.target),
        "PIPE": pipeline.mvu_pipe(fold.simd, w_bits, kind, end.bits, sf, 1, at.clock_mhz),
        "W_FILE": path,
    }
    rows = memory.mvu_rows(w, fold.pe, fold.simd, w_bits, kind)
    return at.net.join(
        end, at.name("vvu"), "hwq_vvu", layer.name, params, (MemFile(path, rows),), tensor=y.name, lanes=fold.pe,
        bits=y.dtype.bits, signed=y.dtype.signed, beats=nf * layer.vectors // abreast, repeat=1,
    )  # fmt: skip


# ---- images ----------------------------------------------------------------------------------------------------------


def window(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_window alone: padding, or neighbourhoods as channels."""
    return _window(at, ends[0], node, groups=1)


def _window(at: Site, end: End, node: Node, passes: int = 1, groups: int = 0) -> End:
    """hwq_window in front of a matrix op (every group of channels `passes` times) or of a pooling (groups 0: every beat
    of channels by itself); hwq_slide where a beat holds several pixels.
    """
    op, x, y = node.op, at.x(node), at.y(node)
    assert isinstance(op, Window)
    pixels, channels = geometry(op, x.shape), x.channels
    taps, abreast = at.layer.taps(at.fold), at.layer.abreast(at.fold)
    if at.layer.slide is not None and (taps > 1 or abreast > 1):
        return _slide(at, end, y, pixels, op.value, taps, passes, abreast)
    chunks = channels // end.lanes
    g = replace(pixels, chunks=chunks, passes=passes, groups=groups or chunks)
    return _sliding(at, end, at.name("window"), g, op.value, g.least_depth + g.frame_beats, tensor=y.name)


def _sliding(at: Site, end: End, name: str, g: Geometry, value: int, depth: int, *, tensor: str) -> End:
    """hwq_window of a geometry, behind a cut."""
    end = at.net.cut(end, at.name("relay"), at.layer.name)
    params = _geometry(end, g) | {
        "CHUNKS": g.chunks,
        "PASSES": g.passes,
        "GROUPS": g.groups,
        "PAD_VALUE": value,
        "DEPTH": depth,
        "STYLE": 0,
    }
    beats = g.window_beats // g.passes
    return at.net.join(
        end, name, "hwq_window", at.layer.name, params, tensor=tensor, beats=g.windows * beats, repeat=g.passes,
        cut=True, group=beats // g.groups,
        turned=(g.kernel[0] * g.kernel[1], g.groups, end.lanes * g.chunks // g.groups) if g.groups > 1 else (1, 1, 1),
    )  # fmt: skip


def _geometry(end: End, g: Geometry) -> dict[str, Param]:
    """Parameters that hwq_window and hwq_slide share."""
    return {
        "LANES": end.lanes,
        "BITS": end.bits,
        "IN_H": g.size[0],
        "IN_W": g.size[1],
        "KH": g.kernel[0],
        "KW": g.kernel[1],
        "SH": g.stride[0],
        "SW": g.stride[1],
        "DH": g.dilation[0],
        "DW": g.dilation[1],
        "PAD_T": g.pad[0],
        "PAD_L": g.pad[1],
        "OUT_H": g.out[0],
        "OUT_W": g.out[1],
    }


def _slide(at: Site, end: End, y: Tensor, g: Geometry, value: int, taps: int, passes: int, abreast: int) -> End:
    """hwq_slide, which takes whole pixels and sends `taps` of them a beat, every window `passes` times; or `abreast`
    whole windows a beat.
    """
    end = at.net.cut(end, at.name("relay"), at.layer.name)
    pixels = abreast * g.stride[1] if abreast > 1 else 1
    channels = end.lanes // pixels
    params = _geometry(end, g) | {
        "LANES": channels, "TAPS": taps, "PASSES": passes, "PIXELS": pixels, "PAD_VALUE": value, "STYLE": 0
    }  # fmt: skip
    group = g.kernel[0] * g.kernel[1] // taps
    return at.net.join(
        end, at.name("slide"), "hwq_slide", at.layer.name, params, tensor=y.name, lanes=taps * abreast * channels,
        beats=g.windows // abreast * group, repeat=passes, group=group,
        turned=(abreast, taps, channels) if abreast > 1 else (1, 1, 1),
    )  # fmt: skip


def pool(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """Window, then hwq_pool."""
    op, y, fold = node.op, at.y(node), at.fold
    assert isinstance(op, Pool)
    assert at.layer.window is not None
    end = _window(at, ends[0], at.layer.window)
    if op.kind == "sum" and end.bits > MAX_POOL:
        raise UnsupportedOp(
            f"layer '{at.layer.name}': sums of {end.bits}-bit numbers; hwq_pool takes at most {MAX_POOL} bits: put a "
            f"quantizer before node '{node.name}'"
        )
    beats = op.size // fold.simd
    params: dict[str, Param] = {
        "LANES": fold.pe,
        "TAPS": fold.simd,
        "N": beats,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "KIND": int(op.kind == "sum"),
        "Y_W": y.dtype.bits,
        "PIPE": pipeline.pool_pipe(fold.simd, y.dtype.bits, at.clock_mhz),
    }
    return at.net.join(
        end, at.name("pool"), "hwq_pool", at.layer.name, params, tensor=y.name, lanes=fold.pe,
        bits=y.dtype.bits, signed=y.dtype.signed, beats=end.beats // beats, repeat=1,
    )  # fmt: skip


def total(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_total: sums over all positions."""
    end, y = at.net.cut(ends[0], at.name("relay"), at.layer.name), at.y(node)
    chunks = y.channels // end.lanes
    params: dict[str, Param] = {
        "LANES": end.lanes,
        "CHUNKS": chunks,
        "POSITIONS": at.layer.vectors,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "Y_W": y.dtype.bits,
        "STYLE": 1,
    }
    return at.net.join(
        end, at.name("total"), "hwq_total", at.layer.name, params,
        tensor=y.name, bits=y.dtype.bits, signed=y.dtype.signed, beats=chunks, repeat=1,
    )  # fmt: skip


def spread(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_spread: pixels pulled apart (transposed convolution)."""
    op, x, y = node.op, at.x(node), at.y(node)
    assert isinstance(op, Spread)
    end = at.net.cut(ends[0], at.name("relay"), at.layer.name)
    chunks = x.channels // end.lanes
    params: dict[str, Param] = {
        "LANES": end.lanes,
        "BITS": end.bits,
        "CHUNKS": chunks,
        "IN_H": x.shape[0],
        "IN_W": x.shape[1],
        "FH": op.factors[0],
        "FW": op.factors[1],
        "VALUE": op.value,
    }
    return at.net.join(
        end, at.name("spread"), "hwq_spread", at.layer.name, params,
        tensor=y.name, beats=positions(y) * chunks, cut=True,
    )  # fmt: skip


def upsample(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_replay for rows, then for pixels: in this order, so that the buffer holds a row of the input."""
    op, x, y = node.op, at.x(node), at.y(node)
    assert isinstance(op, Upsample)
    (end,) = ends
    chunks = x.channels // end.lanes
    for axis, beats, passes in (("rows", x.shape[1] * chunks, op.factors[0]), ("pixels", chunks, op.factors[1])):
        if passes == 1:
            continue
        params: dict[str, Param] = {
            "DATA_W": end.width, "BEATS": beats, "PASSES": passes, "DEPTH": 2 * beats, "STYLE": 0
        }  # fmt: skip
        # Behind the first of two the image is not a tensor of the Graph.
        whole = axis == "pixels" or op.factors[1] == 1
        end = at.net.join(
            end, at.name(f"replay_{axis}"), "hwq_replay", at.layer.name, params,
            tensor=y.name if whole else "", beats=end.beats * passes, cut=True,
        )  # fmt: skip
    return replace(end, tensor=y.name)


def blocks(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """DepthToSpace: hwq_window over the pixels of an output row, which one input row holds B times interleaved."""
    op, x, y = node.op, at.x(node), at.y(node)
    assert isinstance(op, DepthToSpace)
    (end,) = ends
    g = depth_to_space(y.channels // end.lanes, (x.shape[0], x.shape[1]), op.block)
    return replace(
        _sliding(at, end, at.name("blocks"), g, 0, g.least_depth + g.frame_beats, tensor=y.name), group=0
    )


# ---- branches --------------------------------------------------------------------------------------------------------


def add(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """Combine of N tensors: N - 1 times hwq_join and hwq_add, the later ones adding to what there is."""
    op, y, layer = node.op, at.y(node), at.layer
    assert isinstance(op, Combine)
    channels = _channels(y, ends[0])
    m = [at.integers(k, channels) for k in op.mul]
    bias = at.integers(op.bias, channels)
    one, zero = np.ones(channels, dtype=np.int64), np.zeros(channels, dtype=np.int64)
    reach = [_reach(at.graph.tensor(t), k) for t, k in zip(node.inputs, m, strict=True)]
    end, first = at.net.cut(ends[0], at.name("relay0"), layer.name), m[0]
    for k in range(1, len(ends)):
        last = k == len(ends) - 1
        lo, hi = (sum(r[i] for r in reach[: k + 1]) for i in (0, 1))
        kind = y.dtype if last else dtype.smallest(int(np.min(lo)), int(np.max(hi)))
        other = at.net.cut(ends[k], at.name(f"relay{k}"), layer.name)
        number = "" if len(ends) == 2 else str(k)
        params: dict[str, Param] = {"S0_W": end.width, "S1_W": other.width}
        # Two tensors side by side: their own streams are checked, in the same cycle.
        both = at.net.join(
            [end, other], at.name(f"join{number}"), "hwq_join", layer.name, params,
            tensor="", bits=end.bits + other.bits, signed=False,
        )  # fmt: skip
        mul, b = (first, m[k]), bias if last else zero
        form = add_form(mul, b)
        rows = add_rows(form, mul, b, end.lanes)
        path = f"mem/{layer.name}_mb{number}.mem"
        params = {
            "PE": end.lanes,
            "CF": channels // end.lanes,
            "X0_W": end.bits,
            "X0_SIGNED": int(end.signed),
            "X1_W": other.bits,
            "X1_SIGNED": int(other.signed),
            "USE0": form.use[0],
            "USE1": form.use[1],
            "B_W": form.b_bits,
            "Y_W": kind.bits,
            "PIPE": add_pipe(form, kind.bits, at.clock_mhz),
            **({"MB_FILE": path} if rows else {}),
        }
        end = at.net.join(
            both, at.name(f"add{number}"), "hwq_add", layer.name, params, (MemFile(path, rows),) if rows else (),
            tensor=y.name if last else "", bits=kind.bits, signed=kind.signed,
        )  # fmt: skip
        if not last:
            end, first = at.net.cut(end, at.name(f"sum{k}"), layer.name), one
    return end


def _reach(x: Tensor, m: IntArray) -> tuple[IntArray, IntArray]:
    """Least and greatest m[c] * x[c] of every channel, int64 [C]."""
    ends = np.stack([m * _rows(np.array(v, dtype=np.int64), len(m)) for v in (x.lo, x.hi)])
    return ends.min(axis=0), ends.max(axis=0)


def concat(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """Every input in the bits of the result, then hwq_concat two by two."""
    y, layer = at.y(node), at.layer
    bits, signed = y.dtype.bits, y.dtype.signed
    ready = []
    for k, e in enumerate(ends):
        if (e.bits, e.signed) != (bits, signed):
            e = _widen(at, e, at.name(f"widen{k}"), bits, signed)
        ready.append(at.net.cut(e, at.name(f"relay{k}"), layer.name))
    end = ready[0]
    for k, other in enumerate(ready[1:]):
        params: dict[str, Param] = {
            "DATA_W": end.lanes * bits, "A": end.beats // layer.vectors, "B": other.beats // layer.vectors
        }  # fmt: skip
        end = at.net.join(
            [end, other], at.name(f"concat{k or ''}"), "hwq_concat", layer.name, params,
            tensor=y.name if k == len(ready) - 2 else "", beats=end.beats + other.beats, cut=True,
        )  # fmt: skip
    return end


def _widen(at: Site, end: End, name: str, bits: int, signed: bool) -> End:
    """The same values in more bits: hwq_scale by 1."""
    path = f"mem/{name}.mem"
    params: dict[str, Param] = {
        "PE": end.lanes, "CF": 1, "X_W": end.bits, "X_SIGNED": int(end.signed), "M_W": 2, "B_W": 1, "Y_W": bits,
        "PIPE": pipeline.scale_pipe(end.bits, 2, at.clock_mhz), "MB_FILE": path,
    }  # fmt: skip
    one, zero = np.ones(end.lanes, dtype=np.int64), np.zeros(end.lanes, dtype=np.int64)
    rows = memory.scale_rows(one, zero, end.lanes, 2, 1)
    mems = (MemFile(path, rows),)
    return at.net.join(end, name, "hwq_scale", at.layer.name, params, mems, bits=bits, signed=signed)


# ---- channelwise: beats and lanes stay -------------------------------------------------------------------------------


def _channelwise(
    at: Site, end: End, node: Node, name: str, module: str, params: Mapping[str, Param], rows: str
) -> End:
    """`module` with memory contents `rows`, whose path its last parameter names."""
    y = at.y(node)
    path = f"mem/{name}.mem"
    base: dict[str, Param] = {"PE": end.lanes, "CF": _channels(y, end) // end.lanes, "X_W": end.bits,
                              "X_SIGNED": int(end.signed)}  # fmt: skip
    return at.net.join(
        end, name, module, at.layer.name, {**base, **params}, (MemFile(path, rows),),
        tensor=y.name, bits=y.dtype.bits, signed=y.dtype.signed,
    )  # fmt: skip


def step(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_threshold, or hwq_requant where multiplications are cheaper and exact."""
    op, (end,) = node.op, ends
    assert isinstance(op, Step)
    x, y = at.x(node), at.y(node)
    channels, every, name = x.channels, _channels(x, end), at.name(tag)
    t = at.integers(op.thresholds, channels)
    lo, hi = (_rows(np.array(v, dtype=np.int64), channels) for v in (x.lo, x.hi))
    falling = None if op.falling is None else _rows(np.asarray(at.graph.array(op.falling), dtype=bool), channels)
    cf, n = every // end.lanes, t.shape[1]
    if n > 15 and (rq := requantizer(t, lo, hi, op.offset, falling)) is not None:
        m_w, b_w = signed_bits(rq.m), signed_bits(rq.b)
        params: dict[str, Param] = {
            "M_W": m_w,
            "SHIFT": rq.shift,
            "B_W": b_w,
            "Y_W": y.dtype.bits,
            "Y_LO": rq.y_lo,
            "Y_HI": rq.y_hi,
            "PIPE": pipeline.requant_pipe(end.bits, m_w, b_w, 1, at.clock_mhz),
            "RESOURCE": 1,
            "MB_FILE": f"mem/{name}.mem",
        }
        rows = memory.requant_rows(_rows(rq.m, every), _rows(rq.b, every), end.lanes, m_w, b_w)
        return _channelwise(at, end, node, name, "hwq_requant", params, rows)
    if (stored := cf << n.bit_length()) > MAX_SEARCH:
        raise FoldingError(
            f"layer '{at.layer.name}': {cf} channels a lane with {n} thresholds each are {stored} constants in one "
            f"search, more than the {MAX_SEARCH} that synthesis can take; raise PE to "
            f"{-(-end.lanes * stored // MAX_SEARCH)} or more, or use fewer activation bits"
        )
    params = {
        "N": n,
        "Y_W": y.dtype.bits,
        "OFFSET": op.offset,
        "FALLING": int(falling is not None),
        "PIPE": pipeline.threshold_pipe(n, end.bits, end.lanes, cf, at.clock_mhz),
        "T_FILE": f"mem/{name}.mem",
    }
    falling = None if falling is None else _rows(falling, every)
    rows = memory.threshold_rows(_rows(t, every), falling, end.lanes, end.bits, end.signed)
    return _channelwise(at, end, node, name, "hwq_threshold", params, rows)


def table(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_table."""
    op, (end,) = node.op, ends
    assert isinstance(op, Table)
    x, y, name = at.x(node), at.y(node), at.name(tag)
    channels = _channels(x, end)
    entries = at.integers(op.entries, channels)
    cf, size = channels // end.lanes, entries.shape[1]
    params: dict[str, Param] = {
        "BASE": op.base,
        "ENTRIES": size,
        "Y_W": y.dtype.bits,
        "STYLE": weight_style(y.dtype.bits, cf << (size - 1).bit_length(), "auto", at.target),
        "PIPE": pipeline.table_pipe(size, cf, at.clock_mhz),
        "INIT_FILE": f"mem/{name}.mem",
    }
    rows = memory.table_rows(entries, op.base, end.lanes, y.dtype.bits)
    return _channelwise(at, end, node, name, "hwq_table", params, rows)


def scale(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """Combine of one tensor: hwq_scale."""
    op, (end,) = node.op, ends
    assert isinstance(op, Combine)
    x, y, name = at.x(node), at.y(node), at.name(tag)
    m, b = (at.integers(k, _channels(x, end)) for k in (op.mul[0], op.bias))
    m_w, b_w = signed_bits(m), signed_bits(b)
    params: dict[str, Param] = {
        "M_W": m_w,
        "B_W": b_w,
        "Y_W": y.dtype.bits,
        "PIPE": pipeline.scale_pipe(end.bits, m_w, at.clock_mhz),
        "MB_FILE": f"mem/{name}.mem",
    }
    return _channelwise(at, end, node, name, "hwq_scale", params, memory.scale_rows(m, b, end.lanes, m_w, b_w))


def argmax(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """hwq_argmax: one value per position."""
    (end,), x, y = ends, at.x(node), at.y(node)
    cf = x.channels // end.lanes
    params: dict[str, Param] = {
        "LANES": end.lanes,
        "CF": cf,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "Y_W": y.dtype.bits,
        "PIPE": pipeline.argmax_pipe(end.lanes, end.bits, cf, at.clock_mhz),
    }
    return at.net.join(
        end, at.name(tag), "hwq_argmax", at.layer.name, params,
        tensor=y.name, lanes=1, bits=y.dtype.bits, signed=False, beats=positions(x),
    )  # fmt: skip


def reshape(at: Site, ends: list[End], node: Node, tag: str) -> End:
    """The same beats by another name."""
    return replace(ends[0], tensor=node.outputs[0])


def _rows(a: NDArray[T], channels: int) -> NDArray[T]:
    """[1 or C, ...] -> [channels, ...]; channels a multiple of C: those of several pixels."""
    if len(a) == 1:
        return np.broadcast_to(a, (channels, *a.shape[1:]))
    return a if len(a) == channels else np.tile(a, (channels // len(a), *(1,) * (a.ndim - 1)))


def _channels(y: Tensor, end: End) -> int:
    """Channels that parameters are for: those of a pixel, or of all pixels of a beat."""
    return max(y.channels, end.lanes)


Unit = Callable[[Site, list[End], Node, str], End]
HEADS: dict[type[Op], Unit] = {
    Window: window,
    MatVec: matvec,
    Pool: pool,
    Total: total,
    Spread: spread,
    Upsample: upsample,
    DepthToSpace: blocks,
    Combine: add,
    Concat: concat,
}
POST: dict[type[Op], tuple[Unit, str]] = {
    Step: (step, "step"),
    Table: (table, "table"),
    Combine: (scale, "scale"),
    ArgMax: (argmax, "argmax"),
    Reshape: (reshape, ""),
}
