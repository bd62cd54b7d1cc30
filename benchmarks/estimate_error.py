"""Estimated against synthesized LUT on designs the calibration never saw.

    python -m benchmarks.estimate_error [--limit N]

Each design is synthesized whole (flattened); the estimate is the sum over its instances.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from dataclasses import replace
from pathlib import Path

import hwq_models
import numpy as np

from benchmarks.calibrate import CACHE, write_design
from benchmarks.designs import TARGET, Case, Images, design, foldings, image_network
from hwq.cost import fold
from hwq.cost.estimate import estimate_design, totals
from hwq.flow.infer import int_graph
from hwq.flow.model import load_model
from hwq.hw.design import Design
from hwq.hw.fifos import minimal
from hwq.hw.map import build
from hwq.ir.graph import Graph
from hwq.tools import yosys

TRAINED = Path(hwq_models.__file__).parent / "trained"

MODELS = (  # (shipped model, II)
    ("digits-mlp", 2048),
    ("digits-mlp", 512),
    ("digits-mlp", 128),
    ("digits-mlp", 32),
    ("mnist-tfc-w1a1", 784),
    ("mnist-tfc-w1a1", 98),
    ("mnist-tfc-w1a2", 392),
    ("mnist-tfc-w2a2", 896),
    ("mnist-tfc-w2a2", 196),
    ("unsw-mlp-w2a2", 600),
    ("unsw-mlp-w2a2", 96),
    ("fashion-mlp-mixed", 1568),
)
CASES = tuple(
    Case(f"score{k}", widths, w, x, ii, 77 + k, density, *build)
    for k, (widths, w, x, ii, density, *build) in enumerate([
        ((56, 28, 14, 7), (4, 3, 4), (4, 3, 2), 98, 1.0),
        ((72, 36, 18, 9), (3, 2, 5), (5, 2, 3), 162, 1.0),
        ((160, 40, 20, 10), (1, 1, 2), (1, 2, 2), 80, 1.0),
        ((90, 30, 15, 5), (6, 4, 3), (3, 4, 4), 135, 1.0),
        ((28, 14, 14, 7), (4, 4, 4), (4, 4, 4), 0, 0.9),
        ((28, 14, 14, 7), (4, 4, 4), (4, 4, 4), 0, 0.5),
        ((28, 14, 14, 7), (4, 4, 4), (4, 4, 4), 0, 0.2),
        ((40, 20, 10, 5), (2, 2, 2), (2, 2, 2), 0, 0.6),
        ((36, 18, 18, 6), (3, 3, 3), (2, 2, 2), 0, 0.8),
        ((48, 16, 16, 4), (1, 1, 1), (1, 1, 1), 0, 1.0),
        ((56, 28, 28, 7), (4, 4, 4), (4, 3, 4), 49, 1.0, "block", "dsp"),
        ((72, 24, 12, 6), (6, 5, 8), (6, 4, 4), 72, 1.0, "block", "dsp"),
    ])
)  # fmt: skip

IMAGES = (
    Images("images0", (14, 14, 3), 4, 4, (("conv", 16, 3, 1, 1), ("pool", 2), ("conv", 24, 3, 1, 0)), 7056, 91),
    Images("images1", (16, 16, 8), 1, 1, (("conv", 32, 3, 1, 0), ("conv", 32, 3, 1, 0), ("pool", 2)), 9216, 92),
    Images("images2", (12, 12, 8), 3, 4, (("residual", 3), ("conv", 16, 1, 2, 0), ("residual", 3)), 20736, 93),
    Images("images3", (16, 16, 4), 4, 4, (("conv", 16, 3, 2, 1), ("depthwise", 3, 1), ("conv", 32, 1, 1, 0)), 2304, 94),
)


def designs(limit: int | None = None) -> list[tuple[str, Graph, Design]]:
    """(label, graph, design) of every scored design."""
    found = []
    for name, ii in MODELS:
        graph = int_graph(load_model(TRAINED / name))
        found.append((f"{name} II {ii}", graph, build(graph, foldings(graph, ii), TARGET, 100)))
    for case in CASES:
        label = f"{case.name} {'constants, density ' + format(case.density, 'g') if case.ii == 0 else f'II {case.ii}'}"
        found.append((label, *design(replace(case, name=case.name))))
    for images in IMAGES:
        graph = image_network(images)
        folds = fold.for_ii(graph, images.ii, TARGET, 100)
        found.append((f"{images.name} II {images.ii}", graph, minimal(build(graph, folds, TARGET, 100))))
    return found[:limit]


def synthesized(graph: Graph, d: Design) -> yosys.CellCounts:
    """Cells of the flattened design."""
    with tempfile.TemporaryDirectory() as tmp:
        folder = Path(tmp)
        write_design(folder, graph, d)
        files = tuple((folder / "rtl" / "files.f").read_text().split())
        mems = tuple(m.path for i in d.instances for m in i.mems)
        return yosys.synth(yosys.SynthJob(files, d.name, (), mems, name=d.name), folder, CACHE).counts


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--limit", type=int, help="only the first N designs")
    parser.add_argument("--only", default="", help="designs whose name contains this")
    args = parser.parse_args()
    errors = []
    for label, graph, d in designs(args.limit):
        if args.only not in label:
            continue
        start = time.perf_counter()
        estimate = totals(estimate_design(d, TARGET))
        seconds = time.perf_counter() - start
        measured = synthesized(graph, d)
        errors.append(100 * (estimate["lut"] / measured.lut - 1))
        numbers = f"estimated {estimate['lut']:7.0f}  synthesized {measured.lut:7d}  {errors[-1]:+6.1f} %"
        blocks = f"BRAM18 {estimate['bram18']:.0f} / {measured.bram18}"
        print(f"{label:40} {numbers}  {blocks}  ({seconds * 1e3:.0f} ms)", flush=True)
    size = np.abs(errors)
    print(f"{len(errors)} designs: mean absolute error {size.mean():.1f} %, worst {size.max():.1f} %")


if __name__ == "__main__":
    main()
