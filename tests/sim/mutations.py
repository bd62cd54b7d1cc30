"""Mutations of a build: weight bits and thresholds (memory files), handshakes, counters and depths (RTL)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np

from hwq.hw.design import Design, Fold
from hwq.hw.map import build
from hwq.ir.graph import Graph, Node, blob
from hwq.ir.ops import Bipolar, MatVec, Step, Ternary
from hwq.targets import load as load_target


@dataclass(frozen=True, eq=False)
class Mutation:
    """Changed files of a build, and the Graph (memory files) or Design (depths) that says the same."""

    what: str
    files: Mapping[str, str]
    graph: Graph | None = None
    design: Design | None = None


def _with_array(graph: Graph, key: str, array: np.ndarray) -> Graph:
    """The graph with other content behind one blob key: nodes, ranges and widths stay as they are."""
    return graph.replace(blobs={**graph.blobs, key: blob(array)[1]})


def _flip_weight(graph: Graph, node: Node, design: Design,
                 rng: np.random.Generator) -> tuple[str, Graph] | None:
    op = node.op
    assert isinstance(op, MatVec)
    w = np.array(graph.array(op.weight))
    r, c = (int(rng.integers(n)) for n in w.shape)
    old = int(w[r, c])
    if op.xnor or isinstance(op.code, Bipolar):
        bit, new = 0, -old
    else:
        mvu = next(i for i in design.instances if i.module == "hwq_mvu" and i.layer == node.name)
        bits = mvu.int_param("W_BITS")
        bit = int(rng.integers(bits))
        code = (old & ((1 << bits) - 1)) ^ (1 << bit)
        new = code - (1 << bits) if code >> (bits - 1) else code
        if isinstance(op.code, Ternary) and new == -2:
            return None  # not a ternary code
    w[r, c] = new
    return f"{node.name}: bit {bit} of W[{r}, {c}], {old} -> {new}", _with_array(graph, op.weight, w)


def _move_threshold(graph: Graph, node: Node, rng: np.random.Generator) -> tuple[str, Graph] | None:
    op = node.op
    assert isinstance(op, Step)
    t = np.array(graph.array(op.thresholds))
    c, i = (int(rng.integers(n)) for n in t.shape)
    by = int(rng.choice([-1, 1]))
    old = int(t[c, i])
    t[c, i] += by
    if np.any(np.diff(t[c]) < 0):
        return None
    return f"{node.name}: T[{c}, {i}], {old} -> {old + by}", _with_array(graph, op.thresholds, t)


def memory_mutation(graph: Graph, design: Design, folds: Mapping[str, Fold],
                    rng: np.random.Generator) -> Mutation:
    """One weight bit or one threshold, as a changed memory file and as a changed graph."""
    target = load_target(design.target)
    before = {m.path: m.content for i in design.instances for m in i.mems}
    nodes = [n for n in graph.nodes if isinstance(n.op, (MatVec, Step))]
    while True:
        node = nodes[int(rng.integers(len(nodes)))]
        found = (_flip_weight(graph, node, design, rng) if isinstance(node.op, MatVec)
                 else _move_threshold(graph, node, rng))
        if found is None:
            continue
        what, changed = found
        after = build(changed, folds, target)
        same = [i.params for i in after.instances] == [i.params for i in design.instances]
        files = {m.path: m.content for i in after.instances for m in i.mems if before[m.path] != m.content}
        if same and len(files) == 1:
            return Mutation(what, files, changed)


# module file, what it says, what the mutant says: dropped or forced handshake terms, counters off by one
RTL = (
    ("hwq_pipe.sv", "assign s_ready = en[0];", "assign s_ready = 1'b1;"),
    ("hwq_pipe.sv", "else if (en[i]) valid_q[i]", "else valid_q[i]"),
    ("hwq_pipe.sv", "en[i] = m_ready || !(&valid_q[STAGES-1:i])", "en[i] = 1'b1"),
    ("hwq_replay.sv", "if (push) wptr_q", "if (s_axis_tvalid) wptr_q"),
    ("hwq_replay.sv", "assign m_axis_tvalid = wptr_q != rptr_q;", "assign m_axis_tvalid = 1'b1;"),
    ("hwq_replay.sv", "assign pop  = m_axis_tvalid && m_axis_tready;", "assign pop  = m_axis_tvalid;"),
    ("hwq_replay.sv", "pass_q == PASS_W'(PASSES - 1)", "pass_q == PASS_W'(PASSES - 2)"),
    ("hwq_replay.sv", "beat_q == BEAT_W'(BEATS - 1)", "beat_q == BEAT_W'(BEATS - 2)"),
    ("hwq_mvu.sv", "assign beat_ready    = !last || out_load;", "assign beat_ready    = 1'b1;"),
    ("hwq_mvu.sv", "= sf_q == SF_W'(SF - 1)", "= sf_q == SF_W'(SF - 2)"),
    ("hwq_mvu.sv", "addr_q == ADDR_W'(DEPTH - 1)", "addr_q == ADDR_W'(DEPTH - 2)"),
    ("hwq_mvu.sv", "if (out_load) out_valid_q <= beat_valid && last;", "out_valid_q <= beat_valid && last;"),
    ("hwq_edge_out.sv", "beat_q == BEAT_W'(BEATS - 1)", "beat_q == BEAT_W'(BEATS - 2)"),
    ("hwq_edge_in.sv", "assign m_axis_tvalid = s_axis_tvalid;", "assign m_axis_tvalid = 1'b1;"),
    ("hwq_relay.sv", "assign s_axis_tready = !spare_full_q;", "assign s_axis_tready = 1'b1;"),
    ("hwq_relay.sv", "if (out_moves) out_full_q <=", "out_full_q <="),
)


def rtl_mutations(path: Path, design: Design) -> list[Mutation]:
    """Every RTL mutation that touches a module of this design, and one per buffer whose depth can shrink."""
    found = []
    for name, old, new in RTL:
        file = path / "rtl" / name
        if file.is_file() and (text := file.read_text()).count(old) == 1:
            found.append(Mutation(f"{name}: {old} -> {new}", {f"rtl/{name}": text.replace(old, new)}))
    top = f"rtl/{design.name}.sv"
    text = (path / top).read_text()
    for i in design.instances:
        if i.module == "hwq_replay" and i.int_param("DEPTH") > i.int_param("BEATS"):
            start = text.index(f") {i.name} (")
            head = text.rindex("hwq_replay #(", 0, start)
            deep, shallow = f".DEPTH({i.int_param('DEPTH')})", f".DEPTH({i.int_param('BEATS')})"
            small = text[:head] + text[head:start].replace(deep, shallow) + text[start:]
            assert small != text
            params = tuple((k, i.int_param("BEATS") if k == "DEPTH" else v) for k, v in i.params)
            other = tuple(replace(x, params=params) if x.name == i.name else x for x in design.instances)
            found.append(Mutation(f"{i.name}: {deep} -> {shallow}", {top: small}, None,
                                  design.replace(instances=other)))
    return found


def names_place_and_values(message: str) -> bool:
    """The message says layer, frame, channel, what was expected and what came."""
    return re.search(r"layer '\w+'.*frame \d+.*(channel \d+).*expected .*got ", message, re.S) is not None

