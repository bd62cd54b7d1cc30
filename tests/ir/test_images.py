"""The rules of the ops on images, each broken once; and the printed and stored form of a graph with images."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from hwq.errors import VerifyError
from hwq.frontend import read_qonnx
from hwq.ir import ops
from hwq.ir.graph import Graph, Layout, Node, Tensor, blob
from hwq.ir.text import load_graph, save_graph, to_json, to_text
from hwq.ir.verify import verify
from hwq.passes import lower
from tests.conv_nets import ImageNet

IMAGE = (4, 4, 8)


def graph(op: ops.Op, shape: tuple[int, ...], lo: int = -2, hi: int = 3, x: tuple[int, ...] = IMAGE) -> Graph:
    key, w = blob(np.ones((2, 4), dtype=np.int64))
    op = replace(op, weight=key) if isinstance(op, ops.MatVec) else op
    tensors = {"x": Tensor("x", x, (-2,), (3,)), "y": Tensor("y", shape, (lo,), (hi,))}
    return Graph("g", "int", ("x",), ("y",), (Node("n", op, ("x",), ("y",)),), tensors, {key: w}, (None,))


def window(**kw: Any) -> ops.Window:
    base = {"kernel": (2, 2), "stride": (1, 1), "pad": (0, 0, 0, 0), "dilation": (1, 1), "value": 0}
    return ops.Window(**{**base, **kw})


GOOD = [
    graph(window(), (3, 3, 32)),
    graph(window(pad=(1, 0, 0, 0), value=9), (4, 3, 32), hi=9),
    graph(ops.Pool("sum", 4), (4, 4, 2), lo=-8, hi=12),
    graph(ops.MatVec("", ops.Uniform(3), groups=2, taps=2), (4, 4, 2), lo=-8, hi=12),
    graph(ops.Total(), (8,), lo=-32, hi=48),
    graph(ops.Reshape(), (128,)),
    graph(ops.DepthToSpace(2), (8, 8, 2)),
    graph(ops.Spread((2, 1), 5), (7, 4, 8), hi=5),
    graph(ops.ArgMax(), (4, 4, 1), lo=0, hi=7),
]


@pytest.mark.parametrize("good", GOOD, ids=[type(g.nodes[0].op).__name__ for g in GOOD])
def test_a_legal_op_on_images_passes(good: Graph) -> None:
    verify(good)


BROKEN = [
    (graph(window(), (4, 4, 32)), r"output of shape \(4, 4, 32\); \(3, 3, 32\) is needed"),
    (graph(window(pad=(1, 0, 0, 0), value=9), (4, 3, 32)), "can take -2..9, its range says -2..3"),
    (graph(window(kernel=(5, 1)), (1, 4, 40)), "smaller than one window"),
    (graph(window(stride=(0, 1)), (3, 3, 32)), r"stride \(0, 1\)"),
    (graph(window(), (3, 3, 32), x=(128,)), r"input of shape \(128,\); \[H, W, C\] is needed"),
    (graph(ops.Pool("min", 4), (4, 4, 2)), "'min' over 4 entries of 8"),
    (graph(ops.Pool("sum", 3), (4, 4, 2)), "'sum' over 3 entries of 8"),
    (graph(ops.Pool("sum", 4), (4, 4, 2)), "can take -8..12"),
    (graph(ops.MatVec("", ops.Uniform(3), groups=3), (4, 4, 2)), "in 3 groups of 1 taps between 8 and 2 channels"),
    (graph(ops.MatVec("", ops.Uniform(3), groups=2), (4, 3, 2), -8, 12), r"positions \(4, 4\) -> \(4, 3\)"),
    (graph(ops.Total(), (8,)), "can take -32..48"),
    (graph(ops.Reshape(), (127,)), r"shape \(4, 4, 8\) -> \(127,\)"),
    (graph(ops.DepthToSpace(3), (12, 12, 1)), "8 channels in blocks of 3x3"),
    (graph(ops.Upsample((2, 0)), (8, 8, 8)), r"factors \(2, 0\)"),
    (graph(ops.Spread((2, 1), 5), (7, 4, 8)), "can take -2..5"),
    (graph(ops.ArgMax(), (1,), lo=0, hi=7), r"\(4, 4, 1\) is needed"),
]


@pytest.mark.parametrize(("broken", "fact"), BROKEN, ids=[fact for _, fact in BROKEN])
def test_a_broken_rule_of_an_op_on_images_is_reported(broken: Graph, fact: str) -> None:
    with pytest.raises(VerifyError, match=fact):
        verify(broken)


def test_joined_images_must_agree_in_their_positions() -> None:
    tensors = {
        "x": Tensor("x", (4, 4, 2), (0,), (1,)),
        "z": Tensor("z", (4, 3, 2), (0,), (1,)),
        "y": Tensor("y", (4, 4, 4), (0,), (1,)),
    }
    nodes = (Node("n", ops.Concat(), ("x", "z"), ("y",)),)
    with pytest.raises(VerifyError, match="positions differ"):
        verify(Graph("g", "int", ("x", "z"), ("y",), nodes, tensors, {}, (None, None)))


def test_a_parameter_that_does_not_go_along_a_real_frame_is_reported() -> None:
    net = ImageNet((2, 3, 3))
    net.x = net.quant(net.x, np.array([0.5, 0.25]).reshape(2, 1, 1), bits=3)
    real = read_qonnx(net.bytes())
    key, wrong = blob(np.array([["1", "2", "3"]]).reshape(3, 1, 1))
    node = replace(real.nodes[0], op=replace(real.nodes[0].op, scale=key))
    with pytest.raises(VerifyError, match=r"scale of shape \(3, 1, 1\) does not go along a frame \(2, 3, 3\)"):
        verify(real.replace(nodes=(node,), blobs={**real.blobs, key: wrong}))


def small() -> Graph:
    net = ImageNet((2, 4, 4))
    net.x = net.quant(net.x, 0.25, bits=4)
    net.then("Conv", net.const(np.ones((4, 1, 3, 3))), group=2, pads=[1, 1, 1, 1])
    net.x = net.quant(net.x, 0.5, bits=3)
    net.then("DepthToSpace", blocksize=2)
    return lower(read_qonnx(net.bytes(), "small"))


def test_a_graph_with_images_prints_its_windows_groups_and_layouts() -> None:
    text = to_text(small())
    for part in (
        "Window[kernel=(3, 3), stride=(1, 1), pad=(1, 1, 1, 1), dilation=(1, 1), value=0]",
        "groups=2, taps=9",
        "layout x: [2, 4, 4] transposed by [1, 2, 0]",
    ):
        assert part in text


def test_a_graph_with_images_comes_back_from_its_files_as_it_was(tmp_path: Path) -> None:
    before = small()
    save_graph(tmp_path, before)
    after = load_graph(tmp_path)
    assert to_json(after) == to_json(before) and to_text(after) == to_text(before)
    assert after.layouts["x"] == Layout((2, 4, 4), (1, 2, 0))
