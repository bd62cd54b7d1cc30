"""`hwq sim`: all frames through the RTL under Verilator, every beat of every stream against golden."""

from __future__ import annotations

import os
import shutil
import time
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
from hwq.flow.frames import Frames, accuracy, choose_frames
from hwq.flow.harness import Report, RunOptions, Shard
from hwq.flow.repro import load_reproducer, save_reproducer
from hwq.flow.timing import Timing, measure
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


@dataclass(frozen=True)
class _Job:
    """One call of `simulate`, all questions answered. `save`: keep a reproducer of a failure."""

    build: Build
    exe: Path
    frames: Frames
    stall: str
    seed: int
    jobs: int
    work: Path
    trace: Path | None
    save: bool
    tool: str
    compile_seconds: float


@dataclass(frozen=True)
class _Done:
    """One chunk that passed; outputs, golden: the first output of RTL and model, int64 [frames, size]."""

    shards: tuple[Shard, ...]
    reports: tuple[Report, ...]
    start: int
    outputs: IntArray
    golden: IntArray


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


def _records(job: _Job, values: Mapping[str, float | None], marks: Mapping[str, int]) -> tuple[Record, ...]:
    """Figures of the whole, and the high-water mark of every FIFO under the name of its instance."""
    h = job.build.manifest.get("config_hash", "")
    top = [record.make(k, v, "verilator", tool=job.tool, config_hash=h, seed=job.seed)
           for k, v in values.items() if v is not None]
    fifos = [record.make("fifo_beats", v, "verilator", name, job.tool, h, job.seed) for name, v in marks.items()]
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

    frames: how many, or "all" of the data. input: .npy of encoded float or of integer frames. stall: none,
    source, sink or random. trace: waves into a .fst or .vcd file (one process). replay: a saved reproducer.
    cocotb: run the build's own bench too. Writes records to the build's record.json. Raises MismatchError on
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
        jobs = 1
    else:
        chosen = choose_frames(b, frames, data_dir, input, seed)
    cache = Path(cache_dir) if cache_dir is not None else default_cache_dir()
    install = verilator.find()
    begin = time.monotonic()
    with record.naming(cache):
        exe = harness.compile_model(b.path, cache, trace=kind, jobs=jobs, install=install)
    compiled = time.monotonic() - begin
    work = cache / f".run.{os.getpid()}.{time.monotonic_ns()}"
    work.mkdir(parents=True)
    job = _Job(b, exe, chosen, stall, seed, jobs, work, None if trace is None else Path(trace).resolve(),
               replay is None, f"verilator {install.version}", compiled)
    try:
        with record.naming(cache):
            result = _run(job, progress)
    finally:
        shutil.rmtree(work, ignore_errors=True)
    return replace(result, bench=run_bench(b.path)) if cocotb else result


def _run(job: _Job, progress: Progress | None) -> SimResult:
    """All chunks of frames, one after the other, each on all processes; stops at the first that fails."""
    b, total, step = job.build, len(job.frames), _chunk_frames(job.build)
    done: list[_Done] = []
    begin = time.monotonic()
    if progress is not None:
        progress(0, total)
    for start in range(0, total, step):
        chunk = _prepare(b, job.frames, start, min(step, total - start), job.work)
        trace = job.trace
        if trace is not None and total > step:
            trace = trace.with_stem(f"{trace.stem}-{start}")
        shards = _shards(chunk.size, job.jobs, job.work, trace)
        options = _options(b, job.stall, job.seed, chunk.size)
        reports = harness.run_model(job.exe, b.path, chunk.plan, shards, options)
        failed = first_failure(reports)
        if failed is not None:
            raise _mismatch(job, chunk, shards[failed], reports[failed], options)
        golden = chunk.found[b.graph.outputs[0]].reshape(chunk.size, -1)
        done.append(_Done(tuple(shards), tuple(reports), chunk.start, _rtl_outputs(b, shards), golden))
        if progress is not None:
            progress(start + chunk.size, total)
    return _result(job, done, time.monotonic() - begin)


def _mismatch(job: _Job, chunk: Chunk, shard: Shard, report: Report, options: RunOptions) -> MismatchError:
    """Save a reproducer and the record of the failure; the error to raise."""
    b = job.build
    message = describe(b, report, options, chunk)
    values = {"frames": chunk.start + shard.last, "mismatches": max(report.fault_values, 1)}
    record.update(b.path / "record.json", _records(job, values, {}))
    message += f"; stall {job.stall}, seed {job.seed}" + ("" if job.trace is None else f"; waves {job.trace}")
    if job.save:
        folder, count = save_reproducer(b, job.exe, chunk, shard, report, options, job.frames, message)
        message += (f"\n{count} frame{'s' if count > 1 else ''} that reproduce it: "
                    f"hwq sim {b.path} --replay {folder}")
    return MismatchError(message)


def _result(job: _Job, done: Sequence[_Done], seconds: float) -> SimResult:
    """Totals, records, and the check of latency and II."""
    b = job.build
    reports = [r for d in done for r in d.reports]
    measured, of_model = _accuracies(job, done)
    timing = Timing(None, None, ())
    if job.stall == "none":
        runs = [(d.start + s.first, r) for d in done for s, r in zip(d.shards, d.reports, strict=True)]
        timing = measure(b, runs)
    marks = {name: max(r.levels[name] for r in reports) for name in reports[0].levels}
    cycles = sum(r.cycles for r in reports)
    speed = cycles / max(sum(r.seconds for r in reports), 1e-9)
    fps = b.manifest["clock_mhz"] * 1e6 / (timing.ii_cycles or b.ii_cycles)
    records = _records(job, {
        "frames": len(job.frames), "mismatches": 0, "accuracy": measured,
        "latency_cycles": timing.latency_cycles, "ii_cycles": timing.ii_cycles,
        "fps": fps if timing.ii_cycles else None, "sim_cycles_per_s": round(speed)}, marks)
    record.update(b.path / "record.json", records)
    if timing.complaints:
        raise CheckFailed("every value is right, but the timing is not that of the token model: "
                          + "; ".join(timing.complaints))
    return SimResult(b.path, job.frames.source, job.stall, job.seed, len(job.frames), 0, measured,
                     of_model, timing.latency_cycles, timing.ii_cycles, b.latency_cycles, b.ii_cycles,
                     fps, cycles, seconds, job.compile_seconds, speed, _rows(b, reports), marks, records)


def _accuracies(job: _Job, done: Sequence[_Done]) -> tuple[float | None, float | None]:
    """(of the RTL's own outputs, of the golden model) in %, None without labels."""
    graph, labels = job.build.graph, job.frames.labels
    rtl = accuracy(graph, np.concatenate([d.outputs for d in done]), labels)
    return rtl, accuracy(graph, np.concatenate([d.golden for d in done]), labels)
