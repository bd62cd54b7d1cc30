"""Graph(int) -> Design: pick module and step form, fold, insert width converters and cut points."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from hwq import dtype
from hwq.dtype import IntArray
from hwq.errors import FoldingError, UnsupportedOp
from hwq.hw import memory, pipeline
from hwq.hw.add import add_form, add_pipe, add_rows
from hwq.hw.design import Design, Fold, Instance, MemFile, Param, Stream
from hwq.hw.keywords import KEYWORDS
from hwq.hw.layers import Layer, divisors, identifier, is_depthwise, layers, positions
from hwq.hw.requant import requantizer
from hwq.hw.window import Window as Geometry
from hwq.ir.graph import Graph, Node, Tensor
from hwq.ir.ops import ArgMax, Bipolar, Combine, Concat, MatVec, Pool, Reshape, Step, Table, Ternary, Total, Window
from hwq.targets import Target

T = TypeVar("T", bound=np.generic)
MAX_TDATA_BITS = 1024
MAX_SEARCH = 4096  # thresholds a lane may choose from: synthesis takes minutes beyond
W_KIND = {"int": 0, "bipolar": 1, "ternary": 2, "xnor": 3}
RESOURCE = {"auto": 1, "lut": 1, "dsp": 2}
BRAM18_IN_LUT = 190  # what one block memory is worth: xc7z020 has 53 200 LUT for 280 BRAM18
BRAM18_SHAPES = ((36, 512), (18, 1024), (9, 2048), (4, 4096), (2, 8192), (1, 16384))  # width x depth, UG473
DEEP_ROM = 1.2  # LUTs per LUT of contents where a column is more than four LUTs and wants multiplexers in LUTs
DSP_W = {"xc7": 25, "xcup": 27, "ecp5": 18}  # the wide operand of a DSP block (UG479, UG579, TN-02205)
STYLE = {"auto": 0, "lut": 1, "block": 2, "constant": 1}


@dataclass(frozen=True, slots=True)
class _End:
    """An open stream end: who drives it and what it carries. `cut` if its TREADY comes from a register."""

    src: tuple[str, str]
    tensor: str
    lanes: int
    bits: int
    signed: bool
    beats: int
    repeat: int
    cut: bool
    group: int = 0
    taps: int = 1


class _Netlist:
    """Instances and streams under construction; `join` hangs a module behind an open end."""

    def __init__(self) -> None:
        self.instances: list[Instance] = []
        self.streams: list[Stream] = []

    def join(
        self,
        end: _End,
        name: str,
        module: str,
        layer: str,
        params: Mapping[str, Param],
        mems: tuple[MemFile, ...] = (),
        *,
        tensor: str | None = None,
        lanes: int | None = None,
        bits: int | None = None,
        signed: bool | None = None,
        beats: int | None = None,
        repeat: int | None = None,
        cut: bool = False,
        group: int = 0,
        taps: int = 1,
    ) -> _End:
        """Add `module` fed by `end`; the keyword arguments say what differs on its output. Returns the new end."""
        self.instances.append(Instance(name, module, tuple(params.items()), layer, mems))
        self.stream(end, (name, "s_axis"))
        return _End(
            (name, "m_axis"),
            tensor or end.tensor,
            lanes or end.lanes,
            bits or end.bits,
            end.signed if signed is None else signed,
            beats or end.beats,
            end.repeat if repeat is None else repeat,
            cut,
            group,
            taps,
        )

    def stream(self, end: _End, dst: tuple[str, str]) -> str:
        port = end.src[1].removesuffix("_axis").removeprefix("m")
        name = f"{end.src[0]}_o{port}" if end.src[0] else "s_axis"
        if not dst[0]:
            name = "m_axis"
        self.streams.append(
            Stream(name, end.src, dst, end.tensor, end.lanes, end.bits, end.signed, end.beats, end.repeat,
                   end.group, end.taps)
        )
        return name


def check_folds(found: tuple[Layer, ...], folds: Mapping[str, Fold]) -> None:
    """Raises FoldingError with every folding that is missing, unknown or does not divide."""
    wrong: list[str] = []
    names = {layer.name for layer in found}
    wrong += [
        f"folding names layer '{n}', which the model does not have; layers: {', '.join(sorted(names))}"
        for n in folds
        if n not in names
    ]
    for layer in found:
        f = folds.get(layer.name)
        if f is None:
            wrong.append(f"layer '{layer.name}' has no folding")
            continue
        for label, value, legal, whole in (
            ("PE", f.pe, layer.pes, f"MH={layer.rows}"),
            ("SIMD", f.simd, layer.simds, f"MW={layer.cols}" if layer.window is None else "the channels of a pixel"),
        ):
            if value not in legal:
                wrong.append(
                    f"layer '{layer.name}': {label}={value} does not divide {whole}; "
                    f"legal {label}: {', '.join(map(str, legal))}"
                )
        if f.resource not in RESOURCE:
            wrong.append(f"layer '{layer.name}': resource '{f.resource}' is not one of {', '.join(RESOURCE)}")
        if f.memory not in STYLE:
            wrong.append(f"layer '{layer.name}': memory '{f.memory}' is not one of {', '.join(STYLE)}")
        elif f.memory == "constant" and layer.mat is not None and (f.pe, f.simd) != (layer.rows, layer.cols):
            wrong.append(
                f"layer '{layer.name}': constant weights need full unrolling, PE={layer.rows} SIMD={layer.cols}"
            )
    if wrong:
        raise FoldingError("\n".join(wrong))


def weight_style(width: int, depth: int, memory_kind: str, target: Target) -> int:
    """hwq_rom STYLE: as asked, or the cheaper of LUTs (64 rows each, 16 on LUT4 parts) and block memories."""
    if memory_kind != "auto":
        return STYLE[memory_kind]
    if depth == 1:
        return 1
    per_lut = 64 if target.family.startswith("xc") else 16
    lut = width * -(-depth // per_lut) * (DEEP_ROM if depth > 4 * per_lut else 1)
    if target.family == "ice40":
        blocks = -(-width // 16) * -(-depth // 256)
    else:
        blocks = min(-(-width // w) * -(-depth // d) for w, d in BRAM18_SHAPES)
    return 2 if lut > BRAM18_IN_LUT * blocks else 1


def _width(net: _Netlist, end: _End, lanes: int, layer: str, tag: str, max_beats: int) -> _End:
    """Bring `end` to `lanes` lanes with at most two converters, through gcd lanes if that keeps up, else the lcm."""
    if end.lanes == lanes:
        return end
    total = end.lanes * end.beats
    a, b = end.lanes, lanes
    steps = [b]
    if a % b and b % a:
        g = math.gcd(a, b)
        steps = [g, b] if total // g <= max_beats else [math.lcm(a, b), b]
    for k, out in enumerate(steps):
        name = f"{layer}_{tag}{k or ''}"
        end = net.join(
            end,
            name,
            "hwq_dwc",
            layer,
            {"LANE_W": end.bits, "IN_LANES": end.lanes, "OUT_LANES": out},
            lanes=out,
            beats=total // out,
        )
    return end


def _mvu(net: _Netlist, end: _End, graph: Graph, layer: Layer, fold: Fold, target: Target, clock: float) -> _End:
    assert layer.mat is not None and isinstance(layer.mat.op, MatVec)
    op = layer.mat.op
    w = dense_weights(op, graph.array(op.weight))
    sf, nf = layer.cols // fold.simd, layer.rows // fold.pe
    x, y = graph.tensor(layer.mat.inputs[0]), graph.tensor(layer.mat.outputs[0])
    kind, w_bits = _weight_form(op, w)
    if layer.window is not None:
        pass  # the window is sent once per row group
    elif nf > 1:
        depth = 2 * sf
        end = net.join(
            end,
            f"{layer.name}_replay",
            "hwq_replay",
            layer.name,
            {"DATA_W": end.lanes * end.bits, "BEATS": sf, "PASSES": nf, "DEPTH": depth, "STYLE": 0},
            repeat=nf,
            cut=True,
            group=sf,
        )
    elif not end.cut:
        end = net.join(end, f"{layer.name}_relay", "hwq_relay", layer.name, {"DATA_W": end.lanes * end.bits}, cut=True)
    style = weight_style(fold.pe * fold.simd * w_bits, sf * nf, fold.memory, target)
    path = f"mem/{layer.name}_w.mem"
    rows = memory.mvu_rows(w, fold.pe, fold.simd, w_bits, kind)
    dsp_w = DSP_W.get(target.family, 18)
    dsp: dict[str, Param] = {"DSP_W": dsp_w} if fold.resource == "dsp" else {}
    pipe = pipeline.mvu_pipe(fold.simd, w_bits, kind, x.dtype.bits, sf, RESOURCE[fold.resource], clock, dsp_w)
    return net.join(
        end,
        f"{layer.name}_mvu",
        "hwq_mvu",
        layer.name,
        dsp
        | {
            "PE": fold.pe,
            "SIMD": fold.simd,
            "SF": sf,
            "NF": nf,
            "W_BITS": w_bits,
            "W_KIND": kind,
            "X_BITS": end.bits,
            "X_SIGNED": int(end.signed),
            "ACC_W": y.dtype.bits,
            "ACC_SIGNED": int(y.dtype.signed),
            "RESOURCE": RESOURCE[fold.resource],
            "STYLE": style,
            "PIPE": pipe,
            "W_FILE": path,
        },
        (MemFile(path, rows),),
        tensor=y.name,
        lanes=fold.pe,
        bits=y.dtype.bits,
        signed=y.dtype.signed,
        beats=nf * layer.vectors,
        repeat=1,
    )


def dense_weights(op: MatVec, w: IntArray) -> IntArray:
    """[MH, taps * C] of a matrix op of any number of groups: a grouped one has zeros where it sees nothing.

    Code that has no zero (Bipolar) can't be widened so; the caller checks.
    """
    if op.groups == 1:
        return w
    mh, per = len(w), w.shape[1] // op.taps  # channels a group sees
    wide = np.zeros((op.groups, mh // op.groups, op.taps, op.groups, per), dtype=np.int64)
    group = np.arange(op.groups)
    wide[group, :, :, group] = w.reshape(op.groups, mh // op.groups, op.taps, per)
    return wide.reshape(mh, -1)


def _window(net: _Netlist, end: _End, graph: Graph, layer: Layer, passes: int, channels_first: bool) -> _End:
    """hwq_window in front of a matrix op (window by window, `passes` times) or of a pooling (channels first)."""
    assert layer.window is not None and isinstance(layer.window.op, Window)
    op, x = layer.window.op, graph.tensor(layer.window.inputs[0])
    y = graph.tensor(layer.window.outputs[0])
    h, w, c = x.shape
    oh, ow = op.positions(x.shape)
    chunks = c // end.lanes
    geometry = Geometry(
        chunks, (h, w), op.kernel, op.stride, op.dilation, op.pad[:2], (oh, ow), passes, channels_first
    )
    if not end.cut:
        end = net.join(end, f"{layer.name}_relay", "hwq_relay", layer.name, {"DATA_W": end.lanes * end.bits}, cut=True)
    taps = op.kernel[0] * op.kernel[1]
    return net.join(
        end,
        f"{layer.name}_window",
        "hwq_window",
        layer.name,
        {
            "LANES": end.lanes,
            "BITS": end.bits,
            "CHUNKS": chunks,
            "IN_H": h,
            "IN_W": w,
            "KH": op.kernel[0],
            "KW": op.kernel[1],
            "SH": op.stride[0],
            "SW": op.stride[1],
            "DH": op.dilation[0],
            "DW": op.dilation[1],
            "PAD_T": op.pad[0],
            "PAD_L": op.pad[1],
            "OUT_H": oh,
            "OUT_W": ow,
            "PASSES": passes,
            "ORDER": int(channels_first),
            "PAD_VALUE": op.value,
            "DEPTH": geometry.least_depth + geometry.frame_beats,
            "STYLE": 0,
        },
        tensor=y.name,
        beats=oh * ow * taps * chunks,
        repeat=passes,
        cut=True,
        group=taps * chunks,
        taps=taps if channels_first and chunks > 1 else 1,
    )


def _pool(net: _Netlist, end: _End, graph: Graph, layer: Layer) -> _End:
    assert layer.head is not None and isinstance(layer.head.op, Pool)
    op, y = layer.head.op, graph.tensor(layer.head.outputs[0])
    params: dict[str, Param] = {
        "LANES": end.lanes,
        "N": op.size,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "KIND": int(op.kind == "sum"),
        "Y_W": y.dtype.bits,
    }
    return net.join(
        end, f"{layer.name}_pool", "hwq_pool", layer.name, params,
        tensor=y.name, bits=y.dtype.bits, signed=y.dtype.signed, beats=end.beats // op.size, repeat=1,
    )  # fmt: skip


def _total(net: _Netlist, end: _End, graph: Graph, layer: Layer) -> _End:
    assert layer.head is not None
    y = graph.tensor(layer.head.outputs[0])
    chunks = y.channels // end.lanes
    params: dict[str, Param] = {
        "LANES": end.lanes,
        "CHUNKS": chunks,
        "POSITIONS": layer.vectors,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "Y_W": y.dtype.bits,
        "STYLE": 1,
    }
    return net.join(
        end, f"{layer.name}_total", "hwq_total", layer.name, params,
        tensor=y.name, bits=y.dtype.bits, signed=y.dtype.signed, beats=chunks, repeat=1,
    )  # fmt: skip


def _weight_form(op: MatVec, w: IntArray) -> tuple[int, int]:
    """(W_KIND, W_BITS) of the matrix units."""
    kind = "xnor" if op.xnor else {Bipolar: "bipolar", Ternary: "ternary"}.get(type(op.code), "int")
    return W_KIND[kind], {"xnor": 1, "bipolar": 1, "ternary": 2}.get(kind) or _signed_bits(w)


def _signed_bits(a: IntArray) -> int:
    """Two's complement bits that hold every value of `a`."""
    return dtype.smallest(min(int(a.min()), -1), max(int(a.max()), 0)).bits


def _rows(a: NDArray[T], channels: int) -> NDArray[T]:
    """[1 or C, ...] -> [C, ...]."""
    return np.broadcast_to(a, (channels, *a.shape[1:])) if len(a) == 1 else a


def _channelwise(
    net: _Netlist, end: _End, name: str, module: str, layer: Layer, params: Mapping[str, Param], mem: MemFile, y: Tensor
) -> _End:
    """Add a module that keeps beats and lanes and writes tensor y."""
    bits, signed = y.dtype.bits, y.dtype.signed
    return net.join(end, name, module, layer.name, params, (mem,), tensor=y.name, bits=bits, signed=signed)


def _step(
    net: _Netlist, end: _End, graph: Graph, layer: Layer, node: Node, tag: str, target: Target, clock: float
) -> _End:
    op = node.op
    assert isinstance(op, Step)
    x, y = graph.tensor(node.inputs[0]), graph.tensor(node.outputs[0])
    channels = x.channels
    t = _rows(np.asarray(graph.array(op.thresholds), dtype=np.int64), channels)
    lo = np.broadcast_to(np.array(x.lo, dtype=np.int64), (channels,))
    hi = np.broadcast_to(np.array(x.hi, dtype=np.int64), (channels,))
    falling = None if op.falling is None else _rows(np.asarray(graph.array(op.falling), dtype=bool), channels)
    cf = channels // end.lanes
    base: dict[str, Param] = {"PE": end.lanes, "CF": cf, "X_W": end.bits, "X_SIGNED": int(end.signed)}
    name = f"{layer.name}_{tag}"
    path = f"mem/{name}.mem"
    n = t.shape[1]
    if n > 15 and (rq := requantizer(t, lo, hi, op.offset, falling)) is not None:
        m_w, b_w = _signed_bits(rq.m), _signed_bits(rq.b)
        params = base | {
            "M_W": m_w,
            "SHIFT": rq.shift,
            "B_W": b_w,
            "Y_W": y.dtype.bits,
            "Y_LO": rq.y_lo,
            "Y_HI": rq.y_hi,
            "PIPE": pipeline.requant_pipe(end.bits, m_w, b_w, 1, clock),
            "RESOURCE": 1,
            "MB_FILE": path,
        }
        rows = memory.requant_rows(rq.m, rq.b, end.lanes, m_w, b_w)
        module = "hwq_requant"
    elif (stored := cf << n.bit_length()) > MAX_SEARCH:
        raise FoldingError(
            f"layer '{layer.name}': {cf} channels a lane with {n} thresholds each are {stored} constants in one "
            f"search, more than the {MAX_SEARCH} that synthesis can take; raise PE to "
            f"{-(-end.lanes * stored // MAX_SEARCH)} or more, or use fewer activation bits"
        )
    else:
        params = base | {
            "N": n,
            "Y_W": y.dtype.bits,
            "OFFSET": op.offset,
            "FALLING": int(falling is not None),
            "PIPE": pipeline.threshold_pipe(n, end.bits, end.lanes, cf, clock),
            "T_FILE": path,
        }
        rows = memory.threshold_rows(t, falling, end.lanes, end.bits, end.signed)
        module = "hwq_threshold"
    return _channelwise(net, end, name, module, layer, params, MemFile(path, rows), y)


def _table(
    net: _Netlist, end: _End, graph: Graph, layer: Layer, node: Node, tag: str, target: Target, clock: float
) -> _End:
    op = node.op
    assert isinstance(op, Table)
    x, y = graph.tensor(node.inputs[0]), graph.tensor(node.outputs[0])
    entries = _rows(np.asarray(graph.array(op.entries), dtype=np.int64), x.channels)
    cf = x.channels // end.lanes
    name = f"{layer.name}_{tag}"
    path = f"mem/{name}.mem"
    params: dict[str, Param] = {
        "PE": end.lanes,
        "CF": cf,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "BASE": op.base,
        "ENTRIES": entries.shape[1],
        "Y_W": y.dtype.bits,
        "STYLE": weight_style(y.dtype.bits, cf << (entries.shape[1] - 1).bit_length(), "auto", target),
        "PIPE": pipeline.table_pipe(entries.shape[1], cf, clock),
        "INIT_FILE": path,
    }
    rows = memory.table_rows(entries, op.base, end.lanes, y.dtype.bits)
    return _channelwise(net, end, name, "hwq_table", layer, params, MemFile(path, rows), y)


def _combine(
    net: _Netlist, end: _End, graph: Graph, layer: Layer, node: Node, tag: str, target: Target, clock: float
) -> _End:
    op = node.op
    assert isinstance(op, Combine)
    x, y = graph.tensor(node.inputs[0]), graph.tensor(node.outputs[0])
    m = _rows(np.asarray(graph.array(op.mul[0]), dtype=np.int64), x.channels)
    b = _rows(np.asarray(graph.array(op.bias), dtype=np.int64), x.channels)
    m_w, b_w = _signed_bits(m), _signed_bits(b)
    name = f"{layer.name}_{tag}"
    path = f"mem/{name}.mem"
    params: dict[str, Param] = {
        "PE": end.lanes,
        "CF": x.channels // end.lanes,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "M_W": m_w,
        "B_W": b_w,
        "Y_W": y.dtype.bits,
        "PIPE": pipeline.scale_pipe(end.bits, m_w, clock),
        "MB_FILE": path,
    }
    rows = memory.scale_rows(m, b, end.lanes, m_w, b_w)
    return _channelwise(net, end, name, "hwq_scale", layer, params, MemFile(path, rows), y)


def _argmax(
    net: _Netlist, end: _End, graph: Graph, layer: Layer, node: Node, tag: str, target: Target, clock: float
) -> _End:
    x, y = graph.tensor(node.inputs[0]), graph.tensor(node.outputs[0])
    cf = x.channels // end.lanes
    params: dict[str, Param] = {
        "LANES": end.lanes,
        "CF": cf,
        "X_W": end.bits,
        "X_SIGNED": int(end.signed),
        "Y_W": y.dtype.bits,
        "PIPE": pipeline.argmax_pipe(end.lanes, end.bits, cf, clock),
    }
    return net.join(
        end,
        f"{layer.name}_{tag}",
        "hwq_argmax",
        layer.name,
        params,
        tensor=y.name,
        lanes=1,
        bits=y.dtype.bits,
        signed=False,
        beats=positions(x),
    )


def _reshape(
    net: _Netlist, end: _End, graph: Graph, layer: Layer, node: Node, tag: str, target: Target, clock: float
) -> _End:
    return replace(end, tensor=node.outputs[0])


POST = {Step: (_step, "step"), Table: (_table, "table"), Combine: (_combine, "scale"), ArgMax: (_argmax, "argmax"),
        Reshape: (_reshape, "reshape")}


def build(graph: Graph, folds: Mapping[str, Fold], target: Target, clock_mhz: float | None = None) -> Design:
    """Map a chain Graph at stage int onto library modules. Raises FoldingError, UnsupportedOp."""
    found = layers(graph)
    check_folds(found, folds)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedOp(
            f"model '{graph.name}' has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "only one of each can be mapped"
        )
    clock = clock_mhz or target.clock_mhz
    net = _Netlist()
    x = graph.tensor(graph.inputs[0])
    first = next(la for la in found if x.name in la.sources)
    want = lanes_in(graph, first, folds[first.name])
    ii = max(layer.cycles(folds[layer.name]) for layer in found)
    lanes = next(d for d in reversed(divisors(want)) if d == 1 or d * x.dtype.bits <= MAX_TDATA_BITS)
    end = _End(("", "s_axis"), x.name, lanes, x.dtype.bits, x.dtype.signed, x.size // lanes, 1, True)
    end = net.join(
        end, "edge_in", "hwq_edge_in", "edge", {"DATA_W": end.lanes * end.bits, "BEATS": end.beats}, cut=True
    )
    uses = {t: sum(t == s for la in found for s in la.sources) + (t in graph.outputs) for t in graph.tensors}
    open_ends = {x.name: _fork(net, end, uses[x.name], "edge")}
    for layer in found:
        fold = folds[layer.name]
        taken = [open_ends[t].pop(0) for t in layer.sources]
        end = _layer(net, taken, graph, layer, fold, target, clock, ii)
        open_ends[layer.result] = _fork(net, end, uses[layer.result], layer.name)
    end = open_ends[graph.outputs[0]].pop()
    if not end.cut:
        end = net.join(end, "out_relay", "hwq_relay", "edge", {"DATA_W": end.lanes * end.bits}, cut=True)
    end = net.join(end, "edge_out", "hwq_edge_out", "edge", {"DATA_W": end.lanes * end.bits, "BEATS": end.beats})
    net.stream(end, ("", "m_axis"))
    return Design(
        graph_name(graph),
        target.name,
        clock,
        tuple(net.instances),
        tuple(net.streams),
        ("s_axis",),
        ("m_axis",),
        dict(folds),
    )


def _layer(
    net: _Netlist, taken: list[_End], graph: Graph, layer: Layer, fold: Fold, target: Target, clock: float, ii: int
) -> _End:
    """All modules of one layer behind its inputs."""
    lanes = lanes_in(graph, layer, fold)
    tags = ["dwc"] if len(taken) == 1 else [f"dwc{chr(97 + i)}" for i in range(len(taken))]
    ends = [_width(net, e, lanes, layer.name, tag, ii) for e, tag in zip(taken, tags, strict=True)]
    end = ends[0]
    head = layer.head
    depthwise = head is not None and layer.mat is not None and fold.pe == lanes and layer.simds == (1,) != (layer.cols,)
    if layer.window is not None:
        passes = 1 if layer.mat is None or depthwise else layer.rows // fold.pe
        end = _window(net, end, graph, layer, passes, passes == 1 and (depthwise or layer.mat is None))
    if depthwise:
        end = _vvu(net, end, graph, layer, fold, target, clock)
    elif layer.mat is not None:
        end = _mvu(net, end, graph, layer, fold, target, clock)
    elif head is not None:
        match head.op:
            case Pool():
                end = _pool(net, end, graph, layer)
            case Total():
                end = _total(net, end, graph, layer)
            case Combine():
                end = _add(net, ends, graph, layer, clock)
            case Concat():
                end = _concat(net, ends, graph, layer, clock)
    elif not end.cut:
        end = _cut(net, end, f"{layer.name}_relay", layer.name)
    count: dict[str, int] = {}
    for node in layer.post:
        emit, tag = POST[type(node.op)]
        count[tag] = count.get(tag, 0) + 1
        numbered = tag if count[tag] == 1 else f"{tag}{count[tag]}"
        end = emit(net, end, graph, layer, node, numbered, target, clock)
    return end


def _cut(net: _Netlist, end: _End, name: str, layer: str) -> _End:
    """`end`, behind a relay unless its TREADY comes from a register already."""
    if end.cut:
        return end
    return net.join(end, name, "hwq_relay", layer, {"DATA_W": end.lanes * end.bits}, cut=True)


def _fork(net: _Netlist, end: _End, count: int, layer: str) -> list[_End]:
    """`count` ends that carry the same; a FIFO stands on every branch (hwq.hw.fifos gives it its depth)."""
    branches: list[_End] = []
    width = end.lanes * end.bits
    for k in range(count - 1):
        name = f"{layer}_fork{k or ''}"
        net.join(end, name, "hwq_fork", layer, {"DATA_W": width})
        branches.append(replace(end, src=(name, "m0_axis")))
        end = replace(end, src=(name, "m1_axis"))
    branches.append(end)
    if count < 2:
        return branches
    return [
        net.join(b, f"{layer}_branch{k}", "hwq_fifo", layer, {"DATA_W": width, "DEPTH": b.beats, "STYLE": 0}, cut=True)
        for k, b in enumerate(branches)
    ]


def _vvu(net: _Netlist, end: _End, graph: Graph, layer: Layer, fold: Fold, target: Target, clock: float) -> _End:
    assert layer.mat is not None and isinstance(layer.mat.op, MatVec)
    op, w = layer.mat.op, graph.array(layer.mat.op.weight)
    y = graph.tensor(layer.mat.outputs[0])
    kind, w_bits = _weight_form(op, w)
    nf = layer.rows // fold.pe
    path = f"mem/{layer.name}_w.mem"
    params: dict[str, Param] = {
        "PE": fold.pe,
        "SF": layer.cols,
        "NF": nf,
        "W_BITS": w_bits,
        "W_KIND": kind,
        "X_BITS": end.bits,
        "X_SIGNED": int(end.signed),
        "ACC_W": y.dtype.bits,
        "STYLE": weight_style(fold.pe * w_bits, layer.cols * nf, fold.memory, target),
        "PIPE": pipeline.mvu_pipe(1, w_bits, kind, end.bits, layer.cols, 1, clock),
        "W_FILE": path,
    }
    rows = memory.vvu_rows(w, fold.pe, w_bits, kind)
    return net.join(
        end, f"{layer.name}_vvu", "hwq_vvu", layer.name, params, (MemFile(path, rows),),
        tensor=y.name, bits=y.dtype.bits, signed=y.dtype.signed, beats=nf * layer.vectors, repeat=1,
    )  # fmt: skip


def _add(net: _Netlist, ends: list[_End], graph: Graph, layer: Layer, clock: float) -> _End:
    """Combine of two tensors: hwq_join and hwq_add."""
    assert layer.head is not None and isinstance(layer.head.op, Combine)
    op, y = layer.head.op, graph.tensor(layer.head.outputs[0])
    if len(ends) != 2:
        raise UnsupportedOp(
            f"node '{layer.head.name}' adds {len(ends)} tensors at once; write it as sums of two, each followed by "
            "a quantizer"
        )
    a, b = (_cut(net, e, f"{layer.name}_relay{k}", layer.name) for k, e in enumerate(ends))
    name = f"{layer.name}_join"
    net.instances.append(
        Instance(name, "hwq_join", (("S0_W", a.lanes * a.bits), ("S1_W", b.lanes * b.bits)), layer.name)
    )
    net.stream(a, (name, "s0_axis"))
    net.stream(b, (name, "s1_axis"))
    # Two tensors side by side: their own streams are checked, in the same cycle.
    both = _End((name, "m_axis"), "", a.lanes, a.bits + b.bits, False, a.beats, 1, False)
    m = tuple(_rows(np.asarray(graph.array(k), dtype=np.int64), y.channels) for k in op.mul)
    bias = _rows(np.asarray(graph.array(op.bias), dtype=np.int64), y.channels)
    form = add_form((m[0], m[1]), bias)
    rows = add_rows(form, (m[0], m[1]), bias, a.lanes)
    path = f"mem/{layer.name}_mb.mem"
    params: dict[str, Param] = {
        "PE": a.lanes,
        "CF": y.channels // a.lanes,
        "X0_W": a.bits,
        "X0_SIGNED": int(a.signed),
        "X1_W": b.bits,
        "X1_SIGNED": int(b.signed),
        "USE0": form.use[0],
        "USE1": form.use[1],
        "B_W": form.b_bits,
        "Y_W": y.dtype.bits,
        "PIPE": add_pipe(form, y.dtype.bits, clock),
    }
    mems = (MemFile(path, rows),) if rows else ()
    if rows:
        params["MB_FILE"] = path
    return net.join(
        both, f"{layer.name}_add", "hwq_add", layer.name, params, mems,
        tensor=y.name, bits=y.dtype.bits, signed=y.dtype.signed,
    )  # fmt: skip


def _concat(net: _Netlist, ends: list[_End], graph: Graph, layer: Layer, clock: float) -> _End:
    """Concat: every input at the width of the result, then hwq_concat two by two."""
    assert layer.head is not None
    y = graph.tensor(layer.head.outputs[0])
    bits, signed = y.dtype.bits, y.dtype.signed
    ready = []
    for k, e in enumerate(ends):
        if (e.bits, e.signed) != (bits, signed):
            e = _widen(net, e, f"{layer.name}_widen{k}", layer.name, bits, signed, clock)
        ready.append(_cut(net, e, f"{layer.name}_relay{k}", layer.name))
    end = ready[0]
    for k, other in enumerate(ready[1:]):
        name = f"{layer.name}_concat{k or ''}"
        params: list[tuple[str, Param]] = [("DATA_W", end.lanes * bits), ("A", end.beats // layer.vectors),
                                           ("B", other.beats // layer.vectors)]
        net.instances.append(Instance(name, "hwq_concat", tuple(params), layer.name))
        net.stream(end, (name, "s0_axis"))
        net.stream(other, (name, "s1_axis"))
        last = k == len(ready) - 2
        end = _End((name, "m_axis"), y.name if last else "", end.lanes, bits, signed, end.beats + other.beats, 1, True)
    return end


def _widen(net: _Netlist, end: _End, name: str, layer: str, bits: int, signed: bool, clock: float) -> _End:
    """The same values in more bits: hwq_scale by 1."""
    path = f"mem/{name}.mem"
    params: dict[str, Param] = {"PE": end.lanes, "CF": 1, "X_W": end.bits, "X_SIGNED": int(end.signed), "M_W": 2,
                                "B_W": 1, "Y_W": bits, "PIPE": pipeline.scale_pipe(end.bits, 2, clock), "MB_FILE": path}
    one, zero = np.ones(end.lanes, dtype=np.int64), np.zeros(end.lanes, dtype=np.int64)
    rows = memory.scale_rows(one, zero, end.lanes, 2, 1)
    return net.join(end, name, "hwq_scale", layer, params, (MemFile(path, rows),), bits=bits, signed=signed)


def lanes_in(graph: Graph, layer: Layer, fold: Fold) -> int:
    """Values a beat on the way into a layer: SIMD of a matrix op, PE where every channel goes its own way."""
    if layer.mat is None or not isinstance(layer.mat.op, MatVec):
        return fold.pe
    return fold.pe if is_depthwise(layer.mat.op, graph.tensor(layer.mat.inputs[0]).channels) else fold.simd


def graph_name(graph: Graph) -> str:
    """The top module's name: the model's, as an identifier."""
    name = identifier(graph.name)
    return f"{name}_top" if name in KEYWORDS or name.startswith("hwq_") else name
