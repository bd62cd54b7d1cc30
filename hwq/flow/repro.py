"""Reproducers: the fewest frames that still fail, saved with the stall regime and seed, to be replayed."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import numpy as np

from hwq import record
from hwq.data.files import npy_bytes
from hwq.errors import DataError
from hwq.flow import harness
from hwq.flow.builddir import Build
from hwq.flow.expect import Chunk
from hwq.flow.frames import Frames
from hwq.flow.harness import Report, RunOptions, Shard

SCHEMA_VERSION = 1
TRIED_SEEDS = 8  # stall patterns tried on each number of frames


def _smallest(build: Build, exe: Path, chunk: Chunk, shard: Shard, bad: int,
              options: RunOptions) -> tuple[int, int]:
    """(first frame, seed) of the fewest frames up to `bad` that fail; another seed may stall as needed."""
    back = 1
    while bad + 1 - back > shard.first:
        trial = replace(shard, first=bad + 1 - back, last=bad + 1, trace=None)
        for seed in range(options.seed, options.seed + (1 if options.stall == "none" else TRIED_SEEDS)):
            if not harness.run_model(exe, build.path, chunk.plan, [trial], replace(options, seed=seed))[0].ok:
                return trial.first, seed
        back *= 4
    return shard.first, options.seed


def save_reproducer(build: Build, exe: Path, chunk: Chunk, shard: Shard, report: Report, options: RunOptions,
                    frames: Frames, message: str) -> tuple[Path, int]:
    """Save the fewest last frames that still fail, and how to replay them; returns (folder, frames)."""
    bad = report.faults[0].frame if report.faults else min(s.frame for s in report.streams)
    bad = min(bad, shard.last - 1)
    first, seed = _smallest(build, exe, chunk, shard, bad, options)
    lo, hi = chunk.start + first, chunk.start + bad + 1
    folder = build.path / "sim" / "repro" / f"{options.stall}-seed{seed}-frame{hi - 1}"
    body = {
        "schema_version": SCHEMA_VERSION,
        "stall": options.stall,
        "seed": seed,
        "first_frame": lo,
        "frames": hi - lo,
        "source": frames.source,
        "message": message,
        "command": f"hwq sim {build.path} --replay {folder}",
    }
    with record.whole_directory(folder) as tmp:
        for i, x in enumerate(frames.inputs):
            (tmp / f"input{i}.npy").write_bytes(npy_bytes(x[lo:hi]))
        (tmp / "repro.json").write_text(json.dumps(body, indent=1) + "\n")
    return folder, hi - lo


def load_reproducer(build: Build, folder: Path) -> tuple[Frames, str, int]:
    """(frames, stall regime, seed) of a saved reproducer. Raises DataError if it is not one."""
    try:
        body = json.loads((folder / "repro.json").read_text())
        inputs = tuple(
            np.load(folder / f"input{i}.npy", allow_pickle=False) for i in range(len(build.graph.inputs))
        )
        return Frames(inputs, None, f"reproducer {folder.name}"), str(body["stall"]), int(body["seed"])
    except (OSError, ValueError, KeyError) as e:
        raise DataError(f"--replay {folder}: not a reproducer ({e})") from None
