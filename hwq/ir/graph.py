"""Graph, Node, Tensor: an immutable, topologically ordered description of a network.

Node fields hold only small hashable values; arrays live once in `Graph.blobs`, keyed by the sha256 of their
content.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field, replace
from fractions import Fraction
from typing import Any, TypeAlias

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq import dtype
from hwq.ir.ops import Op

# a rational, or 100 digits where a square root or an exponential came in
Exact: TypeAlias = Fraction | mpmath.mpf
BlobKey = str


@dataclass(frozen=True, slots=True)
class Real:
    """What the integers of a tensor mean: real = scale * integer + offset, per tensor (length 1) or per
    channel.
    """

    scale: tuple[Exact, ...]
    offset: tuple[Exact, ...]


@dataclass(frozen=True, slots=True)
class Tensor:
    """One frame of a tensor (no batch axis).

    At stage `int`: channel is the last axis, `lo`/`hi` are the true integer range per tensor (length 1) or
    channel, and `real` says what the integers mean. At stage `real`: shape as in ONNX, the other fields
    empty.
    """

    name: str
    shape: tuple[int, ...]
    lo: tuple[int, ...] = ()
    hi: tuple[int, ...] = ()
    real: Real | None = None

    @property
    def dtype(self) -> dtype.IntType:
        """The narrowest type that holds every channel."""
        return dtype.smallest(min(self.lo), max(self.hi))

    @property
    def channels(self) -> int:
        return self.shape[-1]

    @property
    def size(self) -> int:
        return int(np.prod(self.shape))


@dataclass(frozen=True, slots=True)
class HostQuant:
    """How the host turns the float32 frame of one graph input into its integers, exactly.

    y = offset + count(T <= x), or offset + N - count where `falling`; T float32 [C or 1, N] under
    `thresholds`.
    """

    thresholds: BlobKey
    offset: int
    falling: BlobKey | None = None


@dataclass(frozen=True, slots=True)
class Layout:
    """Where the values of an ONNX frame stand in an int tensor: the frame as `shape`, its axes as `axes` says, in
    row-major order. [C, H, W] with axes (1, 2, 0) is an image.
    """

    shape: tuple[int, ...]
    axes: tuple[int, ...]

    def to_int(self, x: NDArray[Any], t: Tensor) -> NDArray[Any]:
        """Values [N, ...] in the order of ONNX -> [N, *t.shape]."""
        y = x.reshape(len(x), *self.shape).transpose(0, *(a + 1 for a in self.axes))
        return y.reshape(len(x), *t.shape)

    def from_int(self, y: NDArray[Any]) -> NDArray[Any]:
        """Inverse of `to_int`: [N, ...] in the order of the int tensor -> [N, *shape]."""
        x = y.reshape(len(y), *(self.shape[a] for a in self.axes))
        return x.transpose(0, *(self.axes.index(i) + 1 for i in range(len(self.axes))))


@dataclass(frozen=True, slots=True)
class Node:
    """One operator. `source` is where it came from (ONNX node names, module path), for messages."""

    name: str
    op: Op
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    source: str = ""


@dataclass(frozen=True, eq=False)
class Graph:
    """Nodes in topological order over named tensors. Change is `replace`; nothing is ever mutated."""

    name: str
    stage: str  # "real" | "int"
    inputs: tuple[str, ...]
    outputs: tuple[str, ...]
    nodes: tuple[Node, ...]
    tensors: Mapping[str, Tensor]
    blobs: Mapping[BlobKey, NDArray[Any]]
    host: tuple[HostQuant | None, ...] = ()  # one per input; None: the input is integers already
    # what lowering wants the user to know (dropped channels, combine cost)
    notes: tuple[str, ...] = field(default=())
    # inputs, outputs and quantized tensors of the int graph whose values stand in another order than in ONNX's frame
    layouts: Mapping[str, Layout] = field(default_factory=dict)

    def array(self, key: BlobKey) -> NDArray[Any]:
        return self.blobs[key]

    def tensor(self, name: str) -> Tensor:
        return self.tensors[name]

    def producer(self, tensor: str) -> Node | None:
        return next((n for n in self.nodes if tensor in n.outputs), None)

    def consumers(self, tensor: str) -> tuple[Node, ...]:
        return tuple(n for n in self.nodes if tensor in n.inputs)

    def as_onnx(self, tensor: str, y: NDArray[Any]) -> NDArray[Any]:
        """Values [N, *shape] of an int tensor in the order of the ONNX frame: [N, n]."""
        layout = self.layouts.get(tensor)
        return (y if layout is None else layout.from_int(y)).reshape(len(y), -1)

    def replace(self, **changes: Any) -> Graph:
        return replace(self, **changes)


def blob(array: NDArray[Any]) -> tuple[BlobKey, NDArray[Any]]:
    """(key, read-only copy) of an array; equal content, shape and dtype give an equal key."""
    a = np.array(array, order="C", copy=True)
    a.setflags(write=False)
    h = hashlib.sha256(f"{a.dtype.str}{a.shape}".encode())
    h.update(a.tobytes())
    return h.hexdigest(), a


def used_blobs(nodes: Iterable[Node], host: Iterable[HostQuant | None] = ()) -> set[BlobKey]:
    """Keys that any op (or host quantizer) of the graph refers to."""
    keys: set[BlobKey] = set()
    for n in nodes:
        keys |= set(n.op.blob_keys())
    for h in host:
        if h is not None:
            keys |= {h.thresholds} | ({h.falling} if h.falling else set())
    return keys
