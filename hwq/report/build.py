"""A build directory as the reports see it: its manifest and its records, read once."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from hwq.errors import ConfigError
from hwq.record import Record, load

SCHEMA_VERSION = 2  # of manifest.json


@dataclass(frozen=True)
class Build:
    """Manifest and records of one build directory, and what each instance took in synthesis, where known."""

    path: Path
    manifest: Mapping[str, Any]
    records: tuple[Record, ...]
    synthesized: Mapping[str, Mapping[str, Any]] = field(default_factory=dict)  # instance -> lut, ff, bram18, dsp

    @property
    def name(self) -> str:
        return str(self.manifest.get("name", self.path.name))

    @property
    def layers(self) -> list[str]:
        """Layer names in the order of the dataflow."""
        return list(dict.fromkeys(i["layer"] for i in self.manifest["instances"]))

    @property
    def fifo_beats(self) -> dict[str, float]:
        """High-water mark of every FIFO and replay buffer simulated, by instance."""
        return {r.scope: r.value for r in self.records if r.metric == "fifo_beats"}

    def value(self, metric: str, scope: str = "top", sources: Iterable[str] = ()) -> float | None:
        """The newest value of a metric, from the first of `sources` that has it (any if empty)."""
        return value(self.records, metric, scope, sources)


def value(
    records: Iterable[Record],
    metric: str,
    scope: str = "top",
    sources: Iterable[str] = (),
) -> float | None:
    """The last value of `metric` in `scope`; `sources` are tried in order, all of them if empty."""
    found = [r for r in records if r.metric == metric and r.scope == scope]
    for source in sources:
        if matching := [r.value for r in found if r.source == source]:
            return matching[-1]
    return found[-1].value if found and not tuple(sources) else None


def read_manifest(build: Path) -> dict[str, Any]:
    """manifest.json of a build directory. Raises ConfigError if missing, unreadable or of another schema."""
    path = build / "manifest.json"
    if not path.is_file():
        fact = "is not a build directory (it has no manifest.json)" if build.exists() else "does not exist"
        raise ConfigError(f"{build} {fact}; make one with 'hwq export MODEL --target NAME -o {build}'")
    try:
        manifest: dict[str, Any] = json.loads(path.read_text())
        schema = manifest["schema_version"]
    except (ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{path} can't be read ({e}); export the design again") from None
    if schema != SCHEMA_VERSION:
        raise ConfigError(f"{path}: schema_version {schema}, this hwq reads {SCHEMA_VERSION}; export again")
    return manifest


def read_build(build: Path) -> Build:
    """A build directory. Raises ConfigError or ModelError."""
    manifest = read_manifest(build)
    return Build(build, manifest, tuple(load(build / "record.json")), _read_instances(build))


def _read_instances(build: Path) -> dict[str, dict[str, Any]]:
    """synth/instances.json by instance name; empty before synthesis."""
    path = build / "synth" / "instances.json"
    if not path.is_file():
        return {}
    try:
        return {i["name"]: i for i in json.loads(path.read_text())["instances"]}
    except (ValueError, KeyError, TypeError) as e:
        raise ConfigError(f"{path} can't be read ({e}); delete it and run hwq synth {build} again") from None
