"""The integer executor against plain Python integers, its checks, and the host quantizer."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwq.errors import DataError
from hwq.frontend import read_qonnx
from hwq.golden import execute, host_quantize
from hwq.ir import ops
from hwq.ir.graph import Graph, HostQuant, Node, Tensor, blob
from hwq.passes import lower
from tests.qonnx_nets import Net, dense_nets


def one(op_of: object, x: Tensor, y: Tensor, *arrays: np.ndarray, inputs: int = 1) -> Graph:
    """A graph of one node; op_of(keys) makes its op from the blobs' keys."""
    keys, blobs = zip(*(blob(a) for a in arrays), strict=True) if arrays else ((), ())
    names = tuple(f"x{i}" for i in range(inputs))
    tensors = {n: Tensor(n, x.shape, x.lo, x.hi) for n in names} | {"y": y}
    node = Node("n", op_of(*keys), names, ("y",))
    return Graph("g", "int", names, ("y",), (node,), tensors, dict(zip(keys, blobs, strict=True)), (None,) * inputs)


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 7, 20, 40]), st.sampled_from([1, 8, 16]))
def test_a_matrix_product_is_exact_whatever_arithmetic_it_runs_on(seed: int, bits: int, w_bits: int) -> None:
    """float32, float64 and int64 are all reached by these widths."""
    rng = np.random.default_rng(seed)
    w = rng.integers(-(1 << w_bits), (1 << w_bits) + 1, (3, 5))
    x = rng.integers(-(1 << bits), (1 << bits) + 1, (4, 5))
    top = 5 << (bits + w_bits)
    graph = one(
        lambda k: ops.MatVec(k, ops.Uniform(w_bits + 2)),
        Tensor("", (5,), (-(1 << bits),), (1 << bits,)),
        Tensor("y", (3,), (-top,), (top,)),
        w,
    )
    want = [[sum(int(a) * int(b) for a, b in zip(row, frame, strict=True)) for row in w] for frame in x]
    assert execute(graph, [x])["y"].tolist() == want


def test_xnor_counts_the_matches() -> None:
    w = np.array([[1, -1, 1], [-1, -1, -1]])
    graph = one(
        lambda k: ops.MatVec(k, ops.Bipolar(), xnor=True),
        Tensor("", (3,), (0,), (1,)),
        Tensor("y", (2,), (0,), (3,)),
        w,
    )
    assert execute(graph, [np.array([[1, 0, 1], [0, 0, 0], [1, 1, 0]])])["y"].tolist() == [
        [3, 1],
        [1, 3],
        [1, 1],
    ]


@settings(max_examples=40, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from([1, 3, 16, 17, 255]), st.booleans())
def test_a_step_counts_thresholds(seed: int, n: int, falls: bool) -> None:
    rng = np.random.default_rng(seed)
    t = np.sort(rng.integers(-20, 22, (3, n)), axis=1)
    x = rng.integers(-20, 21, (6, 3))
    falling = np.array([False, falls, True]) if falls else None
    arrays = [t] if falling is None else [t, falling]
    graph = one(
        lambda k, f=None: ops.Step(k, -5, f),
        Tensor("", (3,), (-20,), (20,)),
        Tensor("y", (3,), (-5,), (n - 5,)),
        *arrays,
    )
    want = [
        [
            -5 + (n - k if falling is not None and falling[c] else k)
            for c, v in enumerate(frame)
            for k in [sum(int(a <= v) for a in t[c])]
        ]
        for frame in x
    ]
    assert execute(graph, [x])["y"].tolist() == want


def test_a_table_is_looked_up_per_channel() -> None:
    graph = one(
        lambda k: ops.Table(k, -1),
        Tensor("", (2,), (-1,), (1,)),
        Tensor("y", (2,), (0,), (9,)),
        np.array([[9, 0, 1], [2, 3, 4]]),
    )
    assert execute(graph, [np.array([[-1, -1], [0, 1], [1, 0]])])["y"].tolist() == [[9, 2], [0, 4], [1, 3]]


def test_combine_weighs_its_inputs() -> None:
    graph = one(
        lambda a, b, c: ops.Combine((a, b), c),
        Tensor("", (2,), (-9,), (9,)),
        Tensor("y", (2,), (-99,), (99,)),
        np.array([2, -3]),
        np.array([5]),
        np.array([1, 0]),
        inputs=2,
    )
    got = execute(graph, [np.array([[1, 2]]), np.array([[-1, 3]])])["y"]
    assert got.tolist() == [[1 + 2 - 5, -6 + 15]]


def test_argmax_takes_the_lowest_index_of_equal_values() -> None:
    graph = one(lambda: ops.ArgMax(), Tensor("", (3,), (-9,), (9,)), Tensor("y", (1,), (0,), (2,)))
    assert execute(graph, [np.array([[1, 5, 5], [-2, -2, -3], [0, 0, 1]])])["y"].tolist() == [[1], [0], [2]]


def small() -> Graph:
    net = Net((2, 2))
    net.then("Flatten")
    net.x = net.quant(net.x, 0.5, bits=3)
    net.then("MatMul", net.const(np.ones((4, 2))))
    return lower(read_qonnx(net.bytes()))


@pytest.mark.parametrize(
    ("inputs", "message"),
    [
        ([np.zeros((2, 5), int)], r"array of shape \(2, 5\); \[frames, ...\] with 4 values"),
        ([np.full((2, 4), 4)], r"values 4..4 leave the range -4..3"),
        ([np.zeros((2, 4))], "float64 values; integers are needed"),
        ([], "0 input arrays; needed: x"),
        ({"z": np.zeros((2, 4), int)}, "1 input arrays; needed: x"),
        ([np.zeros((0, 4), int)], r"array of shape \(0, 4\)"),
    ],
)
def test_bad_integer_inputs_are_refused(inputs: object, message: str) -> None:
    with pytest.raises(DataError, match=message):
        execute(small(), inputs)


def test_an_unknown_tensor_to_keep_is_refused_with_the_known_ones() -> None:
    with pytest.raises(DataError, match="this graph has x, fc0_acc"):
        execute(small(), [np.zeros((1, 4), int)], keep=["nope"])


def test_keep_chooses_what_comes_back() -> None:
    graph, x = small(), np.zeros((3, 4), int)
    assert set(execute(graph, [x])) == {"fc0_acc"}
    assert set(execute(graph, {"x": x}, keep="all")) == {"x", "fc0_acc"}
    assert execute(graph, [x], keep=["x"])["x"].dtype == np.int64


def test_a_nan_is_refused_before_it_is_quantized() -> None:
    x = np.zeros((3, 2, 2), dtype=np.float32)
    x[2, 1, 0] = np.nan
    with pytest.raises(DataError, match="frame 2 holds NaN"):
        host_quantize(small(), [x])


@settings(max_examples=15, deadline=None)
@given(dense_nets())
def test_frames_are_independent_of_their_company(case: tuple[Net, np.ndarray]) -> None:
    """One by one, or thousands at once (several chunks): the same integers."""
    from hwq.errors import UnsupportedOp

    net, x = case
    try:
        graph = lower(read_qonnx(net.bytes()))
    except UnsupportedOp:
        return
    many = np.concatenate([x] * (5000 // len(x)))
    whole = execute(graph, host_quantize(graph, [many]))[graph.outputs[0]]
    for i in (0, len(x) - 1, len(many) - 1):
        alone = execute(graph, host_quantize(graph, [many[i : i + 1]]))[graph.outputs[0]]
        np.testing.assert_array_equal(whole[i : i + 1], alone)


def test_host_quantizers_fall_where_marked() -> None:
    t = np.array([[0.0, 1.0], [0.0, 1.0]], dtype=np.float32)
    graph = one(lambda: ops.ArgMax(), Tensor("", (2,), (-1,), (1,)), Tensor("y", (1,), (0,), (1,)))
    (k, a), (f, b) = blob(t), blob(np.array([False, True]))
    graph = graph.replace(host=(HostQuant(k, -1, f),), blobs={k: a, f: b})
    got = host_quantize(graph, [np.array([[-0.5, -0.5], [0.0, 0.0], [1.0, 1.0]])])[0]
    assert got.tolist() == [[-1, 1], [0, 0], [1, -1]]
