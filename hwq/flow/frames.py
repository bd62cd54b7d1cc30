"""What a simulation is fed: a data set, a file or random frames; and which classes come out."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from hwq.data import Encoding
from hwq.data import load as load_data
from hwq.data.files import read_npy
from hwq.dtype import IntArray
from hwq.errors import ConfigError, DataError, DataMissing
from hwq.flow import expect
from hwq.flow.builddir import Build
from hwq.golden import check_frames, host_quantize
from hwq.ir.graph import Graph
from hwq.ir.ops import ArgMax

RANDOM_FRAMES = 256  # how many random frames "all" means without a data set


@dataclass(frozen=True)
class Frames:
    """Integer inputs (one array per graph input), labels if known, and where they came from."""

    inputs: tuple[IntArray, ...]
    labels: NDArray[np.int64] | None
    source: str

    def __len__(self) -> int:
        return len(self.inputs[0])


def host_frames(build: Build, x: NDArray[Any]) -> tuple[IntArray, ...]:
    """Frames of the one graph input: floats (encoded) are quantized as the host does, integers kept.

    Integers of images come as the design takes them, [N, H, W, C], or in the order of the ONNX input, as flat frames.
    """
    g = build.graph
    shape = tuple(g.tensor(g.inputs[0]).shape)
    if x.ndim < 1 or x.size == 0 or x[0].size != int(np.prod(shape)):
        raise DataError(f"frames of shape {x.shape[1:]}, the design takes {shape} a frame")
    given, x = x.shape[1:], x.reshape(len(x), *shape)
    integers = x.dtype.kind != "f" or g.host[0] is None
    if not (integers and given == shape):  # integers may stand as the design takes them
        check_frames(g, g.inputs[0], given)
    if g.host[0] is None and not np.array_equal(x, np.round(x)):
        raise DataError(f"the design's input '{g.inputs[0]}' takes integers, the frames hold fractions")
    layout = g.layouts.get(g.inputs[0])
    if not integers:
        ints = host_quantize(g, [x.reshape(len(x), -1).astype(np.float32)])[0]
    elif layout is not None and given != shape:  # flat frames stand in the order of ONNX, too
        ints = layout.to_int(x, g.tensor(g.inputs[0]))
    else:
        ints = x
    ints = np.asarray(ints, dtype=np.int64).reshape(len(x), *shape)
    lo, hi = expect.limits(g.tensor(g.inputs[0]))
    wrong = np.argwhere((ints < lo) | (ints > hi))
    if len(wrong):
        at = tuple(int(i) for i in wrong[0])
        raise DataError(f"frame {at[0]}, feature {at[1] if len(at) == 2 else at[1:]}: {ints[at]} is outside "
                        f"{lo[at[1:]]}..{hi[at[1:]]}, the range of the design's input '{g.inputs[0]}'")
    return (ints,)


def choose_frames(
    build: Build, frames: int | str, data_dir: Path | None, input_file: Path | None, seed: int
) -> Frames:
    """From a file, from the test split of the model's data set, or random over the input's whole range.

    A data set that is not there is an error only if `data_dir` was given. Raises DataError, ConfigError.
    """
    count = None if frames == "all" else int(frames)
    if count is not None and count < 1:
        raise ConfigError(f"--frames {frames}: at least 1, or 'all'")
    if input_file is not None:
        return _limit(_file_frames(build, input_file), count)
    name = build.manifest.get("data", {}).get("name")
    if name:
        try:
            return _limit(_data_frames(build, name, data_dir), count)
        except DataMissing:
            if data_dir is not None:
                raise
    return Frames(
        expect.random_inputs(build.graph, count or RANDOM_FRAMES, seed),
        None,
        f"random frames over the input's whole range, seed {seed}",
    )


def _limit(f: Frames, count: int | None) -> Frames:
    if count is None or count >= len(f):
        return f
    return Frames(
        tuple(x[:count] for x in f.inputs), None if f.labels is None else f.labels[:count], f.source
    )


def _file_frames(build: Build, path: Path) -> Frames:
    return Frames(host_frames(build, read_npy(path, "--input")), None, path.name)


def _data_frames(build: Build, name: str, data_dir: Path | None) -> Frames:
    data = load_data(name, data_dir)
    x: NDArray[Any] = data.x_test
    encoding = build.path / "encoding.json"
    if encoding.is_file():
        x = Encoding.from_json(encoding.read_bytes(), str(encoding)).network_frames(x)
    return Frames(host_frames(build, np.asarray(x, dtype=np.float32)), data.y_test, f"{data.name} test split")


def predictions(graph: Graph, outputs: IntArray) -> NDArray[np.int64] | None:
    """Class of each frame, or of each of its pixels, from the first output [frames, ...]: [frames(, height, width)].

    An ArgMax output is the class, a single 0/1 value too; else the largest real value, lowest index on ties. None if
    the output is not a class.
    """
    t = graph.tensor(graph.outputs[0])
    node = graph.producer(t.name)
    values = outputs.reshape(len(outputs), *t.shape)
    if node is not None and isinstance(node.op, ArgMax):
        return values[..., 0]
    if t.channels == 1:
        return values[..., 0] if (min(t.lo), max(t.hi)) == (0, 1) else None
    if t.real is None:
        return np.argmax(values, axis=-1)
    scale, offset = (np.array([float(v) for v in p]) for p in (t.real.scale, t.real.offset))
    return np.argmax(values * scale + offset, axis=-1)


def accuracy(graph: Graph, outputs: IntArray, labels: NDArray[np.int64] | None) -> float | None:
    """Per cent of frames (or pixels) whose class is the label; None without labels, or where the output is no class."""
    classes = predictions(graph, outputs)
    if classes is None or labels is None or classes.shape != labels.shape:
        return None
    return 100.0 * float(np.mean(classes == labels))
