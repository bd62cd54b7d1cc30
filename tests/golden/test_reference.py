"""The exact reference against qonnx's own executor where floats are exact, and the judge of float
differences.
"""

from __future__ import annotations

from dataclasses import replace
from fractions import Fraction

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from qonnx.custom_op.general.intquant import int_quant

from hwq.errors import VerifyError
from hwq.frontend import read_qonnx
from hwq.frontend.constant import as_const, quantize
from hwq.golden import bounds, count_differences, float_execute, reference
from hwq.golden.cells import from_floats
from hwq.golden.reference import Quantizer, apply, from_levels
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor, blob
from hwq.ir.rational import fractions, to_text
from hwq.passes import lower
from tests.conv_nets import conv_nets
from tests.qonnx_nets import ROUNDINGS, Net, dense_nets


def quantizer(bits: int, signed: bool, narrow: bool, rounding: str) -> Quantizer:
    (one, a), (zero, b) = blob(to_text([1])), blob(to_text([0]))
    node = Node("q", ops.Quant(one, zero, bits, signed, narrow, rounding.upper()), ("x",), ("y",))
    graph = Graph("g", "real", ("x",), ("y",), (node,), {n: Tensor(n, (1,)) for n in "xy"}, {one: a, zero: b})
    return Quantizer(graph, node.op, (1,))


@settings(max_examples=150, deadline=None)
@given(st.integers(-40, 40), st.sampled_from(ROUNDINGS), st.integers(1, 4), st.booleans(), st.booleans())
def test_quantizers_round_and_clip_as_qonnx_does(
    quarters: int, mode: str, bits: int, signed: bool, narrow: bool
) -> None:
    """Quarters are exact in floats, ties included."""
    x, zero = quarters / 4, np.float64(0)
    want = int_quant(np.array([x]), np.float64(1), zero, np.float64(bits), signed, narrow, mode)[0]
    assert quantizer(bits, signed, narrow, mode).level(Fraction(x), 0) == want


@settings(max_examples=100, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(ROUNDINGS), st.integers(1, 5), st.booleans(), st.booleans())
def test_weights_quantize_to_what_rational_arithmetic_says(
    seed: int, mode: str, bits: int, signed: bool, narrow: bool
) -> None:
    """The vectorized quantizer of constants against one Fraction at a time, on and off grid points."""
    rng = np.random.default_rng(seed)
    scale = rng.uniform(0.01, 2, (4, 1)).astype(np.float32)
    w = np.concatenate([rng.normal(0, 3, (4, 6)), scale * rng.integers(-9, 10, (4, 6)) / 2], axis=1).astype(np.float32)
    zero = fractions(rng.integers(-2, 3, 1))
    op = ops.Quant("", "", bits, signed, narrow and bits > 1, mode.upper())
    got = quantize(as_const(w), op, fractions(scale), zero)
    judge = quantizer(bits, signed, narrow and bits > 1, mode)
    want = [
        [judge.level(Fraction(float(v)) / Fraction(float(s)) + zero[0], 0) - int(zero[0]) for v in row]
        for row, (s,) in zip(w, scale, strict=True)
    ]
    assert got.ints.tolist() == want


def net_with_ties() -> Net:
    """A bipolar decision at exactly zero, written so that floats see 1e-8 instead: 0.1 + 0.2 - 0.3 in float32
    terms.
    """
    net = Net((3,))
    net.x = net.quant(net.x, 1.0, bits=3)
    net.then("MatMul", net.quant(net.const(np.array([[1.0, 1], [1, 2], [1, -1]])), 0.1, bits=4))
    net.then("Mul", net.const(1 / 3))
    net.then("Add", net.const(-(np.float32(1 / 3) * np.float32(0.1))))
    net.x = net.bipolar(net.x)
    return net


def test_a_flipped_tie_is_counted_once_and_explained() -> None:
    net = net_with_ties()
    net.then("MatMul", net.quant(net.const(np.ones((2, 2))), 1.0))
    net.x = net.quant(net.x, 1.0, bits=3)
    graph = read_qonnx(net.bytes())
    x = np.random.default_rng(0).integers(-3, 4, (500, 3)).astype(np.float32)
    engine = float_execute(graph, [x], np.float32)
    found = count_differences(graph, lower(graph), [x], engine, bounds.FLOAT32)
    assert [d.outputs for d in found] == [1500, 1000, 1000]
    assert found[1].ties == len(found[1].flips) > 0
    assert all(f.distance < 1e-7 < f.reach < 1e-5 for f in found[1].flips)
    assert not found[2].flips and found[2].downstream > 0


def test_an_engine_that_is_simply_wrong_is_not_explained_away() -> None:
    graph = read_qonnx(net_with_ties().bytes())
    x = np.random.default_rng(0).integers(-3, 4, (50, 3)).astype(np.float32)
    engine = float_execute(graph, [x], np.float64)
    out = graph.outputs[0]
    engine[out] = -engine[out]
    found = count_differences(graph, lower(graph), [x], engine, bounds.FLOAT64)[-1]
    wrong = [f for f in found.flips if not f.tie]
    assert len(found.flips) > 90 and wrong
    assert {(f.hwq, f.engine) for f in wrong} == {(0, 1), (1, 0)}
    assert found.ties < len(found.flips)


@settings(max_examples=60, deadline=None, suppress_health_check=list(HealthCheck))
@given(
    st.one_of(dense_nets(), conv_nets()),
    st.sampled_from([(np.float32, bounds.FLOAT32), (np.float64, bounds.FLOAT64)]),
)
def test_no_float_engine_leaves_its_error_bound(
    case: tuple[Net, np.ndarray], engine: tuple[type, bounds.Arithmetic]
) -> None:
    """Every tensor of a layer, from the engine's own levels: the bound holds for the values, decisions or not."""
    net, x = case
    graph = read_qonnx(net.bytes())
    dtype, arithmetic = engine
    got = float_execute(graph, [x], dtype)
    exact = {t: from_floats(x) for t in graph.inputs}
    error = {t: np.zeros(exact[t].codes.shape) for t in graph.inputs}
    for node in graph.nodes:
        out, xs = node.outputs[0], [exact[t] for t in node.inputs]
        if isinstance(node.op, (ops.ArgMax, ops.Softmax)):
            break
        if isinstance(node.op, ops.QUANTIZERS):
            q = Quantizer(graph, node.op, graph.tensor(out).shape)
            exact[out] = from_levels(q, q.nearest(got[out]))
            error[out] = bounds.quantized(exact[out].floats(), arithmetic)
        else:
            exact[out] = apply(graph, node, xs)
            error[out] = bounds.propagate(
                graph, node, arithmetic, [c.floats() for c in xs], [error[t] for t in node.inputs]
            )
        real = exact[out].floats()
        assert (np.abs(got[out] - real) <= error[out] + 2.0**-52 * np.abs(real)).all(), node


def test_a_tie_between_classes_is_explained_and_a_wrong_class_is_not() -> None:
    net = Net((3,))
    net.x = net.quant(net.x, 1.0, bits=4)
    net.then("MatMul", net.quant(net.const(np.array([[1.0, 0, 2], [1, 2, 0], [1, 1, 1]])), 1.0, bits=4))
    net.then("Mul", net.const(0.1))
    net.then("ArgMax", axis=1)
    graph = read_qonnx(net.bytes())
    lowered = lower(graph)
    x = np.array([[1, 1, 1], [3, 0, 0]], dtype=np.float32)  # logits 0.3 0.3 0.3 and 0.3 0 0.6
    engine = dict(float_execute(graph, [x], np.float32))
    out = graph.outputs[0]
    engine[out] = np.array([[2], [0]])
    (tie, wrong) = count_differences(graph, lowered, [x], engine, bounds.FLOAT32)[-1].flips
    assert (tie.frame, tie.hwq, tie.engine, tie.distance) == (0, 0, 2, 0) and tie.tie
    assert (wrong.frame, wrong.hwq, wrong.engine) == (1, 2, 0) and not wrong.tie
    assert wrong.distance == pytest.approx(0.3)


def test_an_integer_graph_that_is_wrong_is_an_error_not_a_tie() -> None:
    graph = read_qonnx(net_with_ties().bytes())
    lowered = lower(graph)
    step = next(n for n in lowered.nodes if isinstance(n.op, ops.Step))
    key, moved = blob(lowered.array(step.op.thresholds) + 20)
    bad = replace(step, op=replace(step.op, thresholds=key))
    broken = lowered.replace(
        nodes=tuple(bad if n is step else n for n in lowered.nodes), blobs={**lowered.blobs, key: moved}
    )
    x = np.random.default_rng(0).integers(-3, 4, (50, 3)).astype(np.float32)
    with pytest.raises(VerifyError, match=r"frame \d+, channel \d: 0, the exact reference has 1"):
        count_differences(graph, broken, [x], float_execute(graph, [x], np.float64), bounds.FLOAT64)


def test_exact_values_stay_exact_through_a_rational_square_root() -> None:
    net = Net((1,))
    net.then("BatchNormalization", *(net.const([v]) for v in (1.0, 0.5, 1.0, 9.0)), epsilon=0.0)
    net.x = net.quant(net.x, 1.0)
    graph = read_qonnx(net.bytes())
    bn = reference(graph, [np.array([[4.0], [1.0], [2.0]], dtype=np.float32)])[graph.nodes[0].outputs[0]]
    assert [bn.tables[0][i] for i in bn.codes[:, 0]] == [Fraction(3, 2), Fraction(1, 2), Fraction(5, 6)]


@pytest.mark.parametrize("dtype", [np.float32, np.float64])
def test_the_float_executor_equals_the_reference_where_everything_is_dyadic(dtype: type) -> None:
    net = Net((3,))
    net.x = net.quant(net.x, 0.25, bits=4)
    net.then("MatMul", net.quant(net.const(np.random.default_rng(0).normal(size=(3, 4))), 0.125, bits=4))
    net.then("Relu")
    net.x = net.quant(net.x, 0.5, bits=3, signed=0, rounding="FLOOR")
    graph = read_qonnx(net.bytes())
    x = np.random.default_rng(1).normal(size=(200, 3)).astype(np.float32)
    engine = float_execute(graph, [x], dtype)
    for name, want in reference(graph, [x]).items():
        np.testing.assert_array_equal(engine[name], want.floats())
