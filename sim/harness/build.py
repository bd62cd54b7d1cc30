"""Verilated models of single modules for cocotb, cached by content.

A model is keyed by all that goes into it: sources, parameters, assertion files, tool releases.
Verilator's own runtime compiles once per cache (it takes longer than a module does), and is then copied in.
"""

from __future__ import annotations

import contextlib
import hashlib
import importlib.metadata
import os
import shutil
import tempfile
from collections.abc import Iterator, Mapping
from pathlib import Path

import cocotb_tools.config
import hwq_hls

from hwq.tools import verilator
from hwq.tools.verilator import Param, VerilatorInstall

TOP = "Vtop"
EXE = "model"
RUNTIME = ("verilated.o", "verilated_vpi.o", "verilated_threads.o")
FLAGS = ("--cc", "--exe", "--vpi", "--public-depth", "1", "--assert", "-Wno-lint",
         "--prefix", TOP, "-o", EXE)


def default_cache() -> Path:
    """`$XDG_CACHE_HOME/hwq/sim`, or the same under `~/.cache`."""
    return Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache") / "hwq" / "sim"


def build_model(module: str, params: Mapping[str, Param], *, cache: Path | None = None,
                sources: Mapping[str, str] | None = None) -> Path:
    """Folder with the executable `model` of one library module, built unless cached.

    sources: file name -> text of RTL files that replace the library's (for mutation tests). Raises ToolFailed
    with the log if the module does not compile, ToolMissing or ToolVersion for the tools.
    """
    install = verilator.find()
    cache = cache or default_cache()
    files = {f.name: f.read_text(encoding="utf-8") for f in source_files(module)} | dict(sources or {})
    files["bind.sv"] = bind_text(module)
    key = _key(install, module, params, files)
    home = cache / f"{module}-{key}"
    if not (home / EXE).exists():
        cache.mkdir(parents=True, exist_ok=True)
        with _scratch(cache) as work:
            _compile(install, module, params, files, work, cache)
            with contextlib.suppress(OSError):  # somebody else was faster
                work.rename(home)
    return home


def source_files(module: str) -> list[Path]:
    """RTL of a module and all it uses, the handshake properties and the assertion macros."""
    root = hwq_hls.root()
    return [*hwq_hls.rtl_files(module), root / "props" / "hwq_axis_props.sv",
            root / "include" / "hwq_assert.svh"]


def bind_text(module: str) -> str:
    """Bind the handshake properties to every stream port of every library module in the hierarchy."""
    return "".join(
        f"bind {name} hwq_axis_props #(.DATA_W($bits({port}_tdata))) u_{port}_props (.clk, .rst_n, "
        f".tdata({port}_tdata), .tvalid({port}_tvalid), .tready({port}_tready));\n"
        for name in (f.stem for f in hwq_hls.rtl_files(module))
        for port in hwq_hls.library()[name].get("streams", {}))


def _key(install: VerilatorInstall, module: str, params: Mapping[str, Param],
         files: Mapping[str, str]) -> str:
    parts = [install.version, importlib.metadata.version("cocotb"), str(cocotb_tools.config.libs_dir), module,
             repr(FLAGS), repr(sorted(params.items())), repr(sorted(files.items()))]
    return hashlib.sha256("\0".join(parts).encode()).hexdigest()[:16]


@contextlib.contextmanager
def _scratch(cache: Path) -> Iterator[Path]:
    work = Path(tempfile.mkdtemp(prefix=".build-", dir=cache))
    try:
        yield work
    finally:
        shutil.rmtree(work, ignore_errors=True)


def _compile(install: VerilatorInstall, module: str, params: Mapping[str, Param], files: Mapping[str, str],
             work: Path, cache: Path) -> None:
    for name, text in files.items():
        (work / name).write_text(text, encoding="utf-8")
    libs = cocotb_tools.config.libs_dir
    main = cocotb_tools.config.share_dir / "lib" / "verilator" / "verilator.cpp"
    verilator.verilate(install, [
        *FLAGS, "-Mdir", ".", "--top-module", module, *verilator.param_flags(params), "-I.",
        "-LDFLAGS", f"-Wl,-rpath,{libs} -L{libs} -lcocotbvpi_verilator",
        *(n for n in files if n.endswith(".sv")), main], work, log=work / "verilator.log")
    runtime = _runtime(install, cache, work)
    for name in RUNTIME:
        shutil.copy(runtime / name, work / name)  # a fresh date: make takes them as up to date
    verilator.make(install, work, f"{TOP}.mk", opt_fast="-O1", opt_slow="-O0", log=work / "make.log")
    for path in (*work.glob("*.o"), *work.glob("*.a")):  # a cached model is its executable and its sources
        path.unlink()


def _runtime(install: VerilatorInstall, cache: Path, work: Path) -> Path:
    """Folder with Verilator's own object files, compiled with the makefile of the first model."""
    home = cache / f"runtime-{install.version}"
    if not all((home / name).exists() for name in RUNTIME):
        verilator.make(install, work, f"{TOP}.mk", RUNTIME, variables=("OPT_GLOBAL=-O2",),
                       log=work / "runtime.log")
        home.mkdir(exist_ok=True)
        for name in RUNTIME:
            part = home / f".{name}.{os.getpid()}"
            shutil.copy(work / name, part)
            part.rename(home / name)
    return home
