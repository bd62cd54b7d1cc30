"""Build directories of small integer networks, for the tests of the simulator."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from pathlib import Path

from hwq.flow import export
from hwq.flow.model import Model
from hwq.hw.design import Design, Fold
from hwq.hw.library import figures
from hwq.hw.map import build
from hwq.ir.graph import Graph
from hwq.ir.ops import MatVec
from hwq.targets import load as load_target


def write_build(path: Path, graph: Graph, folds: Mapping[str, Fold], target: str = "pynq-z2") -> Design:
    """A build directory as `hwq export` writes it, of a Graph that came from nowhere."""
    design = build(graph, folds, load_target(target))
    files = export.design_files(graph, design)
    body = export.manifest(graph, design, Model(graph.name, b""), figures(design), {})
    files["manifest.json"] = json.dumps(body)
    for rel, content in files.items():
        (path / rel).parent.mkdir(parents=True, exist_ok=True)
        (path / rel).write_bytes(content.encode() if isinstance(content, str) else content)
    return design


def folds(graph: Graph, pe: Sequence[int], simd: Sequence[int]) -> dict[str, Fold]:
    """One Fold per MatVec layer, in order."""
    names = [n.name for n in graph.nodes if isinstance(n.op, MatVec)]
    return {n: Fold(p, s) for n, p, s in zip(names, pe, simd, strict=True)}
