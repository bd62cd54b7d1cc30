"""Graph(int) -> Design: layer by layer, width converters between them, forks where a tensor has several takers."""

from __future__ import annotations

from collections.abc import Mapping

from hwq.errors import FoldingError, UnsupportedOp
from hwq.hw import units
from hwq.hw.design import Design, Fold
from hwq.hw.keywords import KEYWORDS
from hwq.hw.layers import Layer, divisors, identifier, layers
from hwq.hw.netlist import End, Netlist
from hwq.hw.store import STYLE
from hwq.hw.units import RESOURCE, Site
from hwq.ir.graph import Graph
from hwq.targets import Target

MAX_TDATA_BITS = 1024
_PIXELS = "the channels of a pixel, nor is it whole pixels that divide the window"
_TAPS = "the positions of the window"


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
        columns = f"MW={layer.cols}" if layer.slide is None else _TAPS if layer.lanewise else _PIXELS
        for label, value, legal, whole in (
            ("PE", f.pe, layer.pes, f"MH={layer.rows}"),
            ("SIMD", f.simd, layer.simds, columns),
        ):
            if value not in legal:
                wrong.append(
                    f"layer '{layer.name}': {label}={value} does not divide {whole}; "
                    f"legal {label}: {', '.join(map(str, legal))}"
                )
        if f.pe in layer.pes and f.pe > layer.rows and f.simd not in layer.simds_at(f.pe):
            wrong.append(
                f"layer '{layer.name}': PE={f.pe} is {layer.abreast(f)} pixels a cycle, which takes "
                f"SIMD={layer.simds[-1]}; use that, or PE of at most {layer.rows}"
            )
        elif f.pe in layer.pes and f.simd in layer.simds and f.simd not in layer.simds_at(f.pe):
            wrong.append(
                f"layer '{layer.name}': SIMD={f.simd} positions of a window a cycle take whole pixels: "
                f"PE={layer.channels}, or SIMD=1 with PE={f.pe}"
            )
        if f.resource not in RESOURCE:
            wrong.append(f"layer '{layer.name}': resource '{f.resource}' is not one of {', '.join(RESOURCE)}")
        if f.memory not in STYLE:
            wrong.append(f"layer '{layer.name}': memory '{f.memory}' is not one of {', '.join(STYLE)}")
        elif f.memory == "constant" and layer.mat is not None and (f.pe < layer.rows or f.simd != layer.cols):
            wrong.append(
                f"layer '{layer.name}': constant weights need full unrolling, PE={layer.rows} SIMD={layer.cols}"
            )
    if wrong:
        raise FoldingError("\n".join(wrong))


def port_lanes(lanes: int, bits: int) -> int:
    """Values a beat at a port of the network, for a layer that has `lanes` inside."""
    return max(d for d in divisors(lanes) if d == 1 or d * bits <= MAX_TDATA_BITS)


def build(graph: Graph, folds: Mapping[str, Fold], target: Target, clock_mhz: float | None = None) -> Design:
    """Map a Graph at stage int onto library modules. FIFOs and windows are as deep as they can usefully be;
    hwq.hw.fifos.minimal gives them their depths. Raises FoldingError, UnsupportedOp.
    """
    found = layers(graph)
    check_folds(found, folds)
    if len(graph.inputs) != 1 or len(graph.outputs) != 1:
        raise UnsupportedOp(
            f"model '{graph.name}' has {len(graph.inputs)} inputs and {len(graph.outputs)} outputs; "
            "only one of each can be mapped"
        )
    clock = clock_mhz or target.clock_mhz
    net = Netlist()
    x = graph.tensor(graph.inputs[0])
    first = next(la for la in found if x.name in la.sources)
    ii = max(layer.cycles(folds[layer.name]) for layer in found)
    lanes = port_lanes(first.lanes(folds[first.name]), x.dtype.bits)
    end = End(("", "s_axis"), x.name, lanes, x.dtype.bits, x.dtype.signed, x.size // lanes)
    end = net.join(end, "edge_in", "hwq_edge_in", "edge", {"DATA_W": end.width, "BEATS": end.beats}, cut=True)
    uses = {t: sum(t == s for la in found for s in la.sources) + (t in graph.outputs) for t in graph.tensors}
    ends = {x.name: net.fork(end, uses[x.name], "edge")}
    for layer in found:
        site = Site(net, graph, layer, folds[layer.name], target, clock)
        end = _layer(site, [ends[t].pop(0) for t in layer.sources], ii)
        ends[layer.result] = net.fork(end, uses[layer.result], layer.name)
    end = ends[graph.outputs[0]].pop()
    end = net.width(end, port_lanes(end.lanes, end.bits), "out_dwc", "edge", ii)
    end = net.cut(end, "out_relay", "edge")
    end = net.join(end, "edge_out", "hwq_edge_out", "edge", {"DATA_W": end.width, "BEATS": end.beats})
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


def _layer(at: Site, ends: list[End], ii: int) -> End:
    """All modules of one layer behind its inputs."""
    layer = at.layer
    tags = ["dwc"] if len(ends) == 1 else [f"dwc{chr(97 + i)}" for i in range(len(ends))]
    lanes = layer.lanes(at.fold)
    ends = [at.net.width(e, lanes, at.name(tag), layer.name, ii) for e, tag in zip(ends, tags, strict=True)]
    if layer.head is not None:
        end = units.HEADS[type(layer.head.op)](at, ends, layer.head, "")
    else:
        end = at.net.cut(ends[0], at.name("relay"), layer.name)
    count: dict[str, int] = {}
    for node in layer.post:
        unit, tag = units.POST[type(node.op)]
        count[tag] = count.get(tag, 0) + 1
        end = unit(at, [end], node, tag if count[tag] == 1 else f"{tag}{count[tag]}")
    return end


def graph_name(graph: Graph) -> str:
    """The top module's name: the model's, as an identifier."""
    name = identifier(graph.name)
    return f"{name}_top" if name in KEYWORDS or name.startswith("hwq_") else name
