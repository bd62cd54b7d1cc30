"""What the lowering writes into: the int graph so far, and what each real tensor means in terms of it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.dtype import smallest
from hwq.errors import UnsupportedOp, VerifyError
from hwq.ir import ops
from hwq.ir.graph import BlobKey, Exact, Graph, HostQuant, Node, Real, Tensor, blob
from hwq.passes.chain import Chain, Line, Rationals
from hwq.passes.exact import Number, Surd, to_mpf

IntArray = NDArray[np.int64]
INT_LIMIT = 1 << 62


@dataclass(frozen=True, slots=True)
class Value:
    """A real tensor as `chain` applied to the integers of tensor `base` (to a float32 graph input if
    `floating`).
    """

    base: str
    chain: Chain = field(default_factory=Chain)
    floating: bool = False


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
    layers: int = 0

    def blob(self, array: NDArray[Any]) -> BlobKey:
        key, a = blob(array)
        self.blobs[key] = a
        return key

    def name(self, stem: str) -> str:
        """`stem`, or stem_1, stem_2 ... if a node or tensor has that name."""
        taken = {n.name for n in self.nodes} | set(self.tensors)
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
        lo: IntArray,
        hi: IntArray,
        real: Real | None,
        source: str,
    ) -> str:
        """Append a node with one output of len(lo) channels; returns the output's name."""
        if lo.size and (int(lo.min()) < -INT_LIMIT or int(hi.max()) > INT_LIMIT):
            raise VerifyError(
                "int",
                [
                    f"layer '{name}': values reach {int(lo.min())}..{int(hi.max())}, more than 62 bits; "
                    "use fewer bits, or scales that are closer to each other"
                ],
            )
        self.tensors[output] = Tensor(output, (len(lo),), tuple(map(int, lo)), tuple(map(int, hi)), real)
        self.nodes.append(Node(name, op, tuple(inputs), (output,), source))
        return output

    def range(self, tensor: str) -> tuple[IntArray, IntArray]:
        """lo, hi of every channel, int64 [C]."""
        t = self.tensors[tensor]
        return (
            np.broadcast_to(np.array(t.lo, dtype=np.int64), (t.channels,)).copy(),
            np.broadcast_to(np.array(t.hi, dtype=np.int64), (t.channels,)).copy(),
        )

    def stem(self, tensor: str) -> str:
        """Name of the layer a tensor comes from, for naming what follows it."""
        for suffix in ("_acc", "_out"):
            tensor = tensor.removesuffix(suffix)
        return tensor


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
