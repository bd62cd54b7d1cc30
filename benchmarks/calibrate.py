"""Fit hwq/cost/coefficients.toml: synthesize the calibration instances, then non-negative least squares.

    python -m benchmarks.calibrate [--check] [--only MODULE ...] [--cases NAME ...]

A part of the library or of the cases can be calibrated alone; what no sample says anything about keeps the coefficient
it has. Relative errors are what counts, so each equation is weighed by 1 / sqrt(measured).
"""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Collection, Sequence
from pathlib import Path

import hwq_hls
import numpy as np
from scipy.optimize import nnls

from benchmarks.designs import CALIBRATION, MODULES, Case, design
from hwq.cost.estimate import coefficients, estimate_instance, features
from hwq.flow.export import design_files
from hwq.hw.design import Design, Instance
from hwq.ir.graph import Graph
from hwq.record import write_atomic
from hwq.tools import yosys

CACHE = Path.home() / ".cache" / "hwq" / "synth"
Table = dict[str, dict[str, dict[str, float]]]
OUT = Path(__file__).parent.parent / "hwq" / "cost" / "coefficients.toml"


def write_design(folder: Path, graph: Graph, d: Design) -> None:
    """RTL and memory files of a design, as export lays them out."""
    for rel, content in design_files(graph, d).items():
        if rel.startswith(("rtl/", "mem/")):
            f = folder / rel
            f.parent.mkdir(parents=True, exist_ok=True)
            f.write_bytes(content.encode() if isinstance(content, str) else content)


def jobs(folder: Path, d: Design) -> list[yosys.SynthJob]:
    """One out-of-context job per instance."""
    from hwq.flow.synth import closure, source_files

    files = source_files(folder)
    return [
        yosys.SynthJob(
            tuple(closure(i.module, files, folder)), i.module, i.params, tuple(m.path for m in i.mems), name=i.name
        )
        for i in d.instances
    ]


def measure_module(i: Instance) -> yosys.CellCounts:
    """Cells of one library module on its own."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        sources = hwq_hls.rtl_files(i.module)
        for f in sources:
            (folder / f.name).write_text(f.read_text())
        for m in i.mems:
            (folder / m.path).write_text(m.content)
        job = yosys.SynthJob(
            tuple(f.name for f in sources), i.module, i.params, tuple(m.path for m in i.mems), name=i.name
        )
        return yosys.synth(job, folder, CACHE).counts


def measure(
    cases: Sequence[Case] = CALIBRATION, only: Collection[str] = (), workers: int = 2
) -> list[tuple[Instance, yosys.CellCounts]]:
    """(instance, cells) of every instance of MODULES and of the cases; only: of these modules, if any are named."""

    def wanted(module: str) -> bool:
        return not only or module in only

    found = [(i, measure_module(i)) for i in MODULES if wanted(i.module)]
    print(f"{len(found)} modules", flush=True)
    for case in cases:
        graph, d = design(case)
        chosen = [i for i in d.instances if wanted(i.module)]
        with tempfile.TemporaryDirectory() as tmp:
            folder = Path(tmp)
            write_design(folder, graph, d)
            results = yosys.synth_all([j for j in jobs(folder, d) if wanted(j.top)], folder, CACHE, workers)
            found += [(i, r.counts) for i, r in zip(chosen, results, strict=True)]
        print(f"{case.name}: {len(chosen)} instances, {sum(r.counts.lut for r in results)} LUT", flush=True)
    return found


def fit(samples: Sequence[tuple[Instance, yosys.CellCounts]], present: Table) -> Table:
    """module -> resource -> feature -> coefficient. Modules and features that no sample has keep the present ones."""
    table = dict(present)
    for module in sorted({i.module for i, _ in samples}):
        rows = [(features(i)[0], c) for i, c in samples if i.module == module]
        names = sorted(n for n in rows[0][0] if any(f.get(n, 0) for f, _ in rows))
        a = np.array([[float(f.get(n, 0)) for n in names] for f, _ in rows])
        table[module] = {}
        for resource in ("lut", "ff"):
            y = np.array([getattr(c, resource) for _, c in rows], dtype=float)
            w = 1 / np.sqrt(np.maximum(y, 10))
            coef, _ = nnls(a * w[:, None], y * w)
            kept = {n: v for n, v in present.get(module, {}).get(resource, {}).items() if n in rows[0][0]}
            new = {n: round(float(v), 4) for n, v in zip(names, coef, strict=True)}
            table[module][resource] = {n: v for n, v in sorted((kept | new).items()) if v > 1e-6}
    return dict(sorted(table.items()))


def dump(table: Table) -> str:
    """TOML text of the coefficients."""
    out = ["# Made by `python -m benchmarks.calibrate` from Yosys cell counts (LUT6 parts). Do not edit.\n"]
    for module, resources in table.items():
        for resource, coef in resources.items():
            out.append(f"\n[module.{module}.{resource}]\n" + "".join(f"{k} = {v}\n" for k, v in coef.items()))
    return "".join(out)


def residuals(samples: Sequence[tuple[Instance, yosys.CellCounts]]) -> None:
    """Print measured against estimated LUT of the larger instances."""
    for i, c in samples:
        est = estimate_instance(i)
        if c.lut < 40:
            continue
        error = est.lut / c.lut - 1
        line = f"{i.module:14} {i.name:12} lut {c.lut:6d} est {est.lut:8.1f} {100 * error:+6.1f}%"
        line += f"   ff {c.ff:6d} est {est.ff:8.1f}  bram {c.bram18} est {est.bram18:.0f}"
        print(line, dict(i.params) if abs(error) > 0.15 else "")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument(
        "--check", action="store_true", help="print residuals of the present coefficients, write nothing"
    )
    parser.add_argument("--only", nargs="+", default=[], metavar="MODULE", help="calibrate these modules alone")
    parser.add_argument("--cases", nargs="*", metavar="NAME", help="of the networks, these alone")
    args = parser.parse_args()
    cases = [c for c in CALIBRATION if args.cases is None or c.name in args.cases]
    samples = measure(cases, args.only)
    if not args.check:
        write_atomic(OUT, dump(fit(samples, coefficients())))
        coefficients.cache_clear()
    residuals(samples)


if __name__ == "__main__":
    main()
