"""The reader of one QONNX file, and what an operator's handler sees of it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from fractions import Fraction
from typing import Any

import numpy as np
import onnx
from numpy.typing import NDArray

from hwq.frontend.constant import Const
from hwq.ir import ops
from hwq.ir.graph import BlobKey, Node, Tensor, blob
from hwq.ir.rational import ObjectArray, to_text

Shape = tuple[int, ...]


class Problem(Exception):
    """One thing wrong with one node; collected, never seen by a user."""

    def __init__(self, message: str, unsupported: bool = True) -> None:
        super().__init__(message)
        self.unsupported = unsupported


@dataclass
class Reader:
    """The file as read so far: constants, frame shapes of the other tensors, nodes, problems."""

    where: str
    batch: int = 1
    consts: dict[str, Const] = field(default_factory=dict)
    tensors: dict[str, Tensor] = field(default_factory=dict)
    alias: dict[str, str] = field(default_factory=dict)  # output of an Identity -> its input
    unknown: set[str] = field(default_factory=set)  # outputs of nodes that could not be read
    nodes: list[Node] = field(default_factory=list)
    blobs: dict[BlobKey, NDArray[Any]] = field(default_factory=dict)
    problems: list[str] = field(default_factory=list)
    unsupported: bool = False
    names: set[str] = field(default_factory=set)

    def blob(self, array: NDArray[Any]) -> BlobKey:
        key, a = blob(array)
        self.blobs[key] = a
        return key

    def resolve(self, name: str) -> str:
        while name in self.alias:
            name = self.alias[name]
        return name

    def emit(self, name: str, op: ops.Op, inputs: Iterable[str], output: str, shape: Shape) -> None:
        unique, i = name, 1
        while unique in self.names:
            unique, i = f"{name}_{i}", i + 1
        self.names.add(unique)
        self.tensors[output] = Tensor(output, shape)
        self.nodes.append(Node(unique, op, tuple(inputs), (output,), source=name))

    def fail(self, message: str, unsupported: bool) -> None:
        self.problems.append(message)
        self.unsupported |= unsupported


@dataclass
class Site:
    """One ONNX node with the reader around it: what the op handlers work on."""

    r: Reader
    node: Any
    name: str

    def const(self, i: int, what: str) -> Const:
        name = self.r.resolve(self.node.input[i])
        if name not in self.r.consts:
            raise Problem(f"{what} ('{name}') is computed at run time; only a constant is supported")
        return self.r.consts[name]

    def optional(self, i: int, what: str) -> Const | None:
        return self.const(i, what) if i < len(self.node.input) and self.node.input[i] else None

    def attr(self, name: str, default: Any = None) -> Any:
        for a in self.node.attribute:
            if a.name == name:
                value = onnx.helper.get_attribute_value(a)
                return value.decode() if isinstance(value, bytes) else value
        return default

    def frame(self, i: int = 0) -> tuple[str, Shape]:
        name = self.r.resolve(self.node.input[i])
        return name, self.r.tensors[name].shape

    def is_const(self, i: int) -> bool:
        return self.r.resolve(self.node.input[i]) in self.r.consts

    def param(self, values: ObjectArray, frame: Shape, axis: int | None = None) -> BlobKey:
        """A constant as a parameter of an elementwise op: rationals [1], or of the frame's rank, broadcast along it.

        With `axis` the constant is a vector along that axis of the frame; else it broadcasts as ONNX does.
        """
        values = np.asarray(values, dtype=object)  # arithmetic on 0-d arrays leaves bare Fractions
        return self.r.blob(to_text(self.along(values, frame, axis)))

    def along(self, values: ObjectArray, frame: Shape, axis: int | None = None) -> ObjectArray:
        """The array behind `param`."""
        flat = values.ravel()
        if flat.size == 0:
            raise Problem("empty constant", unsupported=False)
        if all(v == flat[0] for v in flat[1:]):
            return flat[:1]
        a = values
        if axis is not None:
            side = [1] * len(frame)
            side[axis] = flat.size
            a = flat.reshape(side)
        elif a.ndim == len(frame) + 1 and a.shape[0] == 1:
            a = a[0]
        if a.ndim <= len(frame):
            a = a.reshape((1,) * (len(frame) - a.ndim) + a.shape)
            if all(n in (1, f) for n, f in zip(a.shape, frame, strict=True)):
                return a
        raise Problem(f"constant of shape {values.shape} does not broadcast to the frame {frame}")

    def emit(self, op: ops.Op, inputs: Iterable[str], shape: Shape, output: str | None = None) -> None:
        self.r.emit(self.name, op, inputs, output or self.node.output[0], shape)

    def affine(
        self,
        x: str,
        mul: ObjectArray,
        add: ObjectArray,
        shape: Shape,
        output: str | None = None,
        axis: int | None = None,
    ) -> None:
        self.emit(ops.Affine(self.param(mul, shape, axis), self.param(add, shape, axis)), [x], shape, output)


ONE = np.array([Fraction(1)], dtype=object)
ZERO = np.array([Fraction(0)], dtype=object)
