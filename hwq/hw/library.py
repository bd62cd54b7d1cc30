"""What each library module does in time: Instance -> Timing, and the figures of a whole Design from the token model."""

from __future__ import annotations

import itertools
from collections.abc import Mapping
from dataclasses import dataclass

from hwq.errors import CheckFailed
from hwq.hw.design import Design, Instance, Stream
from hwq.hw.schedule import Node, Timing, merge, run_net
from hwq.hw.solve import Times
from hwq.hw.window import Window, in_beats

WIRES = ("hwq_edge_in", "hwq_edge_out", "hwq_fork", "hwq_join")


def timing(instance: Instance) -> Timing:
    """The timing class of an instance, from its parameters alone."""
    p = instance.int_param
    match instance.module:
        case "hwq_edge_in" | "hwq_edge_out" | "hwq_fork" | "hwq_join":
            return Timing("wire")
        case "hwq_relay":
            return Timing("fifo", depth=2)
        case "hwq_fifo":
            return Timing("fifo", depth=p("DEPTH"))
        case "hwq_replay":
            return Timing("replay", n=p("BEATS"), passes=p("PASSES"), depth=p("DEPTH"))
        case "hwq_mvu" | "hwq_vvu":
            return Timing("reduce", d=p("PIPE"), n=p("SF"))
        case "hwq_argmax":
            return Timing("reduce", d=p("PIPE"), n=p("CF"))
        case "hwq_spread":
            size, factors = (p("IN_H"), p("IN_W")), (p("FH"), p("FW"))
            out = ((size[0] - 1) * factors[0] + 1, (size[1] - 1) * factors[1] + 1)
            return Timing("spread", window=Window(p("CHUNKS"), size, (1, 1), factors, out=out))
        case "hwq_concat":
            return Timing("concat", n=p("A"), m=p("B"))
        case "hwq_pool":
            return Timing("reduce", d=p("PIPE"), n=p("N"))
        case "hwq_total":
            return Timing("reduce", d=1, n=p("POSITIONS") * p("CHUNKS"), m=p("CHUNKS"))
        case "hwq_threshold" | "hwq_requant" | "hwq_table" | "hwq_scale" | "hwq_add":
            return Timing("pipe", d=p("PIPE"))
        case "hwq_dwc":
            a, b = p("IN_LANES"), p("OUT_LANES")
            return Timing("up", n=b // a) if b >= a else Timing("down", n=a // b)
        case "hwq_window":
            return Timing("window", depth=p("DEPTH"), window=_geometry(instance, p("CHUNKS"), p("GROUPS")))
        case "hwq_slide":
            geometry = in_beats(_geometry(instance), p("PIXELS"))
            return Timing("slide", n=p("KH") * p("KW") // p("TAPS"), window=geometry)
        case other:
            raise KeyError(f"no timing class for module '{other}'")


def _geometry(instance: Instance, chunks: int = 1, groups: int = 1) -> Window:
    p = instance.int_param
    return Window(
        chunks,
        (p("IN_H"), p("IN_W")),
        (p("KH"), p("KW")),
        (p("SH"), p("SW")),
        (p("DH"), p("DW")),
        (p("PAD_T"), p("PAD_L")),
        (p("OUT_H"), p("OUT_W")),
        p("PASSES"),
        groups,
    )


@dataclass(frozen=True)
class Figures:
    """What the token model says of a Design, unstalled.

    latency_cycles: first input beat of frame 0 to its last output beat. ii_cycles: distance of last output beats in
    steady state. times: stream name -> cycle of every beat (`frames` frames).
    """

    latency_cycles: int
    ii_cycles: int
    frames: int
    times: Mapping[str, Times]


def _merged(design: Design) -> tuple[dict[str, int], list[Node]]:
    """Stream name -> index (streams joined by wires share one), and the nodes that are not wires."""
    place = {s.name: i for i, s in enumerate(design.streams)}
    into: dict[str, list[Stream]] = {i.name: [] for i in design.instances}
    out_of: dict[str, list[Stream]] = {i.name: [] for i in design.instances}
    for s in design.streams:
        if s.dst[0]:
            into[s.dst[0]].append(s)
        if s.src[0]:
            out_of[s.src[0]].append(s)
    wires = [[place[s.name] for s in (*into[i.name], *out_of[i.name])] for i in design.instances if i.module in WIRES]
    index = dict(zip(place, merge(len(place), wires), strict=True))
    nodes = [
        Node(
            i.name,
            timing(i),
            tuple(index[s.name] for s in sorted(into[i.name], key=lambda s: s.dst[1])),
            index[out_of[i.name][0].name],
        )
        for i in design.instances
        if i.module not in WIRES
    ]
    return index, nodes


def figures(design: Design, frames: int = 4) -> Figures:
    """Run the token model until the last two II agree (frames grow up to 64).

    Raises CheckFailed if the design deadlocks or never settles.
    """
    index, nodes = _merged(design)
    names = [""] * (max(index.values()) + 1)
    for name, i in index.items():
        names[i] = names[i] or name
    while True:
        beats = {index[s]: design.stream(s).beats * frames for s in design.inputs}
        t = run_net(nodes, len(names), beats, names=names)
        out = design.stream(design.outputs[0])
        per = out.beats * out.repeat
        last = [t[index[out.name]][(f + 1) * per - 1] for f in range(frames)]
        gaps = [b - a for a, b in itertools.pairwise(last)]
        if gaps[-1] == gaps[-2]:
            first = min(t[index[s]][0] for s in design.inputs)
            return Figures(last[0] - first, gaps[-1], frames, {s.name: t[index[s.name]] for s in design.streams})
        if frames >= 64:
            raise CheckFailed(f"design '{design.name}' reaches no steady state in {frames} frames; gaps {gaps[-4:]}")
        frames *= 2
