"""Module costs in one Yosys flow, next to FINN's RTL library: `python -m benchmarks.module_cost`.

xc7: `synth_xilinx -family xc7 -noiopad -flatten`, counted by hwq.tools.yosys; weights in block memory do not
count. ECP5: post-route Fmax on an LFE5U-85 between two register slices (nextpnr, default speed grade). FINN's
figures are those of its published RTL through the same Yosys flow and counter; its MVU includes an input
buffer, so hwq's is measured with hwq_replay in front.
"""

from __future__ import annotations

import argparse
import json
import shutil
import tempfile
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import hwq_hls
import numpy as np

from hwq.hw import memory, pipeline
from hwq.hw.window import Window
from hwq.tools.nextpnr import place_ecp5
from hwq.tools.yosys import CellCounts, Param, SynthJob, synth, synth_xc7

CLOCK_MHZ = 100.0
Part = tuple[str, dict[str, Param]]


@dataclass(frozen=True, slots=True)
class Unit:
    """One row: modules in a row, the widths of the streams before, between and after them, memory files.

    finn: its LUT, FF and DSP, None where not known.
    """

    name: str
    parts: tuple[Part, ...]
    widths: tuple[int, ...]
    mems: tuple[tuple[str, str], ...] = ()
    finn: tuple[int | None, int | None, int | None] = (None, None, None)


@dataclass(frozen=True, slots=True)
class Cost:
    """What a unit takes; `fmax_mhz` is post route on ECP5, None if not asked for."""

    unit: str
    lut: int
    ff: int
    dsp: int
    bram18: int
    fmax_mhz: float | None
    finn_lut: int | None
    finn_ff: int | None
    finn_dsp: int | None


def threshold(pe: int, finn_lut: int, finn_ff: int) -> Unit:
    """32 channels, 15 thresholds, 12-bit signed input."""
    channels, n, bits = 32, 15, 12
    rng = np.random.default_rng(1)
    rows = np.sort(rng.integers(-(1 << 11), 1 << 11, (channels, n)), axis=1)
    params: dict[str, Param] = {
        "PE": pe, "CF": channels // pe, "X_W": bits, "X_SIGNED": 1, "N": n, "Y_W": 4, "OFFSET": 0,
        "FALLING": 0, "PIPE": pipeline.threshold_pipe(n, bits, pe, channels // pe, CLOCK_MHZ),
        "T_FILE": "t.hex",
    }
    text = memory.threshold_rows(rows, None, pe, bits, True)
    return Unit(f"threshold 32 ch, 15 steps, 12 bit, PE {pe}", (("hwq_threshold", params),),
                (pe * bits, pe * 4), mems=(("t.hex", text),), finn=(finn_lut, finn_ff, 0))


def dwc(lane_w: int, lanes_in: int, lanes_out: int, finn_lut: int, finn_ff: int) -> Unit:
    """Width converter between lanes_in * lane_w and lanes_out * lane_w bits."""
    params: dict[str, Param] = {"LANE_W": lane_w, "IN_LANES": lanes_in, "OUT_LANES": lanes_out}
    return Unit(f"width converter {lane_w * lanes_in} -> {lane_w * lanes_out}", (("hwq_dwc", params),),
                (lane_w * lanes_in, lane_w * lanes_out), finn=(finn_lut, finn_ff, 0))


def mvu(resource: int, style: int, label: str, dsp_w: int = 25, dsp_rows: int = 0) -> Unit:
    """64 x 32, PE 4, SIMD 16, 4-bit weights (narrow) and activations, with the replay buffer in front."""
    mh, mw, pe, simd, bits, acc = 64, 32, 4, 16, 4, 13
    nf, sf = mh // pe, mw // simd
    w = np.random.default_rng(1).integers(-7, 8, (mh, mw))
    pipe = pipeline.mvu_pipe(simd, bits, 0, bits, sf, resource, CLOCK_MHZ)
    replay: dict[str, Param] = {"DATA_W": simd * bits, "BEATS": sf, "PASSES": nf, "DEPTH": 2 * sf, "STYLE": 0}
    unit: dict[str, Param] = {
        "PE": pe, "SIMD": simd, "SF": sf, "NF": nf, "W_BITS": bits, "W_KIND": 0, "X_BITS": bits,
        "X_SIGNED": 0, "ACC_W": acc, "ACC_SIGNED": 1, "RESOURCE": resource, "STYLE": style, "PIPE": pipe,
        "W_FILE": "w.hex", "DSP_W": dsp_w, "DSP_ROWS": dsp_rows,
    }
    return Unit(f"MVU 64x32 PE 4 SIMD 16 4x4 bit, {label}", (("hwq_replay", replay), ("hwq_mvu", unit)),
                (simd * bits, simd * bits, pe * acc),
                mems=(("w.hex", memory.mvu_rows(w, pe, simd, bits, 0)),), finn=(1246, None, 16))


def fifo(width: int, depth: int) -> Unit:
    """LUT memory; one LUT of it holds a bit of 32 beats for one port, four of them 6 bits with both."""
    params: dict[str, Param] = {"DATA_W": width, "DEPTH": depth, "STYLE": 0}
    return Unit(f"FIFO {depth} deep, {width} wide", (("hwq_fifo", params),), (width, width))


def window(style: int, label: str, finn_lut: int, finn_ff: int | None) -> Unit:
    """3x3 on 14 x 14 x 16, 4 bits, SIMD 4, in a ring of the least depth."""
    lanes, bits, chunks = 4, 4, 4
    depth = Window(chunks, (14, 14), (3, 3), out=(12, 12)).least_depth
    params: dict[str, Param] = {
        "LANES": lanes, "BITS": bits, "CHUNKS": chunks, "IN_H": 14, "IN_W": 14, "KH": 3, "KW": 3, "SH": 1, "SW": 1,
        "DH": 1, "DW": 1, "PAD_T": 0, "PAD_L": 0, "OUT_H": 12, "OUT_W": 12, "PASSES": 1, "GROUPS": 1, "PAD_VALUE": 0,
        "DEPTH": depth, "STYLE": style,
    }
    return Unit(f"window 3x3 on 14x14x16, SIMD 4, 4 bit, {label}", (("hwq_window", params),), (lanes * bits,) * 2,
                finn=(finn_lut, finn_ff, 0))


def units() -> list[Unit]:
    """The rows of the table, in order."""
    return [
        threshold(1, 152, 162), threshold(4, 347, 536), threshold(32, 1605, 3245),
        dwc(16, 1, 4, 27, 84), dwc(16, 4, 1, 72, 101),
        mvu(1, 2, "LUT, weights in BRAM"), mvu(1, 1, "LUT, weights in LUT"),
        mvu(2, 2, "25-bit DSP, weights in BRAM"), mvu(2, 2, "18-bit DSP, weights in BRAM", 18, 2),
        fifo(32, 32),
        window(1, "LUT memory", 186 + 12 * 4, 95), window(2, "block memory", 168, None),
    ]


def shell(name: str, parts: Sequence[Part], widths: Sequence[int]) -> str:
    """SystemVerilog module `name`: the parts in a row, joined by streams of `widths`."""
    in_w, out_w, n = widths[0], widths[-1], len(parts)
    lines = [
        f"module {name} (input logic clk, input logic rst_n,",
        f"  input logic [{in_w - 1}:0] s_axis_tdata,",
        "  input logic s_axis_tvalid, output logic s_axis_tready,",
        f"  output logic [{out_w - 1}:0] m_axis_tdata,",
        "  output logic m_axis_tvalid, input logic m_axis_tready);",
    ]
    for i, width in enumerate(widths):
        lines.append(f"  logic [{width - 1}:0] d{i}; logic v{i}, r{i};")
    lines.append("  assign d0 = s_axis_tdata; assign v0 = s_axis_tvalid; assign s_axis_tready = r0;")
    lines.append(f"  assign m_axis_tdata = d{n}; assign m_axis_tvalid = v{n}; assign r{n} = m_axis_tready;")
    for i, (module, params) in enumerate(parts):
        text = ", ".join(f'.{k}("{v}")' if isinstance(v, str) else f".{k}({v})" for k, v in params.items())
        lines.append(
            f"  {module} #({text}) u{i} (.clk, .rst_n,\n"
            f"    .s_axis_tdata(d{i}), .s_axis_tvalid(v{i}), .s_axis_tready(r{i}),\n"
            f"    .m_axis_tdata(d{i + 1}), .m_axis_tvalid(v{i + 1}), .m_axis_tready(r{i + 1}));"
        )
    return "\n".join([*lines, "endmodule", ""])


def measure(unit: Unit, folder: Path, fmax: bool = True) -> Cost:
    """Synthesize one unit in `folder` (made). Raises ToolError as hwq.tools does."""
    folder.mkdir(parents=True, exist_ok=True)
    files = hwq_hls.rtl_files("hwq_relay", *(module for module, _ in unit.parts))
    for f in files:
        shutil.copy(f, folder)
    for name, text in unit.mems:
        (folder / name).write_text(text)
    names = [f.name for f in files]
    (folder / "unit.sv").write_text(shell("unit", unit.parts, unit.widths))
    mems = [name for name, _ in unit.mems]
    counts: CellCounts = synth_xc7([*names, "unit.sv"], "unit", {}, folder, mems=mems)
    mhz = None
    if fmax:
        ends = unit.widths[0], unit.widths[-1]
        relays: list[Part] = [("hwq_relay", {"DATA_W": w}) for w in ends]
        routed = shell("routed", [relays[0], *unit.parts, relays[1]], [ends[0], *unit.widths, ends[1]])
        (folder / "routed.sv").write_text(routed)
        job = SynthJob((*names, "routed.sv"), "routed", (), tuple(mems), family="ecp5")
        result = synth(job, folder, need_netlist=True)
        assert result.netlist is not None
        mhz = place_ecp5(result.netlist, folder, clock_mhz=CLOCK_MHZ, out_of_context=True).fmax_mhz
    return Cost(unit.name, counts.lut, counts.ff, counts.dsp, counts.bram18, mhz, *unit.finn)


def table(costs: Sequence[Cost]) -> str:
    """Fixed-width text, one line a unit; '-' where FINN was not measured."""
    def show(value: float | int | None) -> str:
        return "-" if value is None else f"{value:.0f}"

    head = (f"{'unit':56} {'LUT':>6} {'FINN':>6} {'FF':>6} {'FINN':>6} {'DSP':>4} {'FINN':>4} {'BRAM18':>6} "
            f"{'ECP5 MHz':>9}")
    rows = [
        f"{c.unit:56} {c.lut:>6} {show(c.finn_lut):>6} {c.ff:>6} {show(c.finn_ff):>6} {c.dsp:>4} "
        f"{show(c.finn_dsp):>4} {c.bram18:>6} {show(c.fmax_mhz):>9}"
        for c in costs
    ]
    return "\n".join([head, *rows])


def main(argv: Sequence[str] | None = None, echo: Callable[[str], None] = print) -> int:
    """Measure and print; `--json FILE` also writes the figures, `--no-fmax` skips place and route."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks.module_cost", description=__doc__)
    parser.add_argument("--json", type=Path, help="also write the figures to this file")
    parser.add_argument("--no-fmax", action="store_true", help="Yosys only")
    parser.add_argument("--only", default="", help="rows whose name contains this")
    args = parser.parse_args(argv)
    chosen = [u for u in units() if args.only in u.name]
    with tempfile.TemporaryDirectory() as tmp:
        costs = [measure(u, Path(tmp) / str(i), not args.no_fmax) for i, u in enumerate(chosen)]
    echo(table(costs))
    if args.json:
        args.json.write_text(json.dumps([asdict(c) for c in costs], indent=1) + "\n")
    return 0


if __name__ == "__main__":
    raise SystemExit(main())
