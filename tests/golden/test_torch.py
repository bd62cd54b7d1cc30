"""The integer ops on images against torch in float64 on the same integers: int graphs made by hand, no lowering."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from torch.nn import functional as F

from hwq.golden import execute
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor, blob
from hwq.ir.verify import product_range, verify

FRAMES = 3
Ints = np.ndarray
Case = tuple[Graph, list[Ints], torch.Tensor]  # an int graph, its inputs, what torch makes of them [N, C, H, W]


class Draw:
    """Random sizes and integers."""

    def __init__(self, r: Random) -> None:
        self.r, self.rng = r, np.random.default_rng(r.getrandbits(32))

    def size(self, least: int = 1, most: int = 4) -> int:
        return self.r.randint(least, most)

    def pair(self, most: int = 3) -> tuple[int, int]:
        return self.size(1, most), self.size(1, most)

    def image(self, name: str, shape: tuple[int, ...]) -> tuple[Tensor, Ints]:
        """A tensor of any range up to 16 bits, and frames of it with both ends of the range."""
        bits = self.r.choice([1, 2, 4, 8, 16])
        lo = self.r.choice([0, -(1 << bits - 1), self.r.randint(-9, 9)])
        x = self.rng.integers(lo, lo + (1 << bits), (FRAMES, *shape))
        x[0], x[1] = lo, lo + (1 << bits) - 1
        return Tensor(name, shape, (lo,), (lo + (1 << bits) - 1,)), x


def graph_of(inputs: list[Tensor], steps: list[tuple[ops.Op, tuple[int, ...], Any]], *arrays: Ints) -> Graph:
    """A chain of ops behind the inputs; steps: (op, shape, (lo, hi)) of each result."""
    blobs = dict(blob(a) for a in arrays)
    tensors = {t.name: t for t in inputs}
    nodes, last = [], tuple(tensors)
    for i, (op, shape, (lo, hi)) in enumerate(steps):
        ends = [tuple(int(v) for v in np.atleast_1d(e)) for e in (lo, hi)]
        tensors[f"t{i}"] = Tensor(f"t{i}", shape, *ends)
        nodes.append(Node(f"n{i}", op, last, (f"t{i}",)))
        last = (f"t{i}",)
    names = tuple(t.name for t in inputs)
    return Graph("g", "int", names, last, tuple(nodes), tensors, blobs, (None,) * len(inputs))


def nchw(x: Ints) -> torch.Tensor:
    return torch.from_numpy(np.ascontiguousarray(np.moveaxis(x, -1, 1))).double()


def windowed(d: Draw, x: Tensor, flat: bool = False) -> tuple[ops.Window, tuple[int, int]]:
    """A window of any kernel, stride, padding, dilation and padding value that leaves at least one position."""
    while True:
        kernel, stride, dilation = (1, d.size()) if flat else d.pair(), d.pair(), d.pair(2)
        rows, columns = (kernel[0] - 1) * dilation[0], (kernel[1] - 1) * dilation[1]
        pad = tuple(d.r.randint(0, v) for v in (rows, columns, rows, columns))
        op = ops.Window(kernel, stride, pad, dilation, d.r.randint(x.lo[0], x.hi[0]))
        out = op.positions(x.shape)
        if min(out) > 0:
            return op, out


def reach(op: ops.MatVec, matrix: Ints, x: Tensor) -> tuple[Ints, Ints]:
    """Range of every row of a matrix product on values of the range of x."""
    columns = matrix.shape[1] * op.groups
    return product_range(op, matrix, np.full(columns, x.lo[0]), np.full(columns, x.hi[0]))


def padded(x: Ints, op: ops.Window) -> torch.Tensor:
    top, left, bottom, right = op.pad
    return F.pad(nchw(x), (left, right, top, bottom), value=float(op.value))


def convolution(d: Draw, groups: int, per: int, rows: int, flat: bool = False, point: bool = False) -> Case:
    c = groups * per
    x, frames = d.image("x", (1 if flat else d.size(1, 6), d.size(2, 8), c))
    op, out = windowed(d, x, flat)
    if point:
        op, out = ops.Window((1, 1), (1, 1), (0, 0, 0, 0), (1, 1), 0), x.shape[:2]
    kh, kw = op.kernel
    xnor = (x.lo[0], x.hi[0]) == (0, 1) and d.r.random() < 0.7
    w = (
        d.rng.choice([-1, 1], (groups * rows, per, kh, kw))
        if xnor
        else d.rng.integers(-7, 8, (groups * rows, per, kh, kw))
    )
    code = ops.Bipolar() if xnor else ops.Uniform(4, False)
    matrix = w.transpose(0, 2, 3, 1).reshape(groups * rows, -1)
    mat = ops.MatVec(blob(matrix)[0], code, xnor, groups, kh * kw)
    shapes = (*out, kh * kw * c), (*out, groups * rows)
    graph = graph_of([x], [(op, shapes[0], (x.lo, x.hi)), (mat, shapes[1], reach(mat, matrix, x))], matrix)
    run: Callable[..., torch.Tensor] = F.conv2d
    y = run(padded(frames, op), torch.from_numpy(w).double(), None, op.stride, 0, op.dilation, groups)
    if xnor:  # matches of x in {0, 1} and the sign of w: (sum w (2x - 1) + taps) / 2
        y = y - (y.new_tensor(w.sum((1, 2, 3))) - matrix.shape[1])[:, None, None] / 2
    return graph, [frames], y


def conv2d(d: Draw) -> Case:
    return convolution(d, d.size(1, 3), d.size(1, 3), d.size(1, 3))


def conv1d(d: Draw) -> Case:
    return convolution(d, d.size(1, 2), d.size(1, 3), d.size(1, 3), flat=True)


def depthwise(d: Draw) -> Case:
    return convolution(d, d.size(2, 6), 1, d.r.choice([1, 1, 2]))


def pointwise(d: Draw) -> Case:
    return convolution(d, 1, d.size(1, 6), d.size(1, 6), point=True)


def transposed(d: Draw) -> Case:
    """Spread, Window and the turned kernel; `value` stands for real zero everywhere."""
    groups, per, rows = d.size(1, 2), d.size(1, 2), d.size(1, 2)
    x, frames = d.image("x", (d.size(), d.size(), groups * per))
    zero = d.r.randint(x.lo[0], x.hi[0])
    stride, dilation, (kh, kw) = d.pair(), d.pair(2), d.pair()
    span = (kh - 1) * dilation[0], (kw - 1) * dilation[1]
    h, wide = ((n - 1) * s + 1 for n, s in zip(x.shape[:2], stride, strict=True))
    w = d.rng.integers(-7, 8, (groups * per, rows, kh, kw))  # as torch stores it
    turned = w[..., ::-1, ::-1].reshape(groups, per, rows, kh, kw).transpose(0, 2, 3, 4, 1)
    matrix = np.ascontiguousarray(turned.reshape(groups * rows, -1))
    window = ops.Window((kh, kw), (1, 1), span * 2, dilation, zero)
    out = window.positions((h, wide, groups * per))
    mat = ops.MatVec(blob(matrix)[0], ops.Uniform(4, False), False, groups, kh * kw)
    steps = [
        (ops.Spread(stride, zero), (h, wide, groups * per), (x.lo, x.hi)),
        (window, (*out, kh * kw * groups * per), (x.lo, x.hi)),
        (mat, (*out, groups * rows), reach(mat, matrix, x)),
    ]
    run: Callable[..., torch.Tensor] = F.conv_transpose2d
    y = run(nchw(frames - zero), torch.from_numpy(w).double(), None, stride, 0, 0, groups, dilation)
    return graph_of([x], steps, matrix), [frames], y + y.new_tensor(zero * matrix.sum(1))[:, None, None]


def pool(d: Draw, kind: str) -> Case:
    x, frames = d.image("x", (d.size(1, 6), d.size(1, 6), d.size()))
    op, out = windowed(d, x)
    k, c = op.kernel[0] * op.kernel[1], x.shape[2]
    ends = (x.lo, x.hi) if kind == "max" else (x.lo[0] * k, x.hi[0] * k)
    graph = graph_of([x], [(op, (*out, k * c), (x.lo, x.hi)), (ops.Pool(kind, k), (*out, c), ends)])
    image = padded(frames, op)
    if kind == "max":
        return graph, [frames], F.max_pool2d(image, op.kernel, op.stride, 0, op.dilation)
    ones = torch.ones(c, 1, *op.kernel, dtype=torch.float64)
    return graph, [frames], F.conv2d(image, ones, None, op.stride, 0, op.dilation, c)


def total(d: Draw) -> Case:
    x, frames = d.image("x", (d.size(1, 6), d.size(1, 6), d.size()))
    n = x.shape[0] * x.shape[1]
    graph = graph_of([x], [(ops.Total(), x.shape[2:], (x.lo[0] * n, x.hi[0] * n))])
    return graph, [frames], nchw(frames).sum((2, 3))


def combine(d: Draw) -> Case:
    shape, many = (d.size(), d.size(), d.size()), d.size(1, 3)
    drawn = [d.image(f"x{i}", shape) for i in range(many)]
    muls = [d.rng.integers(-99, 100, d.r.choice([1, shape[2]])) for _ in drawn]
    bias = d.rng.integers(-999, 1000, d.r.choice([1, shape[2]]))
    op = ops.Combine(tuple(blob(m)[0] for m in muls), blob(bias)[0])
    ends = [
        np.sort([np.outer(m, e).ravel() for e in (t.lo, t.hi)], axis=0) for (t, _), m in zip(drawn, muls, strict=True)
    ]
    step = (op, shape, [bias + sum(np.broadcast_to(e[k], shape[2]) for e in ends) for k in (0, 1)])
    graph = graph_of([t for t, _ in drawn], [step], *muls, bias)
    parts = [nchw(f) * torch.from_numpy(m).double()[:, None, None] for (_, f), m in zip(drawn, muls, strict=True)]
    return graph, [f for _, f in drawn], torch.stack(parts).sum(0) + torch.from_numpy(bias).double()[:, None, None]


def concat(d: Draw) -> Case:
    h, w = d.pair(4)
    drawn = [d.image(f"x{i}", (h, w, d.size())) for i in range(d.size(2, 3))]
    lo, hi = (tuple(v for t, _ in drawn for v in getattr(t, k) * t.shape[2]) for k in ("lo", "hi"))
    graph = graph_of([t for t, _ in drawn], [(ops.Concat(), (h, w, len(lo)), (lo, hi))])
    return graph, [f for _, f in drawn], torch.cat([nchw(f) for _, f in drawn], 1)


def flatten(d: Draw) -> Case:
    """In channel-last order: what a Flatten between Transpose and dense layer gives."""
    x, frames = d.image("x", (d.size(), d.size(), d.size()))
    graph = graph_of([x], [(ops.Reshape(), (x.size,), (x.lo, x.hi))])
    return graph, [frames], nchw(frames).permute(0, 2, 3, 1).flatten(1)


def upsample(d: Draw) -> Case:
    x, frames = d.image("x", (d.size(), d.size(), d.size()))
    f = d.pair()
    graph = graph_of([x], [(ops.Upsample(f), (x.shape[0] * f[0], x.shape[1] * f[1], x.shape[2]), (x.lo, x.hi))])
    return graph, [frames], F.interpolate(nchw(frames), scale_factor=[float(v) for v in f], mode="nearest")


def depth_to_space(d: Draw) -> Case:
    b, c, h, w = d.size(1, 3), d.size(1, 3), d.size(), d.size()
    x, frames = d.image("x", (h, w, b * b * c))
    graph = graph_of([x], [(ops.DepthToSpace(b), (h * b, w * b, c), (x.lo, x.hi))])
    crd = nchw(frames).reshape(FRAMES, b * b, c, h, w).transpose(1, 2).reshape(FRAMES, -1, h, w)  # torch's order
    return graph, [frames], F.pixel_shuffle(crd, b)


OPERATORS: dict[str, Callable[[Draw], Case]] = {
    "conv2d": conv2d,
    "conv1d": conv1d,
    "depthwise": depthwise,
    "pointwise": pointwise,
    "transposed": transposed,
    "max pool": lambda d: pool(d, "max"),
    "sum pool": lambda d: pool(d, "sum"),
    "total": total,
    "combine": combine,
    "concat": concat,
    "flatten": flatten,
    "upsample": upsample,
    "depth to space": depth_to_space,
}


@pytest.mark.parametrize("operator", OPERATORS)
@settings(max_examples=40, deadline=None)
@given(r=st.randoms(use_true_random=False))
def test_an_integer_op_equals_torch(operator: str, r: Random) -> None:
    graph, frames, want = OPERATORS[operator](Draw(r))
    verify(graph)
    got = execute(graph, frames)[graph.outputs[0]]
    expected = want.movedim(1, -1).numpy()
    assert np.array_equal(expected, np.rint(expected)) and np.abs(expected).max() < 1 << 53
    np.testing.assert_array_equal(got, expected.astype(np.int64))
