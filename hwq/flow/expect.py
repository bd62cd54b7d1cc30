"""What every stream must carry: frames -> integer inputs -> golden tensors -> words of each stream."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from hwq import bits
from hwq.dtype import IntArray
from hwq.golden import execute
from hwq.hw.design import Stream
from hwq.ir.graph import Graph, Tensor


@dataclass(frozen=True)
class Chunk:
    """Frames [start, start + size) of the run, with everything golden knows about them."""

    start: int
    size: int
    found: Mapping[str, IntArray]
    plan: Path


def limits(t: Tensor) -> tuple[IntArray, IntArray]:
    """(lo, hi) of a tensor, broadcast to its shape."""
    shape = tuple(t.shape)
    return (
        np.broadcast_to(np.array(t.lo, dtype=np.int64), shape),
        np.broadcast_to(np.array(t.hi, dtype=np.int64), shape),
    )


def random_inputs(graph: Graph, frames: int, seed: int) -> tuple[IntArray, ...]:
    """One int64 array [frames, *shape] per graph input, uniform over the whole range of every channel."""
    rng = np.random.default_rng(seed)
    found = []
    for name in graph.inputs:
        t = graph.tensor(name)
        lo, hi = limits(t)
        found.append(rng.integers(lo, hi + 1, size=(frames, *t.shape), dtype=np.int64))
    return tuple(found)


def tensors(
    graph: Graph, streams: Sequence[Stream], inputs: Sequence[IntArray]
) -> Mapping[str, IntArray]:
    """The tensors that streams carry, int64 [frames, *shape], by the golden executor, which checks inputs."""
    return execute(graph, tuple(inputs), keep={s.tensor for s in streams} | set(graph.outputs))


def stream_words(stream: Stream, values: IntArray) -> NDArray[np.uint32]:
    """values [frames, ...] of its tensor -> uint32 [frames, beats, words], the content of its file."""
    codes = bits.encode(in_order(stream, values), stream.bits)
    return bits.pack_beats(codes, stream.lanes, stream.bits)


def in_order(stream: Stream, values: IntArray) -> IntArray:
    """values [frames, ...] of its tensor -> [frames, beats * lanes], in the order in which the stream sends them."""
    return values.reshape(len(values), -1, *stream.turned).swapaxes(2, 3).reshape(len(values), -1)


def content_key(stream: Stream) -> tuple[str, int, int, tuple[int, int, int]]:
    """Streams with equal keys carry the same beats and share a file."""
    return stream.tensor, stream.lanes, stream.bits, stream.turned


def write_plan(folder: Path, streams: Sequence[Stream], found: Mapping[str, IntArray]) -> Path:
    """Write the expectation files of one chunk of frames and the plan that names them; returns the plan."""
    files: dict[tuple[str, int, int, int], Path] = {}
    lines = []
    for s in streams:
        key = content_key(s)
        if key not in files:
            files[key] = folder / f"{len(files)}.bin"
            files[key].write_bytes(np.ascontiguousarray(stream_words(s, found[s.tensor]), dtype="<u4").data)
        lines.append(f"{s.name} {files[key]}\n")
    plan = folder / "plan.txt"
    plan.write_text("".join(lines))
    return plan


def bytes_per_frame(streams: Sequence[Stream]) -> int:
    """Size of one frame in the expectation files."""
    unique = {content_key(s): s for s in streams}
    return sum(4 * s.beats * -(-s.width // 32) for s in unique.values())
