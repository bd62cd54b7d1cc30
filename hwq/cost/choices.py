"""Every folding of every layer with its cycles and cost, and what joining layers of different widths costs.

Costs are those of the modules that the mapping makes of one layer. Matrix units with weights in memory are taken as
if the weights were random, so that all their foldings are evaluated at once.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from functools import cache

import numpy as np
from numpy.typing import NDArray

from hwq.cost import features as ft
from hwq.cost.estimate import RESOURCES, dsp_features, estimate_instance, mvu_features, row_widths, weigh
from hwq.dtype import IntArray
from hwq.errors import FoldingError
from hwq.hw import pipeline, units
from hwq.hw.design import Fold, Instance
from hwq.hw.layers import MAX_CONSTANTS, Layer, geometry, layers
from hwq.hw.library import timing
from hwq.hw.map import port_lanes
from hwq.hw.netlist import End, Netlist
from hwq.hw.store import weight_style
from hwq.hw.units import DSP_W, MAX_X_DSP, RESOURCE, Site
from hwq.hw.window import ring_words
from hwq.ir.graph import Graph, Tensor
from hwq.ir.ops import ArgMax, MatVec, Total, Window
from hwq.targets import Target

Floats = NDArray[np.float64]


@dataclass(frozen=True)
class Choices:
    """The legal foldings of one layer: arrays of one length n, cost [4, n] in the order of RESOURCES.

    lanes_in, lanes_out: values a beat at its ends.
    """

    layer: Layer
    folds: tuple[Fold, ...]
    cycles: IntArray
    lanes_in: IntArray
    lanes_out: IntArray
    cost: Floats


@dataclass(frozen=True)
class Link:
    """A stream from layer `source` to layer `sink` (places in the list) and the width converters it takes.

    beats: of the narrowest stream on the way, [A, B] over the numbers of lanes that source and sink can have; narrow,
    wide: cost [4, A, B] of converters through gcd lanes, which that many beats must allow, and through the lcm.
    of_source, of_sink: folding -> place in A, in B.
    """

    source: int
    sink: int
    beats: IntArray
    narrow: Floats
    wide: Floats
    of_source: IntArray
    of_sink: IntArray

    def cost(self, ii: int) -> Floats:
        """[4, A, B] at `ii` cycles a frame."""
        return np.where(self.beats <= ii, self.narrow, self.wide)


def choices(graph: Graph, target: Target, clock_mhz: float) -> tuple[tuple[Choices, ...], tuple[Link, ...]]:
    """All foldings of every layer, in the order of hw.layers, and the streams between layers.

    Raises FoldingError if a layer has no legal folding, UnsupportedOp as hw.layers.
    """
    found = layers(graph)
    uses = {t: sum(t == s for la in found for s in la.sources) + (t in graph.outputs) for t in graph.tensors}
    cut = {t for t in graph.tensors if t in graph.inputs or uses[t] > 1}  # TREADY comes from a register
    waits = branch_waits(graph, found)
    table = []
    for layer in found:
        c = _choices(graph, layer, cut, target, clock_mhz)
        c = replace(c, cost=c.cost + _edges(graph, layer, c))
        if uses[layer.result] > 1:
            out = [0.0] * (layer.result in graph.outputs)
            c = replace(c, cost=c.cost + _forks(graph.tensor(layer.result), waits[layer.result] + out, c.lanes_out))
        for t in set(layer.sources) & set(graph.inputs):
            if uses[t] > 1 and not any(t in before.layer.sources for before in table):
                x = graph.tensor(t)
                lanes = np.array([port_lanes(int(n), x.dtype.bits) for n in c.lanes_in])
                c = replace(c, cost=c.cost + _forks(x, [w - min(waits[t]) for w in waits[t]], lanes))
        table.append(c)
    made = {layer.result: k for k, layer in enumerate(found)}
    links = [
        _link(graph, t, t in cut, made[t], k, table) for k, la in enumerate(found) for t in la.sources if t in made
    ]
    return tuple(table), tuple(links)


# ---- one layer -------------------------------------------------------------------------------------------------------


def _choices(graph: Graph, layer: Layer, cut: set[str], target: Target, clock_mhz: float) -> Choices:
    """Every folding that the mapping takes."""
    dense = not layer.lanewise
    groups = (layer.groups, 1) if layer.groups > 1 else (1,)
    forms = {g: _form(graph, layer, g) for g in groups} if dense else {}
    folds: list[Fold] = []
    costs: list[Floats] = []
    refusal: FoldingError | None = None
    for pe in layer.pes:
        try:
            if dense and pe <= layer.rows:
                after = _sum(_post(graph, layer, Fold(pe, 1), target, clock_mhz))
                some, cost = [], np.zeros((len(RESOURCES), 0))
                for g, form in forms.items():
                    if simds := [simd for simd in layer.simds if layer.groups_at(Fold(pe, simd)) == g]:
                        more = _dense(graph, layer, form, pe, np.array(simds), g, cut, target, clock_mhz)
                        some, cost = some + more[0], np.concatenate([cost, more[1]], axis=1)
                if (pe, layer.simds[-1]) == (layer.rows, layer.cols) and layer.rows * layer.cols <= MAX_CONSTANTS:
                    k = next(k for k, f in enumerate(some) if f.simd == layer.cols)
                    cost[:, k] = _sum(_mapped(graph, layer, some[k], cut, target, clock_mhz)) - after
                cost += after[:, None]
            else:
                some = [Fold(pe, simd) for simd in layer.simds_at(pe)]
                cost = np.stack([_sum(_mapped(graph, layer, f, cut, target, clock_mhz)) for f in some], axis=1)
        except FoldingError as e:
            refusal = e
            continue
        folds += some
        costs.append(cost)
    if not folds:
        assert refusal is not None
        raise refusal
    single = any(isinstance(n.op, ArgMax) for n in layer.post)
    lanes_in = np.array([layer.lanes(f) for f in folds])
    return Choices(
        layer, tuple(folds), _cycles(graph, layer, folds), lanes_in,
        np.array([1 if single else f.pe for f in folds]), np.concatenate(costs, axis=1),
    )  # fmt: skip


def _cycles(graph: Graph, layer: Layer, folds: Sequence[Fold]) -> IntArray:
    """Cycles a frame of every folding; at the network's ports also those of its values, MAX_TDATA_BITS a beat."""
    cycles = np.array([layer.cycles(f) for f in folds])
    if layer.result in graph.outputs and not any(isinstance(n.op, ArgMax) for n in layer.post):
        y = graph.tensor(layer.result)
        cycles = np.maximum(cycles, [y.size // port_lanes(f.pe, y.dtype.bits) for f in folds])
    for t in set(layer.sources) & set(graph.inputs):
        x = graph.tensor(t)
        arrive = [x.size // port_lanes(layer.lanes(f), x.dtype.bits) for f in folds]
        cycles = np.maximum(cycles, arrive)
    return cycles


def _site(graph: Graph, layer: Layer, fold: Fold, target: Target, clock_mhz: float) -> Site:
    return Site(Netlist(), graph, layer, fold, target, clock_mhz)


def _end(graph: Graph, tensor: str, lanes: int, cut: bool) -> End:
    x = graph.tensor(tensor)
    return End(("", "s_axis"), tensor, lanes, x.dtype.bits, x.dtype.signed, x.size // lanes, cut=cut)


def _mapped(
    graph: Graph, layer: Layer, fold: Fold, cut: set[str], target: Target, clock_mhz: float
) -> Iterator[Instance]:
    """The modules of a layer; windows as deep as they must be."""
    at = _site(graph, layer, fold, target, clock_mhz)
    ends = [_end(graph, t, layer.lanes(fold), t in cut) for t in layer.sources]
    if layer.head is not None:
        units.HEADS[type(layer.head.op)](at, ends, layer.head, "")
    else:
        at.net.cut(ends[0], at.name("relay"), layer.name)
    for i in at.net.instances:
        if i.module == "hwq_window":
            yield _with(i, "DEPTH", timing(i).geometry.least_depth)
        else:
            yield i
    yield from _post(graph, layer, fold, target, clock_mhz)


def _with(i: Instance, key: str, value: int) -> Instance:
    return replace(i, params=tuple((k, value if k == key else v) for k, v in i.params))


def _post(graph: Graph, layer: Layer, fold: Fold, target: Target, clock_mhz: float) -> list[Instance]:
    """The channelwise modules behind the head."""
    at = _site(graph, layer, fold, target, clock_mhz)
    for node in layer.post:
        unit, tag = units.POST[type(node.op)]
        unit(at, [_end(graph, node.inputs[0], fold.pe, False)], node, tag)
    return at.net.instances


def _sum(instances: Iterator[Instance] | Sequence[Instance]) -> Floats:
    """[4] of RESOURCES of modules in a row."""
    total = np.zeros(len(RESOURCES))
    before: Instance | None = None
    for i in instances:
        widths = row_widths(before) if before is not None and i.module == "hwq_threshold" else None
        cost = estimate_instance(i, widths)
        total += [float(getattr(cost, r)) for r in RESOURCES]
        before = i
    return total


def _dense(
    graph: Graph, layer: Layer, form: tuple[int, int], pe: int, simd: IntArray, groups: int, cut: set[str],
    target: Target, clock_mhz: float,
) -> tuple[list[Fold], Floats]:  # fmt: skip
    """Foldings of a matrix op with `pe` rows and SIMD `simd` [n], working on `groups` in turn; cost [4, n] of
    hwq_mvu and what feeds it. form: W_KIND, W_BITS.
    """
    assert layer.mat is not None
    x, acc = graph.tensor(layer.mat.inputs[0]).dtype, graph.tensor(layer.mat.outputs[0]).dtype
    kind, w_bits = form
    passes = layer.rows // groups // pe
    sf, nf = layer.cols // groups // simd, np.full_like(simd, layer.rows // pe)
    width, depth = pe * simd * w_bits, sf * nf
    front = _front(graph, layer, simd, passes, groups, cut)
    for k, s in enumerate(simd.tolist()):
        if layer.window is not None and s > layer.channels:  # several pixels a beat
            at = _site(graph, layer, Fold(pe, s), target, clock_mhz)
            end = _end(graph, layer.sources[0], layer.channels, layer.sources[0] in cut)
            units.window(at, [end], layer.window, "")
            front[:, k] = _sum([_with(i, "PASSES", passes) if i.module == "hwq_slide" else i for i in at.net.instances])
    dsp_w = DSP_W.get(target.family, 18)
    auto = np.array([weight_style(int(w), int(d), "auto", target) for w, d in zip(width, depth, strict=True)])
    folds: list[Fold] = []
    costs: list[Floats] = []
    for resource in ("auto", "dsp") if target.dsp else ("auto",):
        pipe = np.array([
            pipeline.mvu_pipe(int(s), w_bits, kind, x.bits, int(f), RESOURCE[resource], clock_mhz, dsp_w)
            for s, f in zip(simd, sf, strict=True)
        ])  # fmt: skip
        for style, memory in ((1, "lut"), (2, "block")) if target.bram18 else ((1, "lut"),):
            block = np.full(len(simd), style == 2)
            rom = np.where(block, 0, ft.expected_rom_luts(width, depth))
            f = mvu_features(
                pe + 0 * simd, simd, sf, nf, w_bits, kind, x.bits, x.signed, acc.bits, pipe, rom, block
            )  # fmt: skip
            legal = (depth > 1) | (~block & (resource == "auto"))
            f = {k: np.broadcast_to(np.asarray(v, dtype=float), simd.shape).copy() for k, v in f.items()}
            f["dsp"] = np.zeros(len(simd))
            if resource == "dsp":
                for k, s in enumerate(simd):
                    one = {name: float(v[k]) for name, v in f.items()}
                    fits = kind in (0, 2) and x.bits <= MAX_X_DSP
                    changed = dsp_features(one, pe, int(s), w_bits, x.bits, acc.bits, dsp_w) if fits else {}
                    legal[k] &= bool(changed)
                    for name, value in changed.items():
                        f[name][k] = value
            cost = front + np.stack([
                weigh("hwq_mvu", "lut", f),
                weigh("hwq_mvu", "ff", f),
                np.where(block, ft.block_rams(width, depth, written=False), 0.0),
                f["dsp"],
            ])  # fmt: skip
            names = np.where(auto == style, "auto", memory)
            folds += [Fold(pe, int(simd[k]), resource, str(names[k])) for k in np.flatnonzero(legal)]
            costs.append(cost[:, legal])
    return folds, np.concatenate(costs, axis=1)


def _form(graph: Graph, layer: Layer, groups: int) -> tuple[int, int]:
    """W_KIND and W_BITS of a matrix op that works on so many groups one after the other."""
    assert layer.mat is not None and isinstance(layer.mat.op, MatVec)
    op = layer.mat.op
    w = graph.array(op.weight)
    return units.weight_form(op, w if groups == op.groups else units.dense_weights(op, w), layer.name)


def _front(graph: Graph, layer: Layer, simd: IntArray, passes: int, groups: int, cut: set[str]) -> Floats:
    """Cost [4, n] of what feeds hwq_mvu with every group `passes` times: a window, a replay buffer, or a relay."""
    (t,) = layer.sources
    x = graph.tensor(t)
    width = simd * x.dtype.bits
    relay = {"one": np.ones(len(simd)), "width": width}
    cost = np.zeros((len(RESOURCES), len(simd)))

    def add(module: str, f: ft.Features, blocks: Floats | float = 0.0) -> None:
        cost[:3] += np.stack(np.broadcast_arrays(weigh(module, "lut", f), weigh(module, "ff", f), blocks))

    if t not in cut and (layer.window is not None or passes == 1):
        add("hwq_relay", relay)
    if layer.window is not None:
        assert isinstance(layer.window.op, Window)
        g = replace(geometry(layer.window.op, x.shape), passes=passes)
        chunks = np.maximum(1, x.channels // simd)
        depth = g.least_depth * chunks
        ring = np.array([ring_words(int(d), int(w), 0) for d, w in zip(depth, width, strict=True)])
        add("hwq_window", ft.window(g, width, depth, chunks, passes), ft.ram_blocks(width, ring))
    elif passes > 1:
        sf = layer.cols // groups // simd
        add("hwq_replay", ft.replay(width, sf, passes, 2 * sf), ft.ram_blocks(width, 2 * sf))
    return cost


# ---- between layers --------------------------------------------------------------------------------------------------


def _link(graph: Graph, tensor: str, cut: bool, source: int, sink: int, table: Sequence[Choices]) -> Link:
    x = graph.tensor(tensor)
    a, of_source = np.unique(table[source].lanes_out, return_inverse=True)
    b, of_sink = np.unique(table[sink].lanes_in, return_inverse=True)
    cost = np.zeros((2, len(RESOURCES), len(a), len(b)))
    for i, j in np.ndindex(len(a), len(b)):
        if a[i] != b[j]:
            relay = _relay(int(b[j]) * x.dtype.bits) if cut else 0.0  # what a width converter takes away
            for way in (0, 1):
                cost[way, :, i, j] = _converter(int(a[i]), int(b[j]), x.dtype.bits, way == 0) + relay
    beats = x.size // np.gcd(a[:, None], b)
    return Link(source, sink, beats, cost[0], cost[1], of_source, of_sink)


def _edges(graph: Graph, layer: Layer, c: Choices) -> Floats:
    """Cost [4, n] of the network's ports at this layer: hwq_edge_in, and a relay before hwq_edge_out."""
    cost = np.zeros((len(RESOURCES), len(c.folds)))
    for k in range(len(c.folds)):
        for t in set(layer.sources) & set(graph.inputs):
            x = graph.tensor(t)
            lanes = port_lanes(int(c.lanes_in[k]), x.dtype.bits)
            cost[:, k] += _edge_in(lanes * x.dtype.bits, x.size // lanes)
            cost[:, k] += _converter(lanes, int(c.lanes_in[k]), x.dtype.bits, True)
        if layer.result in graph.outputs:
            bits = graph.tensor(layer.result).dtype.bits
            lanes = port_lanes(int(c.lanes_out[k]), bits)
            cost[:, k] += _converter(int(c.lanes_out[k]), lanes, bits, True) + _relay(lanes * bits)
    return cost


@cache
def _edge_in(width: int, beats: int) -> Floats:
    return _sum([Instance("", "hwq_edge_in", (("DATA_W", width), ("BEATS", beats)), "")])


@cache
def _relay(width: int) -> Floats:
    return _sum([Instance("", "hwq_relay", (("DATA_W", width),), "")])


@cache
def _converter(a: int, b: int, bits: int, narrow: bool) -> Floats:
    """Width converters from a to b lanes, as Netlist.width makes them: through gcd lanes (narrow) or the lcm."""
    net = Netlist()
    values = math.lcm(a, b)
    net.width(End(("", ""), "", a, bits, False, values // a), b, "", "", values if narrow else 0)
    return _sum(net.instances)


def branch_waits(graph: Graph, found: Sequence[Layer]) -> Mapping[str, list[float]]:
    """Tensor -> how long it waits in front of each of its layers until the other branches have caught up, in frames.

    A window is late by the pixels up to the end of its first one, a sum over all positions by a frame.
    """
    late: dict[str, float] = dict.fromkeys(graph.inputs, 0.0)
    for layer in found:
        late[layer.result] = max(late[t] for t in layer.sources) + _lateness(graph, layer)
    slack: dict[str, float] = {}  # tensor -> least wait of its branches, which nothing needs to hold
    waits: dict[str, list[float]] = {}
    for layer in reversed(found):
        if layer.result in waits:
            slack[layer.result] = min(waits[layer.result])
            waits[layer.result] = [w - slack[layer.result] for w in reversed(waits[layer.result])]
        for t in reversed(layer.sources):
            ahead = max(late[s] for s in layer.sources) - late[t]
            waits.setdefault(t, []).append(ahead + slack.get(layer.result, 0.0))
    return waits


def _lateness(graph: Graph, layer: Layer) -> float:
    """Frames from the first beat in to the first beat out."""
    window = layer.window.op if layer.window is not None else layer.head.op if layer.head is not None else None
    if isinstance(window, Window):
        h, w, _ = graph.tensor(layer.sources[0]).shape
        rows, columns = ((k - 1) * d for k, d in zip(window.kernel, window.dilation, strict=True))
        return max(0.0, ((rows - window.pad[0]) * w + columns - window.pad[1] + 1) / (h * w))
    whole = layer.head is not None and isinstance(layer.head.op, Total)
    return float(whole or (layer.mat is not None and layer.vectors == 1))


def _forks(y: Tensor, waits: Sequence[float], lanes: IntArray) -> Floats:
    """Cost [4, n] of the FIFOs on the branches of a tensor of `lanes` values a beat; forks themselves are wires."""
    found = {}
    for n in set(lanes.tolist()):
        depths = [max(2, math.ceil(w * (y.size // n))) for w in waits]
        found[n] = _sum([
            Instance("", "hwq_fifo", (("DATA_W", n * y.dtype.bits), ("DEPTH", d)), "") for d in depths
        ])  # fmt: skip
    return np.stack([found[n] for n in lanes.tolist()], axis=1)
