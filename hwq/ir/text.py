"""A stable printed form of a Graph, and its round trip through graph.json + graph.npz."""

from __future__ import annotations

import io
import json
import zipfile
from dataclasses import fields
from fractions import Fraction
from pathlib import Path
from typing import Any

import mpmath
import numpy as np
from numpy.typing import NDArray

from hwq.errors import ModelError
from hwq.ir import ops
from hwq.ir.graph import BlobKey, Exact, Graph, HostQuant, Layout, Node, Real, Tensor, blob, used_blobs
from hwq.record import write_atomic

SCHEMA_VERSION = 1
DIGITS = 100
_OPS = {op.__name__: op for op in (*ops.INT_OPS, *ops.REAL_OPS)}
_USUAL = (("groups", 1), ("taps", 1))
_CODES: dict[str, Any] = {c.__name__: c for c in (ops.Uniform, ops.Bipolar, ops.Ternary)}


def exact_to_text(value: Exact) -> str:
    """'n' or 'n/d' for a rational; '~' and 100 digits for an irrational."""
    return str(value) if isinstance(value, Fraction) else "~" + mpmath.nstr(value, DIGITS)


def exact_from_text(text: str) -> Exact:
    """Inverse of `exact_to_text` (to 100 digits)."""
    if not text.startswith("~"):
        return Fraction(text)
    with mpmath.workdps(DIGITS + 10):
        return mpmath.mpf(text[1:])


def to_text(graph: Graph) -> str:
    """One line a tensor and node, blobs by the first 8 digits of their key: for reading, diffs and golden
    files.
    """
    lines = [f"graph {graph.name} ({graph.stage})"]
    lines += [
        f"  in  {_tensor_text(graph.tensor(t))}" + (f"  host {_host_text(h)}" if h else "")
        for t, h in zip(graph.inputs, graph.host or (None,) * len(graph.inputs), strict=True)
    ]
    for n in graph.nodes:
        outs = ", ".join(_tensor_text(graph.tensor(t)) for t in n.outputs)
        lines.append(f"  {n.name} = {_op_text(n.op)}({', '.join(n.inputs)}) -> {outs}")
    lines.append(f"  out {', '.join(graph.outputs)}")
    lines += [f"  layout {k}: {list(v.shape)} transposed by {list(v.axes)}" for k, v in graph.layouts.items()]
    lines += [f"  note {note}" for note in graph.notes]
    return "\n".join(lines) + "\n"


def to_json(graph: Graph) -> dict[str, Any]:
    """Everything but the blobs' content, as plain JSON values."""
    return {
        "schema_version": SCHEMA_VERSION,
        "name": graph.name,
        "stage": graph.stage,
        "inputs": list(graph.inputs),
        "outputs": list(graph.outputs),
        "host": [_fields(h) if h else None for h in graph.host],
        "nodes": [
            {
                "name": n.name,
                "op": _op_json(n.op),
                "inputs": list(n.inputs),
                "outputs": list(n.outputs),
                "source": n.source,
            }
            for n in graph.nodes
        ],
        "tensors": {name: _tensor_json(t) for name, t in graph.tensors.items()},
        "blobs": sorted(used_blobs(graph.nodes, graph.host)),
        "notes": list(graph.notes),
        "layouts": {k: {"shape": list(v.shape), "axes": list(v.axes)} for k, v in graph.layouts.items()},
    }


def from_json(body: dict[str, Any], blobs: dict[BlobKey, NDArray[Any]]) -> Graph:
    """Inverse of `to_json`. Raises ModelError when a field or blob is missing or a blob's content is not its
    key's.
    """
    try:
        if body["schema_version"] != SCHEMA_VERSION:
            raise ModelError(
                f"graph.json: schema_version {body['schema_version']}, this hwq reads {SCHEMA_VERSION}"
            )
        missing = [k for k in body["blobs"] if k not in blobs]
        if missing:
            raise ModelError(f"graph.npz: blobs {', '.join(missing)} are missing; export the model again")
        fresh = dict(blob(blobs[k]) for k in body["blobs"])
        wrong = [k for k in body["blobs"] if k not in fresh]
        if wrong:
            raise ModelError(
                f"graph.npz: content of blobs {', '.join(wrong)} has changed; export the model again"
            )
        return Graph(
            body["name"],
            body["stage"],
            tuple(body["inputs"]),
            tuple(body["outputs"]),
            tuple(
                Node(n["name"], _op_from(n["op"]), tuple(n["inputs"]), tuple(n["outputs"]), n["source"])
                for n in body["nodes"]
            ),
            {name: _tensor_from(name, t) for name, t in body["tensors"].items()},
            fresh,
            tuple(HostQuant(**h) if h else None for h in body["host"]),
            tuple(body["notes"]),
            {
                k: Layout(tuple(v["shape"]), tuple(v["axes"])) for k, v in body.get("layouts", {}).items()
            },  # none in files made before there were images
        )
    except (KeyError, TypeError, ValueError) as e:
        raise ModelError(
            f"graph.json: not a graph of this hwq ({type(e).__name__}: {e}); export again"
        ) from None


def graph_files(graph: Graph) -> dict[str, str | bytes]:
    """{"graph.npz": bytes, "graph.json": text}; the bytes depend on the graph alone."""
    keys = sorted(used_blobs(graph.nodes, graph.host))
    return {
        "graph.npz": _npz({k: graph.blobs[k] for k in keys}),
        "graph.json": json.dumps(to_json(graph)) + "\n",
    }


def save_graph(directory: Path, graph: Graph) -> tuple[Path, Path]:
    """Write graph.json and graph.npz into `directory`, each atomically."""
    for name, content in graph_files(graph).items():
        write_atomic(directory / name, content)
    return directory / "graph.json", directory / "graph.npz"


def load_graph(directory: Path) -> Graph:
    """Read what `save_graph` wrote. Raises ModelError on a missing or corrupt file."""
    try:
        body = json.loads((directory / "graph.json").read_text())
        with np.load(directory / "graph.npz", allow_pickle=False) as z:
            blobs = {k: z[k] for k in z.files}
    except (OSError, ValueError, zipfile.BadZipFile) as e:
        raise ModelError(
            f"{directory}: no readable graph.json and graph.npz ({e}); export the model again"
        ) from None
    return from_json(body, blobs)


load = load_graph


def _npz(arrays: dict[str, NDArray[Any]]) -> bytes:
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", zipfile.ZIP_DEFLATED) as z:
        for key, array in arrays.items():
            raw = io.BytesIO()
            np.lib.format.write_array(raw, array, allow_pickle=False)
            z.writestr(
                zipfile.ZipInfo(f"{key}.npy", (1980, 1, 1, 0, 0, 0)), raw.getvalue(), zipfile.ZIP_DEFLATED
            )
    return out.getvalue()


def _fields(value: Any) -> dict[str, Any]:
    return {f.name: getattr(value, f.name) for f in fields(value)}


def _op_json(op: ops.Op) -> dict[str, Any]:
    body: dict[str, Any] = {"type": type(op).__name__}
    for key, value in _fields(op).items():
        if type(value).__name__ in _CODES:
            value = {"type": type(value).__name__, **_fields(value)}
        body[key] = list(value) if isinstance(value, tuple) else value
    return body


def _op_from(body: dict[str, Any]) -> ops.Op:
    args = {k: tuple(v) if isinstance(v, list) else v for k, v in body.items() if k != "type"}
    if "code" in args:
        code = dict(args["code"])
        args["code"] = _CODES[code.pop("type")](**code)
    return _OPS[body["type"]](**args)


def _tensor_json(t: Tensor) -> dict[str, Any]:
    body: dict[str, Any] = {"shape": list(t.shape), "lo": list(t.lo), "hi": list(t.hi)}
    if t.real is not None:
        body["scale"] = [exact_to_text(v) for v in t.real.scale]
        body["offset"] = [exact_to_text(v) for v in t.real.offset]
    return body


def _tensor_from(name: str, body: dict[str, Any]) -> Tensor:
    real = None
    if "scale" in body:
        real = Real(tuple(map(exact_from_text, body["scale"])), tuple(map(exact_from_text, body["offset"])))
    return Tensor(name, tuple(body["shape"]), tuple(body["lo"]), tuple(body["hi"]), real)


def _tensor_text(t: Tensor) -> str:
    shape = "x".join(map(str, t.shape)) or "scalar"
    if not t.lo:
        return f"{t.name}[{shape}]"
    return f"{t.name}[{shape}] {min(t.lo)}..{max(t.hi)}" + (f" {_real_text(t.real)}" if t.real else "")


def _real_text(real: Real) -> str:
    def one(values: tuple[Exact, ...]) -> str:
        return f"{float(values[0]):.6g}" if len(set(values)) == 1 else f"<{len(values)}>"

    return f"({one(real.scale)} * i + {one(real.offset)})"


def _host_text(h: HostQuant) -> str:
    return f"T={h.thresholds[:8]} offset={h.offset}" + (f" falling={h.falling[:8]}" if h.falling else "")


def _op_text(op: ops.Op) -> str:
    keys = set(op.blob_keys())

    def one(value: Any) -> str:
        if isinstance(value, tuple):
            return "(" + ", ".join(map(one, value)) + ")"
        return value[:8] if isinstance(value, str) and value in keys else str(value)

    body = ", ".join(f"{k}={one(v)}" for k, v in _fields(op).items() if v is not None and (k, v) not in _USUAL)
    return f"{type(op).__name__}[{body}]"
