"""The executor's ops on images against loops written from their definitions."""

from __future__ import annotations

import tracemalloc
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwq.errors import DataError, UnsupportedOp
from hwq.frontend import read_qonnx
from hwq.golden import bounds, count_differences, execute, float_execute, host_quantize
from hwq.ir import ops
from hwq.ir.graph import Graph, HostQuant, Layout, Node, Tensor, blob
from hwq.ir.verify import product_range, verify
from hwq.passes import lower
from tests.conv_nets import conv_nets
from tests.qonnx_nets import Net


def one(op: ops.Op, x: Tensor, y: Tensor, blobs: dict[str, Any]) -> Graph:
    graph = Graph("g", "int", ("x",), ("y",), (Node("n", op, ("x",), ("y",)),), {"x": x, "y": y}, blobs, (None,))
    return verify(graph)


def image(name: str, shape: tuple[int, ...], lo: Any, hi: Any) -> Tensor:
    return Tensor(name, shape, tuple(map(int, np.atleast_1d(lo))), tuple(map(int, np.atleast_1d(hi))))


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_window_reads_the_pixels_its_formula_names(data: st.DataObject) -> None:
    h, w, c = (data.draw(st.integers(1, 5)) for _ in range(3))
    kernel, stride, dilation = (tuple(data.draw(st.integers(1, 3)) for _ in range(2)) for _ in range(3))
    pad = tuple(data.draw(st.integers(0, 3)) for _ in range(4))
    op = ops.Window(kernel, stride, pad, dilation, data.draw(st.integers(-3, 3)))
    oh, ow = op.positions((h, w, c))
    if min(oh, ow) < 1:
        return
    taps = kernel[0] * kernel[1]
    graph = one(op, image("x", (h, w, c), -3, 3), image("y", (oh, ow, taps * c), -3, 3), {})
    x = np.random.default_rng(0).integers(-3, 4, (2, h, w, c))
    got = execute(graph, [x])["y"]
    for oy, ox, ky, kx, ch in np.ndindex(oh, ow, *kernel, c):
        y, at = oy * stride[0] + ky * dilation[0] - pad[0], ox * stride[1] + kx * dilation[1] - pad[1]
        want = x[:, y, at, ch] if 0 <= y < h and 0 <= at < w else np.full(2, op.value)
        np.testing.assert_array_equal(got[:, oy, ox, (ky * kernel[1] + kx) * c + ch], want)


@settings(max_examples=80, deadline=None)
@given(st.data())
def test_a_grouped_product_sees_its_group_of_every_tap(data: st.DataObject) -> None:
    groups, per, rows, taps = (data.draw(st.integers(1, 3)) for _ in range(4))
    top = data.draw(st.sampled_from([1, 100, 1 << 20, 1 << 40]))
    xnor = top == 1
    rng = np.random.default_rng(data.draw(st.integers(0, 99)))
    w = rng.choice([-1, 1], (groups * rows, taps * per)) if xnor else rng.integers(-3, 4, (groups * rows, taps * per))
    key, array = blob(w.astype(np.int64))
    op = ops.MatVec(key, ops.Bipolar() if xnor else ops.Uniform(3, False), xnor, groups, taps)
    c = taps * groups * per
    lo, hi = (0, 1) if xnor else (-top, top)
    ends = product_range(op, array, np.full(c, lo), np.full(c, hi))
    graph = one(op, image("x", (2, 2, c), lo, hi), image("y", (2, 2, len(w)), *ends), {key: array})
    x = rng.integers(lo, hi + 1, (3, 2, 2, c))
    got = execute(graph, [x])["y"]
    for m in range(len(w)):
        g = m // rows
        seen = x.reshape(3, 2, 2, taps, groups, per)[..., g, :].reshape(3, 2, 2, -1)
        want = (seen == (w[m] > 0)).sum(axis=-1) if xnor else (seen * w[m]).sum(axis=-1)
        np.testing.assert_array_equal(got[..., m], want)
        if not xnor:
            assert ends[0][m] == -np.abs(w[m]).sum() * top and ends[1][m] == np.abs(w[m]).sum() * top


CASES = [
    (ops.Pool("max", 3), (2, 2, 6), (2, 2, 2), -3, 3, lambda x: x.reshape(-1, 2, 2, 3, 2).max(axis=3)),
    (ops.Pool("sum", 3), (2, 2, 6), (2, 2, 2), -9, 9, lambda x: x.reshape(-1, 2, 2, 3, 2).sum(axis=3)),
    (ops.Total(), (2, 3, 4), (4,), -18, 18, lambda x: x.sum(axis=(1, 2))),
    (ops.Reshape(), (2, 3, 4), (24,), -3, 3, lambda x: x.reshape(-1, 24)),
    (ops.Upsample((2, 3)), (2, 2, 2), (4, 6, 2), -3, 3, lambda x: np.kron(x, np.ones((1, 2, 3, 1), dtype=int))),
]


@pytest.mark.parametrize(("op", "shape", "out", "lo", "hi", "want"), CASES, ids=[type(c[0]).__name__ for c in CASES])
def test_an_op_on_images_does_what_its_table_says(
    op: ops.Op, shape: Any, out: Any, lo: int, hi: int, want: Any
) -> None:
    graph = one(op, image("x", shape, -3, 3), image("y", out, lo, hi), {})
    x = np.random.default_rng(0).integers(-3, 4, (5, *shape))
    np.testing.assert_array_equal(execute(graph, [x])["y"], want(x))


def test_spread_and_depth_to_space_put_every_pixel_in_its_place() -> None:
    x = np.random.default_rng(0).integers(-3, 4, (2, 2, 3, 8))
    graph = one(ops.Spread((2, 3), 7), image("x", (2, 3, 8), -3, 3), image("y", (3, 7, 8), -3, 7), {})
    y = execute(graph, [x])["y"]
    np.testing.assert_array_equal(y[:, ::2, ::3], x)
    assert (y == 7).sum() == y.size - x.size
    graph = one(ops.DepthToSpace(2), image("x", (2, 3, 8), -3, 3), image("y", (4, 6, 2), -3, 3), {})
    y = execute(graph, [x])["y"]
    for h, w, i, j, c in np.ndindex(2, 3, 2, 2, 2):
        np.testing.assert_array_equal(y[:, h * 2 + i, w * 2 + j, c], x[:, h, w, (i * 2 + j) * 2 + c])


def test_frames_in_the_order_of_the_model_become_channel_last() -> None:
    (key, t), shape = blob(np.array([[0.5], [1.5]], dtype=np.float32)), (3, 4, 2)
    x = image("x", shape, 0, 1)
    node = Node("n", ops.Reshape(), ("x",), ("y",))
    layouts = {"x": Layout((2, 3, 4), (1, 2, 0))}
    tensors = {"x": x, "y": image("y", (24,), 0, 1)}
    graph = Graph("g", "int", ("x",), ("y",), (node,), tensors, {key: t}, (HostQuant(key, 0),), (), layouts)
    frames = np.random.default_rng(0).uniform(0, 2, (5, 2, 3, 4)).astype(np.float32)
    (ints,) = host_quantize(graph, [frames])
    np.testing.assert_array_equal(ints, frames.transpose(0, 2, 3, 1) >= np.array([0.5, 1.5], dtype=np.float32))
    np.testing.assert_array_equal(graph.as_onnx("x", ints).reshape(5, 2, 3, 4), ints.transpose(0, 3, 1, 2))
    with pytest.raises(DataError, match="channels last"):
        execute(graph, [ints.transpose(0, 3, 1, 2)])
    np.testing.assert_array_equal(host_quantize(graph, [frames.reshape(5, -1)])[0], ints)
    for wrong in ((3, 4, 2), (2, 4, 3), (6, 4)):  # channels last, turned, an axis missing
        with pytest.raises(DataError) as e:
            host_quantize(graph, [frames.reshape(5, *wrong)])
        assert f"input 'x': frames of shape {wrong}; the network takes (2, 3, 4), axes in this order" in str(e.value)


@pytest.mark.parametrize("shape", [(1, 3, 4), (3, 4), (3, 4, 1), (12,)])
def test_an_axis_of_one_channel_may_be_left_out_of_a_frame(shape: tuple[int, ...]) -> None:
    layouts = {"x": Layout((1, 3, 4), (1, 2, 0))}
    tensors = {"x": image("x", (3, 4, 1), 0, 11), "y": image("y", (12,), 0, 11)}
    graph = Graph(
        "g", "int", ("x",), ("y",), (Node("n", ops.Reshape(), ("x",), ("y",)),), tensors, {}, (None,), (), layouts
    )
    assert (
        host_quantize(graph, [np.arange(12).reshape(1, *shape)])[0].tolist()
        == np.arange(12).reshape(1, 3, 4, 1).tolist()
    )


def test_windows_of_many_frames_are_never_held_at_once() -> None:
    """A 3x3 window of 64 channels is 576 values a pixel: 1 000 frames of 16x16 would be 147 million."""
    rng = np.random.default_rng(0)
    key, w = blob(rng.choice([-1, 1], (8, 576)).astype(np.int64))
    win, mat = ops.Window((3, 3), (1, 1), (1, 1, 1, 1), (1, 1), 0), ops.MatVec(key, ops.Bipolar(), taps=9)
    tensors = {
        "x": image("x", (16, 16, 64), -1, 1),
        "win": image("win", (16, 16, 576), -1, 1),
        "y": image("y", (16, 16, 8), -576, 576),
    }
    nodes = (Node("window", win, ("x",), ("win",)), Node("matvec", mat, ("win",), ("y",)))
    graph = verify(Graph("g", "int", ("x",), ("y",), nodes, tensors, {key: w}, (None,)))
    x = rng.integers(-1, 2, (1000, 16, 16, 64)).astype(np.int8)
    tracemalloc.start()
    y = execute(graph, [x])["y"]
    _, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert peak < 400 << 20
    kept = execute(graph, [x[:3]], keep="all")
    np.testing.assert_array_equal(kept["win"] @ w.T, y[:3])


@settings(max_examples=40, deadline=None, suppress_health_check=list(HealthCheck))
@given(conv_nets(), st.sampled_from([(np.float32, bounds.FLOAT32), (np.float64, bounds.FLOAT64)]))
def test_a_float_engine_on_images_differs_in_ties_alone(
    case: tuple[Net, np.ndarray], engine: tuple[type, bounds.Arithmetic]
) -> None:
    net, x = case
    real = read_qonnx(net.bytes())
    try:
        lowered = lower(real)
    except UnsupportedOp:
        return
    dtype, arithmetic = engine
    for d in count_differences(real, lowered, [x], float_execute(real, [x], dtype), arithmetic):
        assert len(d.flips) == d.ties, d
