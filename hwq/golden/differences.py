"""Where another engine decides otherwise than the integer network, and whether each such place is a tie.

Every decision (a quantizer's output, an ArgMax) is judged alone: it gets exactly the levels the engine itself had
upstream, so a flipped tie is counted once and where it happens; its consequences are not. A difference is a tie if the
exact value lies no further from the boundary of the engine's level than the engine's own rounding errors reach
(`hwq.golden.bounds`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import reduce
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import VerifyError
from hwq.golden import bounds
from hwq.golden.bounds import Arithmetic
from hwq.golden.cells import Cells, difference, exceeds, from_floats
from hwq.golden.execute import execute, host_quantize
from hwq.golden.reference import Quantizer, apply, from_levels, kinds
from hwq.ir import ops
from hwq.ir.graph import Graph, Node

Floats = NDArray[np.float64]
IntArray = NDArray[np.int64]


@dataclass(frozen=True, slots=True)
class Flip:
    """One output that differs, as integers of the int graph.

    distance: of the exact value from the boundary of the engine's level; reach: the engine's largest rounding error
    there; both in levels (MultiThreshold: in units of its input; ArgMax: of the logits, whose difference it is).
    """

    frame: int
    channel: int
    hwq: int
    engine: int
    distance: float
    reach: float

    @property
    def tie(self) -> bool:
        return self.distance <= self.reach


@dataclass(frozen=True, slots=True)
class Difference:
    """One decision of the network. flips: outputs that differ though the inputs agree; downstream: outputs that
    differ from the integer network running on its own, which the flips before them cause.
    """

    decision: str
    outputs: int
    flips: tuple[Flip, ...]
    downstream: int

    @property
    def ties(self) -> int:
        return sum(f.tie for f in self.flips)


def decisions(real: Graph, lowered: Graph) -> dict[str, str]:
    """Real tensor -> int tensor of every quantizer and ArgMax whose integers the int graph has, in order."""
    made = {n.source: n.outputs[0] for n in lowered.nodes if not isinstance(n.op, ops.Combine)}
    found = {}
    for node in real.nodes:
        if isinstance(node.op, (*ops.QUANTIZERS, ops.ArgMax)):
            tensor = _host_tensor(real, node, lowered) or made.get(node.name)
            if tensor is not None:
                found[node.outputs[0]] = tensor
    return found


def as_decided(real: Graph, lowered: Graph, name: str, tensor: str, y: NDArray[Any]) -> NDArray[Any]:
    """Values [N, *shape] of the int tensor of a decision in the order of its real tensor: [N, n]."""
    found = lowered.as_onnx(tensor, y)
    return found[:, _moves(real, name)] if tensor in lowered.inputs else found


def _moves(real: Graph, name: str) -> NDArray[np.intp]:
    """Which value of the graph input each value of a host quantizer's output is."""
    path = []
    while name not in real.inputs:
        node = real.producer(name)
        assert node is not None
        path.append(node)
        name = node.inputs[0]
    t = real.tensor(name)
    index = np.arange(t.size).reshape(t.shape)
    for node in reversed(path):
        if isinstance(node.op, ops.Transpose):
            index = index.transpose(node.op.axes)
        index = index.reshape(real.tensor(node.outputs[0]).shape)
    return index.ravel()


def _host_tensor(real: Graph, node: Node, lowered: Graph) -> str | None:
    """The int graph input that a host quantizer became: before it stand elementwise functions of a graph input."""
    t = node.inputs[0]
    while t not in real.inputs:
        before = real.producer(t)
        assert before is not None
        if not isinstance(before.op, (*ops.ELEMENTWISE, *ops.MOVES)):
            return None
        t = before.inputs[0]
    i = real.inputs.index(t)
    return lowered.inputs[i] if lowered.host[i] is not None else None


def count_differences(
    real: Graph,
    lowered: Graph,
    inputs: Sequence[NDArray[Any]],
    engine: Mapping[str, NDArray[Any]],
    arithmetic: Arithmetic,
) -> list[Difference]:
    """Compare an engine's decisions with the int graph's, on frames [N, ...] of each input.

    engine: output tensor of every decision (see `decisions`) -> real values [N, ...] as computed, for an ArgMax the
    class. Raises VerifyError where the int graph itself differs from the exact reference.
    """
    tensors = decisions(real, lowered)
    nodes = {t: node for node in real.nodes for t in node.outputs if t in tensors}
    levels = {t: _levels(real, node, engine[t]) for t, node in nodes.items()}
    ints = {tensors[t]: _integers(nodes[t].op, v) for t, v in levels.items()}  # in the order of ONNX
    given = {i: _placed(real, lowered, t, i, ints[i]) for t, i in tensors.items()}
    start = host_quantize(lowered, inputs)
    free = execute(lowered, start, keep=set(given))
    forced = [given.get(t, x) for t, x in zip(lowered.inputs, start, strict=True)]
    own = execute(lowered, forced, keep=set(given), given=given)
    own |= {t: free[t] for t in lowered.inputs if t in given}
    mine = {t: as_decided(real, lowered, t, i, own[i]) for t, i in tensors.items()}
    places = {t: np.argwhere(mine[t] != ints[i]) for t, i in tensors.items()}
    flips = _explain(real, inputs, levels, mine, places, arithmetic)
    alone = {t: as_decided(real, lowered, t, i, free[i]) for t, i in tensors.items()}
    return [
        Difference(nodes[t].name, ints[i].size, flips[t], int((alone[t] != ints[i]).sum())) for t, i in tensors.items()
    ]


def _placed(real: Graph, lowered: Graph, name: str, tensor: str, y: IntArray) -> IntArray:
    """Integers [N, n] in the order of the decision's real tensor as [N, *shape] of its int tensor."""
    if tensor in lowered.inputs:
        y = y[:, np.argsort(_moves(real, name))]
    t, layout = lowered.tensor(tensor), lowered.layouts.get(tensor)
    return y.reshape(len(y), *t.shape) if layout is None else layout.to_int(y, t)


def _flat(x: NDArray[Any]) -> NDArray[Any]:
    return x.reshape(len(x), -1)


def _levels(graph: Graph, node: Node, values: NDArray[Any]) -> IntArray:
    if isinstance(node.op, ops.ArgMax):
        return _flat(np.asarray(values)).astype(np.int64)
    return Quantizer(graph, node.op, graph.tensor(node.inputs[0]).shape).nearest(_flat(np.asarray(values)))


def _integers(op: ops.Op, levels: IntArray) -> IntArray:
    """Levels as the int graph counts them: -1 and +1 are 0 and 1."""
    return (levels + 1) // 2 if _bipolar(op) else levels


def _bipolar(op: ops.Op) -> bool:
    return isinstance(op, ops.BipolarQuant) or (isinstance(op, ops.Quant) and op.bipolar)


def _explain(
    real: Graph,
    inputs: Sequence[NDArray[Any]],
    levels: Mapping[str, IntArray],
    own: Mapping[str, IntArray],
    places: Mapping[str, NDArray[np.intp]],
    arithmetic: Arithmetic,
) -> dict[str, tuple[Flip, ...]]:
    """Every differing place [frame, channel] of each decision: the exact reference of the frames that hold one."""
    frames = np.unique(np.concatenate([p[:, 0] for p in places.values()]))
    if not frames.size:
        return dict.fromkeys(places, ())
    env: dict[str, Cells] = {
        t: from_floats(np.asarray(x)[frames].reshape(-1, *real.tensor(t).shape))
        for t, x in zip(real.inputs, inputs, strict=True)
    }
    error: dict[str, Floats] = {t: np.zeros(env[t].codes.shape) for t in real.inputs}
    flips: dict[str, tuple[Flip, ...]] = {}
    for node in real.nodes:
        if not env.keys() >= set(node.inputs):
            continue
        out, xs = node.outputs[0], [env[t] for t in node.inputs]
        errors = [error[t] for t in node.inputs]
        if out not in places:
            if isinstance(node.op, (*ops.QUANTIZERS, ops.ArgMax)):
                continue  # a decision that the int graph left out, because no output needs it
            env[out] = apply(real, node, xs)
            error[out] = bounds.propagate(real, node, arithmetic, [x.floats() for x in xs], errors)
            continue
        flips[out] = tuple(
            _flip(real, node, own[out], levels[out], frames, place, xs[0], errors[0], arithmetic)
            for place in places[out]
        )
        chosen = levels[out][frames]
        classes = isinstance(node.op, ops.ArgMax)
        frame = real.tensor(node.inputs[0]).shape
        alike = kinds(real, node.op, frame)
        env[out] = from_floats(chosen) if classes else from_levels(Quantizer(real, node.op, frame), chosen, alike)
        error[out] = bounds.quantized(env[out].floats(), arithmetic)
    return flips


def _flip(
    graph: Graph,
    node: Node,
    own: IntArray,
    levels: IntArray,
    frames: NDArray[np.intp],
    place: NDArray[np.intp],
    x: Cells,
    error: Floats,
    arithmetic: Arithmetic,
) -> Flip:
    """x: exact input of the decision for `frames`, error: how far the engine's may be from it, both [frames, n]."""
    frame, c = map(int, place)
    shape = graph.tensor(node.inputs[0]).shape
    row, ours, theirs = int(np.searchsorted(frames, frame)), int(own[frame, c]), int(levels[frame, c])
    if isinstance(node.op, ops.ArgMax):
        positions = int(np.prod(shape[1:]))  # c is one of them
        values, errors = x.row(row)[c::positions], error[row, c::positions]
        exact = reduce(lambda best, k: k if exceeds(values[k], values[best]) else best, range(len(values)))
        distance = abs(float(difference(values[ours], values[theirs])))
        reach = float(errors[ours] + errors[theirs])
        integers = ours, theirs
    else:
        q, v = Quantizer(graph, node.op, shape), x.value(row, c)
        level = q.level(v, c)
        exact, integers = int(_integers(node.op, np.array(level))), (ours, int(_integers(node.op, np.array(theirs))))
        v = q.scaled(v, c)
        distance = abs(float(difference(v, q.boundary(theirs, level, c))))
        reach = bounds.decision(graph, node, arithmetic, float(v), float(error[row, c]), c)
    if exact != ours:
        where = f"'{node.name}', frame {frame}, channel {c}"
        raise VerifyError("int", [f"{where}: {ours}, the exact reference has {exact}"])
    return Flip(frame, c, *integers, distance, reach)
