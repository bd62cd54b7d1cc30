"""The estimate against Yosys: block memories exactly."""

from __future__ import annotations

import collections
import re
import shutil
from pathlib import Path

import hwq_hls
import numpy as np
import pytest

from hwq import targets
from hwq.cost.estimate import estimate_design, totals
from hwq.cost.features import block_rams
from hwq.flow.export import design_files
from hwq.hw.design import Design, Fold
from hwq.hw.layers import layers
from hwq.hw.map import build
from hwq.ir.graph import Graph
from hwq.tools import yosys
from hwq.tools.run import run
from tests.cost.test_fold import integer
from tests.flow.test_images import NETS
from tests.hw.graphs import mlp

pytestmark = pytest.mark.synth
Z2 = targets.load("pynq-z2")
SIZES = [  # width, depth: those that cut into whole blocks, and those that share blocks
    (1, 100), (1, 36864), (2, 9216), (4, 4608), (5, 2304), (5, 9216), (9, 600), (12, 1152), (12, 4608), (16, 1024),
    (18, 1025), (19, 1100), (19, 1152), (19, 3000), (32, 513), (32, 4608), (36, 512), (40, 1152), (64, 576), (72, 100),
    (128, 1152), (144, 288), (256, 100),
]  # fmt: skip


@pytest.mark.parametrize("written", [True, False])
def test_block_memories_of_a_size_are_those_that_yosys_takes(written: bool, tmp_path: Path) -> None:
    for f in hwq_hls.rtl_files("hwq_ram", "hwq_rom"):
        shutil.copy(f, tmp_path)
    sizes = [(w, d) for w, d in SIZES if written or w * d < 30_000]  # large contents take minutes
    rng = np.random.default_rng(1)
    ports = "input logic clk, en, input logic [15:0] a, b, input logic [255:0] d, output logic [255:0] q"
    lines = [f"module top({ports});"]
    for k, (w, d) in enumerate(sizes):
        top = (d - 1).bit_length() - 1
        lines.append(f"  logic [{w - 1}:0] q{k};")
        if written:
            lines.append(
                f"  hwq_ram #(.DATA_W({w}), .DEPTH({d}), .STYLE(2)) u{k} (.clk, .we(en), .wdata(d[{w - 1}:0]),"
                f" .waddr(a[{top}:0]), .raddr_d(b[{top}:0]), .raddr_q(b[{top}:0]), .rdata(q{k}));"
            )
        else:
            rows = (int.from_bytes(rng.bytes(32), "little") >> (256 - w) for _ in range(d))
            (tmp_path / f"r{k}.hex").write_text("".join(f"{r:x}\n" for r in rows))
            lines.append(
                f'  hwq_rom #(.DATA_W({w}), .DEPTH({d}), .STYLE(2), .INIT_FILE("r{k}.hex")) u{k} (.clk, .en,'
                f" .addr(a[{top}:0]), .data(q{k}));"
            )
    joined = " ^ ".join(f"256'(q{k})" for k in range(len(sizes)))
    (tmp_path / "top.sv").write_text("\n".join([*lines, f"  assign q = {joined};", "endmodule", ""]))
    (tmp_path / "run.ys").write_text(
        "read_slang --threads 1 --top top hwq_ram.sv hwq_rom.sv top.sv\n"
        "synth_xilinx -family xc7 -noiopad -top top -run begin:map_ffram\n"
        + "".join(f"tee -o {cell}.txt select -list t:{cell}\n" for cell in ("RAMB18E1", "RAMB36E1"))
    )
    run([yosys.executable(), "-q", "-s", "run.ys"], cwd=tmp_path, log=tmp_path / "log")
    found: collections.Counter[int] = collections.Counter()
    for cell, blocks in (("RAMB18E1", 1), ("RAMB36E1", 2)):
        for line in (tmp_path / f"{cell}.txt").read_text().split():
            unit = re.search(r"u(\d+)\b", line.rpartition("/")[2])
            assert unit is not None, line
            found[int(unit[1])] += blocks
    assert {s: found[k] for k, s in enumerate(sizes)} == {s: int(block_rams(*s, written=written)) for s in sizes}


def designs() -> dict[str, tuple[Graph, Design]]:
    """Weights, a replay buffer, window rings and tables in block memory."""
    dense = mlp([512, 24, 8], [3, 2], [4, 4])
    folds = {"fc0": Fold(3, 8, memory="block"), "fc1": Fold(1, 3, memory="block")}
    image = integer(NETS["plain"]())
    block = {la.name: Fold(la.pes[0], la.simds_at(la.pes[0])[-1], memory="block") for la in layers(image)}
    return {"dense": (dense, build(dense, folds, Z2, 100)), "image": (image, build(image, block, Z2, 100))}


@pytest.mark.parametrize("name", ["dense", "image"])
def test_block_memories_of_a_design_are_those_of_its_netlist(name: str, tmp_path: Path) -> None:
    graph, d = designs()[name]
    for rel, content in design_files(graph, d).items():
        if rel.startswith(("rtl/", "mem/")):
            (tmp_path / rel).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / rel).write_bytes(content.encode() if isinstance(content, str) else content)
    files = tuple((tmp_path / "rtl" / "files.f").read_text().split())
    job = yosys.SynthJob(files, d.name, (), tuple(m.path for i in d.instances for m in i.mems))
    netlist = yosys.synth(job, tmp_path).counts
    assert netlist.bram18 == totals(estimate_design(d, Z2))["bram18"] > 2
