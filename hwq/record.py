"""Record: one number, with where it comes from. Everything hwq measures or estimates is a list of these."""

from __future__ import annotations

import json
import os
from collections.abc import Iterable
from dataclasses import asdict, dataclass
from pathlib import Path

from hwq.errors import ModelError

SCHEMA_VERSION = 1
SOURCES = ("train", "analytic", "verilator", "yosys", "nextpnr", "vendor")

# metric -> (unit, which way is better: -1 less, +1 more, 0 neither)
METRICS: dict[str, tuple[str, int]] = {
    "accuracy": ("%", +1),
    "accuracy_float": ("%", +1),
    "frames": ("frames", 0),
    "mismatches": ("values", -1),
    "latency_cycles": ("cycles", -1),
    "ii_cycles": ("cycles", -1),
    "fps": ("frames/s", +1),
    "lut": ("Yosys LUT", -1),
    "ff": ("FF", -1),
    "bram18": ("BRAM18", -1),
    "dsp": ("DSP", -1),
    "fmax_mhz": ("MHz", +1),
    "logic_delay_ns": ("ns", -1),
    "fifo_beats": ("beats", -1),
    "weight_bits": ("bits", -1),
    "sim_cycles_per_s": ("cycles/s", +1),
}


@dataclass(frozen=True, slots=True)
class Record:
    """One measured or computed number. `scope` is 'top' or a layer name; `source` one of SOURCES."""

    metric: str
    value: float
    unit: str
    scope: str
    source: str
    tool: str = ""
    config_hash: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        if self.source not in SOURCES:
            raise ValueError(f"record source '{self.source}' is not one of {', '.join(SOURCES)}")


def make(metric: str, value: float, source: str, scope: str = "top", tool: str = "", config_hash: str = "",
         seed: int | None = None, unit: str = "") -> Record:
    """A Record with the unit of a known metric filled in."""
    return Record(metric, value, unit or METRICS.get(metric, ("", 0))[0], scope, source, tool, config_hash, seed)


def write_atomic(path: Path, content: str | bytes) -> None:
    """Write a file under a temporary name, then rename: a reader sees the old or the new file, never half of one."""
    path.parent.mkdir(parents=True, exist_ok=True)
    tmp = path.with_name(f".{path.name}.{os.getpid()}.tmp")
    try:
        tmp.write_bytes(content.encode() if isinstance(content, str) else content)
        tmp.replace(path)
    finally:
        tmp.unlink(missing_ok=True)


def save(path: Path, records: Iterable[Record]) -> None:
    """Write records as JSON with a schema version."""
    body = {"schema_version": SCHEMA_VERSION, "records": [asdict(r) for r in records]}
    write_atomic(path, json.dumps(body, indent=1) + "\n")


def load(path: Path) -> list[Record]:
    """Read records; an empty list if there is no file. Raises ModelError on a corrupt file."""
    if not path.exists():
        return []
    try:
        body = json.loads(path.read_text())
        if body["schema_version"] != SCHEMA_VERSION:
            raise ModelError(f"{path}: schema_version {body['schema_version']}, this hwq reads {SCHEMA_VERSION}")
        return [Record(**r) for r in body["records"]]
    except (ValueError, KeyError, TypeError) as e:
        raise ModelError(f"{path}: not a record file ({e}); delete it and run the step again") from None


def update(path: Path, new: Iterable[Record]) -> list[Record]:
    """Merge into the file: a new record replaces one of the same metric, scope, source and tool."""
    merged = {(r.metric, r.scope, r.source, r.tool): r for r in load(path)}
    merged.update({(r.metric, r.scope, r.source, r.tool): r for r in new})
    save(path, merged.values())
    return list(merged.values())
