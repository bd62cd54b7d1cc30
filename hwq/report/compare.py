"""Several designs side by side, and a gate that fails when one is worse than the first."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from hwq.errors import ConfigError
from hwq.record import METRICS, Record, load
from hwq.report.build import read_build
from hwq.report.vendor import read_report

# Rows of the table in order, each with the sources it is taken from, best first.
ROWS: dict[str, tuple[str, ...]] = {
    "accuracy": ("verilator", "train"),
    "frames": ("verilator",),
    "mismatches": ("verilator",),
    "latency_cycles": ("verilator", "vendor", "analytic"),
    "ii_cycles": ("verilator", "vendor", "analytic"),
    "fps": ("verilator", "vendor", "analytic"),
    "lut": ("yosys", "vendor", "analytic"),
    "ff": ("yosys", "vendor", "analytic"),
    "bram18": ("yosys", "vendor", "analytic"),
    "dsp": ("yosys", "vendor", "analytic"),
    "fmax_mhz": ("nextpnr", "vendor"),
    "logic_delay_ns": ("yosys",),
}


@dataclass(frozen=True, slots=True)
class Column:
    """One design of a comparison: its best-known record of each metric."""

    name: str
    best: tuple[Record, ...]

    def get(self, metric: str) -> Record | None:
        return next((r for r in self.best if r.metric == metric), None)


@dataclass(frozen=True, slots=True)
class Limit:
    """A gate such as `lut+2%`: no design may be more than `amount` (percent or units) past the first one."""

    metric: str
    sign: int
    amount: float
    percent: bool
    text: str

    def bound(self, base: float) -> float:
        return base + self.sign * (abs(base) * self.amount / 100 if self.percent else self.amount)


@dataclass(frozen=True, slots=True)
class Comparison:
    """Columns in the order given and the gates that failed, one sentence each."""

    columns: tuple[Column, ...]
    failures: tuple[str, ...]

    @property
    def metrics(self) -> list[str]:
        return [m for m in ROWS if any(c.get(m) is not None for c in self.columns)]

    def as_dict(self) -> dict[str, object]:
        """JSON form: columns with value, unit, source and tool of every metric."""
        columns = [
            {
                "name": c.name,
                "metrics": {
                    r.metric: {"value": r.value, "unit": r.unit, "source": r.source, "tool": r.tool} for r in c.best
                },
            }
            for c in self.columns
        ]
        return {"schema_version": 1, "columns": columns, "failures": list(self.failures)}


def compare(paths: Sequence[str | Path], fail_on: str | Sequence[str] = ()) -> Comparison:
    """Compare builds and vendor reports; the first path is the baseline of the gates.

    paths: build directories, record files or reports (hwq.report.vendor). fail_on: gates `METRIC+N%`,
    `METRIC-N%`, or without `%` in the metric's unit, e.g. "lut+2%", "accuracy-0.5". Raises ConfigError; a
    gate that fails does not raise, see `failures`.
    """
    if not paths:
        raise ConfigError("nothing to compare; give build directories or report files")
    limits = [parse_limit(t) for t in ([fail_on] if isinstance(fail_on, str) else fail_on)]
    columns = tuple(Column(name, _best(read_records(Path(p)))) for p, name in zip(paths, _names(paths), strict=True))
    if limits and len(columns) < 2:
        raise ConfigError("--fail-on compares with the first path; give at least two")
    failures = [f for limit in limits for column in columns[1:] if (f := check(limit, columns[0], column))]
    return Comparison(columns, tuple(failures))


def read_records(path: Path) -> list[Record]:
    """Records of a build directory, a model directory, a record file or a vendor report."""
    if path.is_dir():
        if (path / "manifest.json").is_file():
            return list(read_build(path).records)
        if (path / "record.json").is_file():
            return load(path / "record.json")
        raise ConfigError(f"{path} holds no manifest.json and no record.json; give a build or a model directory")
    if path.name.endswith("record.json") and path.is_file():
        return load(path)
    return read_report(path)


def parse_limit(text: str) -> Limit:
    """`lut+2%` -> Limit. Raises ConfigError on an unknown metric or a direction that can't be worse."""
    found = re.fullmatch(r"\s*([a-z0-9_]+)\s*([+-])\s*(\d+(?:\.\d+)?)\s*(%?)\s*", text)
    if found is None:
        raise ConfigError(f"gate '{text}' is not of the form METRIC+N%, METRIC-N%, METRIC+N or METRIC-N, e.g. lut+2%")
    metric, sign, amount, percent = found.groups()
    if metric not in ROWS:
        raise ConfigError(f"gate '{text}': unknown metric '{metric}'; known: {', '.join(ROWS)}")
    better = METRICS[metric][1]
    if better and (sign == "+") == (better > 0):
        way = "more" if better > 0 else "less"
        flipped = f"{metric}{'-' if sign == '+' else '+'}{amount}{percent}"
        raise ConfigError(f"gate '{text}': {way} {metric} is better, so this can't be worse; write {flipped}")
    return Limit(metric, 1 if sign == "+" else -1, float(amount), bool(percent), text.strip())


def check(limit: Limit, base: Column, other: Column) -> str | None:
    """A sentence if `other` is past the limit. Raises ConfigError if the two can't be compared honestly."""
    a, b = base.get(limit.metric), other.get(limit.metric)
    for record, column in ((a, base), (b, other)):
        if record is None:
            raise ConfigError(
                f"gate '{limit.text}': {column.name} has no {limit.metric}; run hwq synth or hwq sim first"
            )
    assert a is not None and b is not None
    if (a.source == "analytic") != (b.source == "analytic"):
        estimated = base.name if a.source == "analytic" else other.name
        raise ConfigError(
            f"gate '{limit.text}': {estimated} holds only an estimate of {limit.metric} and the other a "
            "measurement; run hwq synth or hwq sim on it first"
        )
    bound = limit.bound(a.value)
    if (b.value > bound) if limit.sign > 0 else (b.value < bound):
        change = f", {100 * (b.value / a.value - 1):+.1f} %" if a.value else ""
        return (
            f"{limit.metric} of {other.name} is {b.value:g}{change} against {a.value:g} of {base.name}; "
            f"the gate {limit.text} allows {bound:g}"
        )
    return None


def _best(records: Sequence[Record]) -> tuple[Record, ...]:
    best = []
    for metric, sources in ROWS.items():
        found = [r for s in sources for r in records if r.metric == metric and r.scope == "top" and r.source == s]
        if found:
            best.append([r for r in found if r.source == found[0].source][-1])
    return tuple(best)


def _names(paths: Sequence[str | Path]) -> list[str]:
    """Shortest trailing parts of the paths that tell them apart."""
    parts = [Path(p).resolve().parts for p in paths]
    for length in range(1, max(map(len, parts)) + 1):
        names = ["/".join(p[-length:]) for p in parts]
        if len(set(names)) == len(set(parts)):
            return names
    return [str(p) for p in paths]
