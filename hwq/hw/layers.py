"""An int Graph as layers: the unit a folding applies to and a cost is reported for."""

from __future__ import annotations

import math
import re
from dataclasses import dataclass

from hwq.errors import ConfigError, UnsupportedOp
from hwq.hw.design import Fold
from hwq.hw.window import Window as Geometry
from hwq.hw.window import in_beats, slide_cycles
from hwq.ir.graph import Graph, Node, Tensor
from hwq.ir.ops import (
    ArgMax,
    Combine,
    Concat,
    DepthToSpace,
    MatVec,
    Pool,
    Reshape,
    Spread,
    Step,
    Table,
    Total,
    Upsample,
    Window,
)

POST = (Step, Table, Combine, ArgMax, Reshape)
MAX_ABREAST = 16  # pixels a cycle
MAX_CONSTANTS = 1 << 18  # weights of a matrix that are all used in one cycle
HEADS = (Window, MatVec, Pool, Total, Combine, Concat, Spread, Upsample, DepthToSpace)


@dataclass(frozen=True, slots=True)
class Layer:
    """A window (or None), a head (matrix op, pooling, sum, join, resampling; or None), and the channelwise ops behind.

    A Window that no matrix op or pooling takes alone is a head itself.

    rows: channels that PE folds (MH of a matrix; a PE above that is several pixels a cycle); cols: what SIMD folds (MW
    of a matrix, the taps of a depthwise one or of a pooling, 1 without); vectors: how often that happens a frame; pes,
    simds: legal PE and SIMD; channels: of what comes in, inputs: how many vectors of them come a frame; depthwise: a
    matrix op in which every channel goes its own way; slide: what hwq_slide slides over where a beat may hold several
    pixels; groups: of any other matrix op.
    """

    name: str
    window: Node | None
    head: Node | None
    post: tuple[Node, ...]
    rows: int
    cols: int
    vectors: int
    pes: tuple[int, ...]
    simds: tuple[int, ...]
    channels: int
    inputs: int
    depthwise: bool
    slide: Geometry | None = None
    groups: int = 1

    @property
    def mat(self) -> Node | None:
        """The matrix op, if the layer has one."""
        return self.head if self.head is not None and isinstance(self.head.op, MatVec) else None

    @property
    def nodes(self) -> tuple[Node, ...]:
        return (*(n for n in (self.window, self.head) if n is not None), *self.post)

    @property
    def first(self) -> Node:
        return self.head or self.post[0]

    @property
    def sources(self) -> tuple[str, ...]:
        return self.nodes[0].inputs

    @property
    def result(self) -> str:
        return self.nodes[-1].outputs[0]

    def lanes(self, fold: Fold) -> int:
        """Values a beat on the way in: SIMD of a matrix op, a pixel at the most; PE where channels go their own way; of
        several pixels a cycle, all that they are computed from.
        """
        if (abreast := self.abreast(fold)) > 1:
            return self.channels * abreast * (self.slide.stride[1] if self.slide is not None else 1)
        return fold.pe if self.lanewise else min(fold.simd, self.channels)

    @property
    def lanewise(self) -> bool:
        """Whether every channel goes its own way: PE is the lanes, SIMD positions of the window."""
        return self.mat is None or self.depthwise

    def simds_at(self, pe: int) -> tuple[int, ...]:
        """Legal SIMD beside a PE: several taps a beat are of whole pixels, several pixels are whole windows."""
        if pe > self.rows:
            return self.simds[-1:]
        return self.simds if not self.lanewise or pe == self.channels else (1,)

    def abreast(self, fold: Fold) -> int:
        """Pixels of the result a cycle, side by side; 1 where PE folds the rows of one."""
        return max(1, fold.pe // self.rows)

    def groups_at(self, fold: Fold) -> int:
        """How many groups are worked on one after the other: those of the op where PE and SIMD divide what a group has,
        else one, with zeros where a channel sees nothing.
        """
        fits = self.rows // self.groups % fold.pe == 0 and self.channels // self.groups % fold.simd == 0
        return self.groups if fits else 1

    def cols_at(self, fold: Fold) -> int:
        """Columns that SIMD folds."""
        return self.cols // self.groups_at(fold)

    def taps(self, fold: Fold) -> int:
        """Positions of a window a beat."""
        return fold.simd if self.lanewise else max(1, fold.simd // self.channels)

    def cycles(self, fold: Fold) -> int:
        """Cycles a frame: of the work, or of what comes in."""
        if (abreast := self.abreast(fold)) > 1:
            if self.slide is None:
                return self.vectors // abreast
            return slide_cycles(in_beats(self.slide, abreast * self.slide.stride[1]), 1)
        if self.slide is not None and self.taps(fold) > 1:
            return slide_cycles(self.slide, fold.cycles(self.rows, self.cols))
        work = fold.cycles(self.rows, self.cols_at(fold), self.vectors)
        return max(work, self.inputs * self.channels // self.lanes(fold))


def identifier(name: str) -> str:
    """A SystemVerilog and TOML friendly form of a node name."""
    clean = re.sub(r"[^A-Za-z0-9]+", "_", name).strip("_").lower() or "layer"
    return clean if clean[0].isalpha() else f"l{clean}"


def positions(t: Tensor) -> int:
    """How many vectors of channels a tensor holds."""
    return t.size // t.channels


def _is_depthwise(op: MatVec, columns: int, rows: int) -> bool:
    """One input channel and one output channel per group, of inputs [taps * channels]."""
    return op.groups > 1 and op.groups * op.taps == columns and op.groups == rows


def layers(graph: Graph) -> tuple[Layer, ...]:
    """Split a Graph into layers, in dataflow order. Raises UnsupportedOp naming every node without hardware."""
    uses = {t: len(graph.consumers(t)) + (t in graph.outputs) for t in graph.tensors}
    groups: list[list[Node]] = []
    problems: list[str] = []
    ends: dict[str, list[Node]] = {}  # tensor with one consumer -> the group it comes out of
    for n in graph.nodes:
        before = ends.get(n.inputs[0]) if len(n.inputs) == 1 else None
        group: list[Node] | None = None
        if isinstance(n.op, (MatVec, Pool)):
            group = before if before is not None and isinstance(before[-1].op, Window) else [n]
        elif _is_head(n):
            group = [n]
        elif isinstance(n.op, POST):
            group = before or [n]
        else:
            problems.append(f"node '{n.name}': no hardware for {type(n.op).__name__}")
            continue
        if group is before:
            group.append(n)
        else:
            groups.append(group)
        if uses[n.outputs[0]] == 1:
            ends[n.outputs[0]] = group
    # Groups stand in the order of their first nodes; each of those comes behind the nodes that feed it.
    taken: set[str] = set()
    found = [_layer(graph, g, taken, problems) for g in groups]
    if problems:
        raise UnsupportedOp("\n".join(problems))
    return tuple(found)


def _layer(graph: Graph, nodes: list[Node], taken: set[str], problems: list[str]) -> Layer:
    window = nodes[0] if len(nodes) > 1 and isinstance(nodes[1].op, (MatVec, Pool)) else None
    rest = nodes if window is None else nodes[1:]
    main = rest[0]
    head = main if _is_head(main) else None
    post = tuple(rest[1:] if head is not None else rest)
    name = base = identifier(main.name)
    k = 1
    while name in taken:
        k += 1
        name = f"{base}_{k}"
    taken.add(name)
    x = graph.tensor(nodes[0].inputs[0])
    y = graph.tensor(main.outputs[0])
    rows, cols, vectors = y.channels, 1, positions(y)
    pes = divisors(rows)
    simds: tuple[int, ...] = (1,)
    depthwise, slide, parts = False, None, 1
    match main.op:
        case MatVec() as op:
            cols = graph.tensor(main.inputs[0]).channels
            depthwise = _is_depthwise(op, cols, rows)
            if depthwise:
                cols = op.taps
                simds = divisors(op.taps)
            else:
                if window is not None or op.taps == 1:  # a Window that others take too sends its groups together
                    parts = op.groups
                simds = divisors(x.channels)
                if window is not None:
                    simds += tuple(x.channels * t for t in divisors(op.taps)[1:])
            if depthwise and cols > 1 and window is None:
                problems.append(f"node '{main.name}': a depthwise matrix op needs a Window of its own before it")
        case Pool(size=size):
            cols = size
            simds = divisors(size)
            if window is None:
                problems.append(f"node '{main.name}': a Pool needs a Window of its own before it")
        case Window():
            pes = divisors(x.channels)
        case Total():
            vectors = positions(x)
        case Concat():
            pes = divisors(math.gcd(*(graph.tensor(t).channels for t in main.inputs)))
    if isinstance(nodes[0].op, Window):
        windows = geometry(nodes[0].op, x.shape)
        slide = None if window is None else windows
        if problem := _only_padding(nodes[0].op, windows):
            problems.append(f"node '{main.name}': {problem}")
    pes += tuple(rows * p for p in _abreast(main, post, y, slide, rows * cols))
    return Layer(
        name, window, head, post, rows, cols, vectors, pes, simds, x.channels, positions(x), depthwise, slide, parts
    )  # fmt: skip


def _only_padding(op: Window, windows: Geometry) -> str | None:
    """What to say where a window sees nothing of the image, which hwq_window and hwq_slide can't wait for."""
    if op.kernel == (1, 1) and any(op.pad):
        return (
            "padding by itself has no hardware; pad in the convolution or pooling that follows, without a quantizer "
            "between them"
        )
    try:
        windows.check()
    except ConfigError as e:
        return str(e)
    return None


def _abreast(main: Node, post: tuple[Node, ...], y: Tensor, slide: Geometry | None, weights: int) -> tuple[int, ...]:
    """How many pixels a cycle, above one, a layer can work on: parts of a row, up to MAX_ABREAST."""
    own = isinstance(main.op, (MatVec, Pool, Combine, Step, Table))
    if not own or len(y.shape) < 3 or any(isinstance(n.op, ArgMax) for n in post) or weights > MAX_CONSTANTS:
        return ()
    fits = [p for p in divisors(y.shape[-2]) if 1 < p <= MAX_ABREAST]
    if slide is not None:
        fits = [p for p in fits if slide.size[1] % (p * slide.stride[1]) == 0]
    return tuple(fits)


def geometry(op: Window, shape: tuple[int, ...]) -> Geometry:
    """What a Window slides over on an image [H, W, C], as whole pixels, each window sent once."""
    return Geometry(1, (shape[0], shape[1]), op.kernel, op.stride, op.dilation, op.pad[:2], op.positions(shape))


def _is_head(n: Node) -> bool:
    return isinstance(n.op, HEADS) and not (isinstance(n.op, Combine) and len(n.inputs) == 1)


def divisors(n: int) -> tuple[int, ...]:
    """All divisors of n, ascending."""
    small = [d for d in range(1, math.isqrt(n) + 1) if n % d == 0]
    return tuple(sorted({*small, *(n // d for d in small)}))
