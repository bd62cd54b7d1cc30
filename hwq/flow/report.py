"""Gather what a report shows of a build, and write the HTML page."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from hwq import targets
from hwq.errors import ConfigError
from hwq.record import write_atomic
from hwq.report.build import read_build


def capacity(manifest: Mapping[str, Any]) -> dict[str, int]:
    """Resources of the build's part; empty if its target file is no longer known by name."""
    try:
        return targets.load(manifest["target"]).capacity()
    except (ConfigError, KeyError):
        return {}


def write_html(build: Path, out: Path) -> Path:
    """One self-contained page about a build directory. Raises ConfigError, ModelError."""
    from hwq.report.html import page

    view = read_build(build)
    write_atomic(out, page(view, capacity(view.manifest)))
    return out
