"""Every rule of a stage has a graph that breaks it."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest

from hwq.errors import VerifyError
from hwq.frontend import read_qonnx
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, blob
from hwq.ir.verify import verify, violations
from hwq.passes import lower
from tests.qonnx_nets import Net


def real() -> Graph:
    net = Net((3,))
    net.x = net.bipolar(net.x)
    net.then("MatMul", net.bipolar(net.const([[1.0, -1], [-1, 1], [1, 1]])))
    net.x = net.quant(net.x, 1.0, bits=2)
    net.then("MatMul", net.const([[1.0, 2], [0, 3]]))
    net.then("ArgMax", axis=1)
    return read_qonnx(net.bytes())


def good() -> Graph:
    return lower(real())


def with_op(graph: Graph, i: int, op: ops.Op) -> Graph:
    nodes = list(graph.nodes)
    nodes[i] = replace(nodes[i], op=op)
    return graph.replace(nodes=tuple(nodes))


def with_blob(graph: Graph, i: int, field: str, array: np.ndarray) -> Graph:
    key, a = blob(array)
    return with_op(graph, i, replace(graph.nodes[i].op, **{field: key})).replace(
        blobs={**graph.blobs, key: a}
    )


def with_tensor(graph: Graph, name: str, **changes: object) -> Graph:
    return graph.replace(tensors={**graph.tensors, name: replace(graph.tensors[name], **changes)})


BREAKS: dict[str, Callable[[Graph], Graph]] = {
    "stage 'half' is not one of": lambda g: g.replace(stage="half"),
    "is not an op of stage 'int'": lambda g: with_op(g, 1, ops.Relu()),
    "input 'nope' is made by no earlier node": lambda g: g.replace(
        nodes=(replace(g.nodes[0], inputs=("nope",)), *g.nodes[1:])
    ),
    "output 'nope': made by no node": lambda g: g.replace(outputs=("nope",)),
    "a second node of that name": lambda g: g.replace(
        nodes=(*g.nodes[:-1], replace(g.nodes[-1], name="fc0"))
    ),
    "dangling": lambda g: g.replace(tensors={**g.tensors, "y": replace(g.tensors["x"], name="y")}),
    "referred to but missing": lambda g: g.replace(blobs={}),
    "host quantizers for 1 inputs": lambda g: g.replace(host=()),
    "do not fit their code": lambda g: with_blob(g, 0, "weight", np.array([[1, -1, 2], [1, 1, 1]])),
    "weight [2, 2] between 3 and 2 channels": lambda g: with_blob(
        g, 0, "weight", np.array([[1, -1], [1, 1]])
    ),
    "xnor needs bipolar weights": lambda g: with_tensor(g, "x", hi=(2,)),
    "its range says": lambda g: with_tensor(g, "fc0_acc", hi=(2, 2)),
    "not ascending": lambda g: with_blob(
        g, 1, "thresholds", g.array(g.nodes[1].op.thresholds)[:, ::-1].copy()
    ),
    "lies outside lo..hi + 1": lambda g: with_blob(g, 1, "thresholds", g.array(g.nodes[1].op.thresholds) - 9),
    "an empty range": lambda g: with_tensor(g, "x", lo=(1,), hi=(0,)),
    "lower and": lambda g: with_tensor(g, "x", lo=(0, 0)),
}


@pytest.mark.parametrize("message", BREAKS)
def test_a_broken_rule_is_reported(message: str) -> None:
    graph = BREAKS[message](good())
    with pytest.raises(VerifyError) as e:
        verify(graph)
    assert message in str(e.value)


def test_all_violations_are_reported_at_once() -> None:
    graph = with_tensor(with_tensor(good(), "x", hi=(2,)), "fc1_acc", hi=(0, 0))
    assert len(list(violations(graph))) >= 2


def test_a_legal_graph_passes_at_both_stages() -> None:
    assert verify(real()).stage == "real" and verify(good()).stage == "int"


def test_a_parameter_of_the_wrong_length_is_reported_at_stage_real() -> None:
    graph = real()
    i = next(i for i, n in enumerate(graph.nodes) if isinstance(n.op, ops.Quant))
    with pytest.raises(VerifyError, match="scale holds 3 values; 1 or 2 are needed"):
        verify(with_blob(graph, i, "scale", np.array(["1", "2", "3"])))


def test_a_node_of_no_known_table_is_refused() -> None:
    node = Node("n", ops.Op(), ("x",), ("y",))
    graph = good()
    graph = graph.replace(
        nodes=(node,), outputs=("y",), tensors={k: replace(graph.tensors["x"], name=k) for k in "xy"}
    )
    with pytest.raises(VerifyError, match="Op is not an op of stage"):
        verify(graph)
