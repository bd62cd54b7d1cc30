"""`hwq sim`: all frames through the RTL under Verilator, every beat of every stream against golden."""

from __future__ import annotations

import os
import shutil
import time
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from itertools import pairwise
from pathlib import Path

import numpy as np

from hwq import bits, record
from hwq.dtype import IntArray
from hwq.errors import CheckFailed, ConfigError, MismatchError
from hwq.flow import expect, harness
from hwq.flow.bench import run_bench
from hwq.flow.builddir import Build, load_build
from hwq.flow.expect import Chunk
from hwq.flow.faults import describe, first_failure
from hwq.flow.frames import Frames, choose_frames, predictions
from hwq.flow.harness import Report, RunOptions, Shard
from hwq.flow.repro import load_reproducer, save_reproducer
from hwq.record import Record
from hwq.tools import verilator

CHUNK_FRAMES = 2048
CHUNK_BYTES = 256 << 20
MIN_SHARD = 16  # frames below which another process is not worth its pipeline fill
Progress = Callable[[int, int], None]  # frames done, frames in all


@dataclass(frozen=True, slots=True)
class StreamRow:
    """Totals of one stream: beats moved, cycles it was held up by its sink, cycles its sink waited."""

    stream: str
    layer: str
    tensor: str
    beats: int
    stalled: int
    starved: int


@dataclass(frozen=True)
class SimResult:
    """A simulation without a mismatch. accuracy in % (None without labels), accuracy_model that of golden.

    latency_cycles, ii_cycles: as measured (None if stalled, or too few frames for an interval). cycles_per_s:
    simulated cycles per second and process; seconds: wall clock of the simulation, compilation apart.
    """

    build: Path
    source: str
    stall: str
    seed: int
    frames: int
    mismatches: int
    accuracy: float | None
    accuracy_model: float | None
    latency_cycles: int | None
    ii_cycles: int | None
    expected_latency_cycles: int
    expected_ii_cycles: int
    fps: float
    cycles: int
    seconds: float
    compile_seconds: float
    cycles_per_s: float
    streams: tuple[StreamRow, ...]
    fifo_beats: Mapping[str, int]
    records: tuple[Record, ...]
    bench: str = ""  # one line about the cocotb bench, when it ran

    @property
    def timing_equal(self) -> bool:
        """The measured figures that exist equal the token model's."""
        return self.latency_cycles in (None, self.expected_latency_cycles) and self.ii_cycles in (
            None,
            self.expected_ii_cycles,
        )


def default_cache_dir() -> Path:
    """Where compiled models are kept unless a folder is given."""
    return Path.home() / ".cache" / "hwq" / "sim"


def _options(build: Build, stall: str, seed: int, frames: int) -> RunOptions:
    """Bounds from the token model: latency, then II a frame; stalled regimes halve source and sink."""
    factor = 2 if stall == "none" else 10
    one = build.latency_cycles + build.ii_cycles
    return RunOptions(stall, seed, factor * (one + frames * build.ii_cycles) + 20_000, one + 4_000)


def _shards(size: int, jobs: int, folder: Path, trace: Path | None) -> list[Shard]:
    jobs = 1 if trace is not None else max(1, min(jobs, size // MIN_SHARD))
    edges = [size * i // jobs for i in range(jobs + 1)]
    return [
        Shard(a, b, folder / f"report{i}.json", str(folder / f"out{i}_"), trace)
        for i, (a, b) in enumerate(pairwise(edges))
    ]


def _rtl_outputs(build: Build, shards: Sequence[Shard]) -> IntArray:
    """What left the first output of the RTL, decoded: int64 [frames, size]."""
    s = build.stream(build.manifest["outputs"][0])
    words = np.concatenate([np.fromfile(f"{sh.outputs}0.bin", dtype="<u4") for sh in shards])
    frames = words.reshape(-1, s.beats * s.repeat, -(-s.width // 32))
    return bits.decode(bits.unpack_beats(frames.astype(np.uint32), s.lanes, s.bits), s.bits, s.signed)


def _chunk_frames(build: Build) -> int:
    per_frame = expect.bytes_per_frame(build.streams) + 16 * sum(t.size for t in build.graph.tensors.values())
    return max(1, min(CHUNK_FRAMES, CHUNK_BYTES // per_frame))


def _prepare(build: Build, frames: Frames, start: int, size: int, folder: Path) -> Chunk:
    found = expect.tensors(build.graph, build.streams, [x[start : start + size] for x in frames.inputs])
    return Chunk(start, size, found, expect.write_plan(folder, build.streams, found))


def measured_timing(build: Build, reports: Sequence[Report]) -> tuple[int, int | None, list[str]]:
    """(latency of frame 0, II once settled, complaints) of unstalled runs."""
    latencies = [r.last_out[0] - r.first_in[0] for r in reports]
    gaps = Counter(
        b - a
        for r in reports
        for a, b in pairwise(r.last_out[build.settled_after - 1 :])
    )
    wrong = sorted({v for v in latencies if v != build.latency_cycles})
    complaints = [f"latency {v} cycles, the token model says {build.latency_cycles}" for v in wrong]
    complaints += [
        f"{n} intervals of {g} cycles, the token model says {build.ii_cycles}"
        for g, n in sorted(gaps.items())
        if g != build.ii_cycles
    ]
    return (wrong or latencies)[0], gaps.most_common(1)[0][0] if gaps else None, complaints


def fifo_layers(build: Build, marks: Mapping[str, int]) -> dict[str, int]:
    """Largest high-water mark of each layer's FIFOs."""
    found: dict[str, int] = {}
    for i in build.manifest["instances"]:
        if i["name"] in marks:
            found[i["layer"]] = max(found.get(i["layer"], 0), marks[i["name"]])
    return found


def _records(
    build: Build, tool: str, seed: int, values: Mapping[str, float | None], marks: Mapping[str, int]
) -> tuple[Record, ...]:
    h = build.manifest.get("config_hash", "")
    top = [
        record.make(k, v, "verilator", tool=tool, config_hash=h, seed=seed)
        for k, v in values.items()
        if v is not None
    ]
    fifos = [
        record.make("fifo_beats", v, "verilator", layer, tool, h, seed)
        for layer, v in fifo_layers(build, marks).items()
    ]
    return (*top, *fifos)


def _rows(build: Build, reports: Sequence[Report]) -> tuple[StreamRow, ...]:
    rows = []
    for i, s in enumerate(build.streams):
        of = [r.streams[i] for r in reports]
        rows.append(
            StreamRow(
                s.name,
                build.layers[s.name],
                s.tensor,
                sum(x.moved for x in of),
                sum(x.stalled for x in of),
                sum(x.starved for x in of),
            )
        )
    return tuple(rows)


def simulate(
    build: str | Path,
    frames: int | str = "all",
    *,
    data_dir: Path | None = None,
    input: Path | None = None,
    stall: str = "none",
    seed: int = 0,
    trace: Path | None = None,
    cocotb: bool = False,
    replay: Path | None = None,
    jobs: int = 2,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> SimResult:
    """Simulate a build directory and compare every beat of every stream with the golden model.

    frames: how many, or "all" of the data set. input: .npy of encoded float or of integer frames. stall: none,
    source, sink or random. trace: waves into a .fst or .vcd file (one process). replay: a saved reproducer.
    cocotb: run the build's own bench too. Writes records into the build's record.json. Raises MismatchError on
    any difference (with a reproducer saved), CheckFailed if latency or II differ from the token model,
    DataError, ConfigError, ModelError, ToolError.
    """
    b = load_build(Path(build))
    if stall not in harness.STALLS:
        raise ConfigError(f"--stall {stall}: not one of {', '.join(harness.STALLS)}")
    if jobs < 1:
        raise ConfigError(f"--jobs {jobs}: at least 1")
    kind = harness.trace_kind(trace)
    if replay is not None:
        chosen, stall, seed = load_reproducer(b, Path(replay))
    else:
        chosen = choose_frames(b, frames, data_dir, input, seed)
    cache = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    install = verilator.find()
    begin = time.monotonic()
    exe = harness.compile_model(b.path, cache, trace=kind, jobs=jobs, install=install)
    compiled = time.monotonic() - begin
    work = cache / f".run.{os.getpid()}.{time.monotonic_ns()}"
    work.mkdir(parents=True)
    try:
        result = _run(
            b,
            exe,
            chosen,
            stall,
            seed,
            1 if replay is not None else jobs,
            work,
            None if trace is None else Path(trace).resolve(),
            f"verilator {install.version}",
            progress,
        )
    finally:
        shutil.rmtree(work, ignore_errors=True)
    result = replace(result, compile_seconds=compiled)
    if cocotb:
        result = replace(result, bench=run_bench(b.path))
    return result


def _run(
    b: Build,
    exe: Path,
    chosen: Frames,
    stall: str,
    seed: int,
    jobs: int,
    work: Path,
    trace: Path | None,
    tool: str,
    progress: Progress | None,
) -> SimResult:
    """All chunks, then the totals, the timing check and the records."""
    total, step = len(chosen), _chunk_frames(b)
    reports: list[Report] = []
    outputs: list[IntArray] = []
    golden: list[IntArray] = []
    begin = time.monotonic()
    if progress is not None:
        progress(0, total)
    for start in range(0, total, step):
        chunk = _prepare(b, chosen, start, min(step, total - start), work)
        part = trace if total <= step or trace is None else trace.with_stem(f"{trace.stem}-{start}")
        shards = _shards(chunk.size, jobs, work, part)
        options = _options(b, stall, seed, chunk.size)
        done = harness.run_model(exe, b.path, chunk.plan, shards, options)
        failed = first_failure(done)
        if failed is not None:
            _fail(b, exe, chunk, shards[failed], done[failed], options, chosen, tool, trace)
        reports += done
        outputs.append(_rtl_outputs(b, shards))
        golden.append(chunk.found[b.graph.outputs[0]].reshape(chunk.size, -1))
        if progress is not None:
            progress(start + chunk.size, total)
    seconds = time.monotonic() - begin
    return _result(
        b, chosen, stall, seed, reports, np.concatenate(outputs), np.concatenate(golden), seconds, tool
    )


def _fail(
    b: Build,
    exe: Path,
    chunk: Chunk,
    shard: Shard,
    report: Report,
    options: RunOptions,
    chosen: Frames,
    tool: str,
    trace: Path | None,
) -> None:
    message = describe(b, report, options, chunk)
    folder, count = save_reproducer(b, exe, chunk, shard, report, options, chosen, message)
    record.update(
        b.path / "record.json",
        _records(
            b,
            tool,
            options.seed,
            {"frames": chunk.start + shard.last, "mismatches": max(report.fault_values, 1)},
            {},
        ),
    )
    waves = f"; waves {trace}" if trace is not None else ""
    raise MismatchError(
        f"{message}; stall {options.stall}, seed {options.seed}{waves}\n"
        f"{count} frame{'s' if count > 1 else ''} that reproduce it: hwq sim {b.path} --replay {folder}"
    )


def _result(
    b: Build,
    chosen: Frames,
    stall: str,
    seed: int,
    reports: Sequence[Report],
    outputs: IntArray,
    golden: IntArray,
    seconds: float,
    tool: str,
) -> SimResult:
    rtl, model = predictions(b.graph, outputs), predictions(b.graph, golden)
    labels = chosen.labels
    accuracy = accuracy_model = None
    if labels is not None and rtl is not None and model is not None:
        accuracy, accuracy_model = (100.0 * float(np.mean(p == labels)) for p in (rtl, model))
    latency = ii = None
    complaints: list[str] = []
    if stall == "none":
        latency, ii, complaints = measured_timing(b, reports)
    marks: dict[str, int] = {}
    for r in reports:
        for name, level in r.levels.items():
            marks[name] = max(marks.get(name, 0), level)
    cycles = sum(r.cycles for r in reports)
    speed = cycles / max(sum(r.seconds for r in reports), 1e-9)
    fps = b.manifest["clock_mhz"] * 1e6 / (ii or b.ii_cycles)
    records = _records(
        b,
        tool,
        seed,
        {
            "frames": len(chosen),
            "mismatches": 0,
            "accuracy": accuracy,
            "latency_cycles": latency,
            "ii_cycles": ii,
            "fps": None if ii is None else fps,
            "sim_cycles_per_s": round(speed),
        },
        marks,
    )
    record.update(b.path / "record.json", records)
    if complaints:
        raise CheckFailed(
            f"{b.path}: every value is right, but the timing is not the promised one: {'; '.join(complaints)}"
        )
    return SimResult(
        b.path,
        chosen.source,
        stall,
        seed,
        len(chosen),
        0,
        accuracy,
        accuracy_model,
        latency,
        ii,
        b.latency_cycles,
        b.ii_cycles,
        fps,
        cycles,
        seconds,
        0.0,
        speed,
        _rows(b, reports),
        marks,
        records,
    )
