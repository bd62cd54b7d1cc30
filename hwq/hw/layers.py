"""An int Graph as a row of layers: the unit a folding applies to and a cost is reported for."""

from __future__ import annotations

import re
from dataclasses import dataclass

from hwq.errors import UnsupportedOp
from hwq.ir.graph import Graph, Node
from hwq.ir.ops import ArgMax, Combine, MatVec, Step, Table

POST = (Step, Table, Combine, ArgMax)


@dataclass(frozen=True, slots=True)
class Layer:
    """A matrix op with the channelwise ops behind it, or (mat is None) channelwise ops alone.

    rows, cols: MH, MW of the matrix; cols is 1 without one.
    """

    name: str
    mat: Node | None
    post: tuple[Node, ...]
    rows: int
    cols: int

    @property
    def first(self) -> Node:
        return self.mat or self.post[0]

    @property
    def source(self) -> str:
        return self.first.inputs[0]

    @property
    def result(self) -> str:
        return (self.post[-1] if self.post else self.first).outputs[0]


def identifier(name: str) -> str:
    """A SystemVerilog and TOML friendly form of a node name."""
    clean = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "layer"
    return clean if clean[0].isalpha() else f"l{clean}"


def layers(graph: Graph) -> tuple[Layer, ...]:
    """Split a chain Graph into layers, in order. Raises UnsupportedOp where the graph is not a chain."""
    for n in graph.nodes:
        if len(n.inputs) != 1:
            raise UnsupportedOp(f"node '{n.name}' ({type(n.op).__name__}) joins {len(n.inputs)} tensors; "
                                "only chains of layers can be mapped")
    groups: list[list[Node]] = []
    for n in graph.nodes:
        if isinstance(n.op, MatVec) or not groups:
            groups.append([n])
        elif isinstance(n.op, POST):
            groups[-1].append(n)
        else:
            raise UnsupportedOp(f"node '{n.name}': no hardware for {type(n.op).__name__}")
    found: list[Layer] = []
    taken: set[str] = set()
    for g in groups:
        mat = g[0] if isinstance(g[0].op, MatVec) else None
        name = base = identifier(g[0].name)
        k = 1
        while name in taken:
            k += 1
            name = f"{base}_{k}"
        taken.add(name)
        if mat is not None and isinstance(mat.op, MatVec):
            rows, cols = graph.array(mat.op.weight).shape
        else:
            rows, cols = graph.tensor(g[0].inputs[0]).channels, 1
        found.append(Layer(name, mat, tuple(g[1:] if mat is not None else g), int(rows), int(cols)))
    return tuple(found)
