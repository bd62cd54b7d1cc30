"""Small C++ sources of the package as shared libraries: compiled by g++ at first use, cached by content."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import tempfile
from pathlib import Path

from hwq.tools.run import run

FLAGS = ("-O2", "-std=c++17", "-shared", "-fPIC")


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/hwq/native`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwq" / "native"


def shared_library(source: Path, cache: Path | None = None) -> ctypes.CDLL | None:
    """The library of one C++ source, or None where there is no g++. Raises ToolFailed if it does not compile."""
    compiler = shutil.which("g++")
    if compiler is None:
        return None
    key = hashlib.sha256(source.read_bytes() + repr((compiler, FLAGS)).encode()).hexdigest()[:16]
    name = f"{source.stem}-{key}.so"
    home = cache or default_cache()
    if not (home / name).exists():
        with contextlib.suppress(OSError):
            home.mkdir(parents=True, exist_ok=True)
        if not os.access(home, os.W_OK):
            home = Path(tempfile.mkdtemp(prefix="hwq-native-"))
        part = home / f".{name}.{os.getpid()}"
        run([compiler, *FLAGS, source, "-o", part], cwd=home, timeout_s=300)
        part.rename(home / name)
    return ctypes.CDLL(str(home / name))
