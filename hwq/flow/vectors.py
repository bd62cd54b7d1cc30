"""The sim/ folder of a build: tap, stream table, harness sources, and the cocotb bench with its vectors."""

from __future__ import annotations

import io
import json
from importlib import resources
from typing import Any

import numpy as np

from hwq.emit import streams_h, tap
from hwq.emit.sv import padded
from hwq.flow import harness
from hwq.flow.expect import random_inputs, stream_words, tensors
from hwq.hw.design import Design, Stream
from hwq.hw.library import Figures, figures
from hwq.ir.graph import Graph

SCHEMA_VERSION = 1
TIMED_FRAMES = 4  # as kTimedFrames in monitor.h


def stream_table(design: Design, fig: Figures) -> dict[str, Any]:
    """What sim/test_design.py must know of the design, as plain JSON values."""
    layer_of = {i.name: i.layer for i in design.instances}
    streams = [
        {
            "name": t.stream.name,
            "prefix": t.prefix,
            "layer": layer_of.get(t.stream.src[0], "input"),
            "beats": t.stream.beats,
            "repeat": t.stream.repeat,
            "group": t.stream.sequence,
            "tdata_bits": padded(t.stream.width),
            "ends": frame_ends(design, fig, t.stream),
        }
        for t in tap.taps(design)
    ]
    return {
        "schema_version": SCHEMA_VERSION,
        "design": design.name,
        "inputs": list(design.inputs),
        "outputs": list(design.outputs),
        "flags": [f"flag_{n}" for n in tap.flags(design)],
        "latency_cycles": fig.latency_cycles,
        "ii_cycles": fig.ii_cycles,
        "settled_after": settled_after(design, fig),
        "streams": streams,
    }


def frame_ends(design: Design, fig: Figures, stream: Stream) -> list[int]:
    """Cycles of the stream's last beat of frames 0, 1, ... after the first beat in (token model)."""
    start = min(fig.times[s][0] for s in design.inputs)
    per = stream.beats * stream.repeat
    return [t - start for t in fig.times[stream.name][per - 1 :: per][:TIMED_FRAMES]]


def settled_after(design: Design, fig: Figures) -> int:
    """Frames after which every further one leaves exactly II cycles after the one before it (token model)."""
    out = design.stream(design.outputs[0])
    per = out.beats * out.repeat
    last = fig.times[out.name][per - 1 :: per]
    gaps = np.diff(np.array(last, dtype=np.int64))
    other = np.flatnonzero(gaps != fig.ii_cycles)
    return int(other[-1]) + 2 if len(other) else 1


def vectors(graph: Graph, design: Design, seed: int, frames: int) -> bytes:
    """sim/vectors.npz: stream -> uint32 [frames, beats, words], of random frames over the input range."""
    streams = [t.stream for t in tap.taps(design)]
    found = tensors(graph, streams, random_inputs(graph, frames, seed))
    buffer = io.BytesIO()
    np.savez_compressed(buffer, **{s.name: stream_words(s, found[s.tensor]) for s in streams})
    return buffer.getvalue()


def sim_files(graph: Graph, design: Design, seed: int = 0, frames: int = 4) -> dict[str, str | bytes]:
    """Path -> content of everything under sim/ of a build. frames: how many the cocotb bench gets."""
    package = resources.files("hwq_sim")
    files: dict[str, str | bytes] = {
        f"sim/{name}": (package / "harness" / name).read_text()
        for name in (*harness.MAIN_SOURCES, *harness.HEADERS)
    }
    files["sim/hwq_tap.sv"] = tap.tap(design)
    files["sim/streams.h"] = streams_h.streams_h(design)
    files["sim/test_design.py"] = (package / "bench" / "test_design.py").read_text()
    files["sim/Makefile"] = (package / "templates" / "Makefile").read_text()
    files["sim/streams.json"] = json.dumps(stream_table(design, figures(design)), indent=1) + "\n"
    files["sim/vectors.npz"] = vectors(graph, design, seed, frames)
    return files
