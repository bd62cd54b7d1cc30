"""What the lowering writes into: the int graph so far, and what each real tensor means in terms of it."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.dtype import smallest
from hwq.errors import UnsupportedOp, VerifyError
from hwq.ir import ops
from hwq.ir.graph import BlobKey, Exact, Graph, HostQuant, Layout, Node, Real, Tensor, blob
from hwq.passes.chain import Chain, Line, Rationals
from hwq.passes.exact import Number, Surd, to_mpf

IntArray = NDArray[np.int64]
INT_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True, eq=False)
class Value:
    """A real tensor as `chain` applied, channel by channel, to the integers of tensor `base` of shape `shape` (to a
    float32 graph input if `floating`).

    order: int64, of the real frame's shape: which value of the base (counted in row-major order) each one is.
    """

    base: str
    shape: tuple[int, ...]
    order: IntArray
    chain: Chain = field(default_factory=Chain)
    floating: bool = False

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def in_order(self) -> bool:
        """True if the values stand as they do in the frame of ONNX."""
        return bool(np.array_equal(self.order.ravel(), np.arange(self.order.size)))

    def where(self, array: NDArray[Any], trailing: int) -> NDArray[Any] | None:
        """A parameter along the real frame (and `trailing` axes of its own) as [1 or channels, ...] rows of the base,
        or None where it differs between values of one channel.
        """
        frame = self.order.shape
        lead, rest = array.shape[: array.ndim - trailing], array.shape[array.ndim - trailing :]
        rows = array.reshape(-1, *rest)
        if len(rows) == 1:
            return rows
        index = np.broadcast_to(np.arange(len(rows)).reshape(lead), frame).ravel()
        channel = self.order.ravel() % self.channels
        first = np.zeros(self.channels, dtype=np.int64)
        first[channel] = index
        if np.any(first[channel] != index):
            _, same = np.unique(rows, axis=0, return_inverse=True)
            if np.any(same.ravel()[first[channel]] != same.ravel()[index]):
                return None
        return np.asarray(rows[first])


def as_picture(shape: tuple[int, ...]) -> IntArray:
    """The order of an image [H, W, C] as ONNX sees it: [C, H, W]."""
    return np.arange(int(np.prod(shape))).reshape(shape).transpose(2, 0, 1)


def straight(base: str, shape: tuple[int, ...], chain: Chain, frame: tuple[int, ...] | None = None) -> Value:
    """A new int tensor: a vector, or an image [H, W, C] whose real frame is [C, H, W] (or as `frame` says)."""
    order = as_picture(shape) if len(shape) == 3 else np.arange(int(np.prod(shape)))
    return Value(base, shape, order if frame is None else order.reshape(frame), chain)


Whole = NDArray[np.object_]  # integers of any size


@dataclass(frozen=True, eq=False)
class Pending:
    """A sum that is not a node yet: sum of mul * base over the terms, mul Python integers [1 or channels].

    A quantizer may make it with smaller multipliers; anything else takes these (`settled`).
    """

    name: str
    source: str
    terms: tuple[tuple[str, Whole], ...]
    shape: tuple[int, ...]

    def range(self, b: Build) -> tuple[Whole, Whole]:
        """lo, hi of every channel, Python integers [channels]."""
        lo = hi = np.zeros(self.shape[-1], dtype=object)
        for base, mul in self.terms:
            ends = np.stack([mul * v.astype(object) for v in b.range(base)])
            lo, hi = lo + ends.min(axis=0), hi + ends.max(axis=0)
        return lo, hi


@dataclass
class Build:
    """The int graph under construction; lives inside one call of the lowering."""

    real: Graph
    nodes: list[Node] = field(default_factory=list)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    blobs: dict[BlobKey, NDArray[Any]] = field(default_factory=dict)
    values: dict[str, Value] = field(default_factory=dict)  # real tensor -> meaning
    host: dict[str, HostQuant] = field(default_factory=dict)  # graph input -> its quantizer
    notes: list[str] = field(default_factory=list)
    sums: dict[str, Pending] = field(default_factory=dict)  # tensors that are not made yet
    decided: set[str] = field(default_factory=set)  # outputs of quantizers, whose layout is that of the real tensor
    layouts: dict[str, Layout] = field(default_factory=dict)
    layers: dict[str, int] = field(default_factory=dict)

    def blob(self, array: NDArray[Any]) -> BlobKey:
        key, a = blob(array)
        self.blobs[key] = a
        return key

    def name(self, stem: str) -> str:
        """`stem`, or stem_1, stem_2 ... if a node or tensor has that name."""
        taken = {n.name for n in self.nodes} | set(self.tensors) | set(self.sums)
        name, i = stem, 1
        while name in taken:
            name, i = f"{stem}_{i}", i + 1
        return name

    def emit(
        self,
        name: str,
        op: ops.Op,
        inputs: Sequence[str],
        output: str,
        lo: IntArray | Whole,
        hi: IntArray | Whole,
        real: Real | None,
        source: str,
        shape: tuple[int, ...] | None = None,
    ) -> str:
        """Append a node with one output of len(lo) channels, a vector unless `shape` says otherwise; returns the
        output's name.
        """
        if lo.size and (int(lo.min()) < -INT_LIMIT or int(hi.max()) > INT_LIMIT):
            raise VerifyError(
                "int",
                [
                    f"layer '{name}': values reach {int(lo.min())}..{int(hi.max())}, more than 62 bits; "
                    "use fewer bits, or scales that are closer to each other"
                ],
            )
        self.tensors[output] = Tensor(output, shape or (len(lo),), tuple(map(int, lo)), tuple(map(int, hi)), real)
        self.nodes.append(Node(name, op, tuple(inputs), (output,), source))
        return output

    def layer(self, node: Node, stem: str) -> str:
        """A name for the layer that `node` becomes: its own where that says something, else stem0, stem1 ..."""
        count = self.layers.get(stem, 0)
        self.layers[stem] = count + 1
        return self.name(layer_name(node.name, f"{stem}{count}"))

    def range(self, tensor: str) -> tuple[IntArray, IntArray]:
        """lo, hi of every channel, int64 [C]."""
        t = self.tensors[tensor]
        return (
            np.broadcast_to(np.array(t.lo, dtype=np.int64), (t.channels,)).copy(),
            np.broadcast_to(np.array(t.hi, dtype=np.int64), (t.channels,)).copy(),
        )

    def stem(self, tensor: str) -> str:
        """Name of the layer a tensor comes from, for naming what follows it."""
        for suffix in ("_acc", "_out", "_win", "_flat", "_sum"):
            tensor = tensor.removesuffix(suffix)
        return tensor


def layer_name(onnx_name: str, default: str) -> str:
    """A short identifier for a layer: 'fc1' stays, '/features.2/MatMul' is features_2, 'MatMul_3' says
    nothing.
    """
    path = [p for p in onnx_name.split("/") if p]
    if len(path) > 1:
        path = path[:-1]
    name = re.sub(r"\W+", "_", "_".join(path)).strip("_")
    return default if not name or re.fullmatch(rf"(node_)?({_TYPES})(_\d+)*|\d.*", name) else name


_TYPES = (
    "MatMul|Gemm|linear|Conv|ConvTranspose|conv|conv[12]d|MaxPool|max_pool[12]d|AveragePool|avg_pool[12]d|"
    "GlobalAveragePool|GlobalMaxPool|ReduceMean|ReduceSum|mean|Concat|cat|Add|Sub|add|Pad|pad|Resize|Upsample|DepthToSpace"
)


def layout_of(order: IntArray, shape: tuple[int, ...]) -> Layout | None:
    """How the values of a frame stand in an int tensor, if transposing an image says it; None if they don't move.

    Raises ValueError where it takes more than that.
    """
    flat_order = order.ravel()
    if np.array_equal(flat_order, np.arange(flat_order.size)):
        return None
    if len(shape) == 3 and np.array_equal(flat_order, as_picture(shape).ravel()):
        h, w, c = shape
        return Layout((c, h, w), (1, 2, 0))
    c = int(flat_order[1] - flat_order[0])  # a flattened image: neighbours lie one pixel apart
    if c > 0 and flat_order.size % c == 0:
        pixels = flat_order.size // c
        if np.array_equal(flat_order, np.arange(flat_order.size).reshape(pixels, c).T.ravel()):
            return Layout((c, pixels), (1, 0))
    raise ValueError("no order of axes")


def settled(b: Build, value: Value) -> Value:
    """The value with its base in the int graph: a pending sum becomes a Combine with exact multipliers."""
    pending = b.sums.get(value.base)
    if pending is not None and value.base not in b.tensors:
        lo, hi = pending.range(b)
        add_combine(b, pending, value.base, [mul for _, mul in pending.terms], lo, hi, value.chain)
    return value


def add_combine(
    b: Build, pending: Pending, output: str, mul: Sequence[Whole], lo: Whole, hi: Whole, chain: Chain | None
) -> None:
    """Emit a pending sum with the given multipliers, and say what they cost."""
    bits = max(max(abs(int(v)) for v in m).bit_length() for m in mul)
    name = b.name(pending.name)
    if max(max(abs(int(v)) for v in (*lo, *hi)).bit_length(), bits) > 62:
        raise UnsupportedOp(
            f"node '{pending.source}': the scales it brings together need integers of more than 62 bits; put a "
            "quantizer right after it, or use power-of-two scales"
        )
    keys = tuple(b.blob(short(np.asarray(m).astype(np.int64))) for m in mul)
    op = ops.Combine(keys, b.blob(np.zeros(1, dtype=np.int64)))
    real = None if chain is None else real_of(chain, len(lo))
    bases = [base for base, _ in pending.terms]
    b.emit(name, op, bases, output, lo, hi, real, pending.source, pending.shape)
    if any(int(v) != 1 for m in mul for v in m):
        b.notes.append(f"layer '{name}': scales that differ are brought together by multipliers of up to {bits} bits")


def short(values: IntArray) -> IntArray:
    """[1] where all values are equal."""
    return values[:1] if np.all(values == values[0]) else values


def flat(b: Build, value: Value) -> Value:
    """The same value on a vector: a Reshape in front of an image's integers, parameters once per pixel."""
    if len(value.shape) == 1:
        return value
    value = settled(b, value)
    t = b.tensors[value.base]
    pixels = t.size // t.channels
    lo, hi = (np.tile(v, pixels) for v in b.range(value.base))
    chain = value.chain.tiled(t.channels, pixels)
    out = b.name(f"{b.stem(value.base)}_flat")
    found = next((n for n in b.nodes if isinstance(n.op, ops.Reshape) and n.inputs == (value.base,)), None)
    if found is None:
        name = b.name(f"{b.stem(value.base)}_reshape")
        b.emit(name, ops.Reshape(), [value.base], out, lo, hi, real_of(chain, t.size), "", (t.size,))
    else:
        out = found.outputs[0]
    return Value(out, (t.size,), value.order, chain)


def image(b: Build, node: Node, value: Value, what: str) -> Value:
    """The value as an image: base [H, W, C] in the order of the frame [C, H, W] (order has three axes)."""
    c, h, w = ops.picture(value.order.shape)
    order = value.order.reshape(c, h, w)
    if value.shape == (h, w, c) and np.array_equal(order, as_picture(value.shape)):
        return Value(value.base, value.shape, order, value.chain, value.floating)
    raise UnsupportedOp(
        f"node '{node.name}': {what} sees '{value.base}' with its axes in another order, or a vector cut into images; "
        "images must stay [C, H, W] (or [H, W, C] with one Transpose) from the input or a convolution on"
    )


def parameters(b: Build, node: Node, value: Value) -> tuple[Value, Graph]:
    """(value, real graph) with the parameters of an elementwise op or quantizer as rows of the value's base [1 or
    channels]; the value becomes a vector where they differ from pixel to pixel.
    """
    op = node.op
    trailing = {op.thresholds: 1} if isinstance(op, ops.MultiThreshold) else {}
    arrays = {k: value.where(b.real.array(k), trailing.get(k, 0)) for k in op.blob_keys()}
    if any(a is None for a in arrays.values()):
        if value.floating or value.order.ndim > 1:
            raise UnsupportedOp(
                f"node '{node.name}': its parameters differ from pixel to pixel; "
                "use one per channel, or apply it to the flattened frame"
            )
        value = flat(b, value)
        arrays = {k: value.where(b.real.array(k), trailing.get(k, 0)) for k in op.blob_keys()}
    return value, b.real.replace(blobs=arrays)


def meaning(scale: Rationals, offset: Rationals) -> Chain:
    """integers -> scale * integer + offset, as the start of a chain."""
    return Chain().then(Line(scale, offset))


def real_of(chain: Chain, channels: int) -> Real | None:
    """The chain as an exact annotation, if it is affine."""
    if not chain.is_affine:
        return None
    pairs = [chain.affine(c) for c in range(channels if chain.channels > 1 else 1)]
    return Real(tuple(annotate(a) for a, _ in pairs), tuple(annotate(b) for _, b in pairs))


def annotate(x: Number) -> Exact:
    return to_mpf(x) if isinstance(x, Surd) else x


def needs_line(value: Value, node: Node, what: str) -> Line:
    """The value's chain as a rational line. Raises UnsupportedOp with the way out where it isn't one."""
    if value.floating:
        raise UnsupportedOp(
            f"node '{node.name}': {what} sees the float graph input '{value.base}' without a quantizer; "
            "put a Quant after the input, or annotate the input with an integer datatype"
        )
    line = value.chain.line
    if line is None:
        why = (
            "a BatchNormalization (an irrational factor)"
            if value.chain.is_affine
            else "an activation function that is not followed by a quantizer"
        )
        raise UnsupportedOp(
            f"node '{node.name}': between the integers of '{value.base}' and {what} stands {why}; "
            "put a quantizer right before this node"
        )
    return line


def lowest_bits(values: IntArray) -> int:
    """Two's complement bits that hold every value."""
    return smallest(min(int(values.min()), -1), max(int(values.max()), 0)).bits if values.size else 1


ONE = (Fraction(1),)
ZERO = (Fraction(0),)
