"""A build as one self-contained HTML page: no script, no network, figures as inline SVG."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from importlib import resources
from typing import Any

from jinja2 import Environment, StrictUndefined
from markupsafe import Markup

from hwq.report import dataflow, svg, tables
from hwq.report.build import Build
from hwq.report.tables import RESOURCES, Row, text


def page(build: Build, capacity: Mapping[str, float]) -> str:
    """The HTML text of the report of `build`; `capacity` is what the part offers of each resource."""
    environment = Environment(autoescape=True, undefined=StrictUndefined, trim_blocks=True)
    template = environment.from_string((resources.files(__package__) / "page.html.j2").read_text())
    rows = tables.summary(build, capacity)
    layers = tables.layer_rows(build)
    return template.render(
        name=build.name,
        headline=headline(build, rows),
        place=_place(build),
        summary=[_summary_row(r) for r in rows],
        mismatches=_mismatches(build),
        dataflow=_dataflow(build),
        layers=[_layer_row(r) for r in layers],
        buffers=_buffers(build),
        resources=_resources(build, layers),
        resources_note=_resources_note(build),
        latency=_latency(build),
        streams=[_stream_row(s) for s in build.manifest["streams"]],
        tools=_tools(build),
        commands=commands(build),
        notes=build.manifest.get("notes", []),
    )


def headline(build: Build, rows: Sequence[Row]) -> str:
    """The answer in one sentence, built from what was measured; what was not is said as plainly."""
    by = {r.metric: r for r in rows}
    parts = []
    if (m := by.get("mismatches")) is not None and m.measured is not None:
        frames = by["frames"].measured
        parts.append(f"{m.measured:.0f} mismatches in {text(frames)} frames of RTL simulation")
    else:
        parts.append("not simulated yet")
    if (a := by.get("accuracy")) is not None:
        parts.append(
            f"accuracy {a.measured:.2f} % in RTL"
            if a.measured is not None
            else f"accuracy {a.expected:.2f} % in training"
        )
    if (ii := by.get("ii_cycles")) is not None:
        cycles = ii.measured if ii.measured is not None else ii.expected
        assert cycles is not None
        parts.append(f"a frame every {text(cycles)} cycles")
    if (lut := by.get("lut")) is not None:
        parts.append(
            f"{text(lut.measured)} LUT synthesized"
            if lut.measured is not None
            else f"{text(lut.expected)} LUT estimated, not synthesized yet"
        )
    sentence = "; ".join(parts)
    return sentence[0].upper() + sentence[1:] + "."


def commands(build: Build) -> str:
    """The commands that make this build again, with the very same folding."""
    m, path = build.manifest, build.path
    return "\n".join(
        [
            f"hwq export {m.get('model', 'MODEL')} --target {m['target']} --folding {path}/folding.toml "
            f"--clock {m['clock_mhz']:g} -o {path}",
            f"hwq sim {path}",
            f"hwq synth {path}",
            f"hwq report {path} --html report.html",
        ]
    )


# ---- parts -------------------------------------------------------------------------------------------------


def _figure(title: str, drawing: str) -> dict[str, object]:
    return {"title": title, "svg": Markup(drawing)}


def _place(build: Build) -> str:
    m = build.manifest
    data = (m.get("data") or {}).get("name")
    return (
        f"Target {m['target']} at {m['clock_mhz']:g} MHz, made by hwq {m.get('hwq', '')}"
        f"{', data ' + data if data else ''}, configuration {m.get('config_hash', '')}."
    )


def _summary_row(r: Row) -> dict[str, str]:
    part = r.measured if r.measured is not None else r.expected
    error = r.error_percent if r.metric in RESOURCES else None
    return {
        "label": tables.LABELS[r.metric],
        "expected": text(r.expected),
        "measured": text(r.measured),
        "unit": r.unit,
        "source": r.source,
        "error": f"{error:+.1f} %" if error is not None else "",
        "share": f"{100 * part / r.available:.1f} %" if r.available and part is not None else "",
    }


def _mismatches(build: Build) -> dict[str, str]:
    frames = build.value("frames", sources=("verilator",))
    count = build.value("mismatches", sources=("verilator",))
    if frames is None or count is None:
        return {"title": "Mismatches: not simulated yet", "text": f"Run: hwq sim {build.path}"}
    # What a join puts side by side is no tensor; its two halves are checked before it.
    streams = sum(s["tensor"] != "" for s in build.manifest["streams"])
    if count:
        return {
            "title": f"Mismatches: {text(count)}",
            "text": f"The simulation stopped after {text(frames)} frames: hardware and network differ. "
            f"Run hwq sim {build.path} to see the first difference.",
        }
    return {
        "title": "No mismatch",
        "text": f"Every beat of all {streams} streams equals the integer network in {text(frames)} frames.",
    }


def _dataflow(build: Build) -> dict[str, object]:
    instances, streams = build.manifest["instances"], build.manifest["streams"]
    marks = build.fifo_beats
    boxes = [dataflow.Box(i["name"], _box_lines(i, marks), i["layer"]) for i in instances]
    arrows = [
        dataflow.Arrow(
            s["name"], s["src"][0], s["dst"][0], (f"{s['lanes']} x {s['bits']} b", text(s["beats"] * s["repeat"]))
        )
        for s in streams
    ]
    matrices = {i["name"] for i in instances if i["module"] in tables.MATRICES}
    loads = {s["dst"][0]: s["beats"] * s["repeat"] for s in streams if s["dst"][0] in matrices}
    slowest = max(loads, key=lambda n: loads[n], default="")
    title = f"{slowest} sets the pace with {text(loads[slowest])} cycles a frame" if slowest else "Modules and streams"
    return _figure(title, dataflow.dataflow(title, boxes, arrows))


def _box_lines(instance: Mapping[str, Any], marks: Mapping[str, float]) -> tuple[str, ...]:
    """What a box says below its name: its module, unless the name says so, and up to two facts."""
    p, kind = instance["params"], instance["module"].removeprefix("hwq_")
    facts: tuple[str, ...] = ()
    match kind:
        case "mvu":
            facts = (f"{p['PE'] * p['PIXELS']} PE x {p['SIMD']} SIMD", f"{p['NF'] * p['SF']} cycles a vector")
        case "vvu":
            facts = (f"{p['PE']} PE x {p['SIMD']} SIMD", f"{p['NF'] * p['SF']} cycles a vector")
        case "window":
            facts = (f"{p['KH']} x {p['KW']}", f"ring of {p['DEPTH']}")
        case "slide":
            beat = f"{p['TAPS']} taps" if p["PIXELS"] == 1 else f"{p['PIXELS']} pixels"
            facts = (f"{p['KH']} x {p['KW']}", f"{beat} a beat")
        case "pool":
            facts = (f"{'sum' if p['KIND'] else 'maximum'} of {p['TAPS'] * p['N']}",)
        case "total":
            facts = (f"sum of {p['POSITIONS']}",)
        case "fifo":
            high = marks.get(instance["name"])
            facts = (f"depth {p['DEPTH']}", f"high-water {high:.0f}" if high is not None else "not simulated")
        case "replay":
            facts = (f"{p['BEATS']} beats x {p['PASSES']}",)
        case "threshold":
            facts = (f"{p['PE']} PE", f"{p['N']} threshold{'s' if p['N'] > 1 else ''}")
        case "dwc":
            facts = (f"{p['IN_LANES']} to {p['OUT_LANES']} lanes",)
        case "concat":
            facts = (f"{p['A']} + {p['B']} beats",)
        case "spread":
            facts = (f"{p['FH']} x {p['FW']}",)
    name = instance["name"].removeprefix(f"{instance['layer']}_")
    if name.startswith(kind):
        return facts
    return (", ".join((kind, *facts[:1])), *facts[1:])


def _layer_row(r: Mapping[str, object]) -> dict[str, str]:
    keys = ("operation", "ii_cycles", "weight_bits", "input_bits", "accumulator_bits", "output_bits", "step")
    fold = f"{r['pe']} x {r['simd']}" if "pe" in r else ""
    return {"layer": str(r["layer"]), "fold": fold, **{k: tables.blank(r.get(k)) for k in keys}}


def _buffers(build: Build) -> dict[str, object]:
    """Rows of the buffer table, with a total a kind; the title says what the FIFOs take."""
    found = tables.buffers(build)
    totals = tables.buffer_totals(found)
    title = "Buffers"
    if totals and totals[0].kind == "fifo":
        t = totals[0]
        title = f"Buffers: {t.count} FIFO{'s' if t.count > 1 else ''} of {text(t.bits)} bits in all"
        if t.lut is not None:
            title += f", {text(t.lut)} LUT, {text(t.bram18)} BRAM18"
    blank = tables.blank
    return {
        "title": title,
        "rows": [
            {
                "name": b.name,
                "kind": tables.BUFFERS[b.kind],
                **{k: blank(getattr(b, k)) for k in ("depth", "high", "width", "bits", "lut", "bram18")},
            }
            for b in found
        ],
        "totals": [
            {
                "label": f"{t.count} {tables.BUFFERS[t.kind]}{'s' if t.count > 1 else ''}",
                "module": f"hwq_{t.kind}",
                **{k: blank(getattr(t, k)) for k in ("bits", "lut", "bram18")},
            }
            for t in totals
        ],
    }


def _resources(build: Build, layers: Sequence[Mapping[str, Any]]) -> list[dict[str, object]]:
    """A figure for every resource that a layer uses; the whole stands in the title, on no layer's scale."""
    found = []
    for r in RESOURCES:
        whole = svg.Pair("whole design", build.value(r, sources=("analytic",)), build.value(r, sources=("yosys",)))
        pairs = [svg.Pair(x["layer"], x[f"{r}_estimated"], x[f"{r}_synthesized"]) for x in layers]
        pairs = [p for p in pairs if p.estimated or p.synthesized]
        if pairs:
            title = resource_title(r, whole)
            found.append(_figure(title, svg.paired_bars(title, tables.LABELS[r], pairs)))
    return found


def resource_title(resource: str, whole: svg.Pair) -> str:
    """The answer of a resource figure: how far the estimate of the whole is from synthesis."""
    label = tables.LABELS[resource]
    if whole.synthesized is None:
        return f"{label}: about {text(whole.estimated)} estimated, not synthesized yet"
    if whole.estimated is None or not whole.synthesized:
        return f"{label}: {text(whole.synthesized)} synthesized"
    error = 100 * (whole.estimated / whole.synthesized - 1)
    return f"{label}: {text(whole.synthesized)} synthesized, the estimate is {error:+.1f} % off"


def _resources_note(build: Build) -> str:
    zero = [
        tables.LABELS[r]
        for r in RESOURCES
        if build.value(r, sources=("yosys",)) == 0 and not build.value(r, sources=("analytic",))
    ]
    used = f"Estimated and synthesized as zero: {', '.join(zero)}. " if zero else ""
    return used + (
        "Layers are synthesized out of context and need not add up to the whole, "
        "which is flattened and optimized across them."
    )


def _latency(build: Build) -> dict[str, object] | None:
    streams = build.manifest["streams"]
    if not all("first_cycle" in s for s in streams):
        return None
    start = min(s["first_cycle"] for s in streams)
    order = {"": -1, **{i["name"]: n for n, i in enumerate(build.manifest["instances"])}}
    layers = {i["name"]: i["layer"] for i in build.manifest["instances"]}
    spans: dict[str, svg.Span] = {}  # a fork sends the same beats over two streams
    for s in sorted(streams, key=lambda s: order[s["src"][0]]):
        src = s["src"][0]
        name = src or f"{s['name']} (input)"
        spans.setdefault(
            name, svg.Span(name, s["first_cycle"] - start, s["last_cycle"] - start, layers.get(src, "edge"))
        )
    end = max(s.last for s in spans.values())
    busiest = max(spans.values(), key=lambda s: s.last - s.first)
    title = (
        f"The first frame leaves after {text(end)} cycles; "
        f"{busiest.label} sends over the longest stretch, {text(busiest.last - busiest.first + 1)} cycles"
    )
    return _figure(title, svg.timeline(title, list(spans.values())))


def _stream_row(s: Mapping[str, Any]) -> dict[str, object]:
    return {
        "name": s["name"],
        "src": s["src"][0] or "outside",
        "dst": s["dst"][0] or "outside",
        "lanes": s["lanes"],
        "bits": s["bits"],
        "beats": s["beats"],
        "repeat": s["repeat"],
    }


def _tools(build: Build) -> list[dict[str, str]]:
    used = dict.fromkeys((r.source, r.tool) for r in build.records if r.tool)
    return [{"source": s, "tool": t} for s, t in used]
