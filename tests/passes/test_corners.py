"""The corners of the lowering, one construct each, against the exact reference or against a figure worked by
hand.
"""

from __future__ import annotations

from fractions import Fraction

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from onnx import TensorProto

from hwq.errors import UnsupportedOp, VerifyError
from hwq.frontend import read_qonnx
from hwq.golden import execute, host_quantize
from hwq.ir import ops
from hwq.ir.graph import Graph
from hwq.passes import lower, note_dead
from hwq.passes.exact import Surd, affine, compare, over_sqrt, sigmoid, sign, to_mpf
from hwq.passes.heads import order_preserving
from hwq.passes.quantizers import from_index
from tests.agreement import assert_int_graph_is_exact
from tests.qonnx_nets import ROUNDINGS, Net

RNG = np.random.default_rng(5)


def start(n: int = 4, bits: int = 3, **kw: object) -> Net:
    net = Net((n,))
    net.x = net.quant(net.x, 0.5, bits=bits, **kw)
    return net


def matmul(net: Net, w: object, scale: object = 1.0, bits: int = 4) -> Net:
    net.then("MatMul", net.quant(net.const(w), scale, bits=bits))
    net.n = np.shape(w)[1]
    return net


def batchnorm(net: Net, gamma: object, beta: object, mean: object, var: object, epsilon: float = 0.0) -> None:
    net.then(
        "BatchNormalization",
        *(net.const(np.resize(v, net.n)) for v in (gamma, beta, mean, var)),
        epsilon=epsilon,
    )


def x_frames(n: int = 4, count: int = 60) -> np.ndarray:
    x = np.random.default_rng(9).normal(0, 2, (count, n)).astype(np.float32)
    x[::2] = np.round(x[::2] * 4) / 4
    return x


def step_of(graph: Graph) -> tuple[ops.Step, np.ndarray]:
    op = [n.op for n in graph.nodes if isinstance(n.op, ops.Step)][-1]
    return op, graph.array(op.thresholds)


@pytest.mark.parametrize("rounding", ROUNDINGS)
@pytest.mark.parametrize("signed", [0, 1])
def test_every_rounding_mode_decides_ties_as_qonnx_defines(rounding: str, signed: int) -> None:
    net = start(1, bits=5)
    net.then("Mul", net.const(0.5))
    net.x = net.quant(net.x, 1.0, bits=3, signed=signed, rounding=rounding)
    x = np.arange(-16, 17, dtype=np.float32)[:, None] / 4
    assert_int_graph_is_exact(net.bytes(), x)


def test_a_batch_norm_of_zero_gain_makes_a_constant_channel() -> None:
    net = matmul(start(), RNG.normal(0, 2, (4, 3)))
    batchnorm(net, [0, 1, -1], [0.3, 0, 0], 0, 2)
    net.x = net.quant(net.x, 0.5, bits=2)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    t = graph.tensor(graph.outputs[0])
    assert t.lo[0] == t.hi[0] == 1
    assert graph.notes == ("layer 'fc0_act': 1 of 3 outputs never change (channel 0)",)
    assert note_dead(graph).notes == graph.notes


def test_inputs_of_zero_weight_are_reported() -> None:
    net = matmul(start(), [[1.0, 2], [0, 0], [3, 0], [0, 0]])
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    assert graph.notes == ("layer 'fc0': 2 of 4 inputs have zero weights (channels 1, 3)",)


def test_a_negative_gain_makes_a_falling_row_and_leaves_the_weights_alone() -> None:
    w = RNG.integers(-3, 4, (4, 3)).astype(float)
    net = matmul(start(), w)
    batchnorm(net, [1, -1, -2], 0.25, 0.5, 3)
    net.x = net.quant(net.x, 1.0, bits=3)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    op, _ = step_of(graph)
    assert op.falling is not None and graph.array(op.falling).tolist() == [False, True, True]
    assert graph.array(graph.nodes[0].op.weight).tolist() == w.T.tolist()


def test_an_irrational_gain_with_the_value_exactly_on_the_boundary_is_decided() -> None:
    """gamma / sqrt(2) * (acc - mean) + beta is exactly 0 at acc = mean, whatever the square root is."""
    net = matmul(start(2), np.eye(2))
    batchnorm(net, [1, -1], 0, 0.5, 2)
    net.x = net.bipolar(net.x)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames(2))
    _, t = step_of(graph)
    assert t.tolist() == [
        [1],
        [2],
    ]  # acc = 1 stands for 0.5: reached there (rising), and left one later (falling)


def test_two_square_roots_in_one_chain_still_lower_exactly() -> None:
    net = matmul(start(), RNG.normal(0, 2, (4, 3)))
    batchnorm(net, 1.3, 0.1, 0.2, 2)
    batchnorm(net, -0.7, 0.1, 0.3, 5)
    net.x = net.quant(net.x, 0.3, bits=4)
    assert_int_graph_is_exact(net.bytes(), x_frames())


def test_a_tie_behind_two_different_square_roots_is_refused_not_guessed() -> None:
    """(1 + x / sqrt 2 - x / sqrt 2 ...): two roots that cancel exactly look like a near miss."""
    a = over_sqrt(Fraction(1), Fraction(2))
    b = over_sqrt(affine(a, Fraction(1), Fraction(1)), Fraction(3))
    with pytest.raises(VerifyError, match="100 digits cannot tell"):
        sign(b - to_mpf(b))


@pytest.mark.parametrize("op", ["Sigmoid", "Tanh"])
def test_a_smooth_activation_before_a_quantizer_is_exact_also_where_it_saturates(op: str) -> None:
    net = matmul(start(bits=5), RNG.normal(0, 4, (4, 3)))
    net.then("Mul", net.const([1.0, -40.0, 300.0]))
    net.then(op)
    net.x = net.quant(net.x, 0.125, bits=4, rounding="FLOOR")
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    assert min(graph.tensor(graph.outputs[0]).lo) >= (0 if op == "Sigmoid" else -8)


def test_a_function_that_rises_and_falls_becomes_a_table() -> None:
    net = matmul(start(), RNG.normal(0, 2, (4, 3)))
    net.then("Abs")
    net.then("Add", net.const([0.0, -1.0, 2.0]))
    net.x = net.quant(net.x, 1.0, bits=4)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    assert isinstance(graph.nodes[-1].op, ops.Table)


def test_a_table_past_the_limit_is_refused_with_its_range() -> None:
    net = matmul(start(bits=8), np.full((4, 1), 7.0))
    net.then("Abs")
    net.x = net.quant(net.x, 1.0, bits=4)
    with pytest.raises(UnsupportedOp, match="not monotone, and its input range of 7141 integers is past the 4096"):
        lower(read_qonnx(net.bytes()))


def test_levels_no_accumulator_reaches_are_not_kept_as_thresholds() -> None:
    net = matmul(start(2, bits=2, signed=0), np.ones((2, 1)))  # acc in 0..6, standing for 0..3
    net.x = net.quant(net.x, 1.0, bits=8)
    _, t = step_of(assert_int_graph_is_exact(net.bytes(), x_frames(2)))
    assert t.tolist() == [[2, 3, 6]]  # 0.5 is a tie that goes to 0, 1.5 one that goes to 2, 2.5 one that stays at 2


def test_true_ranges_come_from_the_weights_and_the_levels_that_occur() -> None:
    net = start(2, bits=2, narrow=1)
    matmul(net, [[3.0, -2], [1, 0]])
    net.then("Add", net.const([100.0, 0.0]))
    net.x = net.quant(net.x, 1.0, bits=4)
    graph = lower(read_qonnx(net.bytes()))
    assert (graph.tensor("fc0_acc").lo, graph.tensor("fc0_acc").hi) == ((-4, -2), (4, 2))
    assert (graph.tensor("fc0_out").lo, graph.tensor("fc0_out").hi) == ((7, -1), (7, 1))


def test_input_offsets_move_into_the_next_thresholds() -> None:
    net = start(4, bits=3, signed=0, zero=3.0)
    net.then("Add", net.const([0.5, -0.25, 1.0, 0.0]))
    matmul(net, RNG.integers(-3, 4, (4, 3)).astype(float))
    net.x = net.quant(net.x, 1.0, bits=3)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    assert graph.tensor("x").lo == (0,) and not graph.notes


def test_bipolar_weights_on_a_bipolar_input_count_matches() -> None:
    net = Net((5,))
    net.x = net.bipolar(net.x, 0.3)
    net.then("MatMul", net.bipolar(net.const(RNG.normal(size=(5, 3))), 0.7))
    net.n = 3
    batchnorm(net, 1, 0.1, 0.2, 1)
    net.x = net.bipolar(net.x)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames(5))
    assert graph.nodes[0].op.xnor and (min(graph.tensor("fc0_acc").lo), max(graph.tensor("fc0_acc").hi)) == (
        0,
        5,
    )


def test_an_offset_bit_is_not_bipolar_and_gets_plain_sums() -> None:
    net = Net((5,))
    net.x = net.quant(net.x, 1.0, bits=1, signed=0)
    net.then("MatMul", net.bipolar(net.const(RNG.normal(size=(5, 3)))))
    assert not assert_int_graph_is_exact(net.bytes(), x_frames(5)).nodes[0].op.xnor


@pytest.mark.parametrize("value", [-1, 0, 1, 2**23, 0x7F800000, -0x7F7FFFFE])
def test_the_float32_index_runs_through_the_numbers_in_order(value: int) -> None:
    low, high = from_index(np.array([value - 1, value]))
    assert np.nextafter(high, np.float32(-np.inf)) == low


def test_host_thresholds_are_right_to_the_last_float() -> None:
    """x * 2 - 1 rounded to 2 bits in exact arithmetic: at every threshold, and one float32 below it."""
    net = Net((1,))
    net.then("Mul", net.const(2.0))
    net.then("Sub", net.const(1.0))
    net.x = net.quant(net.x, 0.3, bits=3)
    net.then("MatMul", net.const([[1.0]]))
    graph = lower(read_qonnx(net.bytes()))
    t = graph.array(graph.host[0].thresholds)[0]
    x = np.concatenate([t, np.nextafter(t, np.float32(-np.inf)), [0.0, -0.0, 3e38, -3e38]]).astype(np.float32)[:, None]
    assert_int_graph_is_exact(net.bytes(), x)


def test_falling_host_quantizers_count_the_other_way() -> None:
    net = Net((3,))
    net.then("Mul", net.const([1.0, -2.0, 0.0]))
    net.x = net.quant(net.x, 0.5, bits=3)
    net.then("MatMul", net.const(np.eye(3)))
    assert_int_graph_is_exact(net.bytes(), x_frames(3))


def head(scale: object, bias: object, classes: int = 5) -> Net:
    net = start(4, bits=4)
    net.then(
        "MatMul",
        net.quant(net.const(np.random.default_rng(1).normal(0, 1, (4, classes))), scale, bits=4, narrow=1),
    )
    net.n = classes
    if bias is not None:
        net.then("Add", net.const(bias))
    net.then("ArgMax", axis=1)
    net.output_type = TensorProto.INT64
    return net


def test_equal_scales_and_biases_need_no_combine() -> None:
    graph = assert_int_graph_is_exact(head(0.3, np.full(5, 0.7)).bytes(), x_frames())
    assert [type(n.op) for n in graph.nodes] == [ops.MatVec, ops.ArgMax]


def test_float_biases_are_compared_exactly_with_small_multipliers() -> None:
    bias = np.array([0.1, -0.3, 0.25, 0.9, 0.0])
    graph = assert_int_graph_is_exact(head(0.3, bias).bytes(), x_frames(count=400))
    combine = next(n.op for n in graph.nodes if isinstance(n.op, ops.Combine))
    assert graph.array(combine.mul[0]).max() <= 5 and graph.notes  # at most the number of distinct fractions


def test_per_channel_scales_are_compared_exactly() -> None:
    scale = np.random.default_rng(3).uniform(0.1, 0.9, (1, 5))
    graph = assert_int_graph_is_exact(
        head(scale, np.random.default_rng(4).normal(0, 1, 5)).bytes(), x_frames(count=400)
    )
    combine = next(n.op for n in graph.nodes if isinstance(n.op, ops.Combine))
    assert graph.array(combine.mul[0]).max() < 1 << 15


@settings(max_examples=60, deadline=None)
@given(st.integers(0, 2**32 - 1), st.sampled_from(["equal", "dyadic", "float", "surd"]))
def test_argmax_multipliers_keep_the_winner_for_every_value(seed: int, kind: str) -> None:
    """Three classes, every combination of accumulator values, against exact comparison."""
    rng = np.random.default_rng(seed)
    lo = rng.integers(-6, 1, 3)
    hi = lo + rng.integers(0, 7, 3)
    a = {
        "equal": np.ones(3),
        "dyadic": rng.integers(-4, 5, 3) / 4,
        "float": rng.normal(0, 1, 3).astype(np.float32),
        "surd": rng.normal(0, 1, 3).astype(np.float32),
    }[kind]
    b = rng.choice([rng.integers(-4, 5, 3) / 4, rng.normal(0, 1, 3).astype(np.float32)])
    pairs = [(Fraction(float(p)), Fraction(float(q))) for p, q in zip(a, b, strict=True)]
    if kind == "surd":
        pairs = [(over_sqrt(p, Fraction(2 + i)), q) for i, (p, q) in enumerate(pairs)]
    mul, bias = order_preserving(pairs, lo, hi, "test")
    values = [
        [affine(p, Fraction(int(x)), Fraction(0)) for x in range(lo[c], hi[c] + 1)] for c, (p, _) in enumerate(pairs)
    ]
    for i, u in enumerate(values[0]):
        for j, v in enumerate(values[1]):
            for k, w in enumerate(values[2]):
                exact = [to_mpf(n) + to_mpf(q) for n, (_, q) in zip((u, v, w), pairs, strict=True)]
                whole = mul * (lo + np.array([i, j, k])) + bias
                assert int(np.argmax(whole)) == max(range(3), key=lambda c, e=exact: (e[c], -c))


def test_a_constant_bias_makes_a_dead_class_that_loses() -> None:
    net = head(0.3, np.array([0, 0, -1e6, 0, 0]))
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    labels = execute(graph, host_quantize(graph, [x_frames()]))["label"]
    assert 2 not in labels


def test_a_relu_before_argmax_is_refused_because_it_makes_ties() -> None:
    net = matmul(start(), RNG.normal(size=(4, 3)))
    net.then("Relu")
    net.then("ArgMax", axis=1)
    with pytest.raises(UnsupportedOp, match=r"flattens values .* makes ties"):
        lower(read_qonnx(net.bytes()))


def test_argmax_over_one_channel_is_refused() -> None:
    net = matmul(start(), RNG.normal(size=(4, 1)))
    net.then("ArgMax", axis=1)
    with pytest.raises(UnsupportedOp, match="a single output is a threshold"):
        lower(read_qonnx(net.bytes()))


def test_a_residual_sum_becomes_a_combine() -> None:
    net = start()
    skip = net.x
    matmul(net, RNG.normal(0, 2, (4, 4)))
    net.x = net.quant(net.x, 0.75, bits=4)
    net.x = net.add("Add", net.x, skip)
    net.x = net.quant(net.x, 1.0, bits=3)
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    combine = next(n.op for n in graph.nodes if isinstance(n.op, ops.Combine))
    assert [graph.array(m).tolist() for m in combine.mul] == [[3], [2]]


def test_two_heads_on_one_trunk_keep_their_own_meaning() -> None:
    net = matmul(start(), RNG.normal(0, 2, (4, 3)))
    trunk = net.x
    a = net.add("Mul", trunk, net.const(2.0))
    b = net.add("Add", trunk, net.const([1.0, 2.0, 3.0]))
    net.outputs = [a, b]
    graph = assert_int_graph_is_exact(net.bytes(), x_frames())
    assert len(set(graph.outputs)) == 2


def test_a_softmax_or_sigmoid_at_the_end_is_left_to_the_host_with_a_note() -> None:
    net = matmul(start(), RNG.normal(0, 2, (4, 3)))
    net.then("Softmax", axis=1)
    graph = lower(read_qonnx(net.bytes()))
    assert graph.outputs == ("fc0_acc",) and "Softmax at the end is left to the host" in graph.notes[0]


def test_layers_are_named_after_the_onnx_nodes_where_those_have_names() -> None:
    net = matmul(start(), RNG.normal(0, 2, (4, 3)))
    net.nodes[-1].name = "/features.2/MatMul"
    net.x = net.quant(net.x, 1.0)
    matmul(net, RNG.normal(0, 2, (3, 2)))
    net.nodes[-1].name = "classifier"
    graph = lower(read_qonnx(net.bytes()))
    assert [n.name for n in graph.nodes] == ["features_2", "features_2_act", "classifier"]
    assert graph.nodes[1].source.startswith("Quant_")


@given(st.integers(1, 50), st.integers(-50, 50), st.integers(-50, 50), st.integers(1, 50))
def test_surds_are_ordered_like_the_real_numbers(v: int, u: int, w: int, d: int) -> None:
    x = affine(over_sqrt(Fraction(w), Fraction(v)), Fraction(1), Fraction(u, d))
    value = u / d + w / v**0.5
    assert compare(x, Fraction(0)) == (0 if abs(value) < 1e-9 else (1 if value > 0 else -1))
    assert not isinstance(x, Surd) or float(x) == pytest.approx(value)


def test_sigmoid_is_rational_at_zero_alone() -> None:
    assert sigmoid(Fraction(0)) == Fraction(1, 2) and not isinstance(sigmoid(Fraction(1)), Fraction)
