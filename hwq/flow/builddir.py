"""A build directory, read back: manifest, Graph, streams, and what the token model promised."""

from __future__ import annotations

import json
from collections.abc import Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any

from hwq import record
from hwq.errors import ModelError
from hwq.hw.design import Stream
from hwq.ir.graph import Graph
from hwq.ir.text import load_graph
from hwq.report.build import SCHEMA_VERSION


@dataclass(frozen=True)
class Build:
    """A build directory as the simulator needs it."""

    path: Path
    manifest: Mapping[str, Any]
    graph: Graph
    streams: tuple[Stream, ...]
    layers: Mapping[str, str]  # stream -> layer that drives it
    latency_cycles: int
    ii_cycles: int
    settled_after: int  # frames after which every gap equals ii_cycles
    ends: Mapping[str, tuple[int, ...]]  # stream -> cycles of its last beat of frames 0, 1, ... (token model)

    def stream(self, name: str) -> Stream:
        return next(s for s in self.streams if s.name == name)


def load_build(path: Path) -> Build:
    """Read a build directory. Raises ModelError if it is missing, incomplete or of another version."""
    try:
        m = json.loads((path / "manifest.json").read_text())
        if m["schema_version"] != SCHEMA_VERSION:
            raise ModelError(
                f"{path}: made by another hwq: schema_version {m['schema_version']}, this one reads {SCHEMA_VERSION}; "
                "export the design again"
            )
        record.load(path / "record.json")  # a damaged one shows now, not when results are to be saved
        table = json.loads((path / "sim" / "streams.json").read_text())
        names = {f.name for f in fields(Stream)}
        streams = tuple(
            Stream(**{k: tuple(v) if isinstance(v, list) else v for k, v in s.items() if k in names})
            for s in m["streams"]
            if s["tensor"]
        )
        layers = {s["name"]: s["layer"] for s in m["streams"]}
        expected = m["expected"]
        return Build(
            path.resolve(),
            m,
            load_graph(path),
            streams,
            layers,
            expected["latency_cycles"],
            expected["ii_cycles"],
            table["settled_after"],
            {s["name"]: tuple(s["ends"]) for s in table["streams"]},
        )
    except (FileNotFoundError, NotADirectoryError) as e:
        raise ModelError(
            f"{path}: not a build directory ({e.filename} is missing); make one with 'hwq export'"
        ) from None
    except (ValueError, KeyError, TypeError) as e:
        raise ModelError(
            f"{path}: manifest.json or sim/streams.json is corrupt ({e!r}); export the design again"
        ) from None
