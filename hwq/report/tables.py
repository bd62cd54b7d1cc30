"""Records -> the tables a terminal shows: plain rows first, rich only at the very end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from rich.table import Table

from hwq.record import METRICS
from hwq.report.build import Build
from hwq.report.compare import Comparison

RESOURCES = ("lut", "ff", "bram18", "dsp")
LABELS = {
    "accuracy": "accuracy (integers)",
    "accuracy_float": "accuracy (float baseline)",
    "frames": "frames simulated",
    "mismatches": "mismatches",
    "latency_cycles": "latency",
    "ii_cycles": "initiation interval",
    "fps": "throughput",
    "lut": "LUT",
    "ff": "FF",
    "bram18": "BRAM18",
    "dsp": "DSP",
    "fifo_bits": "memory of FIFOs",
    "fifo_lut": "LUT of FIFOs",
    "fifo_bram18": "BRAM18 of FIFOs",
    "fmax_mhz": "clock after routing",
    "logic_delay_ns": "logic delay (floor)",
    "sim_cycles_per_s": "simulation speed",
}


@dataclass(frozen=True, slots=True)
class Row:
    """One line of a summary: what was expected or estimated, what was measured or synthesized, and by
    what.
    """

    metric: str
    expected: float | None
    measured: float | None
    unit: str
    source: str
    available: float | None = None

    @property
    def error_percent(self) -> float | None:
        """Estimate against measurement, in percent of the measurement; None where one is missing or zero."""
        if self.expected is None or not self.measured:
            return None
        return 100 * (self.expected / self.measured - 1)


def summary(build: Build, capacity: Mapping[str, float] | None = None) -> list[Row]:
    """The whole design, one row a metric; `capacity` is what the part offers of each resource."""
    rows = []
    for metric, sources in (
        ("accuracy", ("verilator",)),
        ("accuracy_float", ()),
        ("frames", ("verilator",)),
        ("mismatches", ("verilator",)),
        ("latency_cycles", ("verilator",)),
        ("ii_cycles", ("verilator",)),
        ("fps", ("verilator",)),
        ("lut", ("yosys",)),
        ("ff", ("yosys",)),
        ("bram18", ("yosys",)),
        ("dsp", ("yosys",)),
        ("fmax_mhz", ("nextpnr",)),
        ("logic_delay_ns", ("yosys",)),
        ("sim_cycles_per_s", ("verilator",)),
    ):
        expected = build.value(metric, sources=("train" if metric.startswith("accuracy") else "analytic",))
        measured = build.value(metric, sources=sources) if sources else None
        source = _source(build, metric, "top", sources)
        if measured is None and metric in RESOURCES:  # the whole was too large to synthesize, or not asked for
            measured = sum_of_layers(build, metric)
            if measured is not None:
                source = f"{_source(build, metric, build.layers[0], sources)}, sum of the layers"
        if expected is None and measured is None:
            continue
        unit = "LUT" if metric == "lut" else METRICS[metric][0]
        rows.append(Row(metric, expected, measured, unit, source, (capacity or {}).get(metric)))
        if metric == RESOURCES[-1]:
            rows += _fifo_rows(build)
    return rows


def _fifo_rows(build: Build) -> list[Row]:
    """What the FIFOs take together: bits as built, LUT and BRAM18 of their own netlists after synthesis."""
    total = next((t for t in buffer_totals(buffers(build)) if t.kind == "fifo"), None)
    if total is None:
        return []
    tool = next((r.tool for r in build.records if r.source == "yosys"), "")
    found = (("fifo_lut", total.lut, "LUT"), ("fifo_bram18", total.bram18, "BRAM18"))
    measured = [Row(m, None, v, unit, tool) for m, v, unit in found if v is not None]
    return [Row("fifo_bits", total.bits, None, "bits", ""), *measured]


# ---- buffers ---------------------------------------------------------------------------------------

BUFFERS = {"fifo": "FIFO", "window": "line buffer", "slide": "line buffer", "replay": "replay buffer"}


@dataclass(frozen=True, slots=True)
class Buffer:
    """A memory for values under way: `depth` words of `width` bits; high: most words held in simulation.

    kind: a key of BUFFERS. lut, bram18: the instance alone, its control included; None before synthesis.
    """

    name: str
    layer: str
    kind: str
    depth: int
    width: int
    high: float | None
    lut: float | None
    bram18: float | None

    @property
    def bits(self) -> int:
        return self.depth * self.width


@dataclass(frozen=True, slots=True)
class BufferTotal:
    """All buffers of a kind; lut, bram18 are None unless every one is synthesized."""

    kind: str
    count: int
    bits: int
    lut: float | None
    bram18: float | None


def buffers(build: Build) -> list[Buffer]:
    """Every FIFO, line buffer and replay buffer in the order of the dataflow; register slices are none."""
    found, marks = [], build.fifo_beats
    for i in build.manifest["instances"]:
        kind = i["module"].removeprefix("hwq_")
        if kind not in BUFFERS:
            continue
        depth, width = _memory(kind, i["params"])
        if depth:
            used = build.synthesized.get(i["name"], {})
            found.append(
                Buffer(
                    i["name"],
                    i["layer"],
                    kind,
                    depth,
                    width,
                    marks.get(i["name"]),
                    used.get("lut"),
                    used.get("bram18"),
                )
            )
    return found


def buffer_totals(found: Sequence[Buffer]) -> list[BufferTotal]:
    """One total a kind, in the order of BUFFERS."""

    def total(values: Sequence[float | None]) -> float | None:
        return None if None in values else sum(v for v in values if v is not None)

    by_kind = [(kind, [b for b in found if b.kind == kind]) for kind in BUFFERS]
    return [
        BufferTotal(kind, len(of), sum(b.bits for b in of), total([b.lut for b in of]), total([b.bram18 for b in of]))
        for kind, of in by_kind
        if of
    ]


def _memory(kind: str, p: Mapping[str, int]) -> tuple[int, int]:
    """(words, bits a word). The rows of hwq_slide count as far as they are held in its column registers, too."""
    if kind == "window":
        return p["DEPTH"], p["LANES"] * p["BITS"]
    if kind == "slide":
        n = p["PIXELS"]
        last = (p["KW"] - 1) * p["DW"] - p["PAD_L"] + (p["OUT_W"] - 1) * p["SW"]
        columns = max(p["IN_W"] // n - -p["PAD_L"] // n, last // n + 1, 2)
        return (p["DH"] * columns if p["KH"] > 1 else 0), (p["KH"] - 1) * n * p["LANES"] * p["BITS"]
    return p["DEPTH"], p["DATA_W"]


# ---- layers ----------------------------------------------------------------------------------------


def layer_rows(build: Build) -> list[dict[str, object]]:
    """One dict a layer: bits, folding, cycles, estimated and synthesized resources."""
    rows = []
    for layer in build.layers:
        row: dict[str, object] = {"layer": layer, **layer_facts(build, layer)}
        for r in RESOURCES:
            row[f"{r}_estimated"] = build.value(r, layer, ("analytic",))
            row[f"{r}_synthesized"] = build.value(r, layer, ("yosys",))
        rows.append(row)
    return rows


def sum_of_layers(build: Build, resource: str, source: str = "yosys") -> float | None:
    """What all layers together take, glue included; None if one of them has no figure."""
    found = [build.value(resource, layer, (source,)) for layer in build.layers]
    return sum(v for v in found if v is not None) if None not in found else None


def total_rows(build: Build) -> list[dict[str, object]]:
    """Rows to stand below those of the layers once they are synthesized: their sum, and the whole, flattened, with how
    much less (or more) it takes than that.
    """
    sums = {r: sum_of_layers(build, r) for r in RESOURCES}
    if None in sums.values():
        return []
    rows: list[dict[str, object]] = [{"layer": "sum of the layers"}, {"layer": "whole, flattened"}]
    for r, added in sums.items():
        rows[0] |= {f"{r}_estimated": sum_of_layers(build, r, "analytic"), f"{r}_synthesized": added}
        rows[1] |= {f"{r}_estimated": None, f"{r}_synthesized": build.value(r, sources=("yosys",))}
    whole, added = build.value("lut", sources=("yosys",)), sums["lut"]
    if whole is None:
        return rows[:1]
    rows[1]["operation"] = f"LUT {100 * (whole / added - 1):+.1f} %" if added else ""
    return rows


def layer_facts(build: Build, layer: str) -> dict[str, object]:
    """Operation, bits, folding and cycles a frame of a layer; nothing of the edge, which computes nothing.

    input_bits, output_bits: of the widest value that enters or leaves the layer.
    """
    if layer == "edge":
        return {}
    instances = [i for i in build.manifest["instances"] if i["layer"] == layer]
    names = {i["name"] for i in instances}
    streams = [(s, s["src"][0] in names, s["dst"][0] in names) for s in build.manifest["streams"]]
    facts: dict[str, object] = {"operation": operation(instances)}
    if work := [s["beats"] * s["repeat"] for s, _, inside in streams if inside]:
        facts["ii_cycles"] = max(work)
    for key, bits in (
        ("input_bits", [s["bits"] for s, a, b in streams if b and not a]),
        ("output_bits", [s["bits"] for s, a, b in streams if a and not b]),
    ):
        if bits:
            facts[key] = max(bits)
    for i in instances:
        p = i["params"]
        if i["module"] in MATRICES:
            facts |= {
                "rows": _rows(i, instances),
                "cols": p["SIMD"] * p["SF"],
                "pe": p["PE"] * (p["PIXELS"] if i["module"] == "hwq_mvu" else 1),  # PE of hwq_vvu has them in it
                "simd": p["SIMD"],
                "weight_bits": p["W_BITS"],
                "accumulator_bits": p["ACC_W"],
            }
        if i["module"] in STEPS:
            facts["step"] = i["module"].removeprefix("hwq_")
    return facts


MATRICES = ("hwq_mvu", "hwq_vvu")
STEPS = ("hwq_threshold", "hwq_requant", "hwq_table")


def _rows(matrix: Mapping[str, Any], instances: Sequence[Mapping[str, Any]]) -> int:
    """MH of a matrix unit among the modules of its layer; the lanes of hwq_vvu hold pixels that stand side by side."""
    p = matrix["params"]
    slides = [i["params"] for i in instances if i["module"] == "hwq_slide" and i["params"]["PIXELS"] > 1]
    abreast = slides[0]["PIXELS"] // slides[0]["SW"] if slides and matrix["module"] == "hwq_vvu" else 1
    return int(p["PE"] * p["NF"] // abreast)


def operation(instances: Sequence[Mapping[str, Any]]) -> str:
    """What the modules of a layer compute, in a few words: '8 x 72', 'maximum of 4', 'upsample 2 x 2'."""
    modules = {i["module"] for i in instances}
    found, repeats = [], []
    for i in instances:
        p, kind = i["params"], i["module"].removeprefix("hwq_")
        match kind:
            case "mvu":
                found.append(f"{_rows(i, instances)} x {p['SIMD'] * p['SF']}")
            case "vvu":
                found.append(f"{_rows(i, instances)} x {p['SIMD'] * p['SF']} depthwise")
            case "pool":
                found.append(f"{'sum' if p['KIND'] else 'maximum'} of {p['TAPS'] * p['N']}")
            case "total":
                found.append(f"sum of {p['POSITIONS']}")
            case "spread":
                found.append(f"spread {p['FH']} x {p['FW']}")
            case "replay" if not modules & set(MATRICES):
                repeats.append(str(p["PASSES"]))
            case "add" | "concat" | "scale" | "argmax":
                found.append(kind)
    if repeats:
        found.append(f"upsample {' x '.join(repeats)}")
    if not found:  # windows alone, or a quantizer alone
        found = [i["module"].removeprefix("hwq_") for i in instances if i["module"] in ("hwq_window", *STEPS)]
    return ", ".join(dict.fromkeys(found))


def _source(build: Build, metric: str, scope: str, sources: Sequence[str]) -> str:
    for source in (*sources, "analytic", "train"):
        found = [r for r in build.records if (r.metric, r.scope, r.source) == (metric, scope, source)]
        if found:
            return found[-1].tool or source
    return ""


# ---- rendering -------------------------------------------------------------------------------------


def text(value: object) -> str:
    """A number as people read it: thousands apart, no false digits; '-' for nothing."""
    if value is None or value == "":
        return "-"
    if not isinstance(value, int | float):
        return str(value)
    digits = 2 if abs(value) < 1000 and not float(value).is_integer() else 0
    return f"{value:,.{digits}f}".replace(",", " ")


def blank(value: object) -> str:
    """`text`, but nothing for nothing: for tables in which most rows lack a figure by their nature."""
    return "" if value is None else text(value)


def summary_table(build: Build, rows: Sequence[Row]) -> Table:
    """The summary as a rich table."""
    target, clock = build.manifest.get("target", ""), build.manifest.get("clock_mhz", 0)
    table = Table(title=f"{build.name} on {target} at {clock:g} MHz", title_justify="left")
    for name, side in (
        ("", "left"),
        ("expected", "right"),
        ("measured", "right"),
        ("error", "right"),
        ("unit", "left"),
        ("of part", "right"),
        ("measured by", "left"),
    ):
        table.add_column(name, justify=side)  # type: ignore[arg-type]
    for r in rows:
        part = r.measured if r.measured is not None else r.expected
        share = f"{100 * part / r.available:.1f} %" if r.available and part is not None else ""
        error = f"{r.error_percent:+.1f} %" if r.error_percent is not None and r.metric in RESOURCES else ""
        table.add_row(LABELS[r.metric], text(r.expected), text(r.measured), error, r.unit, share, r.source)
    return table


def layers_table(rows: Sequence[Mapping[str, object]], totals: Sequence[Mapping[str, object]] = ()) -> Table:
    """The per-layer rows, and those of total_rows, as a rich table; what a layer has none of is left blank."""
    synthesized = any(row[f"{r}_synthesized"] is not None for row in rows for r in RESOURCES)
    resources = "estimated / synthesized out of context" if synthesized else "estimated"
    table = Table(title=f"Layers (in, W, acc, out: bits; resources: {resources})", title_justify="left")
    for name in ("layer", "operation"):
        table.add_column(name)
    for name in ("PE x SIMD", "II", "in", "W", "acc", "out", *(LABELS[r] for r in RESOURCES)):
        table.add_column(name, justify="right")
    for k, row in enumerate((*rows, *totals)):
        if k == len(rows):
            table.add_section()
        bits = ("input_bits", "weight_bits", "accumulator_bits", "output_bits")
        table.add_row(
            str(row["layer"]),
            str(row.get("operation", "")),
            f"{row['pe']} x {row['simd']}" if "pe" in row else "",
            *(blank(row.get(k)) for k in ("ii_cycles", *bits)),
            *(
                f"{text(row[f'{r}_estimated'])} / {text(row[f'{r}_synthesized'])}"
                if synthesized
                else blank(row[f"{r}_estimated"])
                for r in RESOURCES
            ),
        )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Metrics down, designs across; '~' marks an estimate, the change is against the first column."""
    table = Table(title="Comparison (~ estimated, not measured; change against the first)", title_justify="left")
    table.add_column("")
    for c in comparison.columns:
        table.add_column(c.name, justify="right")
    for metric in comparison.metrics:
        base, cells = comparison.columns[0].get(metric), []
        for i, c in enumerate(comparison.columns):
            record = c.get(metric)
            if record is None:
                cells.append("-")
                continue
            change = ""
            if i and base is not None and base.value and METRICS[metric][1]:
                change = f" ({100 * (record.value / base.value - 1):+.1f} %)"
            cells.append(f"{'~' if record.source == 'analytic' else ''}{text(record.value)}{change}")
        units = dict.fromkeys(r.unit for c in comparison.columns if (r := c.get(metric)) is not None and r.unit)
        table.add_row(f"{LABELS[metric]} [{' / '.join(units)}]".replace("[", r"\["), *cells)
    return table
