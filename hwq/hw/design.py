"""Design: a frozen netlist of library modules with concrete parameters, joined by streams."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

Param = int | str


@dataclass(frozen=True, slots=True)
class MemFile:
    """One `$readmemh` file: path relative to the build folder, content made by hwq.hw.memory."""

    path: str
    content: str


@dataclass(frozen=True, slots=True)
class Instance:
    """One library module. `layer` is the scope its cost is reported under; `mems` are the files its parameters name."""

    name: str
    module: str
    params: tuple[tuple[str, Param], ...]
    layer: str
    mems: tuple[MemFile, ...] = ()

    def param(self, key: str) -> Param:
        return dict(self.params)[key]

    def int_param(self, key: str) -> int:
        value = self.param(key)
        if not isinstance(value, int):
            raise TypeError(f"{self.name}.{key} is not an integer")
        return value


@dataclass(frozen=True, slots=True)
class Stream:
    """A handshaked channel between two instance ports ('' as instance: the design's own boundary).

    It carries tensor `tensor` of the Graph, `lanes` x `bits` a beat; `beats` distinct beats a frame, in sequences of
    `group` beats (0: the whole frame is one) that are each sent `repeat` times. turned (a, b, c): the values of the
    tensor come in blocks [a, b, c], sent as [b, a, c]. `signed` says how a lane decodes.
    """

    name: str
    src: tuple[str, str]
    dst: tuple[str, str]
    tensor: str
    lanes: int
    bits: int
    signed: bool
    beats: int
    repeat: int = 1
    group: int = 0
    turned: tuple[int, int, int] = (1, 1, 1)

    @property
    def sequence(self) -> int:
        """Beats of a sequence."""
        return self.group or self.beats

    @property
    def width(self) -> int:
        return self.lanes * self.bits


@dataclass(frozen=True, slots=True)
class Fold:
    """How one matrix op is folded: PE rows and SIMD columns per cycle, and what it is built from."""

    pe: int
    simd: int
    resource: str = "auto"  # auto | lut | dsp
    memory: str = "auto"  # auto | lut | block | constant

    def cycles(self, rows: int, cols: int, vectors: int = 1) -> int:
        """Cycles per frame for a [rows, cols] matrix applied to `vectors` inputs."""
        return (rows // self.pe) * (cols // self.simd) * vectors


@dataclass(frozen=True, eq=False)
class Design:
    """A whole accelerator: instances in topological order, streams, and the boundary."""

    name: str
    target: str
    clock_mhz: float
    instances: tuple[Instance, ...]
    streams: tuple[Stream, ...]
    inputs: tuple[str, ...]  # stream names that enter the design, in Graph.inputs order
    outputs: tuple[str, ...]
    folds: Mapping[str, Fold]

    def instance(self, name: str) -> Instance:
        return next(i for i in self.instances if i.name == name)

    def stream(self, name: str) -> Stream:
        return next(s for s in self.streams if s.name == name)

    def into(self, instance: str) -> tuple[Stream, ...]:
        return tuple(s for s in self.streams if s.dst[0] == instance)

    def out_of(self, instance: str) -> tuple[Stream, ...]:
        return tuple(s for s in self.streams if s.src[0] == instance)

    def replace(self, **changes: Any) -> Design:
        return replace(self, **changes)
