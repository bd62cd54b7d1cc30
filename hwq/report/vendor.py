"""Reports of other tools as Records: Vivado utilization and timing, Vitis HLS csynth, FINN and hls4ml JSON.

Block memory is given in BRAM18 (a 36-kbit block is two). A LUT count of another tool keeps that tool's name
as its unit: it is not a Yosys LUT count.
"""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwq.errors import ConfigError
from hwq.record import Record, make

KNOWN = (
    "a build directory, a record.json, Vivado report_utilization (flat or hierarchical) or "
    "report_timing_summary, "
    "Vitis HLS csynth XML, FINN JSON reports, an hls4ml report as JSON"
)

# Row names of the flat Vivado report, per metric; the first one present counts.
VIVADO_ROWS = {
    "lut": ("Slice LUTs", "CLB LUTs"),
    "ff": ("Slice Registers", "CLB Registers"),
    "bram18": ("Block RAM Tile",),
    "dsp": ("DSPs",),
}
HLS_KEYS = {"lut": ("LUT",), "ff": ("FF",), "bram18": ("BRAM_18K",), "dsp": ("DSP", "DSP48E")}


def read_report(path: Path) -> list[Record]:
    """Records of one report file, source `vendor`. Raises ConfigError if its kind is not recognized."""
    if not path.is_file():
        raise ConfigError(f"{path} does not exist")
    text = path.read_text(errors="replace")
    for recognizes, reader in READERS:
        if recognizes(text):
            try:
                records = reader(text)
            except (KeyError, ValueError, AttributeError, TypeError, IndexError, ET.ParseError) as e:
                raise ConfigError(f"{path}: looks like {reader.__doc__} but can't be read ({e!r})") from None
            if not records:
                raise ConfigError(f"{path}: looks like {reader.__doc__} but holds no figure hwq knows")
            return records
    raise ConfigError(f"{path}: not a report hwq can read; it reads {KNOWN}")


def _vendor(metric: str, value: float, tool: str, scope: str = "top") -> Record:
    unit = {"lut": f"{tool.split()[0]} LUT"}.get(metric, "")
    return make(metric, value, "vendor", scope, tool, unit=unit)


def _number(text: str) -> float:
    """The leading number of a cell; Vivado writes a percentage behind it in some variants."""
    return float(re.match(r"\s*<?\s*(-?[\d.]+)", text)[1])  # type: ignore[index]


def _rows(text: str) -> list[list[str]]:
    """Cells of every `| a | b |` line; the first cell keeps its indentation."""
    rows = []
    for line in text.splitlines():
        if line.lstrip().startswith("|") and line.count("|") > 2:
            first, *rest = line.strip().strip("|").split("|")
            rows.append([first.removeprefix(" ").rstrip(), *(c.strip() for c in rest)])
    return rows


def _vivado_tool(text: str) -> str:
    found = re.search(r"Vivado v\.([\d.]+)", text)
    state = re.search(r"Design State\s*:\s*(.+?)\s*$", text, re.M)
    return f"Vivado{' ' + found[1] if found else ''}{' (' + state[1] + ')' if state else ''}"


def _vivado_flat(text: str) -> list[Record]:
    """a Vivado utilization report"""
    tool, used = _vivado_tool(text), {}
    for row in _rows(text):
        name = row[0].strip().rstrip("*")
        if len(row) > 1 and re.match(r"\d", row[1]) and name not in used:
            used[name] = _number(row[1])
    records = []
    for metric, names in VIVADO_ROWS.items():
        found = next((used[n] for n in names if n in used), None)
        if found is not None:
            records.append(_vendor(metric, found * (2 if metric == "bram18" else 1), tool))
    return records


def _vivado_hierarchical(text: str) -> list[Record]:
    """a hierarchical Vivado utilization report"""
    tool, rows = _vivado_tool(text), _rows(text)
    header = next(i for i, r in enumerate(rows) if r[0].strip() == "Instance" and "Total LUTs" in r)
    column = {name: i for i, name in enumerate(rows[header])}
    dsp = next((c for c in ("DSP48 Blocks", "DSP Blocks", "DSPs") if c in column), None)
    records: list[Record] = []
    for row in rows[header + 1 :]:
        depth = len(row[0]) - len(row[0].lstrip())
        name = row[0].strip()
        if len(row) != len(rows[header]) or depth > 2 or name.startswith("("):
            continue
        scope = "top" if depth == 0 else name
        bram = 2 * _number(row[column["RAMB36"]]) + _number(row[column["RAMB18"]])
        records += [
            _vendor("lut", _number(row[column["Total LUTs"]]), tool, scope),
            _vendor("ff", _number(row[column["FFs"]]), tool, scope),
            _vendor("bram18", bram, tool, scope),
        ]
        if dsp is not None:
            records.append(_vendor("dsp", _number(row[column[dsp]]), tool, scope))
    return records


def _vivado_timing(text: str) -> list[Record]:
    """a Vivado timing summary"""
    periods = _timing_table(text, "Clock Summary", "Period(ns)")
    slacks = _timing_table(text, "Intra Clock Table", "WNS(ns)")
    reached = [1000 / (periods[c] - slack) for c, slack in slacks.items() if c in periods]
    return [_vendor("fmax_mhz", round(min(reached), 3), _vivado_tool(text))] if reached else []


def _timing_table(text: str, title: str, column: str) -> dict[str, float]:
    """Clock name -> number in the column that starts with `column`, of one titled table."""
    lines = text[text.index(f"| {title}") :].splitlines()
    head = next(i for i, line in enumerate(lines) if line.startswith("Clock") and column in line)
    cells: dict[str, float] = {}
    for line in lines[head + 2 :]:
        if not line.strip() or line.startswith("-"):
            break
        words = re.sub(r"\{[^}]*\}", "{}", line).split()
        where = re.sub(r"\s{2,}", "\t", lines[head].strip()).split("\t").index(column)
        if len(words) > where and re.match(r"-?[\d.]+$", words[where]):
            cells[words[0]] = float(words[where])
    return cells


def _csynth(text: str) -> list[Record]:
    """a Vitis HLS synthesis report"""
    root = ET.fromstring(text)
    version = root.findtext("./ReportVersion/Version")
    tool = f"Vitis HLS{' ' + version if version else ''} (estimate)"
    flat = {child.tag: child.text or "" for child in root.findall("./AreaEstimates/Resources/*")}
    overall = {c.tag: c.text or "" for c in root.findall("./PerformanceEstimates/SummaryOfOverallLatency/*")}
    flat |= {
        "WorstLatency": overall.get("Worst-caseLatency", ""),
        "IntervalMax": overall.get("Interval-max", ""),
        "EstimatedClockPeriod": root.findtext("./PerformanceEstimates/SummaryOfTimingAnalysis/EstimatedClockPeriod")
        or "",
    }
    return _hls_records(flat, tool)


def _hls_records(flat: Mapping[str, Any], tool: str) -> list[Record]:
    def first(*keys: str) -> float | None:
        return next((float(flat[k]) for k in keys if str(flat.get(k, "")).replace(".", "", 1).isdigit()), None)

    found = {metric: first(*keys) for metric, keys in HLS_KEYS.items()}
    found |= {"latency_cycles": first("WorstLatency"), "ii_cycles": first("IntervalMax")}
    period = first("EstimatedClockPeriod")
    found["fmax_mhz"] = round(1000 / period, 3) if period else None
    return [_vendor(m, v, tool) for m, v in found.items() if v is not None]


def _hls4ml(text: str) -> list[Record]:
    """an hls4ml report"""
    body = json.loads(text)
    if "VivadoSynthReport" in body:
        synth = _hls_records(body["VivadoSynthReport"], "Vivado by hls4ml")
        have = {r.metric for r in synth}
        rest = [
            r
            for r in _hls_records(body.get("CSynthesisReport", {}), "Vitis HLS by hls4ml (estimate)")
            if r.metric not in have
        ]
        return [*synth, *rest]
    return _hls_records(body["CSynthesisReport"], "Vitis HLS by hls4ml (estimate)")


def _finn(text: str) -> list[Record]:
    """a FINN report"""
    body = json.loads(text)
    if "(top)" in body:
        return _finn_resources({("top" if k == "(top)" else k): v for k, v in body.items()}, "Vivado by FINN")
    if "total" in body:
        return _finn_resources({("top" if k == "total" else k): v for k, v in body.items()}, "FINN estimate")
    names = {
        "latency_cycles": ("latency_cycles", "critical_path_cycles"),
        "ii_cycles": ("max_cycles",),
        "fps": ("throughput[images/s]", "estimated_throughput_fps"),
        "fmax_mhz": ("fclk[mhz]",),
    }
    tool = "FINN estimate" if "critical_path_cycles" in body else "FINN RTL simulation"
    return [_vendor(m, float(body[k]), tool) for m, keys in names.items() for k in keys if k in body]


def _finn_resources(body: Mapping[str, Any], tool: str) -> list[Record]:
    records: list[Record] = []
    for scope, row in body.items():
        if not isinstance(row, dict) or "LUT" not in row:
            continue
        bram = 2 * float(row.get("BRAM_36K", 0)) + float(row.get("BRAM_18K", 0))
        dsp = float(row["DSP48"] if "DSP48" in row else row.get("DSP", 0))
        values = {"lut": float(row["LUT"]), "bram18": bram, "dsp": dsp}
        if "FF" in row:
            values["ff"] = float(row["FF"])
        records += [_vendor(m, v, tool, scope) for m, v in values.items()]
    return records


READERS: tuple[tuple[Callable[[str], bool], Callable[[str], list[Record]]], ...] = (
    (
        lambda t: "Timing Summary Report" in t or ("Design Timing Summary" in t and "Site Type" not in t),
        _vivado_timing,
    ),
    (lambda t: "Total LUTs" in t and "| Instance" in re.sub(r"\|\s+", "| ", t), _vivado_hierarchical),
    (lambda t: "Site Type" in t, _vivado_flat),
    (lambda t: "<AreaEstimates>" in t, _csynth),
    (lambda t: '"CSynthesisReport"' in t, _hls4ml),
    (
        lambda t: (
            t.lstrip().startswith("{")
            and re.search(r'"\(top\)"|"total"|"critical_path_cycles"|"throughput\[images/s\]"', t) is not None
        ),
        _finn,
    ),
)
