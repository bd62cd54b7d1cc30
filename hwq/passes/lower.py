"""Graph(real) -> Graph(int): one walk, every tensor an elementwise chain over an integer tensor."""

from __future__ import annotations

import re
from dataclasses import replace

import numpy as np

from hwq.errors import UnsupportedOp
from hwq.ir import ops
from hwq.ir.graph import Graph, Node, Tensor, used_blobs
from hwq.passes.build import Build, Value, layout_of, needs_line, parameters, real_of, settled
from hwq.passes.chain import Bend, Chain, functions
from hwq.passes.dense import lower_matmul
from hwq.passes.heads import lower_argmax, strip_monotone
from hwq.passes.images import lower_image
from hwq.passes.layout import arranged, describe, input_layout
from hwq.passes.quantizers import lower_quantizer
from hwq.passes.sums import lower_join, lower_sum


def to_integers(graph: Graph) -> Graph:
    """Lower a real graph. Images become [H, W, C], other frames vectors in row-major order; layers are named conv0,
    fc0, fc1 ... in order where the file has no names for them.

    A quantizer that directly follows a graph input becomes the host's (`Graph.host`). Raises UnsupportedOp
    with every node that can't be lowered, and VerifyError where 100 digits can't decide a comparison.
    """
    b = Build(graph)
    problems: list[str] = []
    lost: set[str] = set()
    for name in graph.inputs:
        _input(b, graph.tensor(name))
    for node in graph.nodes:
        if lost & set(node.inputs):
            lost |= set(node.outputs)
            continue
        try:
            value = b.values[node.outputs[0]] = _lower(b, node)
            if isinstance(node.op, (*ops.QUANTIZERS, ops.ArgMax)) and value.base not in graph.inputs:
                b.decided.add(value.base)
                describe(b, value.base, value)
        except UnsupportedOp as e:
            problems.append(str(e))
            lost |= set(node.outputs)
    outputs: list[str] = []
    for name in graph.outputs:
        if name not in lost:
            try:
                outputs.append(_output(b, name))
            except UnsupportedOp as e:
                problems.append(str(e))
    if problems:
        raise UnsupportedOp(
            f"graph '{graph.name}': {len(problems)} nodes can't become integers:\n"
            + "\n".join(f"  - {p}" for p in problems)
        )
    return _finish(b, tuple(outputs))


def _lower(b: Build, node: Node) -> Value:
    value = b.values[node.inputs[0]]
    match node.op:
        case ops.MatMul():
            return lower_matmul(b, node, node.op)
        case ops.Quant() | ops.BipolarQuant() | ops.MultiThreshold():
            return lower_quantizer(b, node, node.op)
        case ops.ArgMax():
            return lower_argmax(b, node)
        case ops.Sum():
            return lower_sum(b, node)
        case ops.Reshape():
            return replace(value, order=value.order.reshape(b.real.tensor(node.outputs[0]).shape))
        case ops.Transpose(axes=axes):
            return replace(value, order=value.order.transpose(axes))
        case ops.Softmax():
            return replace(value, chain=value.chain.then(Bend(node.op)))
        case ops.Join():
            return lower_join(b, node, node.op)
    if isinstance(node.op, ops.IMAGE_OPS):
        return lower_image(b, node)
    if any(isinstance(f, Bend) and isinstance(f.op, ops.Softmax) for f in value.chain.fns):
        raise UnsupportedOp(f"node '{node.name}': Softmax is supported before ArgMax and at the end of a network only")
    value, params = parameters(b, node, value)
    chain = value.chain
    for fn in functions(params, node.op):
        chain = chain.then(fn)
    return replace(value, chain=chain)


def _input(b: Build, t: Tensor) -> None:
    shape, order, layout = input_layout(b.real, t)
    if layout is not None:
        b.layouts[t.name] = layout
    b.values[t.name] = Value(t.name, shape, order, floating=not t.lo)
    if t.lo:
        b.tensors[t.name] = Tensor(t.name, shape, t.lo, t.hi, real_of(Chain(), shape[-1]))


def _output(b: Build, name: str) -> str:
    """The integer tensor of a graph output, annotated with what its integers mean in the end."""
    value = b.values[name]
    if value.floating:
        raise UnsupportedOp(f"graph output '{name}': no quantizer between it and the graph input")
    chain = value.chain
    softmax = bool(chain.fns) and isinstance(chain.fns[-1], Bend) and isinstance(chain.fns[-1].op, ops.Softmax)
    chain = strip_monotone(Chain(chain.fns[:-1]) if softmax else chain)
    if chain != value.chain:
        b.notes.append(
            f"output '{name}': the {'Softmax' if softmax else 'Sigmoid or Tanh'} at the end is left to the "
            "host; "
            "the outputs are its inputs"
        )
    if not chain.is_affine:
        node = next(n for n in b.real.nodes if name in n.outputs)
        needs_line(replace(value, chain=chain), node, "the graph output")
    value = arranged(b, settled(b, replace(value, chain=chain)), name)
    chain = value.chain
    t = b.tensors[value.base]
    real = real_of(chain, t.channels)
    turned = value.base in b.decided and b.layouts.get(value.base) != layout_of(value.order, value.shape)
    if (
        turned
        or value.base in b.real.inputs
        or any(name != o and b.values[o].base == value.base for o in b.real.outputs if o in b.values)
    ):
        copy = b.name(f"{b.stem(value.base)}_copy")
        one, zero = np.ones(1, dtype=np.int64), np.zeros(1, dtype=np.int64)
        combine = ops.Combine((b.blob(one),), b.blob(zero))
        lo, hi = b.range(value.base)
        return describe(b, b.emit(copy, combine, [value.base], f"{copy}_out", lo, hi, real, name, t.shape), value)
    describe(b, t.name, value)
    b.tensors[t.name] = Tensor(t.name, t.shape, t.lo, t.hi, real)
    return t.name


def _finish(b: Build, outputs: tuple[str, ...]) -> Graph:
    """Drop what no output needs, and give the input tensors names that fit hardware ports."""
    needed, nodes = set(outputs), []
    for n in reversed(b.nodes):
        if needed & set(n.outputs):
            needed |= set(n.inputs)
            nodes.append(n)
    rename: dict[str, str] = {}
    for i, name in enumerate(b.real.inputs):
        clean = re.sub(r"\W+", "_", name).strip("_") or f"input{i}"
        taken = {t for t in (*b.tensors, *rename.values()) if t != name}
        rename[name] = clean if clean not in taken and not clean[0].isdigit() else f"input{i}"
    final = tuple(
        Node(n.name, n.op, tuple(rename.get(t, t) for t in n.inputs), n.outputs, n.source) for n in reversed(nodes)
    )
    missing = [n for n in b.real.inputs if n not in b.tensors]
    if missing:
        raise UnsupportedOp(f"graph input '{missing[0]}' is used by no output; remove it from the model")
    tensors = {
        rename.get(k, k): Tensor(rename.get(k, k), t.shape, t.lo, t.hi, t.real)
        for k, t in b.tensors.items()
        if k in needed or k in b.real.inputs
    }
    host = tuple(b.host.get(n) for n in b.real.inputs)
    keys = used_blobs(final, host)
    return Graph(
        b.real.name,
        "int",
        tuple(rename[n] for n in b.real.inputs),
        outputs,
        final,
        tensors,
        {k: v for k, v in b.blobs.items() if k in keys},
        host,
        tuple(b.notes),
        {rename.get(k, k): v for k, v in b.layouts.items() if k in tensors or k in rename},
    )
