"""Records -> the tables a terminal shows: plain rows first, rich only at the very end."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

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
        if expected is None and measured is None:
            continue
        unit = "LUT" if metric == "lut" else METRICS[metric][0]
        rows.append(
            Row(
                metric,
                expected,
                measured,
                unit,
                _source(build, metric, "top", sources),
                (capacity or {}).get(metric),
            )
        )
    return rows


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


def layer_facts(build: Build, layer: str) -> dict[str, object]:
    """Shape, bits, folding and cycles a frame of a layer, from its streams and its matrix unit and step."""
    instances = [i for i in build.manifest["instances"] if i["layer"] == layer]
    names = {i["name"] for i in instances}
    work = [s["beats"] * s["repeat"] for s in build.manifest["streams"] if s["dst"][0] in names]
    facts: dict[str, object] = {"ii_cycles": max(work)} if work and layer != "edge" else {}
    for i in instances:
        p = i["params"]
        if i["module"] in ("hwq_mvu", "hwq_vvu"):
            simd = p.get("SIMD", 1)
            facts |= {
                "rows": p["PE"] * p["NF"],
                "cols": simd * p["SF"],
                "pe": p["PE"],
                "simd": simd,
                "weight_bits": p["W_BITS"],
                "input_bits": p["X_BITS"],
                "accumulator_bits": p["ACC_W"],
            }
        if i["module"] in ("hwq_threshold", "hwq_requant", "hwq_table"):
            facts |= {"output_bits": p["Y_W"], "step": i["module"].removeprefix("hwq_")}
    return facts


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


def layers_table(rows: Sequence[Mapping[str, object]]) -> Table:
    """The per-layer rows as a rich table."""
    table = Table(title="Layers (resources: estimated / synthesized out of context)", title_justify="left")
    for name in ("layer", "matrix", "PE x SIMD", "II", "W/in/acc/out bits", "LUT", "FF", "BRAM18", "DSP"):
        table.add_column(name, justify="left" if name == "layer" else "right")
    for row in rows:
        dense = "rows" in row
        bits = "/".join(
            text(row.get(k)) for k in ("weight_bits", "input_bits", "accumulator_bits", "output_bits")
        )
        table.add_row(
            str(row["layer"]),
            f"{row['rows']}x{row['cols']}" if dense else "",
            f"{row['pe']}x{row['simd']}" if dense else "",
            text(row.get("ii_cycles")) if dense else "",
            bits if dense else "",
            *(f"{text(row[f'{r}_estimated'])} / {text(row[f'{r}_synthesized'])}" for r in RESOURCES),
        )
    return table


def comparison_table(comparison: Comparison) -> Table:
    """Metrics down, designs across; '~' marks an estimate, the change is against the first column."""
    table = Table(
        title="Comparison (~ estimated, not measured; change against the first)", title_justify="left"
    )
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
        units = dict.fromkeys(
            r.unit for c in comparison.columns if (r := c.get(metric)) is not None and r.unit
        )
        table.add_row(f"{LABELS[metric]} [{' / '.join(units)}]".replace("[", r"\["), *cells)
    return table
