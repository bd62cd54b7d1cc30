"""Small int Graphs made on the spot: dense layers with random weights and thresholds over their true ranges."""

from __future__ import annotations

import itertools

import numpy as np

from hwq.ir.graph import Graph, Node, Tensor, blob
from hwq.ir.ops import ArgMax, Bipolar, Code, MatVec, Step, Ternary, Uniform


def weights(rng: np.random.Generator, rows: int, cols: int, bits: int) -> tuple[np.ndarray, Code]:
    if bits == 1:
        return rng.choice([-1, 1], (rows, cols)), Bipolar()
    if bits == 2:
        return rng.integers(-1, 2, (rows, cols)), Ternary()
    top = (1 << (bits - 1)) - 1
    return rng.integers(-top, top + 1, (rows, cols)), Uniform(bits)


def mlp(
    widths: list[int], w_bits: list[int], x_bits: list[int], seed: int = 0, name: str = "net", argmax: bool = True
) -> Graph:
    """widths: n0..nL; w_bits: one per layer; x_bits: input bits of each layer (1: {0, 1}, else signed)."""
    rng = np.random.default_rng(seed)
    blobs, tensors, nodes = {}, {}, []

    def keep(a: np.ndarray) -> str:
        key, frozen = blob(a)
        blobs[key] = frozen
        return key

    def act_range(bits: int) -> tuple[int, int]:
        return (0, 1) if bits == 1 else (-(1 << (bits - 1)) + 1, (1 << (bits - 1)) - 1)

    lo, hi = act_range(x_bits[0])
    x = Tensor("x", (widths[0],), (lo,), (hi,))
    tensors[x.name] = x
    for k, (cols, rows) in enumerate(itertools.pairwise(widths)):
        w, code = weights(rng, rows, cols, w_bits[k])
        xnor = w_bits[k] == 1 and x_bits[k] == 1
        lo, hi = x.lo[0], x.hi[0]
        if xnor:
            alo, ahi = np.zeros(rows, dtype=int), np.full(rows, cols)
        else:
            alo = np.where(w > 0, w * lo, w * hi).sum(axis=1)
            ahi = np.where(w > 0, w * hi, w * lo).sum(axis=1)
        acc = Tensor(f"acc{k}", (rows,), tuple(map(int, alo)), tuple(map(int, ahi)))
        tensors[acc.name] = acc
        nodes.append(Node(f"fc{k}", MatVec(keep(w.astype(np.int64)), code, xnor), (x.name,), (acc.name,)))
        if k + 1 == len(widths) - 1:
            x = acc
            break
        ylo, yhi = act_range(x_bits[k + 1])
        t = np.sort(rng.integers(alo[:, None], ahi[:, None] + 2, (rows, yhi - ylo)), axis=1)
        x = Tensor(f"act{k}", (rows,), (ylo,), (yhi,))
        tensors[x.name] = x
        nodes.append(Node(f"step{k}", Step(keep(t.astype(np.int64)), ylo), (acc.name,), (x.name,)))
    if argmax:
        y = Tensor("label", (1,), (0,), (widths[-1] - 1,))
        tensors["label"] = y
        nodes.append(Node("argmax", ArgMax(), (x.name,), ("label",)))
        x = y
    return Graph(name, "int", ("x",), (x.name,), tuple(nodes), tensors, blobs, (None,))
