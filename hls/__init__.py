"""hwq_hls: the hardware library (SystemVerilog, HLS C++), shipped as data, found by importlib.resources."""

from __future__ import annotations

import tomllib
from functools import cache
from importlib.resources import files
from pathlib import Path
from typing import Any


def root() -> Path:
    """Folder that holds library.toml, rtl/, include/ and props/."""
    return Path(str(files(__name__)))


@cache
def library() -> dict[str, dict[str, Any]]:
    """Module name -> its entry of library.toml."""
    return tomllib.loads((root() / "library.toml").read_text(encoding="utf-8"))


def rtl_files(*modules: str) -> list[Path]:
    """Every RTL file the modules need, each once, used ones first. Raises KeyError on a typo."""
    order: list[str] = []

    def add(module: str) -> None:
        for used in library()[module].get("uses", []):
            add(used)
        if module not in order:
            order.append(module)

    for module in modules:
        add(module)
    return [root() / "rtl" / f"{name}.sv" for name in order]


def include_dirs() -> list[Path]:
    """Folders for `include` directives of the simulation-only parts."""
    return [root() / "include"]


def stream_modules() -> list[str]:
    """Modules with stream ports, in the order of library.toml."""
    return [name for name, entry in library().items() if entry.get("streams")]
