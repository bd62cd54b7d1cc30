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
    want = 2 if isinstance(n.op, ops.Sum) else max(1, len(ins)) if isinstance(n.op, ops.Join) else 1
    if len(ins) != want or len(n.outputs) != 1:
        yield f"{len(ins)} inputs and {len(n.outputs)} outputs; {want} and 1 are needed"
        return
    try:
        shape = frame_after(graph, n.op, [t.shape for t in ins])
    except ValueError as e:
        yield str(e)
        return
    if isinstance(n.op, ops.MatMul | ops.Conv | ops.ConvTranspose):
        yield from _params(graph, n.op, shape[:1], ("scale",))
    elif not isinstance(n.op, ops.IMAGE_OPS):
        names = tuple(
            f for f in ("scale", "zero", "mul", "add", "gamma", "beta", "mean", "var") if hasattr(n.op, f)
        )
        yield from _params(graph, n.op, ins[0].shape, names)
    moves = isinstance(n.op, ops.Reshape | ops.ArgMax | ops.Mean)
    if (out.size != int(np.prod(shape))) if moves else (out.shape != shape):
        yield f"frames {', '.join(str(t.shape) for t in ins)} -> {out.shape}"


def frame_after(graph: Graph, op: ops.Op, frames: list[tuple[int, ...]]) -> tuple[int, ...]:
    """Shape of the output frame of a real op (for a Reshape: of the input). Raises ValueError where there is none."""
    x = frames[0]
    match op:
        case ops.MatMul():
            mh, mw = graph.array(op.weight).shape
            if x != (mw,):
                raise ValueError(f"weight [{mh}, {mw}] on a frame {x}")
            return (mh,)
        case ops.ArgMax():
            return (1, *x[1:])
        case ops.Join():
            rest = {f[: op.axis] + f[op.axis + 1 :] for f in frames}
            if len(rest) != 1:
                raise ValueError(f"frames {frames} differ beside axis {op.axis}")
            return (*x[: op.axis], sum(f[op.axis] for f in frames), *x[op.axis + 1 :])
        case ops.Transpose():
            return tuple(x[a] for a in op.axes)
        case ops.Sum():
            if frames[0] != frames[1]:
                raise ValueError(f"frames {frames[0]} and {frames[1]}")
            return x
        case (
            ops.Conv()
            | ops.ConvTranspose()
            | ops.MaxPool()
            | ops.AvgPool()
            | ops.Mean()
            | ops.Resize()
            | ops.PixelShuffle()
            | ops.Pad()
        ):
            c, h, w = _picture_after(graph, op, *ops.picture(x))
            if min(c, h, w) < 1:
                raise ValueError(f"a frame {x} leaves no pixel: ({c}, {h}, {w})")
            if len(x) == 2 and h != 1:
                raise ValueError(f"a frame {x} becomes {h} rows")
            return (c, w) if len(x) == 2 else (c, h, w)
    return x


def _picture_after(graph: Graph, op: ops.Op, c: int, h: int, w: int) -> tuple[int, int, int]:
    match op:
        case ops.Conv():
            m, per, kh, kw = graph.array(op.weight).shape
            if per * op.groups != c or m % op.groups:
                raise ValueError(f"weight {[m, per, kh, kw]} in {op.groups} groups on {c} channels")
            kernel = kh, kw
        case ops.ConvTranspose():
            channels, per, kh, kw = graph.array(op.weight).shape
            if channels != c or c % op.groups:
                raise ValueError(f"weight {[channels, per, kh, kw]} in {op.groups} groups on {c} channels")
            (sh, sw), (top, left, bottom, right), (dh, dw) = op.stride, op.pad, op.dilation
            return (
                per * op.groups,
                (h - 1) * sh + (kh - 1) * dh + 1 - top - bottom + op.extra[0],
                (w - 1) * sw + (kw - 1) * dw + 1 - left - right + op.extra[1],
            )
        case ops.MaxPool() | ops.AvgPool():
            m, kernel = c, op.kernel
        case ops.Mean():
            return c, 1, 1
        case ops.Resize():
            return c, h * op.factors[0], w * op.factors[1]
        case ops.PixelShuffle():
            if c % op.block**2:
                raise ValueError(f"{c} channels in blocks of {op.block}x{op.block}")
            return c // op.block**2, h * op.block, w * op.block
        case ops.Pad():
            return c, h + op.pad[0] + op.pad[2], w + op.pad[1] + op.pad[3]
        case _:
            raise TypeError(type(op).__name__)
    window = ops.Window(kernel, op.stride, op.pad, op.dilation, 0)
    return (m, *window.positions((h, w, c)))


def _params(graph: Graph, op: ops.Op, frame: tuple[int, ...], names: tuple[str, ...]) -> Iterator[str]:
    for f in names:
        shape = graph.array(getattr(op, f)).shape
        fits = len(shape) == len(frame) and all(a in (1, b) for a, b in zip(shape, frame, strict=True))
        if shape != (1,) and not fits:
            yield (
                f"{f} holds {shape[0]} values; 1 or {frame[0]} are needed"
                if len(shape) == len(frame) == 1
                else f"{f} of shape {shape} does not go along a frame {frame}"
            )


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
    g, k = n.op.groups, n.op.taps
    if g < 1 or k < 1 or w.shape[0] % g or w.shape[1] % k or x.channels != w.shape[1] * g or y.channels != w.shape[0]:
        grouped = f" in {g} groups of {k} taps" if g > 1 or k > 1 else ""
        yield f"weight {list(w.shape)}{grouped} between {x.channels} and {y.channels} channels"
        return
    if x.shape[:-1] != y.shape[:-1]:
        yield f"positions {x.shape[:-1]} -> {y.shape[:-1]}"
        return
    code, (lo, hi) = n.op.code, bounds(x)
    bits = code.bits
    legal = {ops.Bipolar: bool(np.all(np.abs(w) == 1)), ops.Ternary: bool(np.all(np.abs(w) <= 1))}.get(
        type(code), bool(np.all((w >= -(1 << (bits - 1))) & (w < 1 << (bits - 1))))
    )
    if not legal:
        yield f"weights {w.min()}..{w.max()} do not fit their code {code}"
    if n.op.xnor and (not isinstance(code, ops.Bipolar) or lo.min() < 0 or hi.max() > 1):
        yield "xnor needs bipolar weights and an input in 0..1"
        return
    yield from _covers(y, *product_range(n.op, w, lo, hi))


def product_range(op: ops.MatVec, w: IntArray, lo: IntArray, hi: IntArray) -> tuple[Any, Any]:
    """The true range of every row of a MatVec for inputs lo..hi [channels]: two arrays [MH], int64 or object."""
    groups, xnor = op.groups, op.xnor
    if xnor:
        kind: type[Any] = np.int64
    else:
        top = max(abs(int(lo.min())), abs(int(hi.max())))
        kind = np.int64 if int(np.abs(w).max(initial=0)) * top * w.shape[1] < 1 << 62 else object
    rows = w.reshape(groups, -1, w.shape[1])
    low, high = (v.reshape(op.taps, groups, -1).transpose(1, 0, 2).reshape(groups, 1, -1) for v in (lo, hi))
    if xnor:
        stuck = low == high
        always = (((rows > 0) == (low > 0)) & stuck).sum(axis=2)
        return always.ravel(), (always + (~stuck).sum(axis=2)).ravel()
    pos, neg = np.maximum(rows, 0).astype(kind), np.minimum(rows, 0).astype(kind)
    low, high = (v.astype(kind).transpose(0, 2, 1) for v in (low, high))
    return (pos @ low + neg @ high).ravel(), (pos @ high + neg @ low).ravel()


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
    if y.shape != (*x.shape[:-1], 1):
        yield f"shape {x.shape} -> {y.shape}; {(*x.shape[:-1], 1)} is needed"
    elif x.channels < 2:
        yield "fewer than two channels"
    else:
        yield from _covers(y, np.array([0]), np.array([x.channels - 1]))


def _shape(y: Tensor, shape: tuple[int, ...]) -> Iterator[str]:
    if y.shape != shape:
        yield f"output of shape {y.shape}; {shape} is needed"


def _image(x: Tensor) -> Iterator[str]:
    if len(x.shape) != 3:
        yield f"input of shape {x.shape}; [H, W, C] is needed"


def _moved(graph: Graph, n: Node, shape: tuple[int, ...], lo: IntArray, hi: IntArray) -> Iterator[str]:
    """Shape and range of an op that only moves values."""
    y = graph.tensor(n.outputs[0])
    wrong = list(_shape(y, shape))
    yield from wrong or _covers(y, lo, hi)


def _window(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.Window)
    op, x = n.op, graph.tensor(n.inputs[0])
    wrong = list(_image(x))
    if min(*op.kernel, *op.stride, *op.dilation) < 1 or min(op.pad) < 0:
        wrong.append(f"kernel {op.kernel}, stride {op.stride}, dilation {op.dilation}, pad {op.pad}")
    if wrong or min(op.positions(x.shape)) < 1:
        yield from wrong or ["the image is smaller than one window"]
        return
    lo, hi = bounds(x)
    if any(op.pad):
        lo, hi = np.minimum(lo, op.value), np.maximum(hi, op.value)
    taps = op.kernel[0] * op.kernel[1]
    yield from _moved(graph, n, (*op.positions(x.shape), taps * x.channels), np.tile(lo, taps), np.tile(hi, taps))


def _pool(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.Pool)
    x, size = graph.tensor(n.inputs[0]), n.op.size
    if n.op.kind not in ("max", "sum") or size < 1 or x.channels % size:
        yield f"'{n.op.kind}' over {size} entries of {x.channels}"
        return
    lo, hi = (v.reshape(size, -1) for v in bounds(x))
    shape = (*x.shape[:-1], x.channels // size)
    if n.op.kind == "max":
        yield from _moved(graph, n, shape, lo.max(axis=0), hi.max(axis=0))
    else:
        yield from _moved(graph, n, shape, lo.sum(axis=0), hi.sum(axis=0))


def _total(graph: Graph, n: Node) -> Iterator[str]:
    x = graph.tensor(n.inputs[0])
    wrong = list(_image(x))
    yield from wrong
    if not wrong:
        lo, hi = bounds(x)
        yield from _moved(graph, n, (x.channels,), lo * (x.size // x.channels), hi * (x.size // x.channels))


def _concat(graph: Graph, n: Node) -> Iterator[str]:
    xs = [graph.tensor(t) for t in n.inputs]
    if len({x.shape[:-1] for x in xs}) != 1:
        yield f"positions differ: {', '.join(str(x.shape) for x in xs)}"
        return
    ends = [np.concatenate(v) for v in zip(*(bounds(x) for x in xs), strict=True)]
    yield from _moved(graph, n, (*xs[0].shape[:-1], sum(x.channels for x in xs)), *ends)


def _reshape(graph: Graph, n: Node) -> Iterator[str]:
    x, y = graph.tensor(n.inputs[0]), graph.tensor(n.outputs[0])
    if x.size != y.size:
        yield f"shape {x.shape} -> {y.shape}"
        return
    lo, hi = (np.broadcast_to(v, x.shape).reshape(-1, y.channels) for v in bounds(x))
    yield from _covers(y, lo.min(axis=0), hi.max(axis=0))


def _upsample(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.Upsample | ops.Spread)
    x, (fh, fw) = graph.tensor(n.inputs[0]), n.op.factors
    wrong = list(_image(x)) + ([f"factors {n.op.factors}"] if min(fh, fw) < 1 else [])
    yield from wrong
    if wrong:
        return
    (h, w, c), (lo, hi) = x.shape, bounds(x)
    if isinstance(n.op, ops.Upsample):
        yield from _moved(graph, n, (h * fh, w * fw, c), lo, hi)
    else:
        lo, hi = np.minimum(lo, n.op.value), np.maximum(hi, n.op.value)
        yield from _moved(graph, n, ((h - 1) * fh + 1, (w - 1) * fw + 1, c), lo, hi)


def _depth_to_space(graph: Graph, n: Node) -> Iterator[str]:
    assert isinstance(n.op, ops.DepthToSpace)
    x, b = graph.tensor(n.inputs[0]), n.op.block
    wrong = list(_image(x))
    if b < 1 or x.channels % b**2:
        wrong.append(f"{x.channels} channels in blocks of {b}x{b}")
    yield from wrong
    if not wrong:
        h, w, c = x.shape
        lo, hi = (v.reshape(b * b, -1) for v in bounds(x))
        yield from _moved(graph, n, (h * b, w * b, c // b**2), lo.min(axis=0), hi.max(axis=0))


_INT_RULES: dict[type[ops.Op], Callable[[Graph, Node], Iterator[str]]] = {
    ops.MatVec: _matvec,
    ops.Step: _step,
    ops.Table: _table,
    ops.Combine: _combine,
    ops.ArgMax: _argmax,
    ops.Window: _window,
    ops.Pool: _pool,
    ops.Total: _total,
    ops.Concat: _concat,
    ops.Reshape: _reshape,
    ops.Upsample: _upsample,
    ops.Spread: _upsample,
    ops.DepthToSpace: _depth_to_space,
}
