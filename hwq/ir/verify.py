"""What must hold at each stage; `verify` reports every violation, not the first."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.errors import VerifyError
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor, used_blobs

LEGAL: dict[str, tuple[type[ops.Op], ...]] = {"real": ops.REAL_OPS, "int": ops.INT_OPS}
IntArray = NDArray[np.int64]


def verify(graph: Graph) -> Graph:
    """Return the graph if it is legal at its stage. Raises VerifyError with every violation."""
    found = list(violations(graph))
    if found:
        raise VerifyError(graph.stage, found)
    return graph


def violations(graph: Graph) -> Iterator[str]:
    """Every broken rule, as 'place: fact'."""
    if graph.stage not in LEGAL:
        yield f"graph: stage '{graph.stage}' is not one of {', '.join(LEGAL)}"
        return
    broken = list(_wiring(graph))
    yield from broken
    if broken:
        return
    bad: set[str] = (
        set()
    )  # tensors whose own description is broken; rules of their nodes would only stumble on it
    if graph.stage == "int":
        for t in graph.tensors.values():
            found = [f"tensor '{t.name}': {v}" for v in _int_tensor(t)]
            bad |= {t.name} if found else set()
            yield from found
        if len(graph.host) != len(graph.inputs):
            yield f"graph: {len(graph.host)} host quantizers for {len(graph.inputs)} inputs"
    for n in graph.nodes:
        if not isinstance(n.op, LEGAL[graph.stage]):
            yield f"node '{n.name}': {type(n.op).__name__} is not an op of stage '{graph.stage}'"
        elif not bad & {*n.inputs, *n.outputs}:
            rules = _INT_RULES[type(n.op)] if graph.stage == "int" else _real_rules
            yield from (f"node '{n.name}': {v}" for v in rules(graph, n))


def _wiring(graph: Graph) -> Iterator[str]:
    known, names = set(graph.inputs), set()
    for t in graph.inputs:
        if t not in graph.tensors:
            yield f"input '{t}': not described in tensors"
    for n in graph.nodes:
        if n.name in names:
            yield f"node '{n.name}': a second node of that name"
        names.add(n.name)
        yield from (
            f"node '{n.name}': input '{t}' is made by no earlier node" for t in n.inputs if t not in known
        )
        for t in n.outputs:
            if t in known:
                yield f"node '{n.name}': output '{t}' exists already"
            if t not in graph.tensors:
                yield f"node '{n.name}': output '{t}' is not described in tensors"
            known.add(t)
    yield from (f"output '{t}': made by no node" for t in graph.outputs if t not in known)
    yield from (
        f"tensor '{k}': key and name '{t.name}' differ" for k, t in graph.tensors.items() if k != t.name
    )
    yield from (
        f"tensor '{t}': dangling, made by no node and no input" for t in graph.tensors if t not in known
    )
    missing = used_blobs(graph.nodes, graph.host) - set(graph.blobs)
    yield from (f"blob {k[:12]}: referred to but missing" for k in sorted(missing))


def _real_rules(graph: Graph, n: Node) -> Iterator[str]:
    ins, out = [graph.tensor(t) for t in n.inputs], graph.tensor(n.outputs[0])
    want = 2 if isinstance(n.op, ops.Sum) else 1
    if len(ins) != want or len(n.outputs) != 1:
        yield f"{len(ins)} inputs and {len(n.outputs)} outputs; {want} and 1 are needed"
        return
    if isinstance(n.op, ops.MatMul):
        mh, mw = graph.array(n.op.weight).shape
        if ins[0].shape != (mw,) or out.shape != (mh,):
            yield f"weight [{mh}, {mw}] between frames {ins[0].shape} and {out.shape}"
        yield from _params(graph, n.op, mh, ("scale",))
    elif isinstance(n.op, ops.ArgMax):
        if out.size != 1:
            yield f"output of shape {out.shape}, one index is needed"
    elif ins[0].size != out.size or (not isinstance(n.op, ops.Reshape) and ins[0].shape != out.shape):
        yield f"frames {ins[0].shape} -> {out.shape}"
    else:
        names = tuple(
            f for f in ("scale", "zero", "mul", "add", "gamma", "beta", "mean", "var") if hasattr(n.op, f)
        )
        yield from _params(graph, n.op, ins[0].size, names)


def _params(graph: Graph, op: ops.Op, n: int, names: tuple[str, ...]) -> Iterator[str]:
    for f in names:
        size = graph.array(getattr(op, f)).size
        if size not in (1, n):
            yield f"{f} holds {size} values; 1 or {n} are needed"


def _int_tensor(t: Tensor) -> Iterator[str]:
    if not t.shape or min(t.shape) < 1:
        yield f"shape {t.shape}"
        return
    if len(t.lo) not in (1, t.channels) or len(t.lo) != len(t.hi):
        yield f"{len(t.lo)} lower and {len(t.hi)} upper bounds for {t.channels} channels"
    elif any(lo > hi for lo, hi in zip(t.lo, t.hi, strict=True)):
        yield "an empty range (lo > hi)"
    elif min(t.lo) < -(1 << 62) or max(t.hi) > 1 << 62:
        yield f"range {min(t.lo)}..{max(t.hi)} is past 62 bits"
    if t.real is not None and any(len(v) not in (1, t.channels) for v in (t.real.scale, t.real.offset)):
        yield f"{len(t.real.scale)} scales and {len(t.real.offset)} offsets for {t.channels} channels"


def bounds(t: Tensor) -> tuple[IntArray, IntArray]:
    """lo, hi per channel, int64 [C]."""
    lo, hi = (np.array(v, dtype=np.int64) for v in (t.lo, t.hi))
    return np.broadcast_to(lo, (t.channels,)), np.broadcast_to(hi, (t.channels,))


def _covers(t: Tensor, lo: Any, hi: Any) -> Iterator[str]:
    """The stated range must hold every value that can occur."""
    low, high = bounds(t)
    for c in np.nonzero((low > lo) | (high < hi))[0][:1]:
        yield (
            f"channel {c} of '{t.name}' can take {int(np.broadcast_to(lo, low.shape)[c])}.."
            f"{int(np.broadcast_to(hi, low.shape)[c])}, its range says {int(low[c])}..{int(high[c])}"
        )


def _matvec(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.MatVec)
    x, y, w = graph.tensor(n.inputs[0]), graph.tensor(n.outputs[0]), graph.array(n.op.weight)
    if w.ndim != 2 or w.dtype != np.int64:
        yield f"weight is {w.dtype} of shape {w.shape}; int64 [MH, MW] is needed"
        return
    if x.channels != w.shape[1] or y.channels != w.shape[0]:
        yield f"weight {list(w.shape)} between {x.channels} and {y.channels} channels"
        return
    code, (lo, hi) = n.op.code, bounds(x)
    bits = code.bits
    legal = {ops.Bipolar: bool(np.all(np.abs(w) == 1)), ops.Ternary: bool(np.all(np.abs(w) <= 1))}.get(
        type(code), bool(np.all((w >= -(1 << (bits - 1))) & (w < 1 << (bits - 1))))
    )
    if not legal:
        yield f"weights {w.min()}..{w.max()} do not fit their code {code}"
    if n.op.xnor:
        if not isinstance(code, ops.Bipolar) or lo.min() < 0 or hi.max() > 1:
            yield "xnor needs bipolar weights and an input in 0..1"
            return
        equal, stuck = (w > 0) == (lo > 0)[None, :], lo == hi
        always = (equal & stuck).sum(axis=1)
        yield from _covers(y, always, always + (~stuck).sum())
        return
    pos, neg = np.maximum(w, 0).astype(object), np.minimum(w, 0).astype(object)
    lo_k, hi_k = lo.astype(object), hi.astype(object)
    yield from _covers(y, pos @ lo_k + neg @ hi_k, pos @ hi_k + neg @ lo_k)


def _step(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.Step)
    x, y, t = graph.tensor(n.inputs[0]), graph.tensor(n.outputs[0]), graph.array(n.op.thresholds)
    if t.ndim != 2 or t.dtype != np.int64 or t.shape[0] != x.channels or t.shape[1] < 1:
        yield f"thresholds are {t.dtype} of shape {t.shape}; int64 [{x.channels}, N >= 1] is needed"
        return
    if x.shape != y.shape:
        yield f"shape {x.shape} -> {y.shape}"
        return
    lo, hi = bounds(x)
    if np.any(np.diff(t, axis=1) < 0):
        yield "thresholds of a row are not ascending"
    if np.any(t < lo[:, None]) or np.any(t > hi[:, None] + 1):
        yield "a threshold lies outside lo..hi + 1 of its channel"
    falling = np.zeros(len(t), dtype=bool) if n.op.falling is None else graph.array(n.op.falling)
    if falling.shape != (len(t),) or falling.dtype != np.bool_:
        yield f"falling is {falling.dtype} of shape {falling.shape}; bool [{len(t)}] is needed"
        return
    first, last = (t <= lo[:, None]).sum(axis=1), (t <= hi[:, None]).sum(axis=1)
    size = t.shape[1]
    yield from _covers(
        y,
        n.op.offset + np.where(falling, size - last, first),
        n.op.offset + np.where(falling, size - first, last),
    )


def _table(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.Table)
    x, y, e = graph.tensor(n.inputs[0]), graph.tensor(n.outputs[0]), graph.array(n.op.entries)
    need = max(x.hi) - n.op.base + 1
    if e.ndim != 2 or e.dtype != np.int64 or e.shape[0] not in (1, x.channels):
        yield f"entries are {e.dtype} of shape {e.shape}; int64 [1 or {x.channels}, hi - lo + 1] is needed"
    elif e.shape[1] != need or n.op.base != min(x.lo):
        yield f"{e.shape[1]} entries from {n.op.base} for inputs {min(x.lo)}..{max(x.hi)}"
    elif x.shape != y.shape:
        yield f"shape {x.shape} -> {y.shape}"
    else:
        lo, hi = bounds(x)
        rows = [
            e[c if len(e) > 1 else 0, lo[c] - n.op.base : hi[c] - n.op.base + 1] for c in range(x.channels)
        ]
        yield from _covers(y, np.array([r.min() for r in rows]), np.array([r.max() for r in rows]))


def _combine(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.Combine)
    xs, y = [graph.tensor(t) for t in n.inputs], graph.tensor(n.outputs[0])
    mul, bias = [graph.array(k) for k in n.op.mul], graph.array(n.op.bias)
    if len(mul) != len(xs):
        yield f"{len(mul)} multipliers for {len(xs)} inputs"
        return
    if any(x.shape != y.shape for x in xs):
        yield f"shapes {[x.shape for x in xs]} -> {y.shape}"
        return
    if any(a.dtype != np.int64 or a.shape not in ((1,), (y.channels,)) for a in (*mul, bias)):
        yield f"multipliers and bias must be int64 [1 or {y.channels}]"
        return
    lo = hi = np.broadcast_to(bias, (y.channels,)).astype(object)
    for m, x in zip(mul, xs, strict=True):
        ends = np.stack([m.astype(object) * v.astype(object) for v in bounds(x)])
        lo, hi = lo + ends.min(axis=0), hi + ends.max(axis=0)
    yield from _covers(y, lo, hi)


def _argmax(graph: Graph, n: Node) -> Iterator[str]:
    x, y = graph.tensor(n.inputs[0]), graph.tensor(n.outputs[0])
    if y.shape != (1,):
        yield f"output of shape {y.shape}; (1,) is needed"
    elif x.channels < 2:
        yield "fewer than two channels"
    else:
        yield from _covers(y, np.array([0]), np.array([x.channels - 1]))


_INT_RULES: dict[type[ops.Op], Callable[[Graph, Node], Iterator[str]]] = {
    ops.MatVec: _matvec,
    ops.Step: _step,
    ops.Table: _table,
    ops.Combine: _combine,
    ops.ArgMax: _argmax,
}
