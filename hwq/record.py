"""Record: one number, with where it comes from. Everything hwq measures or estimates is a list of these."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
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
    """One measured or computed number. `scope` is 'top', a layer or an instance; `source` one of SOURCES."""

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
    """Write a file under a temporary name, then rename: a reader sees the old or the new file, never half of one.

    Links are followed; a device or a pipe is written to, not replaced. An OSError names `path`.
    """
    data = content.encode() if isinstance(content, str) else content
    if path.exists() and not (path.is_file() or path.is_dir()):
        path.write_bytes(data)
        return
    place = path.resolve()
    tmp = place.with_name(f".{place.name}.{os.getpid()}.tmp")
    try:
        place.parent.mkdir(parents=True, exist_ok=True)
        tmp.write_bytes(data)
        tmp.replace(place)
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(path)) from None
    finally:
        with contextlib.suppress(OSError):  # its folder may be a file
            tmp.unlink(missing_ok=True)


@contextmanager
def naming(place: Path) -> Iterator[None]:
    """Give an OSError without a file name (a write that failed) the name of its folder."""
    try:
        yield
    except OSError as e:
        raise OSError(e.errno, e.strerror or str(e), str(e.filename or place)) from None


@contextmanager
def whole_directory(path: Path) -> Iterator[Path]:
    """A folder to fill, which takes the place of `path` at the end of the block; an exception leaves the old one.

    An OSError names the place the file was meant for.
    """
    place = path.resolve()
    tmp, old = (place.with_name(f".{place.name}.{os.getpid()}.{kind}") for kind in ("tmp", "old"))
    shutil.rmtree(tmp, ignore_errors=True)
    try:
        tmp.mkdir(parents=True)
        yield tmp
        if place.exists():
            place.rename(old)
        tmp.rename(place)
    except OSError as e:
        raise OSError(e.errno, e.strerror, str(e.filename or path).replace(str(tmp), str(path))) from None
    finally:
        if old.exists() and not place.exists():
            old.rename(place)
        shutil.rmtree(tmp, ignore_errors=True)
        shutil.rmtree(old, ignore_errors=True)


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
