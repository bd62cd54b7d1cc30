"""The oracle of the lowering: the int graph, run by the golden executor, against the exact reference, value
by value.
"""

from __future__ import annotations

import numpy as np

from hwq.frontend import read_qonnx
from hwq.golden import execute, host_quantize, reference
from hwq.ir import ops
from hwq.ir.graph import Graph, Node
from hwq.passes import lower


def decisions(graph: Graph) -> list[Node]:
    """The nodes of a real graph whose results are integers: quantizers and ArgMax."""
    return [n for n in graph.nodes if isinstance(n.op, (*ops.QUANTIZERS, ops.ArgMax))]


def host_tensor(real: Graph, node: Node, lowered: Graph) -> str | None:
    """The int graph input a quantizer became, if it is a host quantizer: no other decision or matrix stands
    before it.
    """
    t = node.inputs[0]
    while t not in real.inputs:
        before = real.producer(t)
        assert before is not None
        if not isinstance(before.op, (*ops.ELEMENTWISE, ops.Reshape)):
            return None
        t = before.inputs[0]
    i = real.inputs.index(t)
    return lowered.inputs[i] if lowered.host[i] is not None else None


def assert_int_graph_is_exact(model: bytes, x: np.ndarray) -> Graph:
    """Every quantizer and output of the int graph equals the reference, integer for integer; returns the int
    graph.
    """
    real = read_qonnx(model)
    lowered = lower(real)
    want = reference(real, [x])
    got = execute(lowered, host_quantize(lowered, [x]), keep="all")
    made_by = {n.source: n for n in lowered.nodes if not isinstance(n.op, ops.Combine)}
    for node in decisions(real):
        tensor = host_tensor(real, node, lowered) or (
            made_by[node.name].outputs[0] if node.name in made_by else None
        )
        if tensor is None:
            continue  # feeds nothing
        meaning = lowered.tensor(tensor).real
        if tensor in lowered.outputs or meaning is None:
            continue  # checked below, with the annotation of the output
        np.testing.assert_array_equal(got[tensor], want[node.outputs[0]].integers(meaning), err_msg=node.name)
    for name, tensor in zip(real.outputs, lowered.outputs, strict=True):
        meaning = lowered.tensor(tensor).real
        assert meaning is not None
        np.testing.assert_array_equal(got[tensor], want[name].integers(meaning), err_msg=name)
    return lowered
