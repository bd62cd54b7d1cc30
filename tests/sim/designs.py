"""Small integer networks and their build directories, for the tests of the simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from itertools import pairwise
from pathlib import Path

import hwq_hls
import numpy as np

from hwq.emit import sv
from hwq.flow.vectors import sim_files
from hwq.hw.design import Design, Fold
from hwq.hw.library import figures
from hwq.hw.map import build
from hwq.ir.graph import Graph, Node, Tensor, blob
from hwq.ir.ops import ArgMax, MatVec, Op, Step, Uniform
from hwq.ir.text import graph_files
from hwq.targets import load as load_target


def mlp(sizes: Sequence[int], seed: int = 0, w_bits: int = 3, levels: int = 3, head: bool = True,
        in_hi: int = 3, name: str = "net") -> Graph:
    """Dense layers of random weights and thresholds; `levels` thresholds a channel; ArgMax last if `head`."""
    rng = np.random.default_rng(seed)
    blobs: dict[str, np.ndarray] = {}
    tensors: dict[str, Tensor] = {}
    nodes: list[Node] = []

    def keep(a: np.ndarray) -> str:
        key, value = blob(a)
        blobs[key] = value
        return key

    def add(node: str, op: Op, src: str, dst: Tensor) -> str:
        tensors[dst.name] = dst
        nodes.append(Node(node, op, (src,), (dst.name,)))
        return dst.name

    tensors["x"] = Tensor("x", (sizes[0],), (0,), (in_hi,))
    at = "x"
    for i, (n_in, n_out) in enumerate(pairwise(sizes)):
        top = (1 << (w_bits - 1)) - 1
        w = rng.integers(-top, top + 1, (n_out, n_in))
        x = tensors[at]
        ends = np.stack([w * min(x.lo), w * max(x.hi)])
        lo, hi = ends.min(axis=0).sum(axis=1), ends.max(axis=0).sum(axis=1)
        acc = Tensor(f"fc{i}_acc", (n_out,), tuple(map(int, lo)), tuple(map(int, hi)))
        at = add(f"fc{i}", MatVec(keep(w.astype(np.int64)), Uniform(w_bits)), at, acc)
        if i < len(sizes) - 2 or not head:
            spread = np.maximum((hi - lo) // 6, 1)
            mid = (lo + hi) // 2
            t = rng.integers((mid - spread)[:, None], (mid + spread)[:, None] + 1, (n_out, levels))
            out = Tensor(f"fc{i}_out", (n_out,), (0,), (levels,))
            at = add(f"fc{i}_act", Step(keep(np.sort(t, axis=1)), 0), at, out)
    if head:
        at = add("argmax", ArgMax(), at, Tensor("class", (1,), (0,), (sizes[-1] - 1,)))
    return Graph(name, "int", ("x",), (at,), tuple(nodes), tensors, blobs, (None,))


def write_build(path: Path, graph: Graph, folds: Mapping[str, Fold], target: str = "pynq-z2") -> Design:
    """The part of an exported build directory that simulation needs."""
    design = build(graph, folds, load_target(target))
    fig = figures(design)
    layer_of = {i.name: i.layer for i in design.instances}
    manifest = {
        "schema_version": 1, "name": design.name, "clock_mhz": design.clock_mhz, "config_hash": "test",
        "inputs": list(design.inputs), "outputs": list(design.outputs), "data": {"name": None},
        "streams": [{**asdict(s), "layer": layer_of.get(s.src[0], "input")} for s in design.streams],
        "instances": [{"name": i.name, "module": i.module, "layer": i.layer, "params": dict(i.params)}
                      for i in design.instances],
        "expected": {"latency_cycles": fig.latency_cycles, "ii_cycles": fig.ii_cycles}}
    library = hwq_hls.rtl_files(*dict.fromkeys(i.module for i in design.instances))
    files: dict[str, str | bytes] = {f"rtl/{p.name}": p.read_text() for p in library}
    files[f"rtl/{design.name}.sv"] = sv.top(design)
    files["rtl/files.f"] = "".join(f"{f}\n" for f in files)
    files |= {m.path: m.content for i in design.instances for m in i.mems}
    files |= graph_files(graph) | sim_files(graph, design)
    files["manifest.json"] = json.dumps(manifest)
    for rel, content in files.items():
        (path / rel).parent.mkdir(parents=True, exist_ok=True)
        (path / rel).write_bytes(content.encode() if isinstance(content, str) else content)
    return design


def folds(graph: Graph, pe: Sequence[int], simd: Sequence[int]) -> dict[str, Fold]:
    """One Fold per MatVec layer, in order."""
    names = [n.name for n in graph.nodes if isinstance(n.op, MatVec)]
    return {n: Fold(p, s) for n, p, s in zip(names, pe, simd, strict=True)}
