"""The C++ harness of a build: compile it (cached by content), run it on a range of frames, read its report.

The cache key covers RTL, tap, stream table, harness sources, tool version and flags, but no memory files:
weights are read at run time through `$readmemh`, so new weights of the same shape need no new compilation.
"""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from hwq.errors import ConfigError, ModelError, ToolFailed, ToolMissing
from hwq.tools import verilator
from hwq.tools.run import run, run_all
from hwq.tools.verilator import VerilatorInstall

STALLS = ("none", "source", "sink", "random")
VERILATE = (
    "--cc",
    "-O3",
    "--x-assign",
    "fast",
    "--x-initial",
    "fast",
    "--noassert",
    "--prefix",
    "Vhwq_model",
    "--Mdir",
    ".",
    "-Wno-fatal",
    "-Werror-USERERROR",  # a parameter out of range: the library says so at elaboration
    "-Wno-WIDTH",
    "-Wno-UNOPTFLAT",
    "--no-timing",
)
OPT_FAST = "-O2"
CXX_FLAGS = "-std=c++17 -O2"
MAIN_SOURCES = ("main.cpp", "raw.cpp")
HEADERS = ("model.h", "monitor.h", "plan.h", "report.h", "signal.h", "stall.h")


@dataclass(frozen=True, slots=True)
class Fault:
    """One beat that was not as it must be. kind: value | dropped | unstable | extra | tlast | edge."""

    kind: str
    stream: str
    cycle: int
    frame: int
    repetition: int
    beat: int
    got: tuple[int, ...]


@dataclass(frozen=True, slots=True)
class StreamState:
    """What the monitor of one stream counted, and the handshake in the last cycle.

    ends: cycle of the last beat of each of the first frames.
    """

    name: str
    moved: int
    stalled: int
    starved: int
    frame: int
    repetition: int
    beat: int
    done: bool
    tvalid: bool
    tready: bool
    ends: tuple[int, ...]


@dataclass(frozen=True)
class Report:
    """One harness run. `end`: done, faults, hang or cycles (bound reached); times per frame in cycles."""

    end: str
    cycles: int
    seconds: float
    cpu_seconds: float
    fault_beats: int
    fault_values: int
    first_in: tuple[int, ...]
    last_out: tuple[int, ...]
    streams: tuple[StreamState, ...]
    levels: Mapping[str, int]
    faults: tuple[Fault, ...]

    @property
    def ok(self) -> bool:
        return self.end == "done" and not self.faults


def rtl_files(build: Path) -> list[str]:
    """Paths of rtl/files.f, relative to the build folder. Raises ModelError if the build is not complete."""
    listing = build / "rtl" / "files.f"
    if not listing.is_file():
        raise ModelError(
            f"{build}: no rtl/files.f, so this is not a build directory; make one with 'hwq export'"
        )
    files = listing.read_text().split()
    missing = [f for f in files if not (build / f).is_file()]
    if missing:
        raise ModelError(
            f"{build}: {', '.join(missing)} named in rtl/files.f do not exist; export the design again"
        )
    return files


def trace_kind(trace: Path | None) -> str:
    """'' | 'vcd' | 'fst' by the suffix of the trace file. Raises ConfigError on another suffix."""
    if trace is None:
        return ""
    kind = trace.suffix.lstrip(".")
    if kind not in ("vcd", "fst"):
        raise ConfigError(f"--trace {trace}: the name must end in .fst or .vcd")
    return kind


def _check_fst(install: VerilatorInstall) -> None:
    """Verilator's FST writer includes lz4.h; say so before a page of compiler output does."""
    probe = run(
        ["g++", "-E", "-x", "c++", "-include", "lz4.h", "/dev/null", "-o", "/dev/null"],
        install.root,
        install.env,
        check=False,
    )
    if probe.code:
        raise ToolMissing(
            "FST traces need lz4.h: apt-get install liblz4-dev; or give a file that ends in .vcd"
        )


def _key(
    build: Path, top: str, files: Sequence[str], main: str, install: VerilatorInstall, trace: str
) -> str:
    """Content hash of everything the executable depends on."""
    h = hashlib.sha256(repr((top, main, install.version, VERILATE, OPT_FAST, CXX_FLAGS, trace)).encode())
    for f in [*files, "sim/streams.h", f"sim/{main}", *(f"sim/{x}" for x in HEADERS)]:
        h.update(f.encode() + b"\0" + (build / f).read_bytes() + b"\0")
    return h.hexdigest()[:24]


def compile_model(
    build: Path,
    cache_dir: Path,
    *,
    trace: str = "",
    bare: str = "",
    jobs: int = 2,
    install: VerilatorInstall | None = None,
) -> Path:
    """The harness executable of a build, from the cache or compiled into it.

    trace: '' | 'vcd' | 'fst'. bare: name of the top module, to compile it without taps and checks
    (sim/raw.cpp) for the speed reference. Raises ToolMissing, ToolVersion, ToolFailed, ModelError.
    """
    install = install or verilator.find()
    build = build.resolve()
    files = rtl_files(build)
    top, main = (bare, "raw.cpp") if bare else ("hwq_tap", "main.cpp")
    if not bare:
        files = [*files, "sim/hwq_tap.sv"]
    cache_dir = cache_dir.resolve()
    exe = cache_dir / _key(build, top, files, main, install, trace) / "simulate"
    if exe.is_file():
        return exe
    if trace == "fst":
        _check_fst(install)
    work = cache_dir / f".{exe.parent.name}.{os.getpid()}.tmp"
    shutil.rmtree(work, ignore_errors=True)
    work.mkdir(parents=True)
    log = cache_dir / f"{exe.parent.name}.log"  # stays behind when a tool fails
    sources = [*(build / f for f in files), build / "sim" / main]
    try:
        argv = [*VERILATE, "--top-module", top, *([f"--trace-{trace}"] if trace else [])]
        argv += ["--exe", "-o", "simulate", "-CFLAGS", f"{CXX_FLAGS} -iquote {build / 'sim'}"]
        verilator.verilate(install, [*argv, *sources], work, log=log)
        runtime = cache_dir / f"runtime-{install.version}-{trace or 'plain'}"
        _copy_objects(runtime, work)
        verilator.make(install, work, "Vhwq_model.mk", opt_fast=OPT_FAST, opt_slow="-O0", jobs=jobs, log=log)
        if not runtime.is_dir():
            part = runtime.with_name(f".{runtime.name}.{os.getpid()}")
            _copy_objects(work, part)
            part.rename(runtime)
        exe.parent.mkdir(parents=True, exist_ok=True)
        (work / "simulate").replace(exe)
        log.unlink()
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return exe


def _copy_objects(source: Path, target: Path) -> None:
    """Verilator's own object files, equal for every model; newly dated, so make takes them as up to date."""
    if source.is_dir():
        target.mkdir(exist_ok=True)
        for path in source.glob("verilated*.o"):
            shutil.copy(path, target / path.name)


@dataclass(frozen=True, slots=True)
class RunOptions:
    """How frames are driven, and when a run is given up."""

    stall: str = "none"
    seed: int = 0
    max_cycles: int = 1 << 40
    idle_cycles: int = 100_000
    stop_after: int = 1


@dataclass(frozen=True, slots=True)
class Shard:
    """Frames [first, last) of a plan, the report file they end in, and optional output words and waves."""

    first: int
    last: int
    report: Path
    outputs: str = ""
    trace: Path | None = None


def run_model(
    exe: Path, build: Path, plan: Path, shards: Sequence[Shard], options: RunOptions
) -> list[Report]:
    """Run all shards at the same time, one process each, in the build folder (memory paths are relative).

    Waves get their name when they are whole. Raises ToolFailed if a process could not do its work (exit code
    other than 0 or 1).
    """
    traces = [s.trace for s in shards if s.trace is not None]
    try:
        for trace in traces:
            _unfinished(trace).mkdir(parents=True)
        found = _run_model(exe, build, plan, shards, options)
        for trace in traces:
            (_unfinished(trace) / trace.name).replace(trace)
        return found
    finally:
        for trace in traces:
            shutil.rmtree(_unfinished(trace), ignore_errors=True)


def _unfinished(trace: Path) -> Path:
    """The folder a trace grows in, beside its place."""
    return trace.with_name(f".{trace.name}.{os.getpid()}.tmp")


def _run_model(
    exe: Path, build: Path, plan: Path, shards: Sequence[Shard], options: RunOptions
) -> list[Report]:
    argvs: list[list[str | Path]] = []
    for s in shards:
        argv: list[str | Path] = [
            exe,
            "--plan",
            plan,
            "--first",
            str(s.first),
            "--last",
            str(s.last),
            "--report",
            s.report,
            "--stall",
            options.stall,
            "--seed",
            str(options.seed),
            "--max-cycles",
            str(options.max_cycles),
            "--idle-cycles",
            str(options.idle_cycles),
            "--stop-after",
            str(options.stop_after),
        ]
        argv += ["--outputs", s.outputs] if s.outputs else []
        argv += ["--trace", _unfinished(s.trace) / s.trace.name] if s.trace is not None else []
        s.report.unlink(missing_ok=True)
        argvs.append(argv)
    for argv, s, done in zip(argvs, shards, run_all(argvs, build), strict=True):
        if done.code not in (0, 1) or not s.report.is_file():
            raise ToolFailed([str(a) for a in argv], done.code, done.stdout)
    return [read_report(s.report) for s in shards]


def read_report(path: Path) -> Report:
    """The JSON file a harness process wrote."""
    b: dict[str, Any] = json.loads(path.read_text())
    streams = tuple(
        StreamState(
            s["name"],
            s["moved"],
            s["stalled"],
            s["starved"],
            s["frame"],
            s["pass"],
            s["beat"],
            bool(s["done"]),
            bool(s["tvalid"]),
            bool(s["tready"]),
            tuple(s["ends"]),
        )
        for s in b["streams"]
    )
    faults = tuple(
        Fault(f["kind"], f["stream"], f["cycle"], f["frame"], f["pass"], f["beat"], tuple(f["got"]))
        for f in b["faults"]
    )
    return Report(
        b["end"],
        b["cycles"],
        b["seconds"],
        b["cpu_seconds"],
        b["fault_beats"],
        b["fault_values"],
        tuple(b["first_in"]),
        tuple(b["last_out"]),
        streams,
        b["levels"],
        faults,
    )
