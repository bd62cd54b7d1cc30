"""`hwq run`: integer inference of a quantized network on the CPU."""

from __future__ import annotations

from functools import lru_cache
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.data import load as load_data
from hwq.errors import ConfigError, DataError
from hwq.flow.model import Model, load_model
from hwq.frontend import read_qonnx
from hwq.golden import check_frames, execute, host_quantize
from hwq.ir.graph import Graph
from hwq.passes import lower

CHUNK = 1024  # frames at a time: the arrays of one chunk stay in the cache
Outputs = NDArray[np.int64] | dict[str, NDArray[np.int64]]


@lru_cache(maxsize=8)
def _lowered(onnx_bytes: bytes, name: str, where: str) -> Graph:
    return lower(read_qonnx(onnx_bytes, name=name, where=where))


def int_graph(model: Model) -> Graph:
    """The model's int Graph (kept for the next call)."""
    return _lowered(model.onnx_bytes, model.name, model.where)


def run(model: str | Path | Model, x: NDArray[Any], *, encoded: bool = False) -> Outputs:
    """Run frames through the integer network: exactly what the hardware computes.

    x: [frames, ...]. Raw features of the model's data set, which the model's encoding turns into its inputs;
    with `encoded`, or for a model without an encoding, the network's float32 inputs (integers, for an integer
    input). Returns int64 [frames, ...] of the output, or a dict by name where there are several. What an
    integer
    means is `int_graph(model).tensor(output).real`. Raises DataError on a wrong shape, NaN, infinity or a
    value out of
    range.
    """
    if not isinstance(model, Model):
        model = load_model(model)
    graph, x = int_graph(model), np.asarray(x)
    parts = []
    for start in range(0, max(len(x) if x.ndim else 0, 1), CHUNK):
        frames = features(model, graph, x[start : start + CHUNK] if x.ndim else x, encoded, start)
        parts.append(execute(graph, host_quantize(graph, [frames])))
    results = {name: np.concatenate([p[name] for p in parts]) for name in graph.outputs}
    return results if len(results) > 1 else next(iter(results.values()))


def load_frames(model: Model, data_dir: Path | None) -> tuple[NDArray[Any], NDArray[np.int64]]:
    """Raw features [N, ...] and labels [N] of the test split of the model's data set.

    Raises ConfigError for a model that names none, DataError where the data set is missing.
    """
    name = (model.recipe or {}).get("data")
    if not name:
        raise ConfigError(f"model '{model.name}' names no data set (it has no recipe.toml); give frames with --input")
    data = load_data(str(name), data_dir)
    return data.x_test, data.y_test


def features(model: Model, graph: Graph, x: NDArray[Any], encoded: bool, first: int = 0) -> NDArray[Any]:
    """x as the network's one input wants it: checked, encoded, flattened to [frames, n]. first: number of
    frame 0.
    """
    if len(graph.inputs) != 1:
        raise DataError(f"model '{model.name}' has {len(graph.inputs)} inputs; use hwq.golden for several")
    if x.dtype.kind not in "fiub":
        raise DataError(f"model '{model.name}': input of type {x.dtype}; numbers are needed")
    if x.ndim < 2 or len(x) == 0:
        raise DataError(
            f"model '{model.name}': input of shape {x.shape}; [frames, features] is needed, frames >= 1"
        )
    if x.dtype.kind == "f" and not np.isfinite(x).all():
        at = tuple(int(i) for i in np.argwhere(~np.isfinite(x))[0])
        place = f"frame {at[0] + first}, feature {at[1:] if len(at) > 2 else at[1]}"
        raise DataError(f"model '{model.name}': input holds {x[at]} at {place}; clean the data")
    if model.encoding is not None and not encoded:
        x = model.encoding.network_frames(x)
    t = graph.tensor(graph.inputs[0])
    if int(np.prod(x.shape[1:])) != t.size:
        raise DataError(
            f"model '{model.name}': frames of shape {x.shape[1:]} hold {int(np.prod(x.shape[1:]))} values, "
            f"the network takes {t.size}"
        )
    check_frames(graph, t.name, x.shape[1:])
    if graph.host[0] is None:
        whole = np.asarray(x, dtype=np.int64)
        if not np.array_equal(whole, x):
            raise DataError(
                f"model '{model.name}': the network takes integers {min(t.lo)}..{max(t.hi)}, "
                "the input holds fractions"
            )
        return whole.reshape(len(x), -1)
    return np.asarray(x, dtype=np.float32).reshape(len(x), -1)
