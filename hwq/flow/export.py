"""`hwq export`: a model directory or QONNX file to a build directory, written whole or not at all."""

from __future__ import annotations

import contextlib
import hashlib
import json
import math
from collections.abc import Mapping
from dataclasses import asdict
from importlib import resources
from pathlib import Path
from typing import Any

import hwq_hls

from hwq import __version__, record
from hwq.cost import fold
from hwq.cost.estimate import estimate_design, scale_notes
from hwq.emit import sv
from hwq.errors import CheckFailed, ConfigError, FitError, FoldingError
from hwq.flow.model import Model, load_model
from hwq.flow.vectors import sim_files
from hwq.frontend import read_qonnx
from hwq.hw.design import Design, Fold
from hwq.hw.fifos import fixed, minimal
from hwq.hw.layers import layers
from hwq.hw.library import Figures, figures
from hwq.hw.map import build
from hwq.ir.graph import Graph
from hwq.ir.text import graph_files
from hwq.passes import lower
from hwq.record import Record
from hwq.report.build import SCHEMA_VERSION
from hwq.targets import Target
from hwq.targets import load as load_target

DEFAULT_BUDGETS = (0.1, 0.3, 1.0)  # without a wish: the first in which the network has a place at all


def choose_folds(
    graph: Graph,
    target: Target,
    clock_mhz: float,
    fps: float | None,
    latency: int | None,
    budget: float | None,
    folding: Path | None,
) -> dict[str, Fold]:
    """The folding asked for, latency in cycles; without any wish, the fastest within a tenth of the part, or, where
    that is too little, within more of it.
    """
    rate = " with ".join(n for n, v in (("--fps", fps), ("--latency", latency)) if v is not None)
    asked = [n for n, v in ((rate, rate or None), ("--budget", budget), ("--folding", folding)) if v is not None]
    if len(asked) > 1:
        raise ConfigError(f"{' and '.join(asked)} contradict each other; give one")
    if folding is not None:
        return fold.read(folding, layers(graph))
    if fps is not None:
        return fold.for_fps(graph, fps, target, clock_mhz, latency)
    if latency is not None:
        return fold.for_ii(graph, latency, target, clock_mhz, latency)
    for fraction in DEFAULT_BUDGETS[:-1] if budget is None else ():
        with contextlib.suppress(FoldingError):
            return fold.for_budget(graph, fraction, target, clock_mhz)
    return fold.for_budget(graph, DEFAULT_BUDGETS[-1] if budget is None else budget, target, clock_mhz)


def library_files(design: Design) -> dict[str, str]:
    """The library sources a design needs: {rtl/<module>.sv: text}, used ones first."""
    modules = dict.fromkeys(i.module for i in design.instances)
    return {f"rtl/{p.name}": p.read_text() for p in hwq_hls.rtl_files(*modules)}


def port(graph: Graph, design: Design, stream: str, tensor: str) -> dict[str, Any]:
    """Manifest entry of a boundary stream: what a host must know to talk to it."""
    s, t = design.stream(stream), graph.tensor(tensor)
    real = None
    if t.real is not None:
        real = {"scale": [str(v) for v in t.real.scale], "offset": [str(v) for v in t.real.offset]}
    return {
        "stream": stream,
        "tensor": tensor,
        "dtype": t.dtype.name,
        "shape": list(t.shape),
        "lo": list(t.lo),
        "hi": list(t.hi),
        "real": real,
        "lanes": s.lanes,
        "bits": s.bits,
        "signed": s.signed,
        "beats": s.beats,
        "tdata_bits": sv.padded(s.width),
        "order": "channel fastest, lane 0 in the low bits",
    }


def manifest(graph: Graph, design: Design, model: Model, fig: Figures, estimate: Mapping[str, Any]) -> dict[str, Any]:
    """Everything a simulator, a synthesizer, a report or a host needs to know about a build."""
    layer_of = {i.name: i.layer for i in design.instances}
    streams = [
        {
            **asdict(s),
            "src": list(s.src),
            "dst": list(s.dst),
            "layer": layer_of.get(s.src[0], "input"),
            "first_cycle": fig.times[s.name][0],
            "last_cycle": fig.times[s.name][s.beats * s.repeat - 1],
        }
        for s in design.streams
    ]
    recipe = model.recipe or {}
    return {
        "schema_version": SCHEMA_VERSION,
        "hwq": __version__,
        "name": design.name,
        "model": model.name,
        "target": design.target,
        "clock_mhz": design.clock_mhz,
        "config_hash": config_hash(design),
        "inputs": list(design.inputs),
        "outputs": list(design.outputs),
        "ports": [
            port(graph, design, s, t)
            for s, t in zip(design.inputs + design.outputs, graph.inputs + graph.outputs, strict=True)
        ],
        "data": {"name": recipe.get("data"), "head": recipe.get("head")},
        "streams": streams,
        "instances": [
            {
                "name": i.name,
                "module": i.module,
                "layer": i.layer,
                "params": dict(i.params),
                "mems": [m.path for m in i.mems],
            }
            for i in design.instances
        ],
        "folding": {n: asdict(f) for n, f in design.folds.items()},
        "expected": {"latency_cycles": fig.latency_cycles, "ii_cycles": fig.ii_cycles},
        "estimate": estimate,
        "notes": [*graph.notes, *scale_notes(design)],
    }


def config_hash(design: Design) -> str:
    """Short hash of everything that decides the hardware: instances, parameters, memory contents, streams."""
    h = hashlib.sha256(repr((design.instances, design.streams, design.target, design.clock_mhz)).encode())
    return h.hexdigest()[:16]


def check_fit(total: Mapping[str, float], per_layer: Mapping[str, Mapping[str, float]], target: Target) -> None:
    """Raises FitError naming resource, need, budget and the biggest layers."""
    over = []
    for r, have in target.capacity().items():
        if total[r] > have:
            top = sorted(((c[r], name) for name, c in per_layer.items()), reverse=True)[:3]
            users = ", ".join(f"{name} {amount:.0f}" for amount, name in top)
            over.append(f"{r}: needs about {total[r]:.0f}, {target.name} has {have}; most of it: {users}")
    if over:
        raise FitError(
            "the design does not fit:\n  "
            + "\n  ".join(over)
            + "\nlower --fps, give --budget 1.0, choose a larger --target, or pass --allow-overflow"
        )


def check_place(out: Path) -> None:
    """Raises ConfigError unless `out` is free, an empty folder or an older build: nothing else is replaced."""
    older = out.is_dir() and ((out / "manifest.json").is_file() or not any(out.iterdir()))
    if out.exists() and not older:
        raise ConfigError(
            f"{out} exists and is not a build directory, so it is not replaced; choose another place with -o"
        )


def design_files(graph: Graph, design: Design) -> dict[str, str | bytes]:
    """Path -> content of everything that follows from the Graph and the Design."""
    files: dict[str, str | bytes] = {}
    lib = library_files(design)
    files |= lib
    files[f"rtl/{design.name}.sv"] = sv.top(design)
    files["rtl/files.f"] = "".join(f"{p}\n" for p in [*lib, f"rtl/{design.name}.sv"])
    files |= {m.path: m.content for i in design.instances for m in i.mems}
    files |= graph_files(graph)
    files |= sim_files(graph, design)
    files["host/bits.py"] = (resources.files("hwq") / "bits.py").read_text()
    files["folding.toml"] = fold.dump(design.folds, design.target, design.clock_mhz, layers(graph))
    return files


def export(
    model: str | Path,
    *,
    target: str = "pynq-z2",
    fps: float | None = None,
    latency_ms: float | None = None,
    budget: float | None = None,
    folding: str | Path | None = None,
    clock_mhz: float | None = None,
    out: Path | None = None,
    allow_overflow: bool = False,
) -> Path:
    """Write the build directory of `model` for `target` and return it.

    fps and latency_ms (from the first beat in to the last out of a frame that finds the design empty), budget (fraction
    of the part) or folding (file) choose the folding; out defaults to build/<model>-<target>.
    Raises ModelError, UnsupportedOp, FoldingError, FitError, ConfigError.
    """
    board = load_target(target)
    for option, value in (("--clock", clock_mhz), ("--fps", fps), ("--latency", latency_ms)):
        if value is not None and not (math.isfinite(value) and value > 0):
            raise ConfigError(f"{option} {value:g}: must be a positive number")
    clock = clock_mhz or board.clock_mhz
    source = load_model(model)
    path = Path(out) if out is not None else Path("build") / f"{source.name}-{board.name}"
    check_place(path)
    graph = lower(read_qonnx(source.onnx_bytes, name=source.name, where=source.where))
    latency = None if latency_ms is None else int(latency_ms * clock * 1000)
    if latency == 0:
        raise ConfigError(f"--latency {latency_ms:g}: less than a cycle at {clock:g} MHz")
    folds = choose_folds(graph, board, clock, fps, latency, budget, None if folding is None else Path(folding))
    design = build(graph, folds, board, clock)
    depths = {} if folding is None else fold.read_depths(Path(folding))
    try:
        design = minimal(fixed(design, depths), latency, depths)
        fig = figures(design)
    except CheckFailed as e:
        if not depths:
            raise
        raise FoldingError(f"{e}\ngive those FIFOs more beats in [depth] of {folding}") from None
    per_layer = estimate_design(design, board)
    total = {r: sum(c[r] for c in per_layer.values()) for r in board.capacity()}
    if not allow_overflow:
        check_fit(total, per_layer, board)

    files = design_files(graph, design)
    files["manifest.json"] = (
        json.dumps(manifest(graph, design, source, fig, {"top": total, **per_layer}), indent=1) + "\n"
    )
    files |= source.companions()
    with record.whole_directory(path) as tmp:
        for rel, content in files.items():
            f = tmp / rel
            f.parent.mkdir(parents=True, exist_ok=True)
            f.write_bytes(content.encode() if isinstance(content, str) else content)
        record.save(tmp / "record.json", [*source.records, *records(design, fig, total, per_layer)])
    return path


def records(
    design: Design, fig: Figures, total: Mapping[str, float], per_layer: Mapping[str, Mapping[str, float]]
) -> list[Record]:
    """What export knows before any tool ran: the token model's figures and the estimate."""
    h = config_hash(design)
    found = [
        record.make("latency_cycles", fig.latency_cycles, "analytic", config_hash=h),
        record.make("ii_cycles", fig.ii_cycles, "analytic", config_hash=h),
        record.make("fps", design.clock_mhz * 1e6 / fig.ii_cycles, "analytic", config_hash=h),
    ]
    for scope, cost in {"top": total, **per_layer}.items():
        found += [record.make(r, round(v), "analytic", scope, config_hash=h) for r, v in cost.items()]
    return found
